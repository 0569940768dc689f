#include "plan/native_reshard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "testing/plan_cluster.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

Collection& Hold(Topology& topology, const testing::Layout& layout) {
  Collection& docs = testing::Hold(topology, "docs", layout);
  docs.uuid = "u";
  return docs;
}

NativeReshardRequest To(std::uint32_t shards) {
  NativeReshardRequest request;
  request.collection = "docs";
  request.shards = shards;
  return request;
}

std::string Refusal(const Topology& topology, const NativeReshardRequest& request) {
  const auto plan = PlanNativeReshard(topology, request);
  EXPECT_FALSE(plan.ok());
  if (plan.ok()) return {};
  EXPECT_EQ(plan.error().code(), ErrorCode::kFailedPrecondition);
  return plan.error().message();
}

TEST(NativeReshardPlanTest, NewShardsGoWhereTheCollectionHasLeast) {
  Topology topology = testing::ClusterOf(4);
  Hold(topology, {{1, 2}, {1, 2}});
  const auto plan = PlanNativeReshard(topology, To(4));
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  ASSERT_THAT(plan->rounds, SizeIs(2));
  EXPECT_THAT(plan->rounds[0].peers, ElementsAre(PeerId(3), PeerId(4)));
  EXPECT_THAT(plan->rounds[1].peers, ElementsAre(PeerId(3), PeerId(4)));
  EXPECT_EQ(plan->rounds[1].from, 3U);
  EXPECT_EQ(plan->rounds[1].to, 4U);
}

TEST(NativeReshardPlanTest, ReplicasGoToDifferentZones) {
  Topology topology = testing::ClusterOf(4);
  Hold(topology, {{1, 2}});
  NativeReshardRequest request = To(2);
  for (const std::uint64_t peer : {1, 2, 3, 4}) {
    request.limits[PeerId(peer)].zone = peer == 1 ? "b" : "a";
  }
  const auto plan = PlanNativeReshard(topology, request);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_THAT(plan->rounds[0].peers, ElementsAre(PeerId(3), PeerId(1)));
}

TEST(NativeReshardPlanTest, DrainingAndSilentPeersGetNothing) {
  Topology topology = testing::ClusterOf(3);
  Hold(topology, {{1}});
  topology.peers[1].answers = false;
  NativeReshardRequest request = To(3);
  request.limits[PeerId(3)].draining = true;
  const auto plan = PlanNativeReshard(topology, request);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  for (const ReshardRound& round : plan->rounds) EXPECT_THAT(round.peers, ElementsAre(PeerId(1)));
}

TEST(NativeReshardPlanTest, AKnownLackOfRoomRefuses) {
  Topology topology = testing::ClusterOf(1);
  Hold(topology, {{1}}).bytes = 1000;
  NativeReshardRequest request = To(2);
  request.limits[PeerId(1)].disk_free = 10;
  EXPECT_THAT(Refusal(topology, request), HasSubstr("disk"));
}

TEST(NativeReshardPlanTest, EverythingInTheWayIsToldAtOnce) {
  Topology topology = testing::ClusterOf(2);
  Collection& docs = Hold(topology, {{1}, {2}});
  docs.shards[0].replicas[0].state = ReplicaState::kPartial;
  docs.transfers.push_back({});
  docs.resharding = "resharding up, shard 2";
  topology.peers[1].answers = false;
  NativeReshardRequest request = To(3);
  request.allowed = false;
  const std::string text = Refusal(topology, request);
  EXPECT_THAT(text, HasSubstr("does not allow"));
  EXPECT_THAT(text, HasSubstr("Partial"));
  EXPECT_THAT(text, HasSubstr("does not answer"));
  EXPECT_THAT(text, HasSubstr("transferred"));
  EXPECT_THAT(text, HasSubstr("resharding up"));
}

TEST(NativeReshardPlanTest, SeveralKeysNeedAFence) {
  Topology topology = testing::ClusterOf(2);
  Collection& docs = Hold(topology, {{1}, {2}});
  docs.custom_sharding = true;
  docs.shards[0].key = ShardKey("a");
  docs.shards[1].key = ShardKey("b");
  docs.shard_keys = {ShardKey("a"), ShardKey("b")};
  EXPECT_THAT(Refusal(topology, To(2)), HasSubstr("loses new"));
  docs.shards.push_back(docs.shards[1]);
  docs.shards.back().id = ShardId(2);
  EXPECT_THAT(Refusal(topology, To(2)), HasSubstr("loses new"));
  EXPECT_TRUE(PlanNativeReshard(topology, To(1)).ok());
  docs.shards.pop_back();
  NativeReshardRequest request = To(2);
  request.fenced = true;
  const auto plan = PlanNativeReshard(topology, request);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  ASSERT_THAT(plan->rounds, SizeIs(2));
  EXPECT_EQ(plan->rounds[0].key, ShardKey("a"));
  EXPECT_EQ(plan->rounds[1].key, ShardKey("b"));
  EXPECT_THAT(plan->warnings, SizeIs(2));
}

TEST(NativeReshardPlanTest, APlanSurvivesItsJson) {
  Topology topology = testing::ClusterOf(3);
  Collection& docs = Hold(topology, {{1}});
  docs.custom_sharding = true;
  docs.shards[0].key = ShardKey(std::uint64_t{7});
  docs.shard_keys = {ShardKey(std::uint64_t{7})};
  const auto plan = PlanNativeReshard(topology, To(3));
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  const auto back = NativeReshardPlanFromJson(NativeReshardPlanToJson(*plan));
  ASSERT_TRUE(back.ok()) << back.error().ToString();
  EXPECT_EQ(back->rounds, plan->rounds);
  EXPECT_EQ(back->uuid, "u");
  EXPECT_FALSE(NativeReshardPlanFromJson(R"({"collection":"docs"})").ok());
}

TEST(NativeReshardPlanTest, RandomClustersGetTheWantedNumberAndNoReplicaTwice) {
  std::mt19937_64 chance(3);
  const auto upto = [&](std::uint64_t n) { return 1 + chance() % n; };
  for (int i = 0; i < 3000; ++i) {
    const std::uint64_t peers = upto(7);
    Topology topology = testing::ClusterOf(peers);
    const std::uint64_t replicas = upto(peers);
    std::vector<std::vector<std::uint64_t>> layout(upto(6));
    for (auto& shard : layout) {
      for (std::uint64_t r = 0, first = chance() % peers; r < replicas; ++r) {
        shard.push_back(1 + (first + r) % peers);
      }
    }
    Hold(topology, layout);
    const auto wanted = static_cast<std::uint32_t>(upto(8));
    const auto plan = PlanNativeReshard(topology, To(wanted));
    ASSERT_TRUE(plan.ok()) << plan.error().ToString();
    std::uint32_t now = static_cast<std::uint32_t>(layout.size());
    for (const ReshardRound& round : plan->rounds) {
      ASSERT_EQ(round.from, now);
      now = round.to;
      const bool up = round.direction == ReshardDirection::kUp;
      ASSERT_EQ(round.to, up ? round.from + 1 : round.from - 1);
      ASSERT_EQ(round.peers.size(), up ? replicas : 0);
      ASSERT_EQ(std::set<PeerId>(round.peers.begin(), round.peers.end()).size(),
                round.peers.size());
    }
    ASSERT_EQ(now, wanted);
  }
}

}  // namespace
}  // namespace holdfast
