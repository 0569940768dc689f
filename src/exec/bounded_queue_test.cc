#include "exec/bounded_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "testing/fake_clock.h"

namespace holdfast {
namespace {

using namespace std::chrono_literals;
using testing::FakeClock;

TEST(BoundedQueue, GivesItemsInTheOrderTheyCame) {
  BoundedQueue<int> queue(SystemClock(), 100);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(queue.Push({}, i, 10).ok());
  EXPECT_EQ(queue.bytes(), 50U);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(**queue.Pop({}), i);
  EXPECT_EQ(queue.bytes(), 0U);
}

TEST(BoundedQueue, MovesWhatCannotBeCopied) {
  BoundedQueue<std::unique_ptr<int>> queue(SystemClock(), 100);
  ASSERT_TRUE(queue.Push({}, std::make_unique<int>(7), 1).ok());
  auto item = queue.Pop({});
  ASSERT_TRUE(item.ok());
  EXPECT_EQ(***item, 7);
}

TEST(BoundedQueue, PushBeyondTheBytesWaitsUntilThereIsRoom) {
  BoundedQueue<int> queue(SystemClock(), 100);
  ASSERT_TRUE(queue.Push({}, 1, 60).ok());
  std::jthread producer([&] { EXPECT_TRUE(queue.Push({}, 2, 60).ok()); });
  // Whenever the producer gets to run, the two never wait in the queue together.
  for (int i = 0; i < 100; ++i) {
    ASSERT_LE(queue.bytes(), 100U);
    std::this_thread::yield();
  }
  EXPECT_EQ(**queue.Pop({}), 1);
  EXPECT_EQ(**queue.Pop({}), 2);
}

TEST(BoundedQueue, AnItemLargerThanTheQueuePassesAlone) {
  BoundedQueue<int> queue(SystemClock(), 100);
  ASSERT_TRUE(queue.Push({}, 1, 1'000).ok());
  const CallContext soon = SystemClock().Within({}, 1ms);
  EXPECT_EQ(queue.Push(soon, 2, 1).error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(**queue.Pop({}), 1);
  EXPECT_TRUE(queue.Push({}, 2, 1).ok());
}

TEST(BoundedQueue, AnEndedCallWakesBothSides) {
  BoundedQueue<int> queue(SystemClock(), 10);
  ASSERT_TRUE(queue.Push({}, 1, 10).ok());
  std::stop_source stop;
  std::jthread producer([&] {
    EXPECT_EQ(queue.Push({.stop = stop.get_token(), .deadline = {}}, 2, 10).error().code(),
              ErrorCode::kCancelled);
  });
  BoundedQueue<int> empty(SystemClock(), 10);
  std::jthread consumer([&] {
    EXPECT_EQ(empty.Pop({.stop = stop.get_token(), .deadline = {}}).error().code(),
              ErrorCode::kCancelled);
  });
  stop.request_stop();
}

TEST(BoundedQueue, ADeadlineOnAFakeClockEndsTheWait) {
  FakeClock clock;
  BoundedQueue<int> queue(clock, 10);
  const CallContext call = clock.Within({}, 1h);
  std::jthread later([&] { clock.Advance(2h); });
  EXPECT_EQ(queue.Pop(call).error().code(), ErrorCode::kDeadlineExceeded);
}

TEST(BoundedQueue, WhatIsThereIsDeliveredEvenWhenTheCallHasEnded) {
  BoundedQueue<int> queue(SystemClock(), 10);
  ASSERT_TRUE(queue.Push({}, 1, 1).ok());
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(**queue.Pop({.stop = stop.get_token(), .deadline = {}}), 1);
}

TEST(BoundedQueue, CloseLetsTheRestOutAndThenNothing) {
  BoundedQueue<int> queue(SystemClock(), 10);
  ASSERT_TRUE(queue.Push({}, 1, 1).ok());
  queue.Close();
  queue.Close();
  EXPECT_EQ(queue.Push({}, 2, 1).error().code(), ErrorCode::kAborted);
  EXPECT_EQ(**queue.Pop({}), 1);
  EXPECT_FALSE(queue.Pop({})->has_value());
  EXPECT_FALSE(queue.Pop({})->has_value());
}

TEST(BoundedQueue, FailReachesBothSidesAndTheFirstErrorStays) {
  BoundedQueue<int> queue(SystemClock(), 10);
  ASSERT_TRUE(queue.Push({}, 1, 10).ok());
  std::jthread producer(
      [&] { EXPECT_EQ(queue.Push({}, 2, 10).error().message(), "the disk is full"); });
  queue.Fail(Error(ErrorCode::kResourceExhausted, "the disk is full"));
  queue.Fail(Error(ErrorCode::kInternal, "later"));
  EXPECT_EQ(queue.Pop({}).error().message(), "the disk is full");
  EXPECT_EQ(queue.bytes(), 0U);
}

TEST(BoundedQueue, ManyThreadsLoseAndDoubleNothing) {
  constexpr int kItems = 2'000;
  BoundedQueue<int> queue(SystemClock(), 64);
  std::vector<std::vector<int>> got(3);
  {
    std::vector<std::jthread> consumers;
    for (auto& mine : got) {
      consumers.emplace_back([&queue, &mine] {
        while (true) {
          auto item = queue.Pop({});
          ASSERT_TRUE(item.ok());
          if (!item->has_value()) return;
          mine.push_back(**item);
        }
      });
    }
    {
      std::vector<std::jthread> producers;
      for (int p = 0; p < 4; ++p) {
        producers.emplace_back([&queue, p] {
          for (int i = p; i < kItems; i += 4) {
            const auto bytes = static_cast<std::uint64_t>(i % 40);
            ASSERT_TRUE(queue.Push({}, i, bytes).ok());
          }
        });
      }
    }
    queue.Close();
  }
  std::vector<int> seen(kItems, 0);
  for (const auto& mine : got) {
    for (int i : mine) ++seen[static_cast<std::size_t>(i)];
  }
  EXPECT_EQ(seen, std::vector<int>(kItems, 1));
}

}  // namespace
}  // namespace holdfast
