// Bytes per second, shared by all who use one limiter.

#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>

#include "base/clock.h"
#include "base/result.h"

namespace holdfast {

/// A token bucket on a Clock. Thread-safe; waiters are served in the order they came.
class RateLimiter {
 public:
  /// `bytes_per_second` 0 means no limit. Up to `burst_bytes` pass at once after a pause.
  RateLimiter(Clock& clock, std::uint64_t bytes_per_second, std::uint64_t burst_bytes);

  /// Blocks until `bytes` may pass (any number; more than the burst just takes its time).
  /// kCancelled or kDeadlineExceeded when `call` ends first; the bytes then count all the same.
  Status Acquire(const CallContext& call, std::uint64_t bytes);

 private:
  /// Nanoseconds, because a small piece at a high rate takes less than a microsecond.
  using Instant = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;

  Clock& clock_;
  const std::uint64_t bytes_per_second_;
  const std::chrono::nanoseconds burst_;
  std::mutex mutex_;
  /// When all that was let through is paid for; before now when there is credit.
  Instant paid_until_;
};

}  // namespace holdfast
