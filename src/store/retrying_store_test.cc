#include "store/retrying_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/fake_clock.h"
#include "testing/faulty_object_store.h"
#include "testing/memory_object_store.h"

namespace holdfast {
namespace {

using std::chrono_literals::operator""ms;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::StoreFault;
using testing::StoreOp;

class RetryingStoreTest : public ::testing::Test {
 protected:
  static Bytes Body(std::string_view text) { return ToBytes(AsBytes(text)); }
  std::string TextOf(std::string_view key) {
    return std::string(AsText(memory_.bytes(key).value_or(Body("nothing"))));
  }

  testing::FakeClock clock_;
  testing::MemoryObjectStore memory_{clock_};
  testing::FaultyObjectStore faulty_{memory_, clock_};
  Random random_{42};
  RetryingStore store_{faulty_, Retrier{.clock = clock_,
                                        .random = random_,
                                        .policy = {.attempts_max = 3, .pause_first = 100ms}}};
};

TEST_F(RetryingStoreTest, EveryCallIsMadeAgain) {
  for (const StoreOp op :
       {StoreOp::kPut, StoreOp::kGet, StoreOp::kStat, StoreOp::kList, StoreOp::kDelete}) {
    faulty_.Next(op, StoreFault::Refuse(ErrorCode::kUnavailable), 2);
  }

  EXPECT_TRUE(store_.Put({}, "packs/ab", Body("x"), PutMode::kReplace).ok());
  EXPECT_TRUE(store_.Get({}, "packs/ab").ok());
  EXPECT_TRUE(store_.Stat({}, "packs/ab").ok());
  EXPECT_EQ(store_.List({}, "packs/", "")->size(), 1U);
  EXPECT_TRUE(store_.Delete({}, "packs/ab").ok());
  EXPECT_THAT(memory_.keys(), IsEmpty());
  EXPECT_EQ(clock_.sleeps().size(), 10U);
}

TEST_F(RetryingStoreTest, PassesOnTheLastErrorWithTheNumberOfTries) {
  faulty_.Next(StoreOp::kGet, StoreFault::Refuse(ErrorCode::kUnavailable), 3);

  const auto got = store_.Get({}, "packs/ab");

  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(got.error().message(), HasSubstr("get packs/ab"));
  EXPECT_THAT(got.error().message(), HasSubstr("3 attempts"));
  EXPECT_EQ(clock_.sleeps().size(), 2U);
}

TEST_F(RetryingStoreTest, AStoreThatHasAnsweredOnceIsGivenMoreTime) {
  RetryingStore store(faulty_,
                      Retrier{.clock = clock_, .random = random_, .policy = {.attempts_max = 2}},
                      RetryPolicy{.attempts_max = 6});
  // Cancelled is no answer of the store.
  std::stop_source stop;
  stop.request_stop();
  EXPECT_FALSE(store.Stat({.stop = stop.get_token(), .deadline = {}}, "packs/ab").ok());
  faulty_.Next(StoreOp::kStat, StoreFault::Refuse(ErrorCode::kUnavailable), 2);
  EXPECT_EQ(store.Stat({}, "packs/ab").error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(store.Stat({}, "packs/ab").error().code(), ErrorCode::kNotFound);
  faulty_.Next(StoreOp::kStat, StoreFault::Refuse(ErrorCode::kUnavailable), 5);
  EXPECT_EQ(store.Stat({}, "packs/ab").error().code(), ErrorCode::kNotFound);
}

TEST_F(RetryingStoreTest, DoesNotRepeatWhatCannotSucceed) {
  faulty_.Next(StoreOp::kPut, StoreFault::Refuse(ErrorCode::kPermissionDenied));

  const Status put = store_.Put({}, "packs/ab", Body("x"), PutMode::kReplace);

  EXPECT_EQ(put.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(faulty_.calls(StoreOp::kPut), 1U);
  EXPECT_THAT(clock_.sleeps(), IsEmpty());
}

TEST_F(RetryingStoreTest, ACreateWhoseReplyWasLostIsNotAConflict) {
  faulty_.Next(StoreOp::kPut, StoreFault::LoseReply(ErrorCode::kDeadlineExceeded));

  const Status put = store_.Put({}, "groups/g1", Body("ours"), PutMode::kIfAbsent);

  EXPECT_TRUE(put.ok()) << put.error().ToString();
  EXPECT_EQ(TextOf("groups/g1"), "ours");
}

TEST_F(RetryingStoreTest, ItIsNoneEvenWhenTheLookIsRefusedOnce) {
  faulty_.Next(StoreOp::kPut, StoreFault::LoseReply(ErrorCode::kUnavailable));
  faulty_.Next(StoreOp::kGet, StoreFault::Refuse(ErrorCode::kUnavailable));

  EXPECT_TRUE(store_.Put({}, "groups/g1", Body("ours"), PutMode::kIfAbsent).ok());
}

TEST_F(RetryingStoreTest, ACreateThatARivalWonWhileWeWaitedIsAConflict) {
  for (const char* rival : {"rival", "riv"}) {
    const std::string key = std::string("groups/") + rival;
    ASSERT_TRUE(memory_.Put({}, key, Body(rival), PutMode::kIfAbsent).ok());
    faulty_.Next(StoreOp::kPut, StoreFault::Refuse(ErrorCode::kUnavailable));

    const Status put = store_.Put({}, key, Body("ours!"), PutMode::kIfAbsent);

    ASSERT_FALSE(put.ok());
    EXPECT_EQ(put.error().code(), ErrorCode::kAlreadyExists);
    EXPECT_EQ(TextOf(key), rival);
  }
}

TEST_F(RetryingStoreTest, ACreateThatFindsAnEqualObjectAtOnceIsAConflictAllTheSame) {
  ASSERT_TRUE(memory_.Put({}, "holdfast.json", Body("same"), PutMode::kIfAbsent).ok());

  const Status put = store_.Put({}, "holdfast.json", Body("same"), PutMode::kIfAbsent);

  EXPECT_EQ(put.error().code(), ErrorCode::kAlreadyExists);
}

TEST_F(RetryingStoreTest, AStopEndsThePauses) {
  std::stop_source stop;
  faulty_.Next(StoreOp::kGet, StoreFault::Do([&] { stop.request_stop(); }));
  faulty_.Next(StoreOp::kGet, StoreFault::Refuse(ErrorCode::kUnavailable));
  faulty_.AllowUnused();

  const auto got = store_.Get({.stop = stop.get_token(), .deadline = {}}, "packs/ab");

  EXPECT_EQ(got.error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(faulty_.calls(StoreOp::kGet), 1U);
}

}  // namespace
}  // namespace holdfast
