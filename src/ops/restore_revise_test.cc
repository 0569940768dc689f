// A restore whose target loses a peer on the way.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "ops/restore_op.h"
#include "ops/test_world.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;
using testing::ScriptedCollection;

const PeerId kLost(103);

/// Three peers and a group of 'docs': 4 shards, 120 points; the collection is gone.
struct Lost {
  OpsWorld world;
  GroupId group;

  explicit Lost(std::uint32_t replicas) {
    ScriptedCollection config;
    config.shards = 4;
    config.replication_factor = replicas;
    world.engine.AddCollection("docs", config);
    world.engine.Fill("docs", 0, 120);
    const auto outcome = world.Backup();
    EXPECT_TRUE(outcome.ok()) << outcome.error().ToString();
    group = outcome->manifest.id;
    EXPECT_TRUE(world.engine.DropCollection({}, "docs").ok());
  }
};

TEST(RestoreReviseTest, APeerThatDiesAtAnyCallIsPlannedAround) {
  int planned_around = 0;
  for (std::uint64_t number = 1;; ++number) {
    SCOPED_TRACE("dies before call " + std::to_string(number));
    Lost lost(2);
    bool died = false;
    lost.world.engine.BeforeCall(lost.world.engine.calls() + number, [&] {
      lost.world.engine.KillPeer(kLost);
      died = true;
    });
    const auto restored = lost.world.Restore(lost.group);
    if (!died) break;
    ASSERT_TRUE(restored.ok()) << restored.error().ToString();
    EXPECT_EQ(lost.world.engine.Ids("docs").size(), 120U);
    const auto now = lost.world.engine.ReadCollection({}, "docs");
    ASSERT_TRUE(now.ok());
    bool on_lost = false;
    for (const Shard& shard : now->shards) {
      for (const Replica& replica : shard.replicas) on_lost |= replica.peer == kLost;
    }
    // A peer that dies once everything is verified keeps what it has.
    planned_around += on_lost ? 0 : 1;
  }
  EXPECT_GT(planned_around, 20);
}

/// The servers may take an empty one of theirs, which nobody has sent anything to, as its source.
TEST(RestoreReviseTest, AReplicaThatIsMadeAnewMeanwhileGetsItsImageAgain) {
  int hurt = 0;
  for (std::uint64_t number = 1;; ++number) {
    SCOPED_TRACE("before call " + std::to_string(number));
    Lost lost(2);
    testing::ScriptedEngine& engine = lost.world.engine;
    bool reached = false;
    engine.BeforeCall(engine.calls() + number, [&] {
      reached = true;
      const Topology now = engine.Now();
      const Collection* const docs = now.FindCollection("docs");
      if (docs == nullptr) return;
      for (const Shard& shard : docs->shards) {
        for (const Replica& one : shard.replicas) {
          const ReplicaRef replica{.peer = one.peer, .collection = "docs", .shard = shard.id};
          const std::size_t before = engine.Content(replica).size();
          if (before == 0 || !engine.LoseReplica(replica)) continue;
          engine.RecoverReplica(replica);
          hurt += engine.Content(replica).size() < before ? 1 : 0;
        }
      }
    });
    const auto restored = lost.world.Restore(lost.group);
    if (!reached) break;
    ASSERT_TRUE(restored.ok()) << restored.error().ToString();
    const Topology now = engine.Now();
    for (const Shard& shard : now.FindCollection("docs")->shards) {
      ASSERT_EQ(shard.replicas.size(), 2U);
      EXPECT_EQ(
          engine.Content({.peer = shard.replicas[0].peer, .collection = "docs", .shard = shard.id}),
          engine.Content(
              {.peer = shard.replicas[1].peer, .collection = "docs", .shard = shard.id}));
    }
    EXPECT_EQ(engine.Ids("docs").size(), 120U);
  }
  EXPECT_GT(hurt, 0);
}

TEST(RestoreReviseTest, WhatThePeersThatAreLeftCannotTakeIsRefusedAndRemoved) {
  Lost lost(3);
  lost.world.engine.BeforeCall(lost.world.engine.calls() + 12,
                               [&] { lost.world.engine.KillPeer(kLost); });
  const auto refused = lost.world.Restore(lost.group);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(), HasSubstr("2 of 3 replicas"));
  EXPECT_THAT(refused.error().hint(), HasSubstr("--allow-consolidation"));
  EXPECT_EQ(lost.world.engine.ReadCollection({}, "docs").error().code(), ErrorCode::kNotFound);

  RestoreRequest request;
  request.allow_consolidation = true;
  const auto restored = lost.world.Restore(lost.group, request);
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
  EXPECT_FALSE(restored->given_up.empty());
}

}  // namespace
}  // namespace holdfast
