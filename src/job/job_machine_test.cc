#include "job/job_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <utility>

namespace holdfast {
namespace {

using enum JobState;
using enum JobEvent;

constexpr std::array kStates = {kQueued, kRunning, kInterrupted, kComplete, kFailed, kCancelled};
constexpr std::array kEvents = {kStart, kLoseWorker, kResume, kSucceed, kFail, kCancel};

TEST(Advance, GoesExactlyTheWaysOfTheTable) {
  const std::map<std::pair<JobState, JobEvent>, JobState> table = {
      {{kQueued, kStart}, kRunning},
      {{kQueued, kCancel}, kCancelled},
      {{kRunning, kLoseWorker}, kInterrupted},
      {{kRunning, kSucceed}, kComplete},
      {{kRunning, kFail}, kFailed},
      {{kRunning, kCancel}, kCancelled},
      {{kInterrupted, kResume}, kRunning},
      {{kInterrupted, kFail}, kFailed},
      {{kInterrupted, kCancel}, kCancelled},
  };
  for (const JobState from : kStates) {
    for (const JobEvent event : kEvents) {
      const auto to = Advance(from, event);
      const auto expected = table.find({from, event});
      if (expected == table.end()) {
        ASSERT_FALSE(to.ok()) << JobStateName(from);
        EXPECT_EQ(to.error().code(), ErrorCode::kFailedPrecondition);
        EXPECT_THAT(to.error().message(), ::testing::HasSubstr(std::string(JobStateName(from))));
      } else {
        ASSERT_TRUE(to.ok()) << to.error().ToString();
        EXPECT_EQ(*to, expected->second);
      }
    }
  }
}

TEST(Advance, AFinalStateIsFinalAndEveryOtherReachesOne) {
  for (const JobState state : kStates) {
    bool moves = false;
    bool ends = false;
    for (const JobEvent event : kEvents) {
      const auto to = Advance(state, event);
      moves = moves || to.ok();
      ends = ends || (to.ok() && IsFinal(*to));
    }
    EXPECT_EQ(moves, !IsFinal(state)) << JobStateName(state);
    EXPECT_EQ(ends, !IsFinal(state)) << JobStateName(state);
  }
}

TEST(Conclude, ABodyThatSucceededHasSucceededWhateverStopped) {
  for (const StopCause cause :
       {StopCause::kNone, StopCause::kCaller, StopCause::kLeaseTaken, StopCause::kLeaseExpired}) {
    const JobEnd end = Conclude({}, cause, "l");
    EXPECT_EQ(end.event, kSucceed);
    EXPECT_FALSE(end.error.has_value());
  }
}

TEST(Conclude, ABodyStoppedByItsCallerIsCancelled) {
  const Status stopped = Error(ErrorCode::kCancelled, "stopped");
  EXPECT_EQ(Conclude(stopped, StopCause::kCaller, "l").event, kCancel);
  const Status late = Error(ErrorCode::kDeadlineExceeded, "out of time");
  EXPECT_EQ(Conclude(late, StopCause::kCaller, "l").event, kFail);
}

TEST(Conclude, ABodyStoppedBecauseItsLeaseWentAwayFailedForThatReason) {
  for (const ErrorCode code : {ErrorCode::kCancelled, ErrorCode::kAborted, ErrorCode::kUnavailable,
                               ErrorCode::kDeadlineExceeded}) {
    const Status stopped = Error(code, "something below gave up");
    for (const StopCause cause : {StopCause::kLeaseTaken, StopCause::kLeaseExpired}) {
      const JobEnd end = Conclude(stopped, cause, "cluster/prod/backup");
      EXPECT_EQ(end.event, kFail);
      ASSERT_TRUE(end.error.has_value());
      EXPECT_EQ(end.error->code(), ErrorCode::kAborted);
      EXPECT_THAT(end.error->message(), ::testing::HasSubstr("cluster/prod/backup"));
      EXPECT_FALSE(end.error->hint().empty());
    }
  }
}

TEST(Conclude, AnErrorOfTheBodysOwnStays) {
  const Status damaged = Error(ErrorCode::kDataLoss, "a flipped bit");
  for (const StopCause cause :
       {StopCause::kNone, StopCause::kCaller, StopCause::kLeaseTaken, StopCause::kLeaseExpired}) {
    const JobEnd end = Conclude(damaged, cause, "l");
    EXPECT_EQ(end.event, kFail);
    ASSERT_TRUE(end.error.has_value());
    EXPECT_EQ(end.error->code(), ErrorCode::kDataLoss);
  }
}

TEST(LeaseTiming, StopsBeforeTheExpiryAndLeavesRoomForThreeTries) {
  const Duration term = std::chrono::seconds(30);
  const MonotonicTime sent{std::chrono::seconds(100)};
  LeaseTiming timing(term, sent);
  EXPECT_EQ(timing.renew_at(), sent + std::chrono::seconds(10));
  EXPECT_EQ(timing.stop_at(), sent + std::chrono::seconds(27));
  int tries = 0;
  for (MonotonicTime at = timing.renew_at(); at < timing.stop_at(); at = timing.retry_at(at)) {
    ++tries;
  }
  EXPECT_GE(tries, 3);
  timing.Renewed(sent + std::chrono::seconds(11));
  EXPECT_EQ(timing.stop_at(), sent + std::chrono::seconds(38));
}

}  // namespace
}  // namespace holdfast
