#include "repo/format/keys.h"

#include <gtest/gtest.h>

#include "store/object_store.h"
#include "testing/repo/test_repository.h"

namespace holdfast {
namespace {

const GroupId kGroup("20261122T032438Z-9f8a7b6c5d4e3f2a");
const std::string kImage = "0123456789abcdef0123456789abcdef";

TEST(KeysTest, AreReadAsTheyAreMade) {
  PackId pack{};
  pack[0] = std::byte{0xab};
  const std::string image = ImageKey(kGroup, kImage);
  const struct {
    std::string key;
    KeyKind kind;
    std::uint32_t number;
  } cases[] = {
      {ManifestKey(kGroup), KeyKind::kManifest, 0},
      {RecordKey(kGroup, 17), KeyKind::kRecord, 17},
      {RecordKey(kGroup, 123456), KeyKind::kRecord, 123456},
      {image, KeyKind::kImage, 0},
      {BlockPartKey(image, 3), KeyKind::kBlockPart, 3},
      {FilePartKey(image, 4), KeyKind::kFilePart, 4},
      {PackKey(kGroup, pack), KeyKind::kPack, 0},
      {ForgottenKey(kGroup), KeyKind::kForgotten, 0},
      {"verifications/" + kGroup.value(), KeyKind::kVerification, 0},
  };
  for (const auto& [key, kind, number] : cases) {
    const auto parsed = ParseKey(key);
    ASSERT_TRUE(parsed.has_value()) << key;
    EXPECT_EQ(parsed->kind, kind) << key;
    EXPECT_EQ(parsed->number, number) << key;
    EXPECT_EQ(parsed->group, kGroup) << key;
    EXPECT_TRUE(IsValidKey(key)) << key;
  }
  EXPECT_EQ(ParseKey(PackKey(kGroup, pack))->pack, pack);
  EXPECT_EQ(ParseKey(BlockPartKey(image, 3))->image_key, image);
  EXPECT_EQ(ParseKey("holdfast.json")->kind, KeyKind::kConfig);
  EXPECT_EQ(ParseKey("intents/" + kImage)->kind, KeyKind::kIntent);
}

TEST(KeysTest, RefuseWhatTheFormatDoesNotHave) {
  const std::string group = kGroup.value();
  for (const std::string& key : {
           std::string(),
           std::string("groups/"),
           "groups/" + group + "x",
           "groups/" + group + "/00000",
           "collections/" + group,
           "collections/" + group + "/1",
           "collections/" + group + "/000001",
           "collections/" + group + "/99999999999",
           "images/" + group + "/" + kImage + ".x00000",
           "images/" + group + "/" + kImage + ".b1",
           "images/" + group + "/" + kImage.substr(1),
           "images/" + group + "/" + "0123456789ABCDEF0123456789ABCDEF",
           "packs/" + group + "/" + kImage,
           "packs/x/" + kImage + kImage,
           "intents/" + kImage + "0",
           std::string("other/thing"),
       }) {
    EXPECT_FALSE(ParseKey(key).has_value()) << key;
  }
}

}  // namespace
}  // namespace holdfast
