#include "exec/retry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/fake_clock.h"

namespace holdfast {
namespace {

using namespace std::chrono_literals;
using ::testing::Each;
using ::testing::ElementsAre;
using testing::FakeClock;

class RetryTest : public ::testing::Test {
 protected:
  Retrier retrier(int attempts = 4) {
    return {.clock = clock_,
            .random = random_,
            .policy = {.attempts_max = attempts, .pause_first = 100ms, .pause_max = 1s}};
  }
  FakeClock clock_;
  Random random_{7};
};

TEST_F(RetryTest, PausesDoubleAndStayBelowTheMaximum) {
  Backoff backoff(retrier().policy, random_);
  for (const Duration step : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
    const Duration pause = backoff.Next();
    EXPECT_GE(pause, step / 2);
    EXPECT_LE(pause, step);
  }
}

TEST_F(RetryTest, PausesOfTwoClientsDiffer) {
  Random other(8);
  Backoff first(retrier().policy, random_);
  Backoff second(retrier().policy, other);
  EXPECT_NE(first.Next(), second.Next());
}

TEST_F(RetryTest, StopsAtTheFirstSuccess) {
  std::vector<int> attempts;
  const auto result = Retry({}, retrier(), [&](int attempt) -> Result<std::string> {
    attempts.push_back(attempt);
    if (attempt < 3) return Error(ErrorCode::kUnavailable, "connection reset");
    return std::string("there");
  });
  EXPECT_EQ(*result, "there");
  EXPECT_THAT(attempts, ElementsAre(1, 2, 3));
  EXPECT_EQ(clock_.sleeps().size(), 2U);
}

TEST_F(RetryTest, DoesNotRepeatWhatCannotHelp) {
  int calls = 0;
  const Status result = Retry({}, retrier(), [&](int) -> Status {
    ++calls;
    return Error(ErrorCode::kPermissionDenied, "no");
  });
  EXPECT_EQ(result.error().message(), "no");
  EXPECT_EQ(calls, 1);
}

TEST_F(RetryTest, TheLastErrorSaysHowOftenItWasTried) {
  int calls = 0;
  const Status result = Retry({}, retrier(3), [&](int) -> Status {
    ++calls;
    return Error(ErrorCode::kUnavailable, "put pack 3fa9: 503", "look at the store");
  });
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(result.error().message(), "put pack 3fa9: 503 (after 3 attempts)");
  EXPECT_EQ(result.error().hint(), "look at the store");
  EXPECT_EQ(result.error().code(), ErrorCode::kUnavailable);
}

TEST_F(RetryTest, OneAttemptMeansNoRetry) {
  const Status result =
      Retry({}, retrier(1), [](int) -> Status { return Error(ErrorCode::kBusy, "busy"); });
  EXPECT_EQ(result.error().message(), "busy");
  EXPECT_TRUE(clock_.sleeps().empty());
}

TEST_F(RetryTest, EndsWithTheCallsDeadlineAndKeepsTheCause) {
  const CallContext call = clock_.Within({}, 120ms);
  const Status result = Retry(
      call, retrier(100), [](int) -> Status { return Error(ErrorCode::kUnavailable, "refused"); });
  EXPECT_EQ(result.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(result.error().message(), ::testing::StartsWith("refused"));
}

TEST_F(RetryTest, ACancelledCallIsCancelled) {
  std::stop_source stop;
  const CallContext call{.stop = stop.get_token(), .deadline = {}};
  const Status result = Retry(call, retrier(), [&](int) -> Status {
    stop.request_stop();
    return Error(ErrorCode::kUnavailable, "refused");
  });
  EXPECT_EQ(result.error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(Retry(call, retrier(), [](int) { return Status(); }).error().code(),
            ErrorCode::kCancelled);
}

}  // namespace
}  // namespace holdfast
