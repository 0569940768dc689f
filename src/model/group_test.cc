#include "model/group.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

CollectionRecord SampleRecord() {
  CollectionRecord record;
  record.collection.name = "docs";
  record.collection.create_json = "{}";
  record.collection.finish_json = "{}";
  record.layout_json = R"({"":{"size":4}})";
  ShardImage image;
  image.shard = ShardId(3);
  image.key = ShardKey(std::string("noun"));
  image.peer = PeerId(77);
  image.mode = CaptureMode::kStaged;
  image.delete_proof = DeleteProof::kTombstones;
  image.image = "images/g/i";
  image.tar_bytes = 1615360;
  image.tar_sha256 = std::string(64, 'a');
  image.points_min = 5;
  image.points_max = 9;
  image.image_points = 7;
  image.tombstones = 2;
  image.tombstones_file = "images/g/t";
  image.cut_begin_us = 100;
  image.cut_end_us = 170;
  image.layout_json = record.layout_json;
  record.shards = {image};
  record.samples = {{.id_json = "17", .point_json = R"({"id":17})", .key = image.key}};
  record.queries = {{.request_json = "{}", .ids = {"17", "\"u\""}, .scores = {0.5, 0.25}}};
  return record;
}

TEST(GroupTest, ARecordComesBackFromItsJson) {
  const std::string text = RecordToJson(SampleRecord());
  const auto back = RecordFromJson(text);
  ASSERT_TRUE(back.ok()) << back.error().ToString();
  EXPECT_EQ(RecordToJson(*back), text);
  ASSERT_EQ(back->shards.size(), 1U);
  EXPECT_EQ(back->shards[0].delete_proof, DeleteProof::kTombstones);
  EXPECT_EQ(back->shards[0].image_points, 7U);
  EXPECT_EQ(back->queries[0].scores[1], 0.25);
}

TEST(GroupTest, AManifestComesBackFromItsJson) {
  GroupManifest manifest;
  manifest.id = MakeGroupId(*ParseTime("2026-11-22T03:24:38.5Z"), 0x9f8a7b6c5d4e3f2aULL);
  manifest.cluster = "prod";
  manifest.engine = "qdrant";
  manifest.purpose = kSafetyPurpose;
  manifest.begun_at = *ParseTime("2026-11-22T03:24:38.500Z");
  manifest.cut_at = *ParseTime("2026-11-22T03:24:39Z");
  manifest.finished_at = *ParseTime("2026-11-22T03:25:00Z");
  manifest.skew_us = 17'000;
  manifest.consistency = Consistency::kFenced;
  manifest.collections = {{.name = "docs",
                           .uuid = "u",
                           .record = 0,
                           .shards = 6,
                           .points = 100,
                           .tar_bytes = 4096,
                           .aliases = {"live"}}};
  manifest.skipped = {{.name = "bad", .reason = "shard 2 has no healthy replica"}};
  manifest.attachments = {{.name = "source-map", .file = "f", .bytes = 5, .sha256 = "00"}};
  manifest.warnings = {"w"};
  const std::string text = ManifestToJson(manifest);
  const auto back = ManifestFromJson(text);
  ASSERT_TRUE(back.ok()) << back.error().ToString();
  EXPECT_EQ(ManifestToJson(*back), text);
  EXPECT_EQ(back->consistency, Consistency::kFenced);
  EXPECT_EQ(back->purpose, kSafetyPurpose);
}

TEST(GroupTest, RefusesAnUnknownConsistency) {
  GroupManifest manifest;
  std::string text = ManifestToJson(manifest);
  const std::size_t at = text.find("\"window\"");
  text.replace(at, 8, "\"widowy\"");
  EXPECT_FALSE(ManifestFromJson(text).ok());
}

TEST(GroupTest, RefusesAnswersOfUnequalLength) {
  CollectionRecord record = SampleRecord();
  record.queries[0].scores.pop_back();
  EXPECT_FALSE(RecordFromJson(RecordToJson(record)).ok());
}

TEST(GroupTest, AnIdSaysWhenAndIsRecognised) {
  const GroupId id = MakeGroupId(*ParseTime("2026-11-22T03:24:38Z"), 0xabcULL);
  EXPECT_EQ(id.value(), "20261122T032438Z-0000000000000abc");
  EXPECT_TRUE(IsGroupId(id.value()));
  EXPECT_FALSE(IsGroupId("20261122T032438Z-0000000000000abC"));
  EXPECT_FALSE(IsGroupId("20261122T032438Z-0000000000000ab"));
  EXPECT_FALSE(IsGroupId("../../etc/passwd"));
}

}  // namespace
}  // namespace holdfast
