// Repositories that earlier versions wrote (tests/golden) are read for ever. They are never written
// again; a new version of the format adds its own with HOLDFAST_WRITE_GOLDEN=<folder>.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "repo/format/keys.h"
#include "repo/verify.h"
#include "store/directory_store.h"
#include "testing/paths.h"
#include "testing/repo/test_repository.h"
#include "testing/stream/tar_tools.h"
#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// What every golden repository holds. A label says where its content is to be compared with.
constexpr std::string_view kDataLabel = "tests/data/";
constexpr std::string_view kAttachmentLabel = "attachment/access-policy";
constexpr std::string_view kAttachment = "{\"collections\":[\"docs\"]}\n";
constexpr std::string_view kNoiseLabel = "noise";
constexpr std::string_view kFirstBody = R"({"group":"first","number":1.5})";
constexpr std::string_view kSecondBody = R"({"group":"second"})";
constexpr std::string_view kRecord = R"({"collection":"docs"})";
constexpr std::string_view kForgetNote = R"({"by":"golden"})";

Bytes NoiseTar(std::uint64_t changed) {
  // Sixty-four bits to a value: noise, and a stretch that shrinks.
  Bytes mixed = Noise(30'000, 1);
  mixed.resize(300'000, std::byte{7});
  return MakeTar({{"mixed", mixed}, {"small", Noise(100, changed)}, {"empty", Bytes()}});
}

GroupId GoldenGroup(std::uint64_t number) {
  std::string id = "20261122T03243" + std::to_string(number) + "Z-000000000000000";
  return GroupId(id + std::to_string(number));
}

void ExpectGroup(Repository& repository, const GroupId& group, std::string_view body,
                 std::uint64_t changed) {
  const auto envelope = repository.ReadManifest({}, group);
  ASSERT_TRUE(envelope.ok()) << envelope.error().ToString();
  EXPECT_EQ(envelope->body, body);
  EXPECT_EQ(*repository.ReadCollection({}, *envelope, 0), kRecord);
  ASSERT_EQ(envelope->images.size(), 4U);
  for (const ImageRef& image : envelope->images) {
    const auto stored = RestoreTar(repository, group, image.label);
    ASSERT_TRUE(stored.ok()) << image.label << ": " << stored.error().ToString();
    if (image.label.starts_with(kDataLabel)) {
      EXPECT_TRUE(*stored == ReadTestData(image.label.substr(kDataLabel.size()))) << image.label;
    } else if (image.label == kAttachmentLabel) {
      EXPECT_EQ(AsText(*stored), kAttachment);
    } else {
      EXPECT_EQ(image.label, kNoiseLabel);
      EXPECT_TRUE(*stored == NoiseTar(changed));
    }
  }
}

void ExpectGolden(const std::filesystem::path& folder, Sealing sealing) {
  const auto store = DirectoryStore::Open(SystemClock(), folder.string());
  ASSERT_TRUE(store.ok()) << store.error().ToString();
  const auto opened = OpenRepository(**store, sealing);
  ASSERT_TRUE(opened.ok()) << opened.error().ToString();
  Repository& repository = **opened;
  const auto groups = repository.ListGroups({}, {.include_forgotten = true});
  ASSERT_TRUE(groups.ok());
  ASSERT_EQ(groups->size(), 3U);
  EXPECT_FALSE((*groups)[0].forgotten);
  EXPECT_FALSE((*groups)[1].forgotten);
  EXPECT_TRUE((*groups)[2].forgotten);
  ExpectGroup(repository, GoldenGroup(1), kFirstBody, 1);
  ExpectGroup(repository, GoldenGroup(2), kSecondBody, 2);
  EXPECT_THAT(repository.ReadManifest({}, GoldenGroup(2))->borrows_from,
              ElementsAre(GoldenGroup(1)));
  EXPECT_EQ(*repository.ReadForgetNote({}, GoldenGroup(3)), kForgetNote);
  EXPECT_THAT(*FindDamagedPacks({}, repository), IsEmpty());
}

Status WriteGroup(Repository& repository, std::uint64_t number, std::string_view body,
                  std::vector<GroupId> parents) {
  TestBackup backup;
  backup.group = GoldenGroup(number);
  backup.body = std::string(body);
  backup.parents = std::move(parents);
  for (const char* name : {"shard-empty.tar", "shard-hybrid.tar"}) {
    backup.shards.push_back({std::string(kDataLabel) + name, ReadTestData(name)});
  }
  backup.shards.push_back({std::string(kNoiseLabel), NoiseTar(number)});
  backup.record = std::string(kRecord);
  backup.before_commit = [](GroupWriter& writer) -> Status {
    BytesSource source(AsBytes(kAttachment));
    HF_RETURN_IF_ERROR(writer.PutFile({}, kAttachmentLabel, source));
    return {};
  };
  HF_RETURN_IF_ERROR(Backup(repository, backup));
  return {};
}

Status WriteGolden(const std::filesystem::path& folder, Sealing sealing) {
  HF_TRY(const auto store, DirectoryStore::Open(SystemClock(), folder.string(), {.create = true}));
  HF_RETURN_IF_ERROR(InitRepository(*store, sealing));
  HF_TRY(const auto repository, OpenRepository(*store, sealing));
  HF_RETURN_IF_ERROR(WriteGroup(*repository, 1, kFirstBody, {}));
  HF_RETURN_IF_ERROR(WriteGroup(*repository, 2, kSecondBody, {GoldenGroup(1)}));
  HF_RETURN_IF_ERROR(WriteGroup(*repository, 3, "{}", {GoldenGroup(1)}));
  HF_RETURN_IF_ERROR(repository->Forget({}, GoldenGroup(3), kForgetNote));
  HF_TRY(const VerifyReport report, Verify({}, *repository, {}));
  if (!report.damaged.empty()) return Error(ErrorCode::kInternal, VerifyReportToJson(report));
  return {};
}

/// "<version>-<sealing>" folders of tests/golden.
std::vector<std::string> GoldenNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(SourceDir() / "tests" / "golden")) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

TEST(GoldenTest, EveryGoldenRepositoryIsReadByteForByte) {
  const std::vector<std::string> names = GoldenNames();
  ASSERT_GE(names.size(), 2U);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    ExpectGolden(SourceDir() / "tests" / "golden" / name,
                 name.ends_with("none") ? Sealing::kNone : Sealing::kAes256Gcm);
  }
}

TEST(GoldenTest, EveryGoldenRepositoryVerifies) {
  for (const std::string& name : GoldenNames()) {
    SCOPED_TRACE(name);
    // Verification writes an intent: not into the tree.
    const TempFolder copy;
    std::filesystem::copy(SourceDir() / "tests" / "golden" / name, copy.path(),
                          std::filesystem::copy_options::recursive);
    const auto store = *DirectoryStore::Open(SystemClock(), copy.path().string());
    const auto repository =
        *OpenRepository(*store, name.ends_with("none") ? Sealing::kNone : Sealing::kAes256Gcm);
    const auto report = Verify({}, *repository, {.record = false});
    ASSERT_TRUE(report.ok()) << report.error().ToString();
    EXPECT_EQ(report->groups, 2U);
    EXPECT_TRUE(report->damaged.empty()) << VerifyReportToJson(*report);
  }
}

TEST(GoldenTest, WhatThisVersionWritesIsReadTheSameWay) {
  for (const Sealing sealing : {Sealing::kNone, Sealing::kAes256Gcm}) {
    const TempFolder folder;
    const auto written = WriteGolden(folder.path(), sealing);
    ASSERT_TRUE(written.ok()) << written.error().ToString();
    ExpectGolden(folder.path(), sealing);
  }
}

TEST(GoldenTool, WritesNewOnesOnRequest) {
  const char* out = std::getenv("HOLDFAST_WRITE_GOLDEN");
  if (out == nullptr) GTEST_SKIP() << "HOLDFAST_WRITE_GOLDEN names no folder.";
  const std::filesystem::path folder(out);
  ASSERT_TRUE(WriteGolden(folder / "v1-none", Sealing::kNone).ok());
  ASSERT_TRUE(WriteGolden(folder / "v1-aes-256-gcm", Sealing::kAes256Gcm).ok());
}

}  // namespace
}  // namespace holdfast
