#include "store/limiting_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <numeric>
#include <thread>
#include <vector>

#include "testing/fake_clock.h"
#include "testing/faulty_object_store.h"
#include "testing/memory_object_store.h"

namespace holdfast {
namespace {

using std::chrono_literals::operator""s;
using testing::StoreFault;
using testing::StoreOp;

TEST(LimitingStore, LetsOnlySoManyCallsRunAtOnce) {
  testing::MemoryObjectStore memory;
  testing::FaultyObjectStore watched(memory);
  std::atomic<int> inside = 0;
  std::atomic<int> most = 0;
  watched.Next(StoreOp::kGet, StoreFault::Do([&] {
                 const int now = ++inside;
                 for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
                 }
                 std::this_thread::sleep_for(std::chrono::milliseconds(5));
                 --inside;
               }),
               60);
  LimitingStore store(watched, {.calls_max = 3}, SystemClock());
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 12; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 5; ++n) static_cast<void>(store.Get({}, "a").ok());
      });
    }
  }
  EXPECT_EQ(watched.calls(StoreOp::kGet), 60U);
  EXPECT_LE(most, 3);
}

TEST(LimitingStore, WaitingForAPlaceEndsWithTheCall) {
  testing::MemoryObjectStore memory;
  testing::FaultyObjectStore slow(memory);
  std::latch busy(1);
  std::latch free(1);
  slow.Next(StoreOp::kGet, StoreFault::Do([&] {
              busy.count_down();
              free.wait();
            }));
  LimitingStore store(slow, {.calls_max = 1}, SystemClock());
  std::jthread first([&] { static_cast<void>(store.Get({}, "a").ok()); });
  busy.wait();
  std::stop_source stop;
  stop.request_stop();

  const auto stopped = store.Stat({.stop = stop.get_token(), .deadline = {}}, "a");
  const auto late = store.Stat({.stop = {}, .deadline = SystemClock().Monotonic()}, "a");
  free.count_down();
  first.join();
  const auto after = store.Stat({}, "a");

  EXPECT_EQ(stopped.error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(late.error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(after.error().code(), ErrorCode::kNotFound);
}

TEST(LimitingStore, PacesBytesBothWays) {
  testing::FakeClock clock;
  testing::MemoryObjectStore memory(clock);
  LimitingStore store(memory, {.calls_max = 4, .bytes_per_second = 1000}, clock);
  const MonotonicTime begin = clock.Monotonic();

  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(store.Put({}, "a", Bytes(500), PutMode::kReplace).ok());
    ASSERT_TRUE(store.Get({}, "a").ok());
  }

  // 10,000 bytes at 1,000 a second, half a second of which may come as a burst.
  EXPECT_GE(clock.Monotonic() - begin, 9s);
  EXPECT_LE(clock.Monotonic() - begin, 10s);
}

}  // namespace
}  // namespace holdfast
