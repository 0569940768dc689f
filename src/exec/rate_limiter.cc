#include "exec/rate_limiter.h"

#include <algorithm>

namespace holdfast {
namespace {

std::chrono::nanoseconds TimeFor(std::uint64_t bytes, std::uint64_t bytes_per_second) {
  // A double is exact to the nanosecond for 100 days of waiting, and does not overflow. The bound
  // (30 years) keeps sums of instants within 64 bits.
  constexpr double kMost = 1e18;
  const double length = static_cast<double>(bytes) * 1e9 / static_cast<double>(bytes_per_second);
  return std::chrono::nanoseconds(static_cast<std::int64_t>(std::min(length, kMost)));
}

}  // namespace

RateLimiter::RateLimiter(Clock& clock, std::uint64_t bytes_per_second, std::uint64_t burst_bytes)
    : clock_(clock),
      bytes_per_second_(bytes_per_second),
      burst_(bytes_per_second == 0 ? std::chrono::nanoseconds(0)
                                   : TimeFor(burst_bytes, bytes_per_second)),
      paid_until_(clock.Monotonic() - burst_) {}

Status RateLimiter::Acquire(const CallContext& call, std::uint64_t bytes) {
  HF_RETURN_IF_ERROR(clock_.Check(call));
  if (bytes_per_second_ == 0) return {};
  Duration wait{0};
  {
    const std::scoped_lock lock(mutex_);
    const MonotonicTime now = clock_.Monotonic();
    paid_until_ = std::max(paid_until_, Instant(now) - burst_);
    paid_until_ += TimeFor(bytes, bytes_per_second_);
    wait = std::chrono::ceil<Duration>(paid_until_ - now);
  }
  if (wait <= Duration(0)) return {};
  return clock_.SleepFor(call, wait);
}

}  // namespace holdfast
