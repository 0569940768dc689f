#include "exec/rate_limiter.h"

#include <gtest/gtest.h>

#include "testing/fake_clock.h"

namespace holdfast {
namespace {

using namespace std::chrono_literals;
using testing::FakeClock;

TEST(RateLimiter, LetsTheBurstThroughAndThenTheRate) {
  FakeClock clock;
  RateLimiter limiter(clock, 1'000, 500);
  const MonotonicTime start = clock.Monotonic();
  ASSERT_TRUE(limiter.Acquire({}, 500).ok());
  EXPECT_EQ(clock.Monotonic() - start, 0s);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(limiter.Acquire({}, 100).ok());
  EXPECT_EQ(clock.Monotonic() - start, 1s);
}

TEST(RateLimiter, APauseEarnsTheBurstAndNoMore) {
  FakeClock clock;
  RateLimiter limiter(clock, 1'000, 500);
  clock.Advance(1h);
  const MonotonicTime start = clock.Monotonic();
  ASSERT_TRUE(limiter.Acquire({}, 1'500).ok());
  EXPECT_EQ(clock.Monotonic() - start, 1s);
}

TEST(RateLimiter, SmallPiecesAtAHighRateStillCount) {
  FakeClock clock;
  RateLimiter limiter(clock, 10'000'000'000, 0);
  const MonotonicTime start = clock.Monotonic();
  for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(limiter.Acquire({}, 1'000).ok());
  EXPECT_GE(clock.Monotonic() - start, 1ms);
  EXPECT_LE(clock.Monotonic() - start, 10ms);
}

TEST(RateLimiter, ZeroMeansNoLimit) {
  FakeClock clock;
  RateLimiter limiter(clock, 0, 0);
  ASSERT_TRUE(limiter.Acquire({}, ~std::uint64_t{0}).ok());
  EXPECT_TRUE(clock.sleeps().empty());
}

TEST(RateLimiter, HugeRequestsDoNotOverflow) {
  FakeClock clock;
  RateLimiter limiter(clock, 1, 0);
  const CallContext call = clock.Within({}, 1s);
  EXPECT_EQ(limiter.Acquire(call, ~std::uint64_t{0}).error().code(), ErrorCode::kDeadlineExceeded);
}

TEST(RateLimiter, EndsWithTheCall) {
  FakeClock clock;
  RateLimiter limiter(clock, 1'000, 0);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(limiter.Acquire({.stop = stop.get_token(), .deadline = {}}, 1).error().code(),
            ErrorCode::kCancelled);
}

}  // namespace
}  // namespace holdfast
