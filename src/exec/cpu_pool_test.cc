#include "exec/cpu_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <string>

namespace holdfast {
namespace {

using namespace std::chrono_literals;

TEST(CpuPool, GivesBackWhatAJobReturns) {
  CpuPool pool(SystemClock(), 2, 4);
  auto number = pool.Submit({}, [] { return Result<int>(41); });
  auto text = pool.Submit({}, [] { return Result<std::string>("done"); });
  auto bad = pool.Submit({}, [] { return Status(Error(ErrorCode::kDataLoss, "broken")); });
  EXPECT_EQ(*number->Wait(), 41);
  EXPECT_EQ(*text->Wait(), "done");
  EXPECT_EQ(bad->Wait().error().message(), "broken");
  EXPECT_FALSE(bad->valid());
}

TEST(CpuPool, TakesJobsThatCannotBeCopied) {
  CpuPool pool(SystemClock(), 1, 4);
  auto owned = std::make_unique<int>(9);
  auto pending = pool.Submit({}, [owned = std::move(owned)] { return Result<int>(*owned); });
  EXPECT_EQ(*pending->Wait(), 9);
}

TEST(CpuPool, FreesWhatAJobOwnsBeforeItsEndIsSeen) {
  CpuPool pool(SystemClock(), 1, 4);
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = owned;
  auto pending = pool.Submit({}, [owned = std::move(owned)] { return Result<int>(*owned); });
  ASSERT_TRUE(pending->Wait().ok());
  EXPECT_TRUE(watch.expired());
}

TEST(CpuPool, SubmitWaitsWhenTheQueueIsFull) {
  CpuPool pool(SystemClock(), 1, 1);
  std::latch release(1);
  auto blocking = [&release] {
    release.wait();
    return Status();
  };
  auto running = pool.Submit({}, blocking);
  // One runs or waits; with a second and a third one the queue of one must refuse at some point.
  auto queued = pool.Submit({}, blocking);
  const auto refused = pool.Submit(SystemClock().Within({}, 1ms), blocking);
  EXPECT_EQ(refused.error().code(), ErrorCode::kDeadlineExceeded);
  release.count_down();
  EXPECT_TRUE(running->Wait().ok());
  EXPECT_TRUE(queued->Wait().ok());
}

TEST(CpuPool, DroppingAResultWaitsForItsJob) {
  CpuPool pool(SystemClock(), 2, 16);
  std::atomic<int> ended{0};
  {
    std::vector<Pending<void>> pending;
    for (int i = 0; i < 16; ++i) {
      pending.push_back(*pool.Submit({}, [&ended] {
        ++ended;
        return Status();
      }));
    }
  }
  EXPECT_EQ(ended.load(), 16);
}

TEST(CpuPool, StopEndsWhatWaitsWithAnError) {
  CpuPool pool(SystemClock(), 1, 4);
  std::latch started(1);
  std::latch release(1);
  auto running = pool.Submit({}, [&] {
    started.count_down();
    release.wait();
    return Result<int>(1);
  });
  started.wait();
  auto queued = pool.Submit({}, [] { return Result<int>(2); });
  std::jthread stopper([&] { pool.Stop(); });
  EXPECT_EQ(queued->Wait().error().code(), ErrorCode::kAborted);
  release.count_down();
  EXPECT_EQ(*running->Wait(), 1);
  stopper.join();
  EXPECT_EQ(pool.Submit({}, [] { return Status(); }).error().code(), ErrorCode::kAborted);
}

}  // namespace
}  // namespace holdfast
