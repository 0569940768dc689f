#include "plan/backup_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/random.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A cluster of `peers` peers (ids 1..) that all answer, and its replicas' facts.
struct Cluster {
  explicit Cluster(std::uint64_t peers) {
    topology.engine = "qdrant";
    for (std::uint64_t id = 1; id <= peers; ++id) {
      topology.peers.push_back({.id = PeerId(id),
                                .p2p_uri = "",
                                .url = "http://peer",
                                .answers = true,
                                .version = "1.18.3",
                                .trouble = ""});
    }
  }

  Collection& Add(const std::string& name, std::vector<std::vector<std::uint64_t>> placement) {
    Collection collection;
    collection.name = name;
    collection.uuid = "uuid-" + name;
    collection.create_json = collection.finish_json = "{}";
    std::uint32_t id = 0;
    for (const auto& peers : placement) {
      Shard shard{.id = ShardId(id++), .key = std::nullopt, .replicas = {}};
      for (const std::uint64_t peer : peers) {
        shard.replicas.push_back({.peer = PeerId(peer), .state = ReplicaState::kActive});
        facts[{name, shard.id, PeerId(peer)}] = {.idle = true, .points = 100, .bytes = 1000};
      }
      collection.shards.push_back(shard);
    }
    collection.shard_number = id;
    topology.collections.push_back(collection);
    return topology.collections.back();
  }

  Result<BackupPlan> Plan(const BackupRequest& request = {}) {
    return PlanBackup(topology, facts, parents, request);
  }

  Topology topology;
  std::map<ReplicaKey, ReplicaFacts> facts;
  std::map<ParentKey, ParentImage> parents;
};

BackupRequest Skipping() {
  BackupRequest request;
  request.skip_unhealthy = true;
  return request;
}
BackupRequest Only(const std::string& name) {
  BackupRequest request;
  request.collections = {name};
  return request;
}
BackupRequest AllowingOld() {
  BackupRequest request;
  request.allow_old = true;
  return request;
}

TEST(BackupPlanTest, AnEmptyClusterGivesAnEmptyPlan) {
  Cluster cluster(3);
  const auto plan = cluster.Plan();
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->waves, 0U);
  EXPECT_THAT(plan->steps, IsEmpty());
}

TEST(BackupPlanTest, SpreadsShardsOverPeers) {
  Cluster cluster(3);
  cluster.Add("docs", {{1, 2}, {1, 2}, {2, 3}, {2, 3}, {1, 3}, {1, 3}});
  const auto plan = cluster.Plan();
  ASSERT_TRUE(plan.ok());
  std::map<PeerId, int> load;
  for (const CaptureStep& step : plan->steps) ++load[step.sources.front()];
  EXPECT_THAT(
      load, ElementsAre(std::pair(PeerId(1), 2), std::pair(PeerId(2), 2), std::pair(PeerId(3), 2)));
}

TEST(BackupPlanTest, PrefersTheReplicaOfTheParentSoThatBlocksAreFoundAgain) {
  Cluster cluster(2);
  cluster.Add("docs", {{1, 2}});
  cluster.parents[{"uuid-docs", ShardId(0)}] = {.peer = PeerId(2), .tar_bytes = 777'777};
  const auto plan = cluster.Plan();
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->steps[0].sources, ElementsAre(PeerId(2), PeerId(1)));
  EXPECT_EQ(plan->steps[0].predicted_bytes, 777'777U);
}

TEST(BackupPlanTest, AnIdleReplicaComesBeforeTheParents) {
  Cluster cluster(2);
  cluster.Add("docs", {{1, 2}});
  cluster.parents[{"uuid-docs", ShardId(0)}] = {.peer = PeerId(2), .tar_bytes = 1};
  cluster.facts[{"docs", ShardId(0), PeerId(2)}].idle = false;
  EXPECT_THAT(cluster.Plan()->steps[0].sources, ElementsAre(PeerId(1), PeerId(2)));
}

TEST(BackupPlanTest, AReplicaThatLacksPointsComesLastAndIsReported) {
  Cluster cluster(2);
  cluster.Add("docs", {{1, 2}});
  cluster.facts[{"docs", ShardId(0), PeerId(1)}].points = 90;
  const auto plan = cluster.Plan();
  EXPECT_THAT(plan->steps[0].sources, ElementsAre(PeerId(2), PeerId(1)));
  EXPECT_THAT(plan->warnings, ElementsAre(HasSubstr("between 90 and 100")));
}

TEST(BackupPlanTest, ALoneActiveReplicaOnADeadPeerIsNotHealthy) {
  Cluster cluster(2);
  cluster.Add("docs", {{1}, {2}});
  cluster.topology.peers[1].answers = false;
  cluster.topology.peers[1].trouble = "connection refused";
  const auto plan = cluster.Plan();
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(plan.error().message(), HasSubstr("shard 1 has no healthy replica"));
  EXPECT_THAT(plan.error().message(), HasSubstr("connection refused"));
}

TEST(BackupPlanTest, SkipUnhealthyTakesTheRestAndNamesTheOthers) {
  Cluster cluster(2);
  cluster.Add("bad", {{2}});
  cluster.Add("good", {{1}});
  cluster.topology.peers[1].answers = false;
  const auto plan = cluster.Plan(Skipping());
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->collections, ElementsAre("good"));
  ASSERT_EQ(plan->skipped.size(), 1U);
  EXPECT_EQ(plan->skipped[0].name, "bad");
}

TEST(BackupPlanTest, RefusesWhileSomethingMoves) {
  Cluster cluster(2);
  cluster.Add("docs", {{1}}).resharding = "up to 2";
  EXPECT_THAT(cluster.Plan().error().message(), HasSubstr("resharding"));
  EXPECT_EQ(cluster.Plan().error().code(), ErrorCode::kBusy);
  Cluster other(2);
  other.Add("docs", {{1}}).transfers = {{.shard = ShardId(0),
                                         .to_shard = {},
                                         .from = PeerId(1),
                                         .to = PeerId(2),
                                         .method = "snapshot",
                                         .comment = ""}};
  EXPECT_THAT(other.Plan().error().message(), HasSubstr("transferred"));
}

TEST(BackupPlanTest, NamesAnUnknownCollectionAndAnOldVersion) {
  Cluster cluster(1);
  cluster.Add("docs", {{1}});
  EXPECT_EQ(cluster.Plan(Only("nope")).error().code(), ErrorCode::kNotFound);
  cluster.topology.peers[0].version = "1.16.3";
  EXPECT_EQ(cluster.Plan().error().code(), ErrorCode::kUnsupported);
  EXPECT_TRUE(cluster.Plan(AllowingOld()).ok());
}

TEST(BackupPlanTest, AWaveNeverSplitsACollection) {
  Cluster cluster(1);
  cluster.Add("a", {{1}, {1}, {1}});
  cluster.Add("b", {{1}, {1}});
  BackupRequest request;
  request.streams_per_peer_max = 4;
  const auto plan = cluster.Plan(request);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->waves, 2U);
  for (const CaptureStep& step : plan->steps)
    EXPECT_EQ(step.wave, step.collection == "a" ? 0U : 1U);
  request.streams_per_peer_max = 2;
  EXPECT_THAT(cluster.Plan(request).error().hint(), HasSubstr("one wave"));
}

TEST(BackupPlanTest, WhatOutgrowsTheSpoolIsStaged) {
  Cluster cluster(1);
  cluster.Add("docs", {{1}, {1}, {1}});
  cluster.facts[{"docs", ShardId(1), PeerId(1)}].bytes = 5000;
  BackupRequest request;
  request.spool_bytes_max = 2000;
  const auto plan = cluster.Plan(request);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->steps[0].mode, CaptureMode::kStream);
  EXPECT_EQ(plan->steps[1].mode, CaptureMode::kStaged);
  EXPECT_EQ(plan->steps[2].mode, CaptureMode::kStream);
  EXPECT_EQ(plan->waves, 1U);
  request.mode = ModeChoice::kStream;
  EXPECT_EQ(cluster.Plan(request).error().code(), ErrorCode::kFailedPrecondition);
}

TEST(BackupPlanTest, ComparesVersionsByNumber) {
  EXPECT_LT(CompareVersions("1.9.3", "1.17.0"), 0);
  EXPECT_EQ(CompareVersions("1.17.0-dev", "1.17.0"), 0);
  EXPECT_GT(CompareVersions("2.0.0", "1.18.3"), 0);
  EXPECT_LT(CompareVersions("", "1.17.0"), 0);
}

/// Over many random clusters: every shard of every taken collection exactly once, from a healthy
/// replica, limits kept, the same plan twice.
TEST(BackupPlanTest, HoldsItsRulesOverRandomClusters) {
  std::size_t planned = 0;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    Random random(seed);
    const auto peers = static_cast<std::uint64_t>(random.Between(1, 6));
    Cluster cluster(peers);
    for (Peer& peer : cluster.topology.peers) peer.answers = random.Between(0, 9) != 0;
    for (std::int64_t c = random.Between(0, 8); c > 0; --c) {
      std::vector<std::vector<std::uint64_t>> placement;
      for (std::int64_t s = random.Between(1, 6); s > 0; --s) {
        std::vector<std::uint64_t> on;
        for (std::uint64_t p = 1; p <= peers; ++p) {
          if (random.Between(0, 1) == 1) on.push_back(p);
        }
        placement.push_back(on);
      }
      cluster.Add("c" + std::to_string(c), placement);
    }
    std::ranges::sort(cluster.topology.collections, {}, &Collection::name);
    BackupRequest request;
    request.skip_unhealthy = true;
    request.streams_per_peer_max = 6;
    request.streams_max = 12;
    const auto plan = cluster.Plan(request);
    if (!plan.ok()) {
      EXPECT_FALSE(cluster.topology.collections.empty()) << seed;
      for (const Collection& collection : cluster.topology.collections) {
        EXPECT_FALSE(ObstaclesTo(cluster.topology, collection, cluster.facts).empty()) << seed;
      }
      continue;
    }
    ++planned;
    EXPECT_EQ(BackupPlanToJson(*plan), BackupPlanToJson(*cluster.Plan(request)));
    std::set<std::pair<std::string, ShardId>> taken;
    std::map<std::pair<std::uint32_t, PeerId>, std::uint32_t> load;
    std::map<std::string, std::uint32_t> wave_of;
    for (const CaptureStep& step : plan->steps) {
      EXPECT_TRUE(taken.insert({step.collection, step.shard}).second);
      ASSERT_FALSE(step.sources.empty());
      for (const PeerId peer : step.sources) {
        EXPECT_TRUE(cluster.topology.FindPeer(peer)->answers);
      }
      EXPECT_LE(++load[std::pair(step.wave, step.sources.front())], 6U);
      EXPECT_EQ(wave_of.emplace(step.collection, step.wave).first->second, step.wave);
    }
    std::size_t shards = 0;
    for (const std::string& name : plan->collections) {
      shards += cluster.topology.FindCollection(name)->shards.size();
    }
    EXPECT_EQ(taken.size(), shards);
    EXPECT_EQ(plan->collections.size() + plan->skipped.size(), cluster.topology.collections.size());
  }
  EXPECT_GT(planned, 200U);
}

TEST(BackupPlanTest, AGroupOfNothingIsRefusedThoughSkippingWasAskedFor) {
  Cluster cluster(1);
  cluster.Add("docs", {{1}});
  cluster.topology.peers[0].answers = false;
  const auto plan = cluster.Plan(Skipping());
  ASSERT_FALSE(plan.ok());
  EXPECT_THAT(plan.error().hint(), HasSubstr("nothing else is left"));
}

}  // namespace
}  // namespace holdfast
