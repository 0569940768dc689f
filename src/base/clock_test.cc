#include "base/clock.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/random.h"
#include "testing/fake_clock.h"

namespace holdfast {
namespace {

using namespace std::chrono_literals;
using testing::FakeClock;

WallTime At(int year, unsigned month, unsigned day, Duration since_midnight = 0s) {
  return std::chrono::sys_days(std::chrono::year(year) / static_cast<int>(month) /
                               static_cast<int>(day)) +
         since_midnight;
}

TEST(Clock, TimesAreWrittenAsRfc3339InUtc) {
  EXPECT_EQ(FormatTime(At(2026, 11, 22, 3h + 24min + 38s + 123ms)), "2026-11-22T03:24:38.123Z");
  EXPECT_EQ(FormatTime(At(1969, 12, 31, 23h + 59min + 59s + 999ms)), "1969-12-31T23:59:59.999Z");
}

TEST(Clock, TimesAreReadInEveryFormPeopleWrite) {
  const WallTime time = At(2026, 11, 22, 3h + 24min + 38s);
  for (const char* text :
       {"2026-11-22T03:24:38Z", "2026-11-22t03:24:38z", "2026-11-22 03:24:38Z",
        "2026-11-22T04:24:38+01:00", "2026-11-21T21:54:38-05:30", "2026-11-22T03:24:38.000000Z"}) {
    EXPECT_EQ(*ParseTime(text), time) << text;
  }
  EXPECT_EQ(*ParseTime("2026-11-22"), At(2026, 11, 22));
  EXPECT_EQ(*ParseTime("2026-11-22T03:24Z"), At(2026, 11, 22, 3h + 24min));
  EXPECT_EQ(*ParseTime("2026-11-22T03:24:38.1234567Z"), time + 123456us);
}

TEST(Clock, WhatIsNoTimeIsRefusedAndNamed) {
  for (const char* text :
       {"", "yesterday", "2026-13-01", "2026-02-30", "2026-11-22T", "2026-11-22T24:00:00Z",
        "2026-11-22T03:24:38", "2026-11-22T03:60:00Z", "2026-11-22T03:24:38.Z",
        "2026-11-22T03:24:38Zjunk", "2026-11-22T03:24:38+1:00", "20261122T032438Z", "-026-11-22"}) {
    const auto time = ParseTime(text);
    ASSERT_FALSE(time.ok()) << text;
    EXPECT_EQ(time.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(time.error().message().find(text), std::string::npos);
    EXPECT_FALSE(time.error().hint().empty());
  }
}

TEST(Clock, EveryTimeThatIsWrittenIsReadBack) {
  Random random(5);
  for (int round = 0; round < 500; ++round) {
    const WallTime time{
        std::chrono::milliseconds(random.Between(-60'000'000'000, 4'000'000'000'000))};
    EXPECT_EQ(*ParseTime(FormatTime(time)), time) << FormatTime(time);
  }
}

TEST(Clock, DurationsAreWrittenForPeople) {
  EXPECT_EQ(FormatDuration(0ms), "0 ms");
  EXPECT_EQ(FormatDuration(850ms), "850 ms");
  EXPECT_EQ(FormatDuration(12300ms), "12.3 s");
  EXPECT_EQ(FormatDuration(4min + 5s), "4 min 05 s");
  EXPECT_EQ(FormatDuration(2h + 10min + 59s), "2 h 10 min");
}

TEST(Clock, DurationsAreRead) {
  EXPECT_EQ(*ParseDuration("500ms"), 500ms);
  EXPECT_EQ(*ParseDuration("30s"), 30s);
  EXPECT_EQ(*ParseDuration("5m"), 5min);
  EXPECT_EQ(*ParseDuration("2h"), 2h);
  EXPECT_EQ(*ParseDuration("7d"), 168h);
  EXPECT_EQ(*ParseDuration("0s"), 0s);
  for (const char* text :
       {"", "5", "m", "-5s", "5 s", "1.5h", "5min", "99999999999999999999s", "36501d", "s5"}) {
    EXPECT_EQ(ParseDuration(text).error().code(), ErrorCode::kInvalidArgument) << text;
  }
}

TEST(Clock, WithinShortensADeadlineAndNeverExtendsIt) {
  FakeClock clock;
  const CallContext hour = clock.Within({}, 1h);
  EXPECT_EQ(*clock.Within(hour, 1min).deadline, clock.Monotonic() + 1min);
  EXPECT_EQ(*clock.Within(hour, 2h).deadline, clock.Monotonic() + 1h);
  EXPECT_TRUE(clock.Check(hour).ok());
  clock.Advance(1h);
  EXPECT_EQ(clock.Check(hour).error().code(), ErrorCode::kDeadlineExceeded);
}

TEST(Clock, TheMachineClockSleepsUntilTheCallEnds) {
  Clock& clock = SystemClock();
  EXPECT_TRUE(clock.SleepFor({}, 1ms).ok());
  EXPECT_EQ(clock.SleepFor(clock.Within({}, 1ms), 1h).error().code(), ErrorCode::kDeadlineExceeded);
  std::stop_source stop;
  std::jthread later([&] { stop.request_stop(); });
  EXPECT_EQ(clock.SleepFor({.stop = stop.get_token(), .deadline = {}}, 1h).error().code(),
            ErrorCode::kCancelled);
}

}  // namespace
}  // namespace holdfast
