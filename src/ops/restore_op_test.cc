#include "ops/restore_op.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/test_world.h"

namespace holdfast {
namespace {

using testing::CallFault;
using ::testing::Contains;
using ::testing::ElementsAre;
using testing::EngineCall;
using ::testing::HasSubstr;
using testing::ScriptedCollection;

ScriptedCollection Shards(std::uint32_t shards, std::uint32_t replicas) {
  ScriptedCollection config;
  config.shards = shards;
  config.replication_factor = replicas;
  config.indexes = {{.field = "n", .schema_json = "\"integer\""}};
  return config;
}

/// A world with one group of 'docs' (alias 'live', 200 points, 4 shards, 2 replicas).
class RestoreOpTest : public ::testing::Test {
 protected:
  void SetUp() override {
    world_.engine.AddCollection("docs", Shards(4, 2));
    world_.engine.Fill("docs", 0, 200);
    world_.engine.SetAlias("live", "docs");
    const auto outcome = world_.Backup();
    ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
    group_ = outcome->manifest.id;
  }

  static RestoreRequest As(const std::string& name) {
    RestoreRequest request;
    request.rename["docs"] = name;
    return request;
  }

  OpsWorld world_;
  GroupId group_;
};

TEST_F(RestoreOpTest, BringsADroppedCollectionBackUnderItsNameWithIndexesAndAlias) {
  ASSERT_TRUE(world_.engine.DropCollection({}, "docs").ok());
  const auto restored = world_.Restore(group_);
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
  ASSERT_EQ(restored->collections.size(), 1U);
  EXPECT_EQ(restored->collections[0].target, "docs");
  EXPECT_EQ(restored->collections[0].points, 200U);
  EXPECT_EQ(restored->collections[0].replicas, 8U);
  EXPECT_EQ(world_.engine.Ids("docs").size(), 200U);
  const auto now = world_.engine.ReadCollection({}, "docs");
  ASSERT_TRUE(now.ok());
  EXPECT_THAT(now->aliases, ElementsAre("live"));
  EXPECT_EQ(now->indexes.size(), 1U);
}

TEST_F(RestoreOpTest, ACollectionReadThroughAnAliasIsBuiltBesideAndSwitched) {
  world_.engine.Fill("docs", 200, 250);
  const auto restored = world_.Restore(group_);
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
  const std::string target = restored->collections[0].target;
  EXPECT_EQ(target, "docs__" + group_.value());
  EXPECT_EQ(world_.engine.Ids("docs").size(), 250U) << "the live collection changed";
  EXPECT_EQ(world_.engine.Ids(target).size(), 200U);
  EXPECT_THAT(world_.engine.ReadCollection({}, target)->aliases, ElementsAre("live"));
}

TEST_F(RestoreOpTest, ANameThatIsTakenWithoutAliasIsRefusedWithBothWaysOut) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(1, 1));
  world.engine.Fill("docs", 0, 10);
  const auto backup = world.Backup();
  ASSERT_TRUE(backup.ok());
  const auto refused = world.Restore(backup->manifest.id);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().hint(), HasSubstr("--as"));
  EXPECT_THAT(refused.error().hint(), HasSubstr("--in-place"));
  EXPECT_EQ(world.engine.calls(EngineCall::kCreateCollection), 0U);
  const auto renamed = world.Restore(backup->manifest.id, As("copy"));
  ASSERT_TRUE(renamed.ok()) << renamed.error().ToString();
  EXPECT_EQ(world.engine.Ids("copy").size(), 10U);
}

TEST_F(RestoreOpTest, InPlaceTakesASafetyBackupFirst) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(1, 1));
  world.engine.Fill("docs", 0, 10);
  const auto backup = world.Backup();
  ASSERT_TRUE(backup.ok());
  world.engine.Fill("docs", 10, 20);
  RestoreRequest request;
  request.in_place = true;
  const auto restored = world.Restore(backup->manifest.id, request);
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
  EXPECT_THAT(world.safety_backups, ElementsAre("docs"));
  EXPECT_EQ(world.engine.Ids("docs").size(), 10U);
}

TEST_F(RestoreOpTest, PutsEveryShardOnThePeersThatAreLeft) {
  ASSERT_TRUE(world_.engine.DropCollection({}, "docs").ok());
  world_.engine.KillPeer(PeerId(103));
  const auto restored = world_.Restore(group_);
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
  EXPECT_EQ(world_.engine.Ids("docs").size(), 200U);
  const auto now = world_.engine.ReadCollection({}, "docs");
  ASSERT_TRUE(now.ok());
  for (const Shard& shard : now->shards) {
    for (const Replica& replica : shard.replicas) EXPECT_NE(replica.peer, PeerId(103));
  }
}

TEST_F(RestoreOpTest, OnOnePeerOnlyWithPermission) {
  ASSERT_TRUE(world_.engine.DropCollection({}, "docs").ok());
  world_.engine.KillPeer(PeerId(102));
  world_.engine.KillPeer(PeerId(103));
  const auto refused = world_.Restore(group_);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().hint(), HasSubstr("--allow-consolidation"));
}

TEST_F(RestoreOpTest, MetadataOfTheClusterIsWrittenBackWhereTheTargetLacksIt) {
  world_.engine.SetMetadata("lost", R"({"a":1})");
  world_.engine.SetMetadata("kept", "1");
  world_.engine.SetMetadata("other", "[1, 2]");
  const auto backup = world_.Backup();
  ASSERT_TRUE(backup.ok()) << backup.error().ToString();
  world_.engine.SetMetadata("lost", "");
  world_.engine.SetMetadata("other", "3");
  RestoreRequest some = As("one");
  some.collections = {"docs"};
  const auto partly = world_.Restore(backup->manifest.id, some);
  ASSERT_TRUE(partly.ok()) << partly.error().ToString();
  EXPECT_EQ(partly->metadata_keys, 0U) << "some collections are not the whole cluster";
  const auto restored = world_.Restore(backup->manifest.id, As("two"));
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
  EXPECT_EQ(restored->metadata_keys, 1U);
  EXPECT_THAT(restored->warnings, Contains(HasSubstr("'other' has another value")));
  const auto now = world_.engine.ReadTopology({});
  ASSERT_TRUE(now.ok());
  EXPECT_EQ(now->metadata, (std::map<std::string, std::string>{
                               {"lost", R"({"a":1})"}, {"kept", "1"}, {"other", "3"}}));
}

TEST_F(RestoreOpTest, AForgottenGroupIsNotRestored) {
  ASSERT_TRUE(world_.repository->Forget({}, group_, "{}").ok());
  const auto refused = world_.Restore(group_, As("copy"));
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(), HasSubstr("forgotten"));
}

TEST_F(RestoreOpTest, ADamagedBlockFailsTheRestoreAndLeavesNothing) {
  const auto packs = world_.memory.List({}, "packs/", "");
  ASSERT_TRUE(packs.ok());
  ASSERT_FALSE(packs->empty());
  for (const StoredObject& pack : *packs) {
    auto bytes = world_.memory.Get({}, pack.key);
    ASSERT_TRUE(bytes.ok());
    (*bytes)[bytes->size() / 3] ^= std::byte{1};
    const ByteView view(*bytes);
    ASSERT_TRUE(world_.memory.Put({}, pack.key, view, PutMode::kReplace).ok());
  }
  const auto failed = world_.Restore(group_, As("copy"));
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), ErrorCode::kDataLoss) << failed.error().ToString();
  EXPECT_FALSE(world_.engine.ReadCollection({}, "copy").ok());
  EXPECT_EQ(world_.engine.Ids("docs").size(), 200U);
}

TEST_F(RestoreOpTest, CustomShardKeysGetTheirIdsBackThroughFillers) {
  OpsWorld world;
  ScriptedCollection config;
  config.keys = {ShardKey(std::string("a")), ShardKey(std::string("b")),
                 ShardKey(std::uint64_t{7})};
  config.shards = 2;
  world.engine.AddCollection("tenants", config);
  for (const ShardKey& key : config.keys) world.engine.Fill("tenants", 0, 30, key);
  ASSERT_TRUE(world.engine.DropShardKey({}, "tenants", ShardKey(std::string("a"))).ok());
  const auto backup = world.Backup();
  ASSERT_TRUE(backup.ok()) << backup.error().ToString();
  ASSERT_TRUE(world.engine.DropCollection({}, "tenants").ok());
  const auto restored = world.Restore(backup->manifest.id);
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
  const auto now = world.engine.ReadCollection({}, "tenants");
  ASSERT_TRUE(now.ok());
  EXPECT_EQ(now->shard_keys.size(), 2U);
  ASSERT_EQ(now->shards.size(), 4U);
  EXPECT_EQ(now->shards[0].id, ShardId(3));
  EXPECT_EQ(world.engine.Ids("tenants", ShardKey(std::string("b"))).size(), 30U);
}

TEST_F(RestoreOpTest, AnAliasSwitchWhoseAnswerIsLostHasHappened) {
  CallFault fault;
  fault.call = EngineCall::kSwitchAliases;
  fault.after_effect = true;
  world_.engine.Add(fault);
  const auto restored = world_.Restore(group_);
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
  EXPECT_EQ(world_.engine.unused_faults(), 0);
  const std::string target = restored->collections[0].target;
  EXPECT_THAT(world_.engine.ReadCollection({}, target)->aliases, ElementsAre("live"));
}

TEST_F(RestoreOpTest, WhatReadersMayHaveBeenSwitchedToIsNeverDropped) {
  CallFault fault;
  fault.call = EngineCall::kSwitchAliases;
  fault.after_effect = true;
  world_.engine.Add(fault);
  // Where the aliases point cannot be seen either.
  fault = {};
  fault.call = EngineCall::kReadCollection;
  fault.times = 1000;
  fault.skip = 6;
  world_.engine.Add(fault);
  const auto restored = world_.Restore(group_);
  world_.engine.ClearFaults();
  ASSERT_FALSE(restored.ok());
  const std::string target = "docs__" + group_.value();
  if (world_.engine.Now().FindCollection(target) != nullptr) {
    EXPECT_THAT(restored.error().hint(), HasSubstr("point the aliases"));
    EXPECT_EQ(world_.engine.Ids(target).size(), 200U);
  }
  EXPECT_EQ(world_.engine.Ids("docs").size(), 200U);
}

/// Every call to the cluster fails once: afterwards the restore is whole, or the live collection is
/// as it was and nothing half-filled is read by anybody.
TEST_F(RestoreOpTest, AFailureOfAnyCallNeverHurtsTheLiveCollection) {
  const std::uint64_t before = world_.engine.calls();
  ASSERT_TRUE(world_.Restore(group_, As("probe")).ok());
  const std::uint64_t calls = world_.engine.calls() - before;
  ASSERT_GT(calls, 10U);
  ASSERT_TRUE(world_.engine.DropCollection({}, "probe").ok());
  std::size_t whole = 0;
  for (std::uint64_t n = 0; n < calls; ++n) {
    CallFault fault;
    fault.skip = static_cast<int>(n);
    world_.engine.Add(fault);
    const auto restored = world_.Restore(group_, As("copy"));
    EXPECT_EQ(world_.engine.Ids("docs").size(), 200U) << "call " << n;
    const bool there = world_.engine.ReadCollection({}, "copy").ok();
    const bool says_so = restored.ok() || restored.error().message().find(
                                              "is restored and verified") != std::string::npos;
    EXPECT_EQ(there, says_so) << "call " << n;
    if (there) {
      ++whole;
      EXPECT_EQ(world_.engine.Ids("copy").size(), 200U) << "call " << n;
      ASSERT_TRUE(world_.engine.DropCollection({}, "copy").ok());
    }
  }
  EXPECT_GT(whole, 0U);
}

}  // namespace
}  // namespace holdfast
