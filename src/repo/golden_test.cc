// Repositories that earlier versions wrote (tests/golden) are read for ever: what they hold is
// compared with digests that were taken from the tars themselves when they were written.

#include "testing/repo/golden.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "repo/format/keys.h"
#include "repo/verify.h"
#include "store/directory_store.h"
#include "testing/paths.h"
#include "testing/repo/test_repository.h"
#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// Everything that `folder` and its list say, restored and compared. A copy is opened: a run of
/// verify writes an intent, and the tree stays as it is.
void ExpectGolden(const std::filesystem::path& folder, Sealing sealing) {
  const TempFolder copy;
  std::filesystem::copy(folder, copy.path(), std::filesystem::copy_options::recursive);
  const auto store = DirectoryStore::Open(SystemClock(), copy.path().string());
  ASSERT_TRUE(store.ok()) << store.error().ToString();
  const auto opened = OpenRepository(**store, sealing);
  ASSERT_TRUE(opened.ok()) << opened.error().ToString();
  Repository& repository = **opened;

  const auto groups = repository.ListGroups({}, {.include_forgotten = true});
  ASSERT_TRUE(groups.ok()) << groups.error().ToString();
  ASSERT_THAT(*groups, SizeIs(3));
  std::size_t images = 0;
  for (const std::uint64_t number : {1, 2, 3}) {
    SCOPED_TRACE("group " + std::to_string(number));
    const GroupInfo& info = groups->at(number - 1);
    EXPECT_EQ(info.group, GoldenGroup(number));
    EXPECT_EQ(info.forgotten, number == 3);
    const auto envelope = repository.ReadManifest({}, info.group);
    ASSERT_TRUE(envelope.ok()) << envelope.error().ToString();
    EXPECT_EQ(envelope->body, GoldenBody(number));
    const auto record = repository.ReadCollection({}, *envelope, 0);
    ASSERT_TRUE(record.ok()) << record.error().ToString();
    EXPECT_EQ(*record, kGoldenRecord);
    images += envelope->images.size();
  }
  EXPECT_THAT(repository.ReadManifest({}, GoldenGroup(2))->borrows_from,
              ElementsAre(GoldenGroup(1)));
  EXPECT_EQ(*repository.ReadForgetNote({}, GoldenGroup(3)), kGoldenNote);

  const auto list = ReadGoldenList(folder.string() + ".sha256");
  ASSERT_TRUE(list.ok()) << list.error().ToString();
  EXPECT_THAT(*list, SizeIs(images));
  for (const GoldenImage& image : *list) {
    const auto stored = RestoreTar(repository, image.group, image.label);
    ASSERT_TRUE(stored.ok()) << image.label << ": " << stored.error().ToString();
    EXPECT_EQ(stored->size(), image.bytes) << image.label;
    EXPECT_EQ(Sha256Of(*stored), image.sha256) << image.label;
  }

  EXPECT_THAT(*CodecsOf(repository), ElementsAre(0, 1, 2));
  EXPECT_THAT(*FindDamagedPacks({}, repository), IsEmpty());
  const auto report = Verify({}, repository, {.record = false});
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(report->groups, 2U);
  EXPECT_THAT(report->damaged, IsEmpty()) << VerifyReportToJson(*report);
}

/// "v<format>-<sealing>" folders of tests/golden.
std::vector<std::filesystem::path> GoldenFolders() {
  std::vector<std::filesystem::path> folders;
  for (const auto& entry : std::filesystem::directory_iterator(SourceDir() / "tests" / "golden")) {
    if (entry.is_directory()) folders.push_back(entry.path());
  }
  std::ranges::sort(folders);
  return folders;
}

TEST(GoldenTest, EveryGoldenRepositoryIsReadByteForByte) {
  const std::vector<std::filesystem::path> folders = GoldenFolders();
  ASSERT_GE(folders.size(), 2U);
  for (const std::filesystem::path& folder : folders) {
    SCOPED_TRACE(folder.filename().string());
    ExpectGolden(folder, folder.string().ends_with("none") ? Sealing::kNone : Sealing::kAes256Gcm);
  }
}

TEST(GoldenTest, WhatThisVersionWritesIsReadTheSameWay) {
  for (const Sealing sealing : {Sealing::kNone, Sealing::kAes256Gcm}) {
    const TempFolder folder;
    const auto written = WriteGolden(folder.path() / "made", sealing);
    ASSERT_TRUE(written.ok()) << written.error().ToString();
    ExpectGolden(folder.path() / "made", sealing);
  }
}

}  // namespace
}  // namespace holdfast
