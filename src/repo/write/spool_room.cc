#include "repo/write/spool_room.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "base/size.h"
#include "exec/wait.h"

namespace holdfast {

bool SpoolRoom::TakeLocked(std::uint64_t bytes) {
  if (taken_ > bytes_max_ || bytes > bytes_max_ - taken_) return false;
  taken_ += bytes;
  return true;
}

Status SpoolRoom::Take(const CallContext& call, std::uint64_t bytes) {
  if (bytes > bytes_max_) {
    return Error(ErrorCode::kResourceExhausted,
                 fmt::format("{} do not fit the spool, which has room for {}", FormatSize(bytes),
                             FormatSize(bytes_max_)),
                 "Give the spool more room, or take the shard staged");
  }
  if (TryTake(bytes)) return {};
  ++waiting_;
  if (on_wait_) on_wait_();
  const Status taken = [&] {
    std::unique_lock lock(mutex_);
    // The condition may be asked for again after it was true.
    bool done = false;
    return WaitUntil(call, clock_, changed_, lock,
                     [&] { return done || (done = TakeLocked(bytes)); });
  }();
  --waiting_;
  return taken;
}

bool SpoolRoom::TryTake(std::uint64_t bytes) {
  const std::scoped_lock lock(mutex_);
  return TakeLocked(bytes);
}

void SpoolRoom::TakeAnyway(std::uint64_t bytes) {
  const std::scoped_lock lock(mutex_);
  taken_ += bytes;
}

void SpoolRoom::Give(std::uint64_t bytes) noexcept {
  if (bytes == 0) return;
  const std::scoped_lock lock(mutex_);
  HF_ASSERT(bytes <= taken_);
  taken_ -= bytes;
  changed_.notify_all();
}

RoomAccount::~RoomAccount() { room_.Give(held_); }

Status RoomAccount::Charge(const CallContext& call, std::uint64_t bytes) {
  std::uint64_t more = 0;
  {
    const std::scoped_lock lock(mutex_);
    if (debt_ + bytes > held_) more = debt_ + bytes - held_;
    // What is missing is taken by this thread alone; Settle from others can only make it less.
    held_ += more;
    debt_ += bytes;
  }
  if (more == 0) return {};
  const bool taken = room_.TryTake(more);
  const Status waited =
      taken ? Status()
      : when_full_ == WhenFull::kWait
          ? room_.Take(call, more)
          : Error(ErrorCode::kResourceExhausted, "the store does not keep up and the spool is full",
                  "Give the spool more room, or take the shard staged");
  if (waited.ok()) return {};
  // The room was never ours: take the books back without giving anything.
  const std::scoped_lock lock(mutex_);
  debt_ -= bytes;
  held_ -= more;
  return waited;
}

void RoomAccount::ChargeAnyway(std::uint64_t bytes) {
  std::uint64_t more = 0;
  {
    const std::scoped_lock lock(mutex_);
    if (debt_ + bytes > held_) more = debt_ + bytes - held_;
    held_ += more;
    debt_ += bytes;
  }
  room_.TakeAnyway(more);
}

std::uint64_t RoomAccount::ShrinkLocked() noexcept {
  const std::uint64_t keep = std::max(reserved_, debt_);
  if (held_ <= keep) return 0;
  const std::uint64_t back = held_ - keep;
  held_ = keep;
  return back;
}

void RoomAccount::Settle(std::uint64_t bytes) noexcept {
  std::uint64_t back = 0;
  {
    const std::scoped_lock lock(mutex_);
    HF_ASSERT(bytes <= debt_);
    debt_ -= bytes;
    back = ShrinkLocked();
  }
  room_.Give(back);
}

void RoomAccount::Close() noexcept {
  std::uint64_t back = 0;
  {
    const std::scoped_lock lock(mutex_);
    reserved_ = 0;
    back = ShrinkLocked();
  }
  room_.Give(back);
}

}  // namespace holdfast
