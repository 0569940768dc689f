#include "repo/group_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "repo/format/document.h"
#include "repo/format/image_format.h"
#include "repo/format/keys.h"
#include "testing/faulty_object_store.h"
#include "testing/repo/test_repository.h"
#include "testing/stream/tar_tools.h"
#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

/// Every shard of the backup comes out byte for byte.
void ExpectRestored(Repository& repository, const GroupId& group,
                    const std::vector<TestShard>& shards) {
  for (const TestShard& shard : shards) {
    const auto tar = RestoreTar(repository, group, shard.label);
    ASSERT_TRUE(tar.ok()) << shard.label << ": " << tar.error().ToString();
    EXPECT_TRUE(*tar == shard.tar) << shard.label;
  }
}

class GroupWriterTest : public ::testing::TestWithParam<Sealing> {
 protected:
  TestBackupResult MustBackup(const TestBackup& backup) {
    const auto made = Backup(*repository_, backup);
    EXPECT_TRUE(made.ok()) << made.error().ToString();
    if (!made.ok()) return {};
    return *made;
  }

  MemoryObjectStore store_;
  std::unique_ptr<Repository> repository_ = NewRepository(store_, GetParam());
};
INSTANTIATE_TEST_SUITE_P(Both, GroupWriterTest,
                         ::testing::Values(Sealing::kNone, Sealing::kAes256Gcm));

TEST_P(GroupWriterTest, RecordedShardsComeBackByteForByte) {
  TestBackup backup;
  for (const std::string& name : WholeTars()) {
    backup.shards.push_back({name, ReadTestData(name)});
  }
  const auto made = MustBackup(backup);
  ExpectRestored(*repository_, made.group, backup.shards);
  EXPECT_EQ(made.stats.images, backup.shards.size());
  EXPECT_LT(store_.size(), made.stats.bytes_read);
  EXPECT_TRUE(CheckEveryGroup(*repository_).ok());
}

TEST_P(GroupWriterTest, RandomTarsComeBackByteForByte) {
  Random random(11);
  TestBackup backup;
  for (int i = 0; i < 12; ++i) {
    std::vector<ReadEntry> entries;
    for (std::size_t n = 0; n < 20; ++n) entries.push_back(MakeRandomEntry(n, random));
    const auto zeros = static_cast<std::uint64_t>(random.Between(2, 20)) * 512;
    const Bytes tar = WriteVerbatim(*ReadTar(WriteNew(entries)), zeros);
    backup.shards.push_back({"shard " + std::to_string(i), tar});
  }
  backup.at_once = true;
  ExpectRestored(*repository_, MustBackup(backup).group, backup.shards);
}

TEST_P(GroupWriterTest, BlocksAndFilesAtTheirLimitsComeBack) {
  Random random(5);
  constexpr std::size_t kBlock = 131'072;
  std::vector<ReadEntry> entries;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kBlock - 1, kBlock, kBlock + 1,
                                 3 * kBlock, 5 * kBlock + 511}) {
    entries.push_back(MakeFile("file" + std::to_string(size), AsText(Noise(size, size))));
  }
  // Runs that begin and end within blocks, touch each other, and a hole at the end.
  entries.push_back(MakeSparse(
      "sparse", 10 * kBlock,
      {{4'096, 4'096}, {8'192, kBlock}, {3 * kBlock - 512, 1'024}, {5 * kBlock, 2 * kBlock}},
      random));
  entries.push_back(MakeSparse("nothing but a hole", std::uint64_t{1} << 40, {}, random));
  TestBackup backup;
  backup.shards = {{"shard", WriteNew(entries)}};
  ExpectRestored(*repository_, MustBackup(backup).group, backup.shards);
}

TEST_P(GroupWriterTest, ASecondBackupOfTheSameStoresNearlyNothing) {
  TestBackup backup;
  for (const std::string& name : WholeTars()) {
    backup.shards.push_back({name, ReadTestData(name)});
  }
  backup.shards.push_back({"large", MakeTar({{"noise", Noise(20 << 20, 1)}})});
  const auto first = MustBackup(backup);
  // So that nothing is found by name: the parent does it all.
  backup.known_blocks_max = 1;
  backup.parents = {first.group};
  const auto second = MustBackup(backup);
  EXPECT_EQ(second.stats.bytes_new, 0U);
  EXPECT_EQ(second.stats.packs, 0U);
  EXPECT_LT(second.stats.bytes_stored, first.stats.bytes_stored / 100);
  EXPECT_EQ(second.stats.blocks_known, second.stats.blocks);
  ExpectRestored(*repository_, second.group, backup.shards);
  EXPECT_THAT(repository_->ReadManifest({}, second.group)->borrows_from, ElementsAre(first.group));

  // Complete by itself: nothing but the packs of the first is needed.
  ASSERT_TRUE(store_.Delete({}, ManifestKey(first.group)).ok());
  for (const std::string& key : store_.keys()) {
    if (key.starts_with("images/" + first.group.value()) ||
        key.starts_with("collections/" + first.group.value())) {
      ASSERT_TRUE(store_.Delete({}, key).ok());
    }
  }
  ExpectRestored(*repository_, second.group, backup.shards);
}

TEST_P(GroupWriterTest, AFewChangesStoreAFewBlocks) {
  Bytes content = Noise(24 << 20, 1);
  TestBackup backup;
  backup.shards = {{"shard", MakeTar({{"other", Noise(1'000, 2)}, {"data", content}})}};
  const auto first = MustBackup(backup);
  Random random(3);
  std::set<std::size_t> blocks;
  for (int i = 0; i < 10; ++i) {
    const auto at = static_cast<std::size_t>(random.Between(0, (24 << 20) - 1));
    content[at] ^= std::byte{1};
    blocks.insert(at / 131'072);
  }
  backup.shards = {{"shard", MakeTar({{"other", Noise(1'000, 2)}, {"data", content}})}};
  backup.parents = {first.group};
  const auto second = MustBackup(backup);
  EXPECT_EQ(second.stats.blocks - second.stats.blocks_known, blocks.size());
  EXPECT_EQ(second.stats.bytes_new, blocks.size() * 131'072);
  ExpectRestored(*repository_, second.group, backup.shards);
}

TEST_P(GroupWriterTest, FilesMayMoveAndVanishBetweenBackups) {
  const Bytes a = Noise(3 << 20, 1);
  const Bytes b = Noise(2 << 20, 2);
  const Bytes c = Noise(1 << 20, 3);
  TestBackup backup;
  backup.shards = {{"shard", MakeTar({{"a", a}, {"b", b}, {"c", c}})}};
  const auto first = MustBackup(backup);
  backup.shards = {{"shard", MakeTar({{"c", c}, {"new", Noise(700'000, 4)}, {"a", a}})}};
  backup.parents = {first.group};
  const auto second = MustBackup(backup);
  EXPECT_EQ(second.stats.bytes_new, 700'000U);
  ExpectRestored(*repository_, second.group, backup.shards);
}

TEST_P(GroupWriterTest, EqualBlocksOfOneAttemptAreStoredOnce) {
  const Bytes same = Noise(4 << 20, 1);
  TestBackup backup;
  backup.at_once = true;
  for (int i = 0; i < 4; ++i) {
    backup.shards.push_back({"shard" + std::to_string(i), MakeTar({{"a", same}, {"b", same}})});
  }
  const auto made = MustBackup(backup);
  EXPECT_EQ(made.stats.bytes_new, same.size());
  ExpectRestored(*repository_, made.group, backup.shards);
}

TEST_P(GroupWriterTest, TheNewestParentThatHasTheShardIsTaken) {
  TestBackup backup;
  backup.shards = {{"a", MakeTar({{"x", Noise(1 << 20, 1)}})}};
  const auto first = MustBackup(backup);
  backup.shards = {{"b", MakeTar({{"x", Noise(1 << 20, 2)}})}};
  const auto second = MustBackup(backup);
  backup.shards = {{"a", MakeTar({{"x", Noise(1 << 20, 1)}})}, {"b", backup.shards[0].tar}};
  backup.parents = {second.group, first.group};
  backup.known_blocks_max = 1;
  const auto third = MustBackup(backup);
  EXPECT_EQ(third.stats.bytes_new, 0U);
  EXPECT_THAT(repository_->ReadManifest({}, third.group)->borrows_from,
              ElementsAre(first.group, second.group));
  ExpectRestored(*repository_, third.group, backup.shards);
}

TEST_P(GroupWriterTest, AForgottenParentIsNotBorrowedFrom) {
  TestBackup backup;
  backup.shards = {{"a", MakeTar({{"x", Noise(1 << 20, 1)}})}};
  const auto first = MustBackup(backup);
  ASSERT_TRUE(repository_->Forget({}, first.group, "{}").ok());
  backup.parents = {first.group};
  const auto second = MustBackup(backup);
  EXPECT_EQ(second.stats.bytes_new, std::uint64_t{1} << 20);
  EXPECT_THAT(repository_->ReadManifest({}, second.group)->borrows_from, IsEmpty());
}

TEST_P(GroupWriterTest, WhatABrokenAttemptStoredIsNotStoredAgain) {
  // One shard was finished, the other one broke off in the middle.
  const TestShard finished{"finished", MakeTar({{"x", Noise(20 << 20, 1)}})};
  const TestShard broken{"broken", MakeTar({{"x", Noise(36 << 20, 2)}})};
  const GroupId attempt = NextGroupId();
  {
    const auto intent =
        *Intent::Declare({}, *repository_, {.purpose = "backup", .own = attempt, .relies_on = {}});
    const auto writer =
        *GroupWriter::Begin({}, *repository_, *intent, TestPool(), {.group = attempt});
    ASSERT_TRUE(WriteImage(*writer, finished, WhenFull::kWait).ok());
    {
      const auto image = *writer->BeginImage(
          {}, {.label = broken.label, .room = {}, .when_full = WhenFull::kWait});
      TarReader reader(*image);
      ASSERT_TRUE(reader.Write({}, ByteView(broken.tar).first(broken.tar.size() - 1'000)).ok());
      // Two packs of it are full and go out by themselves.
      while (writer->stats().packs < 3) std::this_thread::yield();
    }
    const auto durable = [&] {
      std::size_t packs = 0;
      for (const std::string& key : store_.keys()) packs += key.starts_with("packs/") ? 1 : 0;
      return packs;
    };
    while (durable() < 3) std::this_thread::yield();
  }
  ASSERT_EQ(repository_->ListGroups({})->size(), 0U);
  const auto attempts = *repository_->ListBrokenAttempts({});
  ASSERT_EQ(attempts.size(), 1U);

  TestBackup backup;
  backup.shards = {finished, broken};
  backup.broken_attempts = {attempt};
  const auto made = MustBackup(backup);
  // 56 MiB in all, 48 of them lie in the three packs.
  EXPECT_LT(made.stats.bytes_new, std::uint64_t{10} << 20);
  EXPECT_THAT(repository_->ReadManifest({}, made.group)->borrows_from, ElementsAre(attempt));
  ExpectRestored(*repository_, made.group, backup.shards);
}

TEST_P(GroupWriterTest, AFinishedImageOfABrokenAttemptServesAsParent) {
  TestBackup backup;
  backup.group = NextGroupId();
  backup.shards = {{"shard", MakeTar({{"x", Noise(3 << 20, 1)}})}};
  backup.before_commit = [](GroupWriter& writer) { return writer.Commit({}, "\xff"); };
  ASSERT_FALSE(Backup(*repository_, backup).ok());
  backup.broken_attempts = {*std::exchange(backup.group, std::nullopt)};
  backup.before_commit = {};
  // Nothing is found by name.
  backup.known_blocks_max = 1;
  const auto made = MustBackup(backup);
  EXPECT_EQ(made.stats.bytes_new, 0U);
  ExpectRestored(*repository_, made.group, backup.shards);
}

TEST_P(GroupWriterTest, ALostPackIsStoredAgain) {
  TestBackup backup;
  backup.shards = {{"shard", MakeTar({{"x", Noise(3 << 20, 1)}})}};
  const auto first = MustBackup(backup);
  for (const std::string& key : store_.keys()) {
    if (key.starts_with("packs/")) {
      ASSERT_TRUE(store_.Delete({}, key).ok());
    }
  }
  backup.parents = {first.group};
  const auto second = MustBackup(backup);
  EXPECT_EQ(second.stats.bytes_new, std::uint64_t{3} << 20);
  ExpectRestored(*repository_, second.group, backup.shards);
}

TEST_P(GroupWriterTest, APackThatIsLostMeanwhileFailsTheBackup) {
  TestBackup backup;
  backup.shards = {{"shard", MakeTar({{"x", Noise(3 << 20, 1)}})}};
  const auto first = MustBackup(backup);
  backup.parents = {first.group};
  backup.before_commit = [&](GroupWriter&) -> Status {
    for (const std::string& key : store_.keys()) {
      if (key.starts_with("packs/")) HF_RETURN_IF_ERROR(store_.Delete({}, key));
    }
    return {};
  };
  const auto second = Backup(*repository_, backup);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kAborted);
  EXPECT_THAT(second.error().message(), HasSubstr("packs/" + first.group.value()));
  EXPECT_EQ(repository_->ListGroups({})->size(), 1U);
}

TEST_P(GroupWriterTest, ADamagedParentIsLeftOutWithAWarning) {
  TestBackup backup;
  backup.shards = {{"shard", MakeTar({{"x", Noise(1 << 20, 1)}})}};
  const auto first = MustBackup(backup);
  const std::string head = repository_->ReadManifest({}, first.group)->images[0].key;
  store_.Damage(head, [](Bytes& bytes) { bytes[100] ^= std::byte{4}; });
  backup.parents = {first.group};
  const auto second = MustBackup(backup);
  EXPECT_EQ(second.stats.bytes_new, std::uint64_t{1} << 20);
  EXPECT_THAT(second.warnings, ElementsAre(StartsWith(head)));
  ExpectRestored(*repository_, second.group, backup.shards);
}

TEST_P(GroupWriterTest, AnImageOfManyBlocksHasParts) {
  // Small files: 40,000 blocks and as many files, so both lists have full chunks.
  std::vector<std::pair<std::string, Bytes>> files;
  for (std::uint64_t i = 0; i < 40'000; ++i) {
    Bytes content;
    AppendU64(content, i);
    files.emplace_back("dir/file" + std::to_string(i), content);
  }
  TestBackup backup;
  backup.shards = {{"shard", MakeTar(files)}};
  const auto first = MustBackup(backup);
  const std::string head = repository_->ReadManifest({}, first.group)->images[0].key;
  EXPECT_THAT(store_.keys(), Contains(BlockPartKey(head, 1)));
  EXPECT_THAT(store_.keys(), Contains(FilePartKey(head, 20)));
  ExpectRestored(*repository_, first.group, backup.shards);

  backup.parents = {first.group};
  backup.known_blocks_max = 1;
  const auto second = MustBackup(backup);
  EXPECT_EQ(second.stats.bytes_new, 0U);
  ExpectRestored(*repository_, second.group, backup.shards);
}

TEST_P(GroupWriterTest, AttachmentsAreFilesWithoutTar) {
  const Bytes policies = Noise(400'000, 9);
  const auto intent_of = [&](const GroupId& group) {
    return *Intent::Declare({}, *repository_, {.purpose = "backup", .own = group, .relies_on = {}});
  };
  const GroupId group = NextGroupId();
  const auto intent = intent_of(group);
  const auto writer = *GroupWriter::Begin({}, *repository_, *intent, TestPool(), {.group = group});
  BytesSource source(policies);
  const auto ref = writer->PutFile({}, "attachment/access-policy", source);
  ASSERT_TRUE(ref.ok()) << ref.error().ToString();
  BytesSource nothing{ByteView()};
  ASSERT_TRUE(writer->PutFile({}, "attachment/empty", nothing).ok());
  ASSERT_TRUE(writer->Commit({}, "{}").ok());
  EXPECT_EQ(ref->bytes, policies.size());
  EXPECT_EQ(ref->sha256, Sha256Of(policies));
  EXPECT_TRUE(*RestoreTar(*repository_, group, "attachment/access-policy") == policies);
  EXPECT_THAT(*RestoreTar(*repository_, group, "attachment/empty"), IsEmpty());
}

TEST_P(GroupWriterTest, AGroupWithoutImagesIsAGroup) {
  const auto made = MustBackup({.body = "{}"});
  EXPECT_TRUE(repository_->ReadManifest({}, made.group).ok());
}

TEST_P(GroupWriterTest, NothingIsAGroupBeforeCommit) {
  const GroupId group = NextGroupId();
  const auto intent =
      *Intent::Declare({}, *repository_, {.purpose = "backup", .own = group, .relies_on = {}});
  const auto writer = *GroupWriter::Begin({}, *repository_, *intent, TestPool(), {.group = group});
  ASSERT_TRUE(
      WriteImage(*writer, {"shard", MakeTar({{"x", Noise(1'000, 1)}})}, WhenFull::kWait).ok());
  EXPECT_THAT(*repository_->ListGroups({}), IsEmpty());
  const auto open = *writer->BeginImage({}, {.label = "open"});
  const Status committed = writer->Commit({}, "{}");
  ASSERT_FALSE(committed.ok());
  EXPECT_EQ(committed.error().code(), ErrorCode::kFailedPrecondition);
  open->Abandon();
  EXPECT_TRUE(writer->Commit({}, "{}").ok());
  EXPECT_EQ(repository_->ListGroups({})->size(), 1U);
  EXPECT_FALSE(writer->BeginImage({}, {.label = "late"}).ok());
}

TEST_P(GroupWriterTest, AStreamThatBreaksOffIsTakenAgainInTheSameAttempt) {
  const TestShard shard{"shard", MakeTar({{"x", Noise(2 << 20, 1)}})};
  const GroupId group = NextGroupId();
  const auto intent =
      *Intent::Declare({}, *repository_, {.purpose = "backup", .own = group, .relies_on = {}});
  const auto writer = *GroupWriter::Begin({}, *repository_, *intent, TestPool(), {.group = group});
  {
    const auto image = *writer->BeginImage({}, {.label = "shard"});
    TarReader reader(*image);
    ASSERT_TRUE(reader.Write({}, ByteView(shard.tar).first(1 << 20)).ok());
    EXPECT_FALSE(reader.Finish().ok());
  }
  ASSERT_TRUE(WriteImage(*writer, shard, WhenFull::kWait).ok());
  ASSERT_TRUE(writer->Commit({}, "{}").ok());
  EXPECT_EQ(writer->stats().bytes_read, shard.tar.size());
  EXPECT_EQ(repository_->ReadManifest({}, group)->images.size(), 1U);
  ExpectRestored(*repository_, group, {shard});
}

TEST_P(GroupWriterTest, EventsThatDoNotAddUpAreRefused) {
  const GroupId group = NextGroupId();
  const auto intent =
      *Intent::Declare({}, *repository_, {.purpose = "backup", .own = group, .relies_on = {}});
  const auto writer = *GroupWriter::Begin({}, *repository_, *intent, TestPool(), {.group = group});
  const auto image = *writer->BeginImage({}, {.label = "shard"});
  TarReader reader(*image);
  const Bytes tar = MakeTar({{"x", Noise(100, 1)}});
  ASSERT_TRUE(reader.Write({}, tar).ok());
  TarEnd end = *reader.Finish();
  end.bytes += 512;
  const auto finished = image->Finish({}, end, {}, "{}");
  ASSERT_FALSE(finished.ok());
  EXPECT_EQ(finished.error().code(), ErrorCode::kDataLoss);
}

TEST_P(GroupWriterTest, CallsThatMakeNoSenseAreRefused) {
  const GroupId group = NextGroupId();
  const auto intent =
      *Intent::Declare({}, *repository_, {.purpose = "backup", .own = group, .relies_on = {}});
  EXPECT_FALSE(
      GroupWriter::Begin({}, *repository_, *intent, TestPool(), {.group = NextGroupId()}).ok());
  EXPECT_FALSE(
      GroupWriter::Begin({}, *repository_, *intent, TestPool(), {.group = GroupId("x")}).ok());
  const auto writer = *GroupWriter::Begin({}, *repository_, *intent, TestPool(), {.group = group});
  EXPECT_FALSE(writer->BeginImage({}, {.label = ""}).ok());
  ASSERT_TRUE(writer->PutCollection({}, 1, "{}").ok());
  EXPECT_EQ(writer->PutCollection({}, 1, "{}").error().code(), ErrorCode::kInvalidArgument);
}

TEST_P(GroupWriterTest, AReleasedIntentLetsNothingBeCommitted) {
  const GroupId group = NextGroupId();
  const auto intent =
      *Intent::Declare({}, *repository_, {.purpose = "backup", .own = group, .relies_on = {}});
  const auto writer = *GroupWriter::Begin({}, *repository_, *intent, TestPool(), {.group = group});
  ASSERT_TRUE(intent->Release({}).ok());
  EXPECT_EQ(writer->Commit({}, "{}").error().code(), ErrorCode::kAborted);
  EXPECT_THAT(*repository_->ListGroups({}), IsEmpty());
}

TEST_P(GroupWriterTest, AManifestWhoseReplyWasLostIsFound) {
  FaultyObjectStore faulty(store_);
  const auto repository = *OpenRepository(faulty, GetParam());
  faulty.Next(StoreOp::kPut, StoreFault::LoseReply(ErrorCode::kDeadlineExceeded), 1, "groups/");
  TestBackup backup;
  backup.shards = {{"shard", MakeTar({{"x", Noise(1'000, 1)}})}};
  const auto made = Backup(*repository, backup);
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  ExpectRestored(*repository, made->group, backup.shards);
}

TEST_P(GroupWriterTest, TenImagesAtOnce) {
  const TempFolder spool;
  TestBackup backup;
  backup.at_once = true;
  backup.spool_directory = spool.path();
  for (std::uint64_t i = 0; i < 10; ++i) {
    backup.shards.push_back(
        {"shard" + std::to_string(i),
         MakeTar({{"a", Noise(3 << 20, i)}, {"same", Noise(1 << 20, 99)}, {"b", Noise(7, i)}})});
  }
  const auto first = MustBackup(backup);
  ExpectRestored(*repository_, first.group, backup.shards);
  backup.parents = {first.group};
  const auto second = MustBackup(backup);
  EXPECT_EQ(second.stats.bytes_new, 0U);
  ExpectRestored(*repository_, second.group, backup.shards);
}

TEST_P(GroupWriterTest, CancellingEndsEverythingAtOnce) {
  std::stop_source stop;
  FaultyObjectStore faulty(store_);
  faulty.Next(StoreOp::kPut, StoreFault::Do([&] { stop.request_stop(); }), 1, "packs/");
  const auto repository = *OpenRepository(faulty, GetParam());
  TestBackup backup;
  backup.shards = {{"shard", MakeTar({{"x", Noise(40 << 20, 1)}})}};
  const auto made =
      Backup(*repository, backup, {.stop = stop.get_token(), .deadline = std::nullopt});
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code(), ErrorCode::kCancelled);
  EXPECT_THAT(*repository_->ListGroups({}), IsEmpty());
}

}  // namespace
}  // namespace holdfast
