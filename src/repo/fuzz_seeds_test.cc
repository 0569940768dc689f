// A seed that its reader refuses leads a fuzz target nowhere: the seeds in the tree are read here.

#include "testing/repo/fuzz_seeds.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "repo/format/config.h"
#include "repo/format/document.h"
#include "repo/format/group_json.h"
#include "repo/format/image_format.h"
#include "repo/format/pack.h"
#include "testing/paths.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;

std::string ReadSeed(const std::string& path) {
  std::ifstream file(SourceDir() / "tests" / "fuzz" / "corpus" / path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path << " is missing; write_test_data seeds makes it";
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST(FuzzSeedsTest, EverySeedOfTheTargetsIsInTheTree) {
  for (const FuzzSeed& seed : RepoFuzzSeeds()) EXPECT_FALSE(ReadSeed(seed.path).empty());
}

TEST(FuzzSeedsTest, TheirReadersTakeThem) {
  const KeyRing keys = FuzzKeys();
  const std::string pack = ReadSeed("repo_pack/blocks");
  const auto footer = PackOpener(keys, PackId{}, "packs/fuzz").ReadFooter(AsBytes(pack));
  ASSERT_TRUE(footer.ok()) << footer.error().ToString();
  EXPECT_EQ(footer->size(), 4U);
  EXPECT_TRUE(OpenDocument(keys, "groups/fuzz", AsBytes(ReadSeed("repo_document/small"))).ok());
  EXPECT_TRUE(ReadImageHead(AsBytes(ReadSeed("repo_image/head")), "images/fuzz").ok());
  EXPECT_TRUE((*TakeFileRecord(AsBytes(ReadSeed("repo_image/files")), "fuzz")).has_value());
  EXPECT_TRUE(ParseBlockRecord(AsBytes(ReadSeed("repo_image/blocks")), "fuzz").ok());
  const auto config = ReadConfig::Parse(ReadSeed("repo_json/config"));
  ASSERT_TRUE(config.ok()) << config.error().ToString();
  EXPECT_TRUE(config->Check(keys).ok());
  EXPECT_TRUE(ReadConfig::Parse(ReadSeed("repo_json/config_sealed")).ok());
  const GroupId group("20261122T032438Z-9f8a7b6c5d4e3f2a");
  EXPECT_TRUE(ReadManifestJson(RepositoryId{}, group, ReadSeed("repo_json/manifest"), "fuzz").ok());
  EXPECT_TRUE(ReadIntent(ReadSeed("repo_json/intent"), "fuzz").ok());
  EXPECT_TRUE(ReadForgetMark(group, ReadSeed("repo_json/forgotten"), "fuzz").ok());
  EXPECT_TRUE(ParseKey(ReadSeed("repo_json/key")).has_value());
}

}  // namespace
}  // namespace holdfast
