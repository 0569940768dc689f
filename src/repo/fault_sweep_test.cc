// Every call to the store fails once, before or after it took effect, or is the last one ever: the
// repository stays valid, and every listed group can be restored.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "repo/verify.h"
#include "testing/faulty_object_store.h"
#include "testing/repo/test_repository.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;

/// A store that is gone from some call on: as if the process had been killed there.
class MortalStore final : public ObjectStore {
 public:
  MortalStore(ObjectStore& base, std::uint64_t calls) : base_(base), left_(calls) {}

  Status Put(const CallContext& call, std::string_view key, const ObjectBody& body,
             PutMode mode) override {
    HF_RETURN_IF_ERROR(Live());
    return base_.Put(call, key, body, mode);
  }
  Result<Bytes> Get(const CallContext& call, std::string_view key,
                    std::optional<ByteRange> range) override {
    HF_RETURN_IF_ERROR(Live());
    return base_.Get(call, key, range);
  }
  Result<StoredObject> Stat(const CallContext& call, std::string_view key) override {
    HF_RETURN_IF_ERROR(Live());
    return base_.Stat(call, key);
  }
  Result<std::vector<StoredObject>> List(const CallContext& call, std::string_view prefix,
                                         std::string_view after) override {
    HF_RETURN_IF_ERROR(Live());
    return base_.List(call, prefix, after);
  }
  Status Delete(const CallContext& call, std::string_view key) override {
    HF_RETURN_IF_ERROR(Live());
    return base_.Delete(call, key);
  }
  std::string Describe() const override { return "mortal " + base_.Describe(); }

  bool died() const { return died_.load(); }

 private:
  Status Live() {
    std::uint64_t left = left_.load();
    while (left > 0) {
      if (left_.compare_exchange_weak(left, left - 1)) return {};
    }
    died_ = true;
    return Error(ErrorCode::kUnavailable, "the process is dead");
  }

  ObjectStore& base_;
  std::atomic<std::uint64_t> left_;
  std::atomic<bool> died_ = false;
};

class FaultSweepTest : public ::testing::TestWithParam<Sealing> {
 protected:
  FaultSweepTest() {
    EXPECT_TRUE(InitRepository(store_, GetParam()).ok());
    const auto repository = *OpenRepository(store_, GetParam());
    TestBackup backup;
    backup.shards = Shards(1);
    first_ = Backup(*repository, backup)->group;
  }

  /// Large enough for several packs and for parts, small enough to be made often.
  static std::vector<TestShard> Shards(std::uint64_t seed) {
    return {{"a", MakeTar({{"x", Noise(400'000, 1)}, {"y", Noise(200'000, seed)}})},
            {"b", MakeTar({{"z", Noise(300'000, 10 + seed)}})}};
  }

  /// The groups that `repository` lists are whole; the first one is among them.
  void ExpectValid(const std::string& after) {
    const auto repository = *OpenRepository(store_, GetParam());
    const Status whole = CheckEveryGroup(*repository);
    EXPECT_TRUE(whole.ok()) << after << ": " << whole.error().ToString();
    const auto groups = *repository->ListGroups({});
    ASSERT_GE(groups.size(), 1U) << after;
    EXPECT_EQ(groups[0].group, first_) << after;
    const auto report = Verify({}, *repository, {.record = false});
    ASSERT_TRUE(report.ok()) << after << ": " << report.error().ToString();
    EXPECT_TRUE(report->damaged.empty()) << after << ": " << VerifyReportToJson(*report);
    // Notes of the dead stop counting after a week.
    const auto intents = *ListIntents({}, *repository);
    for (const IntentInfo& intent : intents) {
      EXPECT_TRUE(store_.Delete({}, intent.key).ok());
    }
  }

  /// Opens and backs up through `store`, borrowing from the first group.
  Result<GroupId> BackupThrough(ObjectStore& store) {
    HF_TRY(const auto repository, OpenRepository(store, GetParam()));
    HF_TRY(const auto attempts, repository->ListBrokenAttempts({}));
    TestBackup backup;
    backup.shards = Shards(2);
    backup.parents = {first_};
    // The newest ones, so that the number of calls does not grow from try to try.
    for (std::size_t i = attempts.size(); i-- > 0 && backup.broken_attempts.size() < 2;) {
      backup.broken_attempts.push_back(attempts[i].group);
    }
    HF_TRY(const TestBackupResult made, Backup(*repository, backup));
    return made.group;
  }

  bool Listed(const GroupId& group) {
    const auto repository = *OpenRepository(store_, GetParam());
    const auto groups = *repository->ListGroups({});
    for (const GroupInfo& info : groups) {
      if (info.group == group) return true;
    }
    return false;
  }

  MemoryObjectStore store_;
  GroupId first_;
};
INSTANTIATE_TEST_SUITE_P(Both, FaultSweepTest,
                         ::testing::Values(Sealing::kNone, Sealing::kAes256Gcm));

TEST_P(FaultSweepTest, AnyCallMayFailBeforeItTakesEffect) {
  for (std::uint64_t number = 0;; ++number) {
    FaultyObjectStore faulty(store_);
    faulty.AllowUnused();
    faulty.AtCall(number, StoreFault::Refuse(ErrorCode::kUnavailable));
    const auto made = BackupThrough(faulty);
    ExpectValid("refused call " + std::to_string(number));
    if (made.ok()) {
      EXPECT_TRUE(Listed(*made));
    }
    if (faulty.unused_faults() > 0) {
      ASSERT_TRUE(made.ok()) << made.error().ToString();
      EXPECT_GT(number, 15U);
      return;
    }
  }
}

TEST_P(FaultSweepTest, AnyCallMayFailAfterItTookEffect) {
  for (std::uint64_t number = 0;; ++number) {
    FaultyObjectStore faulty(store_);
    faulty.AllowUnused();
    faulty.AtCall(number, StoreFault::LoseReply(ErrorCode::kDeadlineExceeded));
    const auto made = BackupThrough(faulty);
    ExpectValid("lost reply of call " + std::to_string(number));
    if (made.ok()) {
      EXPECT_TRUE(Listed(*made));
    }
    if (faulty.unused_faults() > 0) {
      ASSERT_TRUE(made.ok()) << made.error().ToString();
      return;
    }
  }
}

TEST_P(FaultSweepTest, AnyCallMayBeTheLastOne) {
  std::size_t broken = 0;
  for (std::uint64_t calls = 0;; ++calls) {
    MortalStore mortal(store_, calls);
    const auto made = BackupThrough(mortal);
    ExpectValid("death after " + std::to_string(calls) + " calls");
    if (!mortal.died()) {
      ASSERT_TRUE(made.ok()) << made.error().ToString();
      break;
    }
    if (!made.ok()) ++broken;
  }
  EXPECT_GT(broken, 15U);
  // What all the dead left behind is found, and then no more is stored than was there.
  const auto repository = *OpenRepository(store_, GetParam());
  const auto attempts = *repository->ListBrokenAttempts({});
  EXPECT_FALSE(attempts.empty());
  TestBackup backup;
  backup.shards = Shards(2);
  for (const AttemptInfo& attempt : attempts) backup.broken_attempts.push_back(attempt.group);
  const auto made = Backup(*repository, backup);
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_LE(made->stats.bytes_new, 400'000U);
  ExpectValid("the last backup");
}

TEST_P(FaultSweepTest, AnyCallOfInitMayFail) {
  for (const auto& fault : {StoreFault::Refuse(ErrorCode::kUnavailable),
                            StoreFault::LoseReply(ErrorCode::kUnavailable)}) {
    for (std::uint64_t number = 0; number < 3; ++number) {
      MemoryObjectStore empty;
      FaultyObjectStore faulty(empty);
      faulty.AtCall(number, fault);
      EXPECT_FALSE(InitRepository(faulty, GetParam()).ok());
      // Either there is none, or it is whole.
      const auto opened = OpenRepository(empty, GetParam());
      if (!opened.ok()) {
        EXPECT_EQ(opened.error().code(), ErrorCode::kNotFound);
        EXPECT_TRUE(InitRepository(empty, GetParam()).ok());
      }
    }
  }
}

TEST_P(FaultSweepTest, AnyCallOfForgetMayFail) {
  for (std::uint64_t number = 0; number < 2; ++number) {
    FaultyObjectStore faulty(store_);
    const auto repository = *OpenRepository(faulty, GetParam());
    faulty.AtCall(1 + number, StoreFault::Refuse(ErrorCode::kUnavailable));
    EXPECT_FALSE(repository->Forget({}, first_, "{}").ok());
    ExpectValid("a failed forget");
  }
}

}  // namespace
}  // namespace holdfast
