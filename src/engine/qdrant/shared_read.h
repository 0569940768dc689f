// One look at something expensive for all who ask at the same time.

#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "base/result.h"
#include "exec/wait.h"

namespace holdfast::qdrant {

/// Every caller gets a value whose reading began after the call: who comes while one is being read
/// waits for the next, which serves all that came meanwhile. Thread-safe.
template <class T>
class SharedRead {
 public:
  using Value = std::shared_ptr<const T>;
  using Read = std::function<Result<T>(const CallContext&)>;

  explicit SharedRead(Clock& clock) : clock_(clock) {}

  /// `read` is run on the thread of one of the callers, under that one's call.
  Result<Value> Get(const CallContext& call, const Read& read) {
    std::unique_lock lock(mutex_);
    const std::uint64_t wanted = begun_ + 1;
    ++waiting_;
    Result<Value> value = GetLocked(call, read, wanted, lock);
    if (--waiting_ == 0) last_.reset();
    return value;
  }

 private:
  Result<Value> GetLocked(const CallContext& call, const Read& read, std::uint64_t wanted,
                          std::unique_lock<std::mutex>& lock) {
    for (;;) {
      if (last_ && last_number_ >= wanted) return *last_;
      if (!reading_) {
        reading_ = true;
        const std::uint64_t number = ++begun_;
        lock.unlock();
        Result<T> result = read(call);
        // What ended because this caller's time was up says nothing to the others.
        const bool is_for_all = result.ok() || clock_.Check(call).ok();
        lock.lock();
        reading_ = false;
        changed_.notify_all();
        if (!result.ok() && !is_for_all) return std::move(result).error();
        last_.emplace(result.ok() ? Result<Value>(std::make_shared<const T>(*std::move(result)))
                                  : Result<Value>(std::move(result).error()));
        last_number_ = number;
        continue;
      }
      HF_RETURN_IF_ERROR(WaitUntil(call, clock_, changed_, lock,
                                   [&] { return !reading_ || (last_ && last_number_ >= wanted); }));
    }
  }

  Clock& clock_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool reading_ = false;
  std::uint64_t begun_ = 0;
  std::uint64_t waiting_ = 0;
  std::optional<Result<Value>> last_;
  std::uint64_t last_number_ = 0;
};

}  // namespace holdfast::qdrant
