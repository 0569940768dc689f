#include "ops/backup_op.h"

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
using testing::StreamFault;
using testing::StreamMoment;

ScriptedCollection Shards(std::uint32_t shards, std::uint32_t replicas) {
  ScriptedCollection config;
  config.shards = shards;
  config.replication_factor = replicas;
  return config;
}

ReplicaRef On(std::uint64_t peer, const std::string& collection, std::uint32_t shard) {
  return {.peer = PeerId(peer), .collection = collection, .shard = ShardId(shard)};
}

/// Counts what a fence is asked.
class CountingFence final : public Fence {
 public:
  Status Freeze(const CallContext&) override {
    ++frozen;
    return freeze_result;
  }
  Status Thaw(const CallContext&) override {
    ++thawed;
    if (on_thaw) on_thaw();
    return thaw_result;
  }
  int frozen = 0;
  int thawed = 0;
  Status freeze_result;
  Status thaw_result;
  std::function<void()> on_thaw;
};

TEST(BackupOpTest, AnEmptyClusterMakesAnEmptyGroup) {
  OpsWorld world;
  const auto outcome = world.Backup();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(world.Groups(), 1U);
  EXPECT_EQ(outcome->manifest.points, 0U);
}

TEST(BackupOpTest, TakesEveryShardOfEveryCollectionAtOneCut) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(6, 2));
  world.engine.AddCollection("tiny", Shards(1, 1));
  world.engine.Fill("docs", 0, 300);
  world.engine.SetAlias("live", "docs");
  const auto outcome = world.Backup();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  const GroupManifest& group = outcome->manifest;
  EXPECT_EQ(group.consistency, Consistency::kWindow);
  EXPECT_EQ(group.waves, 1U);
  EXPECT_EQ(group.points, 300U);
  ASSERT_EQ(group.collections.size(), 2U);
  EXPECT_EQ(group.collections[0].shards, 6U);
  EXPECT_THAT(group.collections[0].aliases, ElementsAre("live"));
  EXPECT_FALSE(outcome->below_asked);
  EXPECT_GT(world.engine.open_streams_max(), 1U);
  world.ExpectValidRepository();
}

TEST(BackupOpTest, ASecondBackupOfTheSameDataStoresAlmostNothing) {
  OpsWorld world;
  ScriptedCollection config = Shards(2, 1);
  config.ballast_bytes = 2 * kMiB;
  world.engine.AddCollection("docs", config);
  world.engine.Fill("docs", 0, 200);
  const auto first = world.Backup();
  ASSERT_TRUE(first.ok()) << first.error().ToString();
  const auto second = world.Backup();
  ASSERT_TRUE(second.ok()) << second.error().ToString();
  EXPECT_LT(second->manifest.bytes_new, first->manifest.bytes_new / 20);
}

TEST(BackupOpTest, AShortStreamIsTakenAgain) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(1, 1));
  world.engine.Fill("docs", 0, 50);
  StreamFault fault;
  fault.kind = StreamFault::Kind::kShortAtEntry;
  world.engine.Add(fault);
  const auto outcome = world.Backup();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(world.engine.unused_faults(), 0);
  EXPECT_THAT(outcome->manifest.warnings, Contains(HasSubstr("taken again")));
  EXPECT_EQ(outcome->manifest.points, 50U);
}

TEST(BackupOpTest, AReplicaThatNeverGivesAWholeStreamIsReplacedByAnother) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(1, 2));
  world.engine.Fill("docs", 0, 50);
  StreamFault fault;
  fault.kind = StreamFault::Kind::kReset;
  fault.peer = PeerId(101);
  fault.times = 100;
  world.engine.Add(fault);
  const auto outcome = world.Backup();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->manifest.points, 50U);
}

TEST(BackupOpTest, WhenNoReplicaGivesAWholeStreamNothingIsListed) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(2, 1));
  world.engine.Fill("docs", 0, 50);
  StreamFault fault;
  fault.shard = ShardId(1);
  fault.times = 100;
  world.engine.Add(fault);
  const auto outcome = world.Backup();
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message(), HasSubstr("shard 1 of 'docs'"));
  EXPECT_EQ(world.Groups(), 0U);
}

TEST(BackupOpTest, DeletesDuringAnOptimizationAreNotLost) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(1, 1));
  world.engine.Fill("docs", 0, 100);
  const ReplicaRef replica = On(101, "docs", 0);
  world.engine.StartOptimization(replica);
  for (int id = 0; id < 10; ++id) world.engine.Delete("docs", std::to_string(id));
  const auto outcome = world.Backup();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->manifest.points, 90U);
  EXPECT_TRUE(world.engine.stored_snapshots().empty()) << "a staged snapshot was left behind";
  ASSERT_TRUE(world.engine.DropCollection({}, "docs").ok());
  const auto restored = world.Restore(outcome->manifest.id);
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
  EXPECT_EQ(world.engine.Ids("docs").size(), 90U);
  EXPECT_FALSE(world.engine.Payload("docs", "5").has_value());
}

TEST(BackupOpTest, ASuspectPeerThatFailsToStoreItsSnapshotIsReplacedByAnother) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(1, 2));
  world.engine.Fill("docs", 0, 100);
  const auto docs = world.engine.ReadCollection({}, "docs");
  ASSERT_TRUE(docs.ok());
  for (const Replica& replica : docs->shards[0].replicas) {
    world.engine.StartOptimization(On(replica.peer.value(), "docs", 0));
  }
  for (int id = 0; id < 10; ++id) world.engine.Delete("docs", std::to_string(id));
  CallFault dies;
  dies.call = EngineCall::kCreateSnapshot;
  dies.error = Error(ErrorCode::kAborted, "the connection was closed without an answer");
  world.engine.Add(dies);
  const auto outcome = world.Backup();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->manifest.points, 90U);
  EXPECT_EQ(world.engine.unused_faults(), 0);
}

TEST(BackupOpTest, InStreamModeLostDeletesBecomeTombstones) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(1, 1));
  world.engine.Fill("docs", 0, 100);
  world.engine.StartOptimization(On(101, "docs", 0));
  for (int id = 0; id < 10; ++id) world.engine.Delete("docs", std::to_string(id));
  BackupOptions options = world.Options();
  options.request.mode = options.capture.mode = ModeChoice::kStream;
  const auto outcome = world.Backup(options);
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->manifest.points, 90U);
  ASSERT_TRUE(world.engine.DropCollection({}, "docs").ok());
  ASSERT_TRUE(world.Restore(outcome->manifest.id).ok());
  EXPECT_EQ(world.engine.Ids("docs").size(), 90U);
}

TEST(BackupOpTest, InStreamModeWithWritersASuspectShardFailsTheBackup) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(1, 1));
  world.engine.Fill("docs", 0, 100);
  world.engine.StartOptimization(On(101, "docs", 0));
  int next = 1000;
  world.engine.OnMoment([&](StreamMoment moment, const ReplicaRef&) {
    if (moment == StreamMoment::kFirstByte) world.engine.Upsert("docs", std::to_string(next++));
  });
  BackupOptions options = world.Options();
  options.request.mode = options.capture.mode = ModeChoice::kStream;
  const auto outcome = world.Backup(options);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(world.Groups(), 0U);
}

TEST(BackupOpTest, WritersAreReleasedAfterTheLastFirstByteAndBeforeTheDrainEnds) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(3, 1));
  world.engine.Fill("docs", 0, 60);
  CountingFence fence;
  BackupOptions options = world.Options();
  options.fence = &fence;
  const auto outcome = world.Backup(options);
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->manifest.consistency, Consistency::kFenced);
  EXPECT_EQ(fence.frozen, 1);
  EXPECT_EQ(fence.thawed, 1);
}

TEST(BackupOpTest, AFenceThatDoesNotHoldIsTriedAgainAndThenSaid) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(1, 1));
  CountingFence fence;
  fence.thaw_result = Error(ErrorCode::kDeadlineExceeded, "the time limit passed");
  BackupOptions options = world.Options();
  options.fence = &fence;
  const auto outcome = world.Backup(options);
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->manifest.consistency, Consistency::kWindow);
  EXPECT_TRUE(outcome->below_asked);
  EXPECT_EQ(fence.frozen, kWaveAttempts);
  EXPECT_EQ(fence.thawed, kWaveAttempts);
}

TEST(BackupOpTest, AFreezeThatFailsEndsTheBackupAndNothingIsListed) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(1, 1));
  CountingFence fence;
  fence.freeze_result = Error(ErrorCode::kFailedPrecondition, "hook says no");
  BackupOptions options = world.Options();
  options.fence = &fence;
  const auto outcome = world.Backup(options);
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message(), HasSubstr("hook says no"));
  EXPECT_EQ(fence.thawed, 0);
  EXPECT_EQ(world.Groups(), 0U);
}

TEST(BackupOpTest, ACollectionThatChangesMeanwhileIsTakenAgain) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(2, 1));
  world.engine.Fill("docs", 0, 50);
  bool once = false;
  world.engine.OnMoment([&](StreamMoment moment, const ReplicaRef&) {
    if (moment != StreamMoment::kFirstByte || once) return;
    once = true;
    world.engine.SetAlias("new-alias", "docs");
  });
  const auto outcome = world.Backup();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_THAT(outcome->manifest.collections[0].aliases, ElementsAre("new-alias"));
  EXPECT_THAT(world.notes.warnings, Contains(HasSubstr("aliases changed")));
}

TEST(BackupOpTest, ASkewAboveTheLimitFailsAfterThreeAttempts) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(3, 1));
  BackupOptions options = world.Options();
  options.max_skew = Duration(1);
  const auto outcome = world.Backup(options);
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message(), HasSubstr("3 attempts"));
  EXPECT_EQ(world.Groups(), 0U);
}

TEST(BackupOpTest, WaitsForATransferToEndWhenAsked) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(1, 2));
  world.engine.ShowTransfer("docs", {.shard = ShardId(0),
                                     .to_shard = {},
                                     .from = PeerId(101),
                                     .to = PeerId(103),
                                     .method = "snapshot",
                                     .comment = ""});
  const auto refused = world.Backup();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kBusy);
  world.engine.BeforeCall(world.engine.calls() + 20, [&] { world.engine.FinishTransfers("docs"); });
  BackupOptions options = world.Options();
  options.wait = std::chrono::minutes(10);
  EXPECT_TRUE(world.Backup(options).ok());
}

TEST(BackupOpTest, MissingRightsAreNamedBeforeAnythingIsWritten) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(1, 1));
  world.engine.SetForbidden(Purpose::kBackup, true);
  const auto outcome = world.Backup();
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(world.engine.calls(EngineCall::kStreamShard), 0U);
}

TEST(BackupOpTest, ASnapshotThatCouldNotBeDeletedIsRemovedByTheNextBackup) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(2, 1));
  world.engine.Fill("docs", 0, 20);
  CallFault fault;
  fault.call = EngineCall::kDeleteSnapshot;
  fault.times = 2;
  world.engine.Add(fault);
  BackupOptions options = world.Options();
  options.request.mode = options.capture.mode = ModeChoice::kStaged;
  const auto first = world.Backup(options);
  ASSERT_TRUE(first.ok()) << first.error().ToString();
  EXPECT_THAT(first->manifest.warnings, Contains(HasSubstr("may be left on peer")));
  EXPECT_EQ(world.engine.stored_snapshots().size(), 2U);
  ASSERT_TRUE(world.Backup().ok());
  EXPECT_TRUE(world.engine.stored_snapshots().empty());
}

TEST(BackupOpTest, APeerThatDiesInMidStreamIsReplacedByAnother) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(3, 2));
  world.engine.Fill("docs", 0, 60);
  bool once = false;
  world.engine.OnMoment([&](StreamMoment moment, const ReplicaRef& replica) {
    if (moment != StreamMoment::kFirstByte || once) return;
    once = true;
    world.engine.KillPeer(replica.peer);
  });
  const auto outcome = world.Backup();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->manifest.points, 60U);
}

/// A snapshot with a log is cut while points come and go; two shards share it.
TEST(BackupOpTest, WhatCannotBeCountedDoesNotFailTheRestore) {
  OpsWorld world;
  world.engine.AddCollection("docs", Shards(2, 1));
  world.engine.Fill("docs", 0, 100);
  const Topology now = world.engine.Now();
  for (const Shard& shard : now.collections[0].shards) {
    world.engine.StartOptimization({shard.replicas[0].peer, "docs", shard.id});
  }
  int next = 1000;
  world.engine.OnMoment([&](StreamMoment, const ReplicaRef&) {
    for (int i = 0; i < 4; ++i) world.engine.Delete("docs", std::to_string(next - 2 - i));
    for (int i = 0; i < 5; ++i) world.engine.Upsert("docs", std::to_string(next++));
  });
  const auto outcome = world.Backup();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  world.engine.OnMoment(nullptr);
  ASSERT_TRUE(world.engine.DropCollection({}, "docs").ok());
  const auto restored = world.Restore(outcome->manifest.id);
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
}

/// Every call to the cluster fails once, by construction: afterwards either a whole group exists or
/// none, and nothing is left on the nodes.
TEST(BackupOpTest, AFailureOfAnyCallLeavesNothingHalfDone) {
  std::uint64_t calls = 0;
  {
    OpsWorld world;
    world.engine.AddCollection("docs", Shards(2, 2));
    world.engine.Fill("docs", 0, 40);
    ASSERT_TRUE(world.Backup().ok());
    calls = world.engine.calls();
  }
  ASSERT_GT(calls, 20U);
  std::size_t complete = 0;
  for (std::uint64_t n = 0; n < calls; ++n) {
    OpsWorld world;
    world.engine.AddCollection("docs", Shards(2, 2));
    world.engine.Fill("docs", 0, 40);
    CallFault fault;
    fault.skip = static_cast<int>(n);
    world.engine.Add(fault);
    const auto outcome = world.Backup();
    EXPECT_EQ(world.Groups(), outcome.ok() ? 1U : 0U) << "call " << n;
    EXPECT_TRUE(world.engine.stored_snapshots().empty()) << "call " << n;
    if (!outcome.ok()) continue;
    ++complete;
    EXPECT_EQ(outcome->manifest.points, 40U) << "call " << n;
    world.ExpectValidRepository();
  }
  EXPECT_GT(complete, 0U);
}

}  // namespace
}  // namespace holdfast
