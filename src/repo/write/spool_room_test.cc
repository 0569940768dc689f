#include "repo/write/spool_room.h"

#include <gtest/gtest.h>

#include <thread>

namespace holdfast {
namespace {

class SpoolRoomTest : public ::testing::Test {
 protected:
  CallContext Impatient() {
    return {.stop = {}, .deadline = SystemClock().Monotonic() + std::chrono::milliseconds(1)};
  }
  bool HasFree(std::uint64_t bytes) {
    if (!room_.TryTake(bytes)) return false;
    room_.Give(bytes);
    return true;
  }

  SpoolRoom room_{SystemClock(), 100};
};

TEST_F(SpoolRoomTest, RefusesAtOnceWhatWillNeverFit) {
  EXPECT_EQ(room_.Take({}, 101).error().code(), ErrorCode::kResourceExhausted);
}

TEST_F(SpoolRoomTest, WaitsUntilRoomIsGivenBack) {
  ASSERT_TRUE(room_.Take({}, 80).ok());
  EXPECT_EQ(room_.Take(Impatient(), 30).error().code(), ErrorCode::kDeadlineExceeded);
  int asked = 0;
  room_.set_on_wait([&] { ++asked; });
  std::jthread giver([&] {
    while (!room_.starved()) std::this_thread::yield();
    room_.Give(80);
  });
  EXPECT_TRUE(room_.Take({}, 30).ok());
  EXPECT_EQ(asked, 1);
  EXPECT_FALSE(room_.starved());
}

TEST_F(SpoolRoomTest, AnAccountOwesNoMoreThanItReservedWithoutAsking) {
  ASSERT_TRUE(room_.Take({}, 60).ok());
  ASSERT_TRUE(room_.TryTake(40));
  RoomAccount account(room_, 60, WhenFull::kFail);
  EXPECT_TRUE(account.Charge({}, 60).ok());
  EXPECT_EQ(account.Charge({}, 1).error().code(), ErrorCode::kResourceExhausted);
  account.Settle(10);
  EXPECT_TRUE(account.Charge({}, 10).ok());
}

TEST_F(SpoolRoomTest, AnAccountTakesFreeRoomAndGivesItBack) {
  RoomAccount account(room_, 0, WhenFull::kFail);
  EXPECT_TRUE(account.Charge({}, 70).ok());
  EXPECT_FALSE(HasFree(31));
  account.Settle(50);
  EXPECT_TRUE(HasFree(80));
  EXPECT_FALSE(HasFree(81));
}

TEST_F(SpoolRoomTest, AClosedAccountKeepsRoomForItsDebtOnly) {
  ASSERT_TRUE(room_.Take({}, 90).ok());
  RoomAccount account(room_, 90, WhenFull::kWait);
  ASSERT_TRUE(account.Charge({}, 40).ok());
  EXPECT_FALSE(HasFree(11));
  account.Close();
  EXPECT_TRUE(HasFree(60));
  account.Settle(40);
  EXPECT_TRUE(HasFree(100));
}

TEST_F(SpoolRoomTest, AnAccountMayWait) {
  ASSERT_TRUE(room_.TryTake(100));
  RoomAccount account(room_, 0, WhenFull::kWait);
  EXPECT_EQ(account.Charge(Impatient(), 10).error().code(), ErrorCode::kDeadlineExceeded);
  std::jthread giver([&] {
    while (!room_.starved()) std::this_thread::yield();
    room_.Give(100);
  });
  EXPECT_TRUE(account.Charge({}, 10).ok());
}

TEST_F(SpoolRoomTest, WhatCannotBeRefusedOverdrawsTheRoom) {
  RoomAccount account(room_, 0, WhenFull::kFail);
  account.ChargeAnyway(150);
  EXPECT_FALSE(HasFree(1));
  account.Settle(100);
  EXPECT_TRUE(HasFree(50));
  EXPECT_FALSE(HasFree(51));
}

TEST_F(SpoolRoomTest, ADyingAccountGivesEverythingBack) {
  {
    RoomAccount account(room_, 0, WhenFull::kFail);
    ASSERT_TRUE(account.Charge({}, 100).ok());
  }
  EXPECT_TRUE(HasFree(100));
}

}  // namespace
}  // namespace holdfast
