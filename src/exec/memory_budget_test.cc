#include "exec/memory_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace holdfast {
namespace {

using namespace std::chrono_literals;

CallContext Soon() { return SystemClock().Within({}, 1ms); }

TEST(MemoryBudget, ALeaseGivesItsBytesBackOnce) {
  MemoryBudget budget(SystemClock(), 100);
  {
    auto lease = budget.Acquire({}, 60);
    ASSERT_TRUE(lease.ok());
    EXPECT_EQ(budget.bytes_in_use(), 60U);
    MemoryBudget::Lease moved = *std::move(lease);
    moved.Shrink(20);
    moved.Shrink(50);
    EXPECT_EQ(moved.bytes(), 20U);
    EXPECT_EQ(budget.bytes_in_use(), 20U);
    moved.Release();
    EXPECT_EQ(budget.bytes_in_use(), 0U);
  }
  EXPECT_EQ(budget.bytes_in_use(), 0U);
}

TEST(MemoryBudget, AssigningALeaseReleasesTheOldOne) {
  MemoryBudget budget(SystemClock(), 100);
  MemoryBudget::Lease lease = *budget.Acquire({}, 60);
  lease = *budget.Acquire({}, 40);
  EXPECT_EQ(budget.bytes_in_use(), 40U);
}

TEST(MemoryBudget, IsNeverOverCommitted) {
  MemoryBudget budget(SystemClock(), 100);
  const auto lease = budget.Acquire({}, 60);
  EXPECT_EQ(budget.Acquire(Soon(), 41).error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(budget.Acquire(Soon(), 40).ok());
}

TEST(MemoryBudget, ARequestLargerThanAllIsGrantedAloneOnly) {
  MemoryBudget budget(SystemClock(), 100);
  {
    const auto small = budget.Acquire({}, 1);
    EXPECT_EQ(budget.Acquire(Soon(), 1'000).error().code(), ErrorCode::kDeadlineExceeded);
  }
  const auto large = budget.Acquire({}, 1'000);
  ASSERT_TRUE(large.ok());
  EXPECT_EQ(budget.Acquire(Soon(), 1).error().code(), ErrorCode::kDeadlineExceeded);
}

TEST(MemoryBudget, ALargeRequestIsNotOvertakenBySmallOnes) {
  MemoryBudget budget(SystemClock(), 100);
  auto lease = budget.Acquire({}, 60);
  std::stop_source stop;
  std::jthread large([&] {
    EXPECT_EQ(budget.Acquire({.stop = stop.get_token(), .deadline = {}}, 90).error().code(),
              ErrorCode::kCancelled);
  });
  // Once the large request waits, a small one that would fit waits behind it.
  while (budget.Acquire(Soon(), 1).ok()) std::this_thread::yield();
  stop.request_stop();
  large.join();
  EXPECT_TRUE(budget.Acquire(Soon(), 1).ok());
}

TEST(MemoryBudget, ManyThreadsStayWithinTheLimit) {
  MemoryBudget budget(SystemClock(), 1'000);
  std::atomic<std::uint64_t> used{0};
  std::atomic<std::uint64_t> most{0};
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        for (std::uint64_t i = 0; i < 200; ++i) {
          const std::uint64_t bytes = (t * 131 + i * 37) % 700;
          const auto lease = budget.Acquire({}, bytes);
          ASSERT_TRUE(lease.ok());
          const std::uint64_t now = used += bytes;
          for (std::uint64_t seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
          }
          used -= bytes;
        }
      });
    }
  }
  EXPECT_LE(most.load(), 1'000U);
  EXPECT_EQ(budget.bytes_in_use(), 0U);
}

}  // namespace
}  // namespace holdfast
