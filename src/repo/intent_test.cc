#include "repo/intent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "store/read_only_store.h"
#include "testing/fake_clock.h"
#include "testing/faulty_object_store.h"
#include "testing/repo/test_repository.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class IntentTest : public ::testing::Test {
 protected:
  IntentTest() {
    EXPECT_TRUE(InitRepository(memory_, Sealing::kNone).ok());
    repository_ = *Repository::Open({}, store_, {.sealing = {}, .password = {}, .clock = clock_});
    store_.AllowUnused();
  }

  GroupId MakeGroup() {
    TestBackup backup;
    backup.shards = {{"shard", MakeTar({{"file", Noise(100, 1)}})}};
    const auto made = Backup(*repository_, backup);
    EXPECT_TRUE(made.ok()) << made.error().ToString();
    return made->group;
  }
  std::unique_ptr<Intent> Declare(std::vector<GroupId> relies_on) {
    auto intent =
        Intent::Declare({}, *repository_, {.purpose = "test", .own = {}, .relies_on = relies_on});
    EXPECT_TRUE(intent.ok());
    return *std::move(intent);
  }

  FakeClock clock_{FakeClock::Sleep::kWaits};
  MemoryObjectStore memory_{clock_};
  FaultyObjectStore store_{memory_, clock_};
  std::unique_ptr<Repository> repository_;
};

TEST_F(IntentTest, IsThereUntilItIsReleased) {
  const GroupId group = MakeGroup();
  const auto intent = Declare({group});
  EXPECT_THAT(intent->relied_on(), ElementsAre(group));
  EXPECT_TRUE(intent->RelyOn(group));
  const auto listed = *ListIntents({}, *repository_);
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0].key, intent->key());
  EXPECT_EQ(listed[0].note->purpose, "test");
  EXPECT_THAT(listed[0].note->relies_on, ElementsAre(group));
  ASSERT_TRUE(intent->Release({}).ok());
  ASSERT_TRUE(intent->Release({}).ok());
  EXPECT_THAT(*ListIntents({}, *repository_), IsEmpty());
  EXPECT_EQ(intent->Check().error().code(), ErrorCode::kAborted);
  EXPECT_EQ(intent->Renew({}).error().code(), ErrorCode::kAborted);
}

TEST_F(IntentTest, IsReleasedWhenItDies) {
  Declare({}).reset();
  EXPECT_THAT(*ListIntents({}, *repository_), IsEmpty());
}

TEST_F(IntentTest, LeavesNothingInAReadOnlyRepository) {
  const GroupId group = MakeGroup();
  const GroupId forgotten = MakeGroup();
  ASSERT_TRUE(repository_->Forget({}, forgotten, "{}").ok());
  ReadOnlyStore read_only(store_);
  repository_ = *Repository::Open(
      {}, read_only, {.sealing = {}, .password = {}, .read_only = true, .clock = clock_});
  const std::uint64_t bytes = memory_.size();
  const auto intent = Declare({group, forgotten});
  EXPECT_THAT(intent->relied_on(), ElementsAre(group));
  EXPECT_EQ(memory_.size(), bytes);
  clock_.Advance(2 * kIntentStaleAfter);
  EXPECT_TRUE(intent->Check().ok());
  EXPECT_TRUE(intent->Renew({}).ok());
  EXPECT_TRUE(intent->Release({}).ok());
  EXPECT_EQ(intent->Check().error().code(), ErrorCode::kAborted);
  const auto writer =
      Intent::Declare({}, *repository_, {.purpose = "backup", .own = group, .relies_on = {}});
  ASSERT_FALSE(writer.ok());
  EXPECT_EQ(writer.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_THAT(writer.error().hint(), HasSubstr("read_only"));
  EXPECT_EQ(repository_->Forget({}, group, "{}").error().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(memory_.size(), bytes);
}

TEST_F(IntentTest, DoesNotRelyOnWhatIsForgotten) {
  const GroupId first = MakeGroup();
  const GroupId second = MakeGroup();
  ASSERT_TRUE(repository_->Forget({}, first, "{}").ok());
  EXPECT_THAT(Declare({first, second})->relied_on(), ElementsAre(second));
}

TEST_F(IntentTest, LooksForMarksOnlyAfterItIsWritten) {
  // Whoever forgets between the two is either seen here or sees the intent: so the mark that
  // appears at the very last moment before the put must be seen.
  const GroupId group = MakeGroup();
  store_.Next(
      StoreOp::kPut, StoreFault::Do([&] {
        EXPECT_TRUE(
            memory_.Put({}, "forgotten/" + group.value(), Bytes(1), PutMode::kReplace).ok());
      }),
      1, "intents/");
  EXPECT_THAT(Declare({group})->relied_on(), IsEmpty());
}

TEST_F(IntentTest, IsRenewedEveryTenMinutes) {
  const auto intent = Declare({});
  for (int i = 0; i < 3; ++i) {
    clock_.WaitForSleepers(1);
    clock_.Advance(kIntentRenewal);
    while ((*ListIntents({}, *repository_))[0].renewed_at != clock_.Wall()) {
      std::this_thread::yield();
    }
  }
  EXPECT_TRUE(intent->Check().ok());
}

TEST_F(IntentTest, StopsTheOperationWhenItCouldNotBeRenewedForADay) {
  const auto intent = Declare({});
  store_.Next(StoreOp::kPut, StoreFault::Refuse(ErrorCode::kUnavailable), 1'000, "intents/");
  clock_.WaitForSleepers(1);
  for (Duration age{0}; age < kIntentStaleAfter; age += kIntentRenewal) {
    EXPECT_TRUE(intent->Check().ok());
    clock_.Advance(kIntentRenewal);
    clock_.WaitForSleepers(1);
  }
  clock_.Advance(std::chrono::seconds(1));
  const Status stale = intent->Check();
  ASSERT_FALSE(stale.ok());
  EXPECT_EQ(stale.error().code(), ErrorCode::kAborted);
  EXPECT_THAT(stale.error().message(), HasSubstr("24 h"));
}

TEST_F(IntentTest, AFailedDeclarationReliesOnNothing) {
  store_.Next(StoreOp::kPut, StoreFault::Refuse(ErrorCode::kUnavailable), 1, "intents/");
  EXPECT_FALSE(
      Intent::Declare({}, *repository_, {.purpose = "test", .own = {}, .relies_on = {}}).ok());
}

TEST_F(IntentTest, ADamagedOneIsListedWithoutItsNote) {
  const auto intent = Declare({});
  memory_.Damage(intent->key(), [](Bytes& bytes) { bytes.back() ^= std::byte{1}; });
  const auto listed = *ListIntents({}, *repository_);
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_FALSE(listed[0].note.has_value());
}

}  // namespace
}  // namespace holdfast
