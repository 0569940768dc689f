#include "job/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "testing/fake_clock.h"

namespace holdfast {
namespace {

using holdfast::testing::FakeClock;
using std::chrono::seconds;

TEST(Progress, CountsLanesAndTheTotal) {
  FakeClock clock;
  Progress progress(clock);
  progress.BeginPhase("capture");
  progress.Expect("a", 100, 2);
  progress.Expect("b", 300, 1);
  progress.AddBytes("b", 50);
  progress.AddBytes("a", 100);
  progress.AddItem("a");
  clock.Advance(seconds(3));
  const ProgressSnapshot snapshot = progress.Snapshot();
  EXPECT_EQ(snapshot.phase, "capture");
  EXPECT_EQ(snapshot.elapsed, seconds(3));
  EXPECT_EQ(snapshot.total.bytes_done, 150U);
  EXPECT_EQ(snapshot.total.bytes_total, 400U);
  EXPECT_EQ(snapshot.total.items_done, 1U);
  EXPECT_EQ(snapshot.total.items_total, 3U);
  ASSERT_EQ(snapshot.lanes.size(), 2U);
  EXPECT_EQ(snapshot.lanes[0].name, "a");
  EXPECT_EQ(snapshot.lanes[0].time_left, Duration(0));
  EXPECT_EQ(snapshot.lanes[1].bytes_done, 50U);
}

TEST(Progress, TheRateIsThatOfTheLastTenSeconds) {
  FakeClock clock;
  Progress progress(clock);
  progress.Expect("a", 100'000, 1);
  EXPECT_EQ(progress.Snapshot().total.bytes_per_second, 0);
  EXPECT_FALSE(progress.Snapshot().total.time_left.has_value());
  for (int i = 0; i < 20; ++i) {
    clock.Advance(seconds(1));
    progress.AddBytes("a", 1000);
    (void)progress.Snapshot();
  }
  EXPECT_DOUBLE_EQ(progress.Snapshot().total.bytes_per_second, 1000);
  EXPECT_EQ(progress.Snapshot().total.time_left, seconds(80));
  for (int i = 0; i < 10; ++i) {
    clock.Advance(seconds(1));
    progress.AddBytes("a", 4000);
    (void)progress.Snapshot();
  }
  EXPECT_DOUBLE_EQ(progress.Snapshot().lanes[0].bytes_per_second, 4000);
  for (int i = 0; i < 11; ++i) {
    clock.Advance(seconds(1));
    (void)progress.Snapshot();
  }
  EXPECT_EQ(progress.Snapshot().total.bytes_per_second, 0);
  EXPECT_FALSE(progress.Snapshot().total.time_left.has_value());
}

TEST(Progress, WhatABrokenStreamHadDoneNoLongerCountsAndNothingGoesBelowZero) {
  FakeClock clock;
  Progress progress(clock);
  progress.Expect("a", 1000, 1);
  progress.AddBytes("a", 600);
  progress.AddBytes("b", 10);
  (void)progress.Snapshot();
  clock.Advance(seconds(1));
  progress.TakeBack("a", 600);
  progress.AddBytes("a", 100);
  ProgressSnapshot snapshot = progress.Snapshot();
  EXPECT_EQ(snapshot.total.bytes_done, 110U);
  EXPECT_DOUBLE_EQ(snapshot.lanes[0].bytes_per_second, 100);
  progress.TakeBack("a", 5000);
  snapshot = progress.Snapshot();
  EXPECT_EQ(snapshot.lanes[0].bytes_done, 0U);
  EXPECT_EQ(snapshot.total.bytes_done, 10U);
}

TEST(Progress, ANewPhaseStartsFromZero) {
  FakeClock clock;
  Progress progress(clock);
  progress.AddBytes("a", 5);
  clock.Advance(seconds(1));
  progress.BeginPhase("verify");
  const ProgressSnapshot snapshot = progress.Snapshot();
  EXPECT_EQ(snapshot.phase, "verify");
  EXPECT_EQ(snapshot.total.bytes_done, 0U);
  EXPECT_TRUE(snapshot.lanes.empty());
  EXPECT_EQ(snapshot.elapsed, Duration(0));
}

TEST(Progress, LanesAreBoundedAndTheTotalIsNot) {
  FakeClock clock;
  Progress progress(clock);
  for (std::size_t i = 0; i < 3 * kLanesMax; ++i) progress.AddBytes(std::to_string(i), 1);
  const ProgressSnapshot snapshot = progress.Snapshot();
  EXPECT_LE(snapshot.lanes.size(), kLanesMax);
  EXPECT_EQ(snapshot.total.bytes_done, 3 * kLanesMax);
  EXPECT_THAT(snapshot.lanes, ::testing::Contains(::testing::Field(&LaneProgress::name, "others")));
}

TEST(Progress, ACrawlingStreamDoesNotOverflowTheTimeLeft) {
  FakeClock clock;
  Progress progress(clock);
  progress.Expect("a", std::uint64_t{1} << 62, 1);
  (void)progress.Snapshot();
  clock.Advance(seconds(10));
  progress.AddBytes("a", 1);
  const auto left = progress.Snapshot().total.time_left;
  ASSERT_TRUE(left.has_value());
  EXPECT_EQ(*left, std::chrono::hours(365 * 24));
}

TEST(Progress, ManyThreadsLoseNothing) {
  Progress progress(SystemClock());
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 1000; ++i) progress.AddBytes(std::to_string(t % 2), 1);
      });
    }
    for (int i = 0; i < 100; ++i) (void)progress.Snapshot();
  }
  EXPECT_EQ(progress.Snapshot().total.bytes_done, 4000U);
}

}  // namespace
}  // namespace holdfast
