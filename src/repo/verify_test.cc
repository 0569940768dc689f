#include "repo/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "model/json.h"
#include "repo/format/image_format.h"
#include "repo/format/keys.h"
#include "repo/format/pack.h"
#include "repo/list_reader.h"
#include "testing/faulty_object_store.h"
#include "testing/repo/test_repository.h"
#include "testing/stream/tar_tools.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class VerifyTest : public ::testing::TestWithParam<Sealing> {
 protected:
  VerifyTest() {
    TestBackup backup;
    backup.shards = {{"shard/0", ReadTestData("shard-hybrid.tar")},
                     {"shard/1", MakeTar({{"noise", Noise(1 << 20, 1)}, {"x", Noise(5, 2)}})}};
    first_ = Backup(*repository_, backup)->group;
    backup.shards.push_back({"shard/2", MakeTar({{"more", Noise(1 << 20, 3)}})});
    backup.parents = {first_};
    second_ = Backup(*repository_, backup)->group;
  }

  VerifyReport MustVerify(VerifyOptions options = {.record = false}) {
    const auto report = Verify({}, *repository_, options);
    EXPECT_TRUE(report.ok()) << report.error().ToString();
    if (!report.ok()) return {};
    return *report;
  }
  std::vector<std::string> KeysOf(KeyKind kind) {
    std::vector<std::string> keys;
    for (const std::string& key : store_.keys()) {
      if (ParseKey(key)->kind == kind) keys.push_back(key);
    }
    return keys;
  }
  /// The pack of `group`.
  std::string PackOf(const GroupId& group) {
    for (const std::string& key : KeysOf(KeyKind::kPack)) {
      if (ParseKey(key)->group == group) return key;
    }
    return {};
  }

  MemoryObjectStore store_;
  std::unique_ptr<Repository> repository_ = NewRepository(store_, GetParam());
  GroupId first_;
  GroupId second_;
};
INSTANTIATE_TEST_SUITE_P(Both, VerifyTest, ::testing::Values(Sealing::kNone, Sealing::kAes256Gcm));

TEST_P(VerifyTest, FindsNothingWhereNothingIsWrong) {
  const VerifyReport report = MustVerify();
  EXPECT_THAT(report.damaged, IsEmpty());
  EXPECT_EQ(report.groups, 2U);
  EXPECT_EQ(report.images, 5U);
  EXPECT_EQ(report.packs, 2U);
  EXPECT_EQ(report.packs_listed, 0U);
  EXPECT_GT(report.blocks, 16U);
  EXPECT_GT(report.bytes, std::uint64_t{2} << 20);
  EXPECT_THAT(report.foreign, IsEmpty());
  EXPECT_THAT(*ListIntents({}, *repository_), IsEmpty());
}

TEST_P(VerifyTest, EveryKindOfObjectIsWatched) {
  // One bit in many places of every object, one after the other.
  ASSERT_TRUE(repository_->Forget({}, first_, "{}").ok());
  ASSERT_TRUE(MustVerify({.record = true}).damaged.empty());
  std::set<KeyKind> kinds;
  Random random(1);
  for (const std::string& key : store_.keys()) {
    const auto parsed = ParseKey(key);
    const bool of_forgotten = parsed->group == first_ && parsed->kind != KeyKind::kForgotten &&
                              parsed->kind != KeyKind::kPack;
    if (of_forgotten) continue;
    kinds.insert(parsed->kind);
    const std::size_t size = store_.bytes(key)->size();
    for (int i = 0; i < 12; ++i) {
      const std::size_t at =
          i == 0   ? 0
          : i == 1 ? size - 1
          : i == 2
              ? 5
              : static_cast<std::size_t>(random.Between(0, static_cast<std::int64_t>(size) - 1));
      const auto bit = static_cast<std::byte>(1 << random.Between(0, 7));
      const auto flip = [&](Bytes& bytes) { bytes[at] ^= bit; };
      store_.Damage(key, flip);
      const VerifyReport report = MustVerify();
      EXPECT_THAT(report.damaged, Contains(Field(&Damage::object, key)))
          << "byte " << at << " of " << size;
      store_.Damage(key, flip);
    }
  }
  EXPECT_THAT(kinds, UnorderedElementsAre(KeyKind::kConfig, KeyKind::kManifest, KeyKind::kRecord,
                                          KeyKind::kImage, KeyKind::kPack, KeyKind::kForgotten,
                                          KeyKind::kVerification));
  EXPECT_THAT(MustVerify().damaged, IsEmpty());
}

TEST_P(VerifyTest, ShortenedAndMissingObjectsAreNamed) {
  for (const std::string& key : store_.keys()) {
    const Bytes original = *store_.bytes(key);
    store_.Damage(key, [](Bytes& bytes) { bytes.pop_back(); });
    EXPECT_THAT(MustVerify().damaged, Contains(Field(&Damage::object, key)));
    store_.Damage(key, [](Bytes& bytes) { bytes.resize(bytes.size() / 2); });
    EXPECT_THAT(MustVerify().damaged, Contains(Field(&Damage::object, key)));
    store_.Damage(key, [](Bytes& bytes) { bytes.clear(); });
    EXPECT_THAT(MustVerify().damaged, Contains(Field(&Damage::object, key)));
    store_.Damage(key, [&](Bytes& bytes) {
      bytes = original;
      bytes.push_back(std::byte{0});
    });
    if (key != kConfigKey) {
      EXPECT_THAT(MustVerify().damaged, Contains(Field(&Damage::object, key)));
    }
    ASSERT_TRUE(store_.Delete({}, key).ok());
    if (ParseKey(key)->kind != KeyKind::kManifest) {
      EXPECT_THAT(MustVerify().damaged, Contains(Field(&Damage::object, key)));
    }
    ASSERT_TRUE(store_.Put({}, key, original, PutMode::kReplace).ok());
  }
  EXPECT_THAT(MustVerify().damaged, IsEmpty());
}

TEST_P(VerifyTest, SwappedObjectsOfOneKindAreNamed) {
  for (const KeyKind kind :
       {KeyKind::kManifest, KeyKind::kRecord, KeyKind::kImage, KeyKind::kPack}) {
    const auto keys = KeysOf(kind);
    ASSERT_GE(keys.size(), 2U);
    const Bytes a = *store_.bytes(keys[0]);
    const Bytes b = *store_.bytes(keys[1]);
    ASSERT_TRUE(store_.Put({}, keys[0], b, PutMode::kReplace).ok());
    ASSERT_TRUE(store_.Put({}, keys[1], a, PutMode::kReplace).ok());
    EXPECT_THAT(MustVerify().damaged, AllOf(Contains(Field(&Damage::object, keys[0])),
                                            Contains(Field(&Damage::object, keys[1]))));
    ASSERT_TRUE(store_.Put({}, keys[0], a, PutMode::kReplace).ok());
    ASSERT_TRUE(store_.Put({}, keys[1], b, PutMode::kReplace).ok());
  }
  EXPECT_THAT(MustVerify().damaged, IsEmpty());
}

TEST_P(VerifyTest, ObjectsOfAnotherRepositoryAreForeign) {
  MemoryObjectStore other_store;
  const auto other = NewRepository(other_store, GetParam());
  TestBackup backup;
  backup.group = second_;
  backup.shards = {{"shard/0", ReadTestData("shard-hybrid.tar")}};
  ASSERT_TRUE(Backup(*other, backup).ok());
  const std::string manifest = ManifestKey(second_);
  ASSERT_TRUE(store_.Put({}, manifest, *other_store.bytes(manifest), PutMode::kReplace).ok());
  EXPECT_THAT(MustVerify().damaged, Contains(Field(&Damage::object, manifest)));
}

TEST_P(VerifyTest, ADamagedBlockNamesAllWhoNeedIt) {
  // The pack of the first group holds blocks of both groups' shards 0 and 1.
  const std::string pack = PackOf(first_);
  const Bytes object = *store_.bytes(pack);
  const PackOpener opener(repository_->keys(), ParseKey(pack)->pack, pack);
  const auto footer = *opener.ReadFooter(object);
  // Noise of shard 1 is what does not shrink.
  const auto noise = std::ranges::find_if(footer, [](const PackEntry& entry) {
    return entry.block.plain_size == 131'072 && entry.place.sealed_size > 131'000;
  });
  ASSERT_NE(noise, footer.end());
  store_.Damage(pack, [&](Bytes& bytes) { bytes[noise->place.offset + 50] ^= std::byte{16}; });
  const VerifyReport report = MustVerify();
  ASSERT_EQ(report.damaged.size(), 1U);
  const Damage& damage = report.damaged[0];
  EXPECT_EQ(damage.object, pack);
  EXPECT_EQ(damage.block, noise->place.position);
  EXPECT_EQ(damage.affected_count, 2U);
  EXPECT_THAT(damage.affected, UnorderedElementsAre(AffectedImage{first_, "shard/1"},
                                                    AffectedImage{second_, "shard/1"}));
}

TEST_P(VerifyTest, AMissingPackNamesAllWhoNeedIt) {
  const std::string pack = PackOf(second_);
  ASSERT_TRUE(store_.Delete({}, pack).ok());
  const VerifyReport report = MustVerify();
  ASSERT_EQ(report.damaged.size(), 1U);
  EXPECT_EQ(report.damaged[0].object, pack);
  EXPECT_FALSE(report.damaged[0].block.has_value());
  EXPECT_THAT(report.damaged[0].affected, ElementsAre(AffectedImage{second_, "shard/2"}));
}

TEST_P(VerifyTest, ADamagedRecordNamesItsGroup) {
  const std::string record = RecordKey(second_, 0);
  store_.Damage(record, [](Bytes& bytes) { bytes[60] ^= std::byte{1}; });
  const VerifyReport report = MustVerify();
  ASSERT_EQ(report.damaged.size(), 1U);
  EXPECT_EQ(report.damaged[0].object, record);
  EXPECT_THAT(report.damaged[0].affected,
              ElementsAre(AffectedImage{second_, "collection record 0"}));
}

TEST_P(VerifyTest, AHeadThatContradictsThePacksIsFound) {
  // Sealed rightly, but a record names another block: a defect of the writer, or worse.
  const auto envelope = *repository_->ReadManifest({}, first_);
  const std::string key = envelope.FindImage("shard/1")->key;
  ImageHead head = *GetImageHead({}, *repository_, key);
  std::swap_ranges(head.block_list.rest.begin(), head.block_list.rest.begin() + 32,
                   head.block_list.rest.begin() + kBlockRecordBytes);
  const Bytes content = *WriteImageHead(head);
  const Bytes document = *SealDocument(repository_->keys(), KernelRandom(), key, content);
  ASSERT_TRUE(store_.Put({}, key, document, PutMode::kReplace).ok());
  const VerifyReport report = MustVerify();
  ASSERT_EQ(report.damaged.size(), 1U);
  EXPECT_EQ(report.damaged[0].object, key);
  EXPECT_THAT(report.damaged[0].what, HasSubstr("disagrees"));
}

TEST_P(VerifyTest, FilesThatDoNotFitTheirHeadersAreFound) {
  const auto envelope = *repository_->ReadManifest({}, first_);
  const std::string key = envelope.FindImage("shard/1")->key;
  ImageHead head = *GetImageHead({}, *repository_, key);
  auto taken = *TakeFileRecord(head.file_list.rest, key);
  ASSERT_TRUE(taken.has_value());
  const Bytes rest = ToBytes(ByteView(head.file_list.rest).subspan(taken->bytes));
  taken->record.real_size += 1;
  head.file_list.rest.clear();
  AppendFileRecord(head.file_list.rest, taken->record);
  Append(head.file_list.rest, rest);
  const Bytes document =
      *SealDocument(repository_->keys(), KernelRandom(), key, *WriteImageHead(head));
  ASSERT_TRUE(store_.Put({}, key, document, PutMode::kReplace).ok());
  const VerifyReport report = MustVerify();
  ASSERT_EQ(report.damaged.size(), 1U);
  EXPECT_THAT(report.damaged[0].what, HasSubstr("another size"));
}

TEST_P(VerifyTest, ListsKeysThatAreNotOurs) {
  ASSERT_TRUE(store_.Put({}, "lost+found/x", Bytes(1), PutMode::kReplace).ok());
  ASSERT_TRUE(store_.Put({}, "packs/readme", Bytes(1), PutMode::kReplace).ok());
  const VerifyReport report = MustVerify();
  EXPECT_THAT(report.foreign, UnorderedElementsAre("lost+found/x", "packs/readme"));
  EXPECT_THAT(report.damaged, IsEmpty());
}

TEST_P(VerifyTest, ForgottenGroupsAreNotReadAndNamedOnesOnly) {
  ASSERT_TRUE(repository_->Forget({}, second_, "{}").ok());
  EXPECT_EQ(MustVerify().groups, 1U);
  const VerifyReport one = MustVerify({.groups = {first_}, .record = false});
  EXPECT_EQ(one.groups, 1U);
  EXPECT_EQ(one.packs, 1U);
  const auto forgotten = Verify({}, *repository_, {.groups = {second_}, .record = false});
  ASSERT_FALSE(forgotten.ok());
  EXPECT_EQ(forgotten.error().code(), ErrorCode::kFailedPrecondition);
}

TEST_P(VerifyTest, AShareMovesOnAndCoversEverythingInTheEnd) {
  for (std::uint64_t i = 0; i < 6; ++i) {
    TestBackup backup;
    backup.shards = {{"more", MakeTar({{"x", Noise(1'000, 100 + i)}})}};
    ASSERT_TRUE(Backup(*repository_, backup).ok());
  }
  std::uint64_t read = 0;
  std::set<std::uint32_t> indexes;
  for (int i = 0; i < 3; ++i) {
    const VerifyReport report = MustVerify({.share = 3, .record = true});
    read += report.packs;
    EXPECT_EQ(report.packs + report.packs_listed, 8U);
    indexes.insert(report.share_index);
  }
  EXPECT_EQ(read, 8U);
  EXPECT_THAT(indexes, ElementsAre(0U, 1U, 2U));
  EXPECT_EQ(Verify({}, *repository_, {.share = 0}).error().code(), ErrorCode::kInvalidArgument);
}

TEST_P(VerifyTest, APackOutsideOfTheShareIsStillMissed) {
  const std::string pack = PackOf(first_);
  ASSERT_TRUE(store_.Delete({}, pack).ok());
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(MustVerify({.share = 1'000'000, .record = true}).damaged,
                Contains(Field(&Damage::object, pack)));
  }
}

TEST_P(VerifyTest, WhatIsFoundDamagedIsNotBorrowedAgain) {
  const std::string pack = PackOf(first_);
  store_.Damage(pack, [](Bytes& bytes) { bytes[5'000] ^= std::byte{1}; });
  EXPECT_EQ(MustVerify({.record = true}).damaged_count, 1U);
  EXPECT_THAT(*FindDamagedPacks({}, *repository_), ElementsAre(pack));
  TestBackup backup;
  backup.shards = {{"shard/0", ReadTestData("shard-hybrid.tar")},
                   {"shard/1", MakeTar({{"noise", Noise(1 << 20, 1)}, {"x", Noise(5, 2)}})}};
  backup.parents = {second_, first_};
  const auto third = Backup(*repository_, backup);
  ASSERT_TRUE(third.ok()) << third.error().ToString();
  EXPECT_THAT(third->warnings, Contains(HasSubstr("1 damaged packs")));
  ASSERT_TRUE(repository_->Forget({}, first_, "{}").ok());
  ASSERT_TRUE(repository_->Forget({}, second_, "{}").ok());
  EXPECT_THAT(MustVerify().damaged, IsEmpty());
}

TEST_P(VerifyTest, TheReportIsJson) {
  store_.Damage(PackOf(first_), [](Bytes& bytes) { bytes[5'000] ^= std::byte{1}; });
  const auto report = json::Parse(VerifyReportToJson(MustVerify()), "report");
  ASSERT_TRUE(report.ok());
  EXPECT_EQ((*report)["groups"], 2);
  EXPECT_EQ((*report)["damaged"].size(), 1U);
  EXPECT_EQ((*report)["damaged"][0]["object"], PackOf(first_));
  EXPECT_TRUE((*report)["damaged"][0].contains("block"));
}

TEST_P(VerifyTest, TheObserverHearsOfProgressAndDamage) {
  class Observer : public VerifyObserver {
   public:
    void OnProgress(const VerifyProgress& progress) override { last = progress; }
    void OnDamage(const Damage& damage) override { damaged.push_back(damage.object); }
    VerifyProgress last;
    std::vector<std::string> damaged;
  } observer;
  store_.Damage(PackOf(first_), [](Bytes& bytes) { bytes[5'000] ^= std::byte{1}; });
  ASSERT_TRUE(Verify({}, *repository_, {.record = false}, &observer).ok());
  EXPECT_EQ(observer.last.packs, 2U);
  EXPECT_THAT(observer.damaged, ElementsAre(PackOf(first_)));
}

TEST_P(VerifyTest, AStoreThatDoesNotAnswerIsNoDamage) {
  FaultyObjectStore faulty(store_);
  const auto repository = *OpenRepository(faulty, GetParam());
  faulty.Next(StoreOp::kGet, StoreFault::Refuse(ErrorCode::kUnavailable), 1, "packs/");
  const auto report = Verify({}, *repository, {.record = false});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code(), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace holdfast
