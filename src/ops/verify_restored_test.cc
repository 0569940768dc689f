#include "ops/verify_restored.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "ops/test_world.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

/// A collection of two shards, compared with a group of itself.
class VerifyRestoredTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::ScriptedCollection config;
    config.shards = 2;
    world_.engine.AddCollection("docs", config);
    world_.engine.Fill("docs", 0, 200);
    const auto backup = world_.Backup();
    ASSERT_TRUE(backup.ok()) << backup.error().ToString();
    const auto envelope = world_.repository->ReadManifest({}, backup->manifest.id);
    ASSERT_TRUE(envelope.ok());
    const auto text = world_.repository->ReadCollection({}, *envelope, 0);
    ASSERT_TRUE(text.ok());
    auto record = RecordFromJson(*text);
    ASSERT_TRUE(record.ok());
    record_ = *std::move(record);
    plan_.source = plan_.target = "docs";
    for (const ShardImage& image : record_.shards) {
      plan_.shards.push_back({.shard = image.shard, .peers = {image.peer}});
    }
  }

  Result<VerifiedCollection> Compare() {
    return VerifyRestored(
        {}, world_.engine, world_.clock,
        {.record = record_, .plan = plan_, .buried = {}, .copied = 0, .sent = sent_});
  }

  OpsWorld world_;
  CollectionRecord record_;
  CollectionPlan plan_;
  std::map<ShardId, std::uint64_t> sent_;
};

TEST_F(VerifyRestoredTest, TheCollectionItselfIsWhatTheGroupHolds) {
  const auto same = Compare();
  ASSERT_TRUE(same.ok()) << same.error().ToString();
  EXPECT_EQ(same->points, 200U);
  EXPECT_THAT(same->warnings, SizeIs(0));
}

TEST_F(VerifyRestoredTest, AWitnessThatDiffersIsDamageWhereNobodyWroteAndElseAWarning) {
  ASSERT_GE(record_.samples.size(), 4U);
  ASSERT_TRUE(record_.witnesses_proven);
  record_.samples[0].point_json = R"({"id":0,"payload":{"other":1},"vector":[]})";
  auto verified = Compare();
  ASSERT_FALSE(verified.ok());
  EXPECT_EQ(verified.error().code(), ErrorCode::kDataLoss);

  record_.witnesses_proven = false;
  verified = Compare();
  ASSERT_TRUE(verified.ok()) << verified.error().ToString();
  ASSERT_THAT(verified->warnings, SizeIs(1));
  EXPECT_THAT(verified->warnings[0], HasSubstr("is not as it was"));
}

TEST_F(VerifyRestoredTest, CountsOfOtherInstantsDoNotMeasure) {
  for (ShardImage& image : record_.shards) {
    image.points_min += 3;
    image.points_max += 3;
    image.ring_points_min += 3;
    image.ring_points_max += 3;
  }
  EXPECT_FALSE(Compare().ok());
  for (ShardImage& image : record_.shards) image.counts_known = false;
  const auto verified = Compare();
  EXPECT_TRUE(verified.ok()) << verified.error().ToString();
}

/// The servers make a Dead replica anew from any Active one, also from one that is still empty.
TEST_F(VerifyRestoredTest, ARestoredReplicaThatLostItsPointsIsFoundWhereTheGroupHasNoCounts) {
  record_.witnesses_proven = false;
  for (ShardImage& image : record_.shards) {
    image.counts_known = false;
    sent_[image.shard] =
        world_.engine.Content({.peer = image.peer, .collection = "docs", .shard = image.shard})
            .size();
  }
  EXPECT_TRUE(Compare().ok());
  const ShardImage& image = record_.shards.front();
  const ReplicaRef replica{.peer = image.peer, .collection = "docs", .shard = image.shard};
  const std::string id = world_.engine.Content(replica).begin()->first;
  world_.engine.LosePoint(replica, id);
  const auto less = Compare();
  ASSERT_FALSE(less.ok());
  EXPECT_EQ(less.error().code(), ErrorCode::kDataLoss);
  EXPECT_THAT(less.error().message(), HasSubstr("when it had been sent"));
  // As many as the group has deleted may be missing.
  record_.shards.front().tombstones = 1;
  EXPECT_TRUE(Compare().ok());
}

}  // namespace
}  // namespace holdfast
