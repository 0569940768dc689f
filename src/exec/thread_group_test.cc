#include "exec/thread_group.h"

#include <gtest/gtest.h>

#include <atomic>

namespace holdfast {
namespace {

using namespace std::chrono_literals;

Status UntilStopped(const CallContext& call) { return SystemClock().SleepFor(call, 1h); }

TEST(LinkedStop, FiresWithItsParentAndNotTheOtherWayRound) {
  std::stop_source parent;
  LinkedStop child(parent.get_token());
  LinkedStop sibling(parent.get_token());
  child.Stop();
  EXPECT_TRUE(child.stopped());
  EXPECT_FALSE(sibling.stopped());
  EXPECT_FALSE(parent.stop_requested());
  parent.request_stop();
  EXPECT_TRUE(sibling.stopped());
}

TEST(LinkedStop, OfAParentThatHasStoppedIsStopped) {
  std::stop_source parent;
  parent.request_stop();
  EXPECT_TRUE(LinkedStop(parent.get_token()).stopped());
}

TEST(ThreadGroup, JoinsAllItsThreads) {
  ThreadGroup group({});
  std::atomic<int> ran{0};
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(group
                    .Start([&ran](const CallContext&) {
                      ++ran;
                      return Status();
                    })
                    .ok());
  }
  EXPECT_TRUE(group.Join().ok());
  EXPECT_EQ(ran.load(), 4);
}

TEST(ThreadGroup, TheFirstFailureStopsTheOthersAndIsWhatJoinGives) {
  ThreadGroup group({});
  ASSERT_TRUE(group.Start(UntilStopped).ok());
  ASSERT_TRUE(group.Start(UntilStopped).ok());
  ASSERT_TRUE(group
                  .Start([](const CallContext&) -> Status {
                    return Error(ErrorCode::kUnavailable, "node 3 went away");
                  })
                  .ok());
  EXPECT_EQ(group.Join().error().message(), "node 3 went away");
  EXPECT_TRUE(group.call().stop.stop_requested());
}

TEST(ThreadGroup, ACauseCountsMoreThanTheCancellationItBrought) {
  ThreadGroup group({});
  ASSERT_TRUE(group
                  .Start([](const CallContext& call) -> Status {
                    static_cast<void>(UntilStopped(call).ok());
                    return Error(ErrorCode::kDataLoss, "short stream");
                  })
                  .ok());
  ASSERT_TRUE(group.Start(UntilStopped).ok());
  group.Stop();
  EXPECT_EQ(group.Join().error().code(), ErrorCode::kDataLoss);
}

TEST(ThreadGroup, StopsWithItsCall) {
  std::stop_source parent;
  ThreadGroup group({.stop = parent.get_token(), .deadline = {}});
  ASSERT_TRUE(group.Start(UntilStopped).ok());
  parent.request_stop();
  EXPECT_EQ(group.Join().error().code(), ErrorCode::kCancelled);
}

TEST(ThreadGroup, LeavingTheScopeStopsAndJoins) {
  std::atomic<bool> ended{false};
  {
    ThreadGroup group({});
    ASSERT_TRUE(group
                    .Start([&ended](const CallContext& call) {
                      Status status = UntilStopped(call);
                      ended = true;
                      return status;
                    })
                    .ok());
  }
  EXPECT_TRUE(ended.load());
}

}  // namespace
}  // namespace holdfast
