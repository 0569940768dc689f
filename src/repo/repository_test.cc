#include "repo/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/group.h"
#include "repo/format/keys.h"
#include "testing/faulty_object_store.h"
#include "testing/repo/test_repository.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr Sealing kSealed = Sealing::kAes256Gcm;
constexpr Sealing kOpen = Sealing::kNone;

std::vector<std::string> Ids(const std::vector<GroupInfo>& groups) {
  std::vector<std::string> ids;
  for (const GroupInfo& group : groups) ids.push_back(group.group.value());
  return ids;
}

class RepositoryTest : public ::testing::Test {
 protected:
  GroupId Make(Repository& repository, std::uint64_t seed = 1) {
    TestBackup backup;
    backup.shards = {{"shard", MakeTar({{"file", Noise(10'000, seed)}})}};
    const auto made = Backup(repository, backup);
    EXPECT_TRUE(made.ok()) << made.error().ToString();
    return made->group;
  }

  MemoryObjectStore store_;
};

TEST_F(RepositoryTest, IsMadeOnce) {
  ASSERT_TRUE(InitRepository(store_, kSealed).ok());
  EXPECT_EQ(InitRepository(store_, kSealed).error().code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(InitRepository(store_, kOpen).error().code(), ErrorCode::kAlreadyExists);
  EXPECT_THAT(store_.keys(), ElementsAre("holdfast.json"));
}

TEST_F(RepositoryTest, OpensWithWhatItWasMadeWith) {
  for (const Sealing sealing : {kSealed, kOpen}) {
    MemoryObjectStore store;
    const auto repository = NewRepository(store, sealing);
    EXPECT_EQ(repository->sealing(), sealing);
    EXPECT_EQ(repository->id().size(), 32U);
    EXPECT_EQ(repository->block_bytes(), 131'072U);
  }
}

TEST_F(RepositoryTest, SaysThatThereIsNone) {
  const auto opened = OpenRepository(store_, kSealed);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(opened.error().hint(), HasSubstr("init"));
}

TEST_F(RepositoryTest, TellsAWrongPassword) {
  ASSERT_TRUE(InitRepository(store_, kSealed).ok());
  const auto opened =
      Repository::Open({}, store_, {.sealing = {}, .password = Secret::FromText("not it 4711")});
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_THAT(opened.error().message(), HasSubstr("wrong password"));
  EXPECT_THAT(opened.error().ToString(), Not(HasSubstr("4711")));

  const auto without = Repository::Open({}, store_, {.sealing = {}, .password = {}});
  ASSERT_FALSE(without.ok());
  EXPECT_EQ(without.error().code(), ErrorCode::kPermissionDenied);
}

TEST_F(RepositoryTest, RefusesAnotherEncryptionThanTheRecordedOne) {
  ASSERT_TRUE(InitRepository(store_, kOpen).ok());
  const auto expected = OpenRepository(store_, kSealed);
  ASSERT_FALSE(expected.ok());
  EXPECT_EQ(expected.error().code(), ErrorCode::kFailedPrecondition);
  const auto with_password =
      Repository::Open({}, store_, {.sealing = {}, .password = Secret::FromText(kTestPassword)});
  ASSERT_FALSE(with_password.ok());
  EXPECT_EQ(with_password.error().code(), ErrorCode::kFailedPrecondition);

  MemoryObjectStore sealed;
  ASSERT_TRUE(InitRepository(sealed, kSealed).ok());
  EXPECT_EQ(OpenRepository(sealed, kOpen).error().code(), ErrorCode::kFailedPrecondition);
}

TEST_F(RepositoryTest, InitMakesNoNewKeyOverBackupsThatHaveLostTheirs) {
  ASSERT_TRUE(InitRepository(store_, kSealed).ok());
  ASSERT_TRUE(store_.Delete({}, "holdfast.json").ok());
  ASSERT_TRUE(store_
                  .Put({}, "groups/20261122T032438Z-9f8a7b6c5d4e3f2a",
                       ToBytes(AsBytes("a manifest")), PutMode::kReplace)
                  .ok());
  const Status again = InitRepository(store_, kSealed);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(again.error().hint(), HasSubstr("from a copy"));
}

TEST_F(RepositoryTest, InitWantsAPasswordWhereOneBelongs) {
  EXPECT_EQ(Repository::Init({}, store_, {.sealing = kSealed, .password = {}}).error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(Repository::Init({}, store_, {.sealing = kOpen, .password = Secret::FromText("x")})
                .error()
                .code(),
            ErrorCode::kInvalidArgument);
  EXPECT_THAT(store_.keys(), IsEmpty());
}

TEST_F(RepositoryTest, ChangesItsPassword) {
  const auto repository = NewRepository(store_, kSealed);
  const GroupId group = Make(*repository);
  ASSERT_TRUE(repository->ChangePassword({}, Secret::FromText("new"), kCheapKdf).ok());
  EXPECT_FALSE(OpenRepository(store_, kSealed).ok());
  const auto again =
      Repository::Open({}, store_, {.sealing = kSealed, .password = Secret::FromText("new")});
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_TRUE((*again)->ReadManifest({}, group).ok());
}

TEST_F(RepositoryTest, ListsGroupsInOrderAndWithoutForgottenOnes) {
  const auto repository = NewRepository(store_, kSealed);
  EXPECT_THAT(*repository->ListGroups({}), IsEmpty());
  const GroupId first = Make(*repository, 1);
  const GroupId second = Make(*repository, 2);
  EXPECT_THAT(Ids(*repository->ListGroups({})), ElementsAre(first.value(), second.value()));

  ASSERT_TRUE(repository->Forget({}, first, R"({"why":"test"})").ok());
  ASSERT_TRUE(repository->Forget({}, first, R"({"why":"again"})").ok());
  EXPECT_THAT(Ids(*repository->ListGroups({})), ElementsAre(second.value()));
  const auto all = *repository->ListGroups({}, {.include_forgotten = true});
  ASSERT_THAT(Ids(all), ElementsAre(first.value(), second.value()));
  EXPECT_TRUE(all[0].forgotten);
  EXPECT_GT(all[0].manifest_bytes, 0U);
  EXPECT_EQ(*repository->ReadForgetNote({}, first), R"({"why":"test"})");
  EXPECT_TRUE(*repository->IsForgotten({}, first));
  EXPECT_FALSE(*repository->IsForgotten({}, second));
}

TEST_F(RepositoryTest, ForgettingDeletesNothing) {
  const auto repository = NewRepository(store_, kSealed);
  const GroupId group = Make(*repository);
  const auto before = store_.keys();
  ASSERT_TRUE(repository->Forget({}, group, "{}").ok());
  for (const std::string& key : before) EXPECT_TRUE(store_.bytes(key).has_value()) << key;
}

TEST_F(RepositoryTest, NothingIsForgottenThatIsNotThere) {
  const auto repository = NewRepository(store_, kSealed);
  EXPECT_EQ(repository->Forget({}, NextGroupId(), "{}").error().code(), ErrorCode::kNotFound);
}

TEST_F(RepositoryTest, GivesManifestAndRecordsBack) {
  const auto repository = NewRepository(store_, kSealed);
  TestBackup backup;
  backup.body = "{\"name\":\"\xc3\xbc\",\"number\":1.50}";
  backup.shards = {{"a", MakeTar({{"x", Noise(1'000, 1)}})}, {"b", MakeTar({})}};
  backup.before_commit = [](GroupWriter& writer) {
    return writer.PutCollection({}, 7, R"({"collection":"more"})");
  };
  const auto made = Backup(*repository, backup);
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  const auto envelope = repository->ReadManifest({}, made->group);
  ASSERT_TRUE(envelope.ok()) << envelope.error().ToString();
  EXPECT_EQ(envelope->group, made->group);
  EXPECT_EQ(envelope->body, backup.body);
  ASSERT_EQ(envelope->images.size(), 2U);
  EXPECT_EQ(envelope->FindImage("a")->bytes, backup.shards[0].tar.size());
  EXPECT_EQ(envelope->FindImage("c"), nullptr);
  EXPECT_THAT(envelope->borrows_from, IsEmpty());
  EXPECT_EQ(*repository->ReadCollection({}, *envelope, 7), R"({"collection":"more"})");
  EXPECT_EQ(repository->ReadCollection({}, *envelope, 8).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(repository->ReadManifest({}, NextGroupId()).error().code(), ErrorCode::kNotFound);
}

TEST_F(RepositoryTest, ListsAttemptsThatBrokeOff) {
  const auto repository = NewRepository(store_, kSealed);
  Make(*repository);
  EXPECT_THAT(*repository->ListBrokenAttempts({}), IsEmpty());

  TestBackup broken;
  broken.group = NextGroupId();
  broken.shards = {{"shard", MakeTar({{"file", Noise(10'000, 3)}})}};
  broken.before_commit = [](GroupWriter& writer) -> Status {
    // Everything but the manifest.
    return writer.Commit({}, "\xff");
  };
  ASSERT_FALSE(Backup(*repository, broken).ok());
  const auto attempts = repository->ListBrokenAttempts({});
  ASSERT_TRUE(attempts.ok());
  ASSERT_EQ(attempts->size(), 1U);
  EXPECT_EQ((*attempts)[0].group, *broken.group);
  EXPECT_FALSE((*attempts)[0].declared);
  EXPECT_EQ(repository->ListGroups({})->size(), 1U);

  const auto intent = Intent::Declare({}, *repository,
                                      {.purpose = "backup", .own = *broken.group, .relies_on = {}});
  ASSERT_TRUE(intent.ok());
  EXPECT_TRUE((*repository->ListBrokenAttempts({}))[0].declared);
  ASSERT_TRUE(repository->Forget({}, *broken.group, "{}").ok());
  EXPECT_THAT(*repository->ListBrokenAttempts({}), IsEmpty());
}

TEST_F(RepositoryTest, ListsManyAttemptsWithOneCallEach) {
  FaultyObjectStore counting(store_);
  const auto repository = NewRepository(counting, kOpen);
  for (int attempt = 0; attempt < 3; ++attempt) {
    const GroupId group = NextGroupId();
    for (std::uint64_t i = 0; i < 2'500; ++i) {
      Bytes number;
      AppendU64(number, i);
      ASSERT_TRUE(
          store_.Put({}, PackKey(group, Sha256Of(number)), Bytes(1), PutMode::kReplace).ok());
    }
  }
  const auto before = counting.calls(StoreOp::kList);
  const auto attempts = repository->ListBrokenAttempts({});
  ASSERT_TRUE(attempts.ok());
  EXPECT_EQ(attempts->size(), 3U);
  EXPECT_LE(counting.calls(StoreOp::kList) - before, 12U);
}

TEST_F(RepositoryTest, CountsWhatItHolds) {
  const auto repository = NewRepository(store_, kSealed);
  Make(*repository);
  const auto totals = repository->CountTotals({});
  ASSERT_TRUE(totals.ok());
  EXPECT_EQ(totals->manifests.objects, 1U);
  EXPECT_EQ(totals->records.objects, 1U);
  EXPECT_EQ(totals->images.objects, 1U);
  EXPECT_EQ(totals->packs.objects, 1U);
  EXPECT_EQ(totals->other.objects, 1U);
  EXPECT_EQ(totals->manifests.bytes + totals->records.bytes + totals->images.bytes +
                totals->packs.bytes + totals->other.bytes,
            store_.size());
}

TEST_F(RepositoryTest, TheStoreSeesNoNamesOfAnEncryptedRepository) {
  const auto repository = NewRepository(store_, kSealed);
  TestBackup backup;
  backup.shards = {{"secret-label", MakeTar({{"secret-path", Bytes(5'000, std::byte{'s'})}})}};
  backup.body = R"({"collection":"secret-name"})";
  ASSERT_TRUE(Backup(*repository, backup).ok());
  for (const std::string& key : store_.keys()) {
    const Bytes object = *store_.bytes(key);
    EXPECT_THAT(std::string(AsText(object)), Not(HasSubstr("secret"))) << key;
    EXPECT_THAT(std::string(AsText(object)), Not(HasSubstr("ssssssss"))) << key;
    EXPECT_THAT(std::string(AsText(object)), Not(HasSubstr(std::string(kTestPassword)))) << key;
  }
}

}  // namespace
}  // namespace holdfast
