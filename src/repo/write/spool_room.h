// Who may leave how many bytes waiting for the store. Memory and spool together are one room.

#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "base/clock.h"
#include "base/result.h"
#include "repo/group_writer.h"

namespace holdfast {

/// The room of one attempt, in bytes after sealing. Thread-safe.
class SpoolRoom {
 public:
  SpoolRoom(Clock& clock, std::uint64_t bytes_max) : clock_(clock), bytes_max_(bytes_max) {}
  SpoolRoom(const SpoolRoom&) = delete;
  SpoolRoom& operator=(const SpoolRoom&) = delete;

  /// Waits until `bytes` are free. kResourceExhausted at once when they never will be.
  Status Take(const CallContext& call, std::uint64_t bytes);
  /// False when they are not free now.
  bool TryTake(std::uint64_t bytes);
  /// For what must go on: the room may be overdrawn by it.
  void TakeAnyway(std::uint64_t bytes);
  void Give(std::uint64_t bytes) noexcept;

  /// Called, without locks, whenever somebody is about to wait: what only waits to be put should
  /// go.
  void set_on_wait(std::function<void()> on_wait) { on_wait_ = std::move(on_wait); }

  /// True while somebody waits for room.
  bool starved() const noexcept { return waiting_.load() > 0; }

  std::uint64_t bytes_max() const noexcept { return bytes_max_; }

 private:
  bool TakeLocked(std::uint64_t bytes);

  Clock& clock_;
  const std::uint64_t bytes_max_;
  std::function<void()> on_wait_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::uint64_t taken_ = 0;
  std::atomic<int> waiting_ = 0;
};

/// One image's part of the room: its debt are the bytes taken in that are not durable yet (nor
/// found to be known). Thread-safe.
class RoomAccount {
 public:
  /// `reserved` bytes were taken from `room` already and are the account's as long as it is open.
  RoomAccount(SpoolRoom& room, std::uint64_t reserved, WhenFull when_full)
      : room_(room), reserved_(reserved), held_(reserved), when_full_(when_full) {}
  /// All debt must be settled or the room is going away with it.
  ~RoomAccount();
  RoomAccount(const RoomAccount&) = delete;
  RoomAccount& operator=(const RoomAccount&) = delete;

  /// More debt. Beyond what was reserved it needs free room; without any, kResourceExhausted or a
  /// wait, as the image was begun.
  Status Charge(const CallContext& call, std::uint64_t bytes);
  /// More debt that cannot be refused.
  void ChargeAnyway(std::uint64_t bytes);
  /// Less debt.
  void Settle(std::uint64_t bytes) noexcept;
  /// No more Charge will come: what is reserved beyond the debt is given back.
  void Close() noexcept;

 private:
  /// Bytes to give back, now that debt or reservation fell.
  std::uint64_t ShrinkLocked() noexcept;

  SpoolRoom& room_;
  std::mutex mutex_;
  std::uint64_t reserved_;
  std::uint64_t held_;
  std::uint64_t debt_ = 0;
  const WhenFull when_full_;
};

}  // namespace holdfast
