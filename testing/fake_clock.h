// Time that a test moves. For everything that takes a Clock&.

#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <vector>

#include "base/clock.h"

namespace holdfast::testing {

/// Starts at 2026-11-22T03:24:38Z and at monotonic instant 1,000 s. Thread-safe.
class FakeClock final : public Clock {
 public:
  enum class Sleep {
    /// SleepFor moves the time forward itself and returns at once.
    kAdvances,
    /// SleepFor blocks until Advance() has moved the time far enough, or the call ends.
    kWaits,
  };

  explicit FakeClock(Sleep sleep = Sleep::kAdvances) : sleep_(sleep) {}

  MonotonicTime Monotonic() override {
    const std::scoped_lock lock(mutex_);
    return now_;
  }

  WallTime Wall() override {
    const std::scoped_lock lock(mutex_);
    return wall_;
  }

  Status SleepFor(const CallContext& call, Duration length) override {
    std::unique_lock lock(mutex_);
    sleeps_.push_back(length);
    if (call.stop.stop_requested()) return Error(ErrorCode::kCancelled, "stopped");
    if (call.deadline && now_ >= *call.deadline) return OutOfTime();
    const MonotonicTime wanted = now_ + length;
    const MonotonicTime until = call.deadline ? std::min(wanted, *call.deadline) : wanted;
    if (sleep_ == Sleep::kAdvances) {
      Move(until - now_);
    } else {
      ++sleepers_;
      changed_.notify_all();
      changed_.wait(lock, call.stop, [&] { return now_ >= until; });
      --sleepers_;
      if (call.stop.stop_requested()) return Error(ErrorCode::kCancelled, "stopped");
    }
    if (until < wanted) return OutOfTime();
    return {};
  }

  /// Moves both clocks forward and wakes those whose sleep is over.
  void Advance(Duration length) {
    const std::scoped_lock lock(mutex_);
    Move(length);
  }

  /// The wall clock jumps, forward or back; the monotonic one does not.
  void SetWall(WallTime time) {
    const std::scoped_lock lock(mutex_);
    wall_ = time;
  }

  /// Blocks (in real time) until `count` threads are inside SleepFor. Only with kWaits.
  void WaitForSleepers(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return sleepers_ >= count; });
  }

  /// Every length that SleepFor was asked for, in order.
  std::vector<Duration> sleeps() {
    const std::scoped_lock lock(mutex_);
    return sleeps_;
  }

 private:
  static Error OutOfTime() { return {ErrorCode::kDeadlineExceeded, "out of time"}; }

  void Move(Duration length) {
    now_ += length;
    wall_ += length;
    changed_.notify_all();
  }

  const Sleep sleep_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  MonotonicTime now_{std::chrono::seconds(1'000)};
  // 2026-11-22T03:24:38Z.
  WallTime wall_{std::chrono::seconds(1'795'317'878)};
  std::size_t sleepers_ = 0;
  std::vector<Duration> sleeps_;
};

}  // namespace holdfast::testing
