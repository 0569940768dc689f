#include "plan/rebalance_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "testing/plan_cluster.h"

namespace holdfast {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::Hold;
using ::testing::IsEmpty;
using testing::Layout;
using ::testing::SizeIs;

std::vector<std::string> Texts(const RebalancePlan& plan) {
  std::vector<std::string> texts;
  for (const RebalanceStep& step : plan.steps) {
    texts.push_back(std::string(RebalanceActionName(step.action)) + " " +
                    std::to_string(step.shard.value()) + ": " + std::to_string(step.from.value()) +
                    ">" + std::to_string(step.to.value()));
  }
  return texts;
}

/// The layout after the steps, or a failure where one of them cannot be done.
std::map<ShardId, std::set<PeerId>> Carried(const Collection& collection, const RebalancePlan& plan,
                                            const std::set<PeerId>& silent) {
  std::map<ShardId, std::set<PeerId>> there;
  for (const Shard& shard : collection.shards) {
    for (const Replica& replica : shard.replicas) there[shard.id].insert(replica.peer);
  }
  for (const RebalanceStep& step : plan.steps) {
    if (step.collection != collection.name) continue;
    std::set<PeerId>& peers = there[step.shard];
    EXPECT_TRUE(peers.contains(step.from));
    const auto active = [&] {
      return std::ranges::count_if(peers, [&](PeerId peer) { return !silent.contains(peer); });
    };
    const auto before = active();
    if (step.action != RebalanceAction::kDrop) {
      EXPECT_FALSE(silent.contains(step.from));
      EXPECT_FALSE(peers.contains(step.to));
      peers.insert(step.to);
    }
    if (step.action != RebalanceAction::kReplicate) peers.erase(step.from);
    if (step.action != RebalanceAction::kDrop) {
      EXPECT_GE(active(), before);
    }
    EXPECT_GE(active(), 1);
  }
  return there;
}

TEST(RebalancePlan, AnEvenLayoutNeedsNothing) {
  Topology topology = testing::ClusterOf(3);
  Hold(topology, "docs", {{1, 2}, {2, 3}, {1, 3}}, 2);
  const auto plan = PlanRebalance(topology, {});
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_THAT(plan->steps, IsEmpty());
}

TEST(RebalancePlan, ShardsOnOnePeerSpreadOverANewOneWithTheLeastMoves) {
  Topology topology = testing::ClusterOf(2);
  Hold(topology, "docs", {{1}, {1}, {1}, {1}});
  const auto plan = PlanRebalance(topology, {});
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->steps, SizeIs(2));
  for (const RebalanceStep& step : plan->steps) {
    EXPECT_EQ(step.action, RebalanceAction::kMove);
    EXPECT_EQ(step.to, PeerId(2));
    EXPECT_EQ(step.bytes, 100U);
  }
  EXPECT_EQ(plan->bytes, 200U);
}

TEST(RebalancePlan, MissingReplicasAreMadeAgain) {
  Topology topology = testing::ClusterOf(2);
  Hold(topology, "docs", {{1}, {2}}, 2);
  const auto plan = PlanRebalance(topology, {});
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(Texts(*plan), ::testing::ElementsAre("replicate 0: 1>2", "replicate 1: 2>1"));
}

TEST(RebalancePlan, ADrainingPeerIsEmptied) {
  Topology topology = testing::ClusterOf(3);
  Hold(topology, "docs", {{1}, {2}, {3}});
  RebalanceRequest request;
  request.limits[PeerId(3)].draining = true;
  const auto plan = PlanRebalance(topology, request);
  ASSERT_TRUE(plan.ok());
  ASSERT_THAT(plan->steps, SizeIs(1));
  EXPECT_EQ(plan->steps[0].from, PeerId(3));
}

TEST(RebalancePlan, ADrainingPeerKeepsWhatNobodyElseCanTake) {
  Topology topology = testing::ClusterOf(3);
  const Collection& docs = Hold(topology, "docs", {{1, 2, 3}, {1, 2, 3}}, 3);
  RebalanceRequest request;
  request.limits[PeerId(3)].draining = true;
  const auto plan = PlanRebalance(topology, request);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_THAT(Texts(*plan), IsEmpty());
  EXPECT_THAT(plan->left, ::testing::Contains(HasSubstr("peer 3 keeps 2 shards of 'docs'")));
  // One replica too many may go.
  topology.collections[0].replication_factor = 2;
  const auto less = PlanRebalance(topology, request);
  ASSERT_TRUE(less.ok());
  for (const auto& [shard, on] : Carried(docs, *less, {})) {
    EXPECT_THAT(on, ::testing::ElementsAre(PeerId(1), PeerId(2)));
  }
}

TEST(RebalancePlan, APeerThatWasEmptiedIsToldToBeRemovable) {
  Topology topology = testing::ClusterOf(4);
  Hold(topology, "docs", {{1}, {2}});
  Hold(topology, "other", {{1, 3}}, 1);
  topology.peers[3].answers = false;
  RebalanceRequest request;
  request.collections = {"docs"};
  request.limits[PeerId(3)].draining = true;
  request.without = {PeerId(2), PeerId(4)};
  const auto plan = PlanRebalance(topology, request);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  // Peer 2 answers and is used; peer 3 holds a replica of a collection that was not asked for.
  EXPECT_THAT(plan->removable, ::testing::ElementsAre(AllOf(
                                   HasSubstr("peer 4 holds nothing any more"),
                                   ::testing::EndsWith("DELETE /cluster/peer/4?force=true"))));
  EXPECT_EQ(RebalancePlanFromJson(RebalancePlanToJson(*plan))->removable, plan->removable);

  topology.collections[1].shards[0].replicas.pop_back();
  const auto both = PlanRebalance(topology, request);
  ASSERT_TRUE(both.ok()) << both.error().ToString();
  EXPECT_THAT(both->removable, ::testing::ElementsAre(::testing::EndsWith("DELETE /cluster/peer/3"),
                                                      HasSubstr("peer 4")));
  EXPECT_THAT(PlanRebalance(topology, {}).error().message(), HasSubstr("does not answer"));
}

TEST(RebalancePlan, ASilentPeerIsWaitedForUnlessItIsGivenUp) {
  Topology topology = testing::ClusterOf(3);
  Hold(topology, "docs", {{1, 3}, {2, 3}}, 2);
  topology.peers[2].answers = false;
  const auto refused = PlanRebalance(topology, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().hint(), HasSubstr("--without"));

  RebalanceRequest request;
  request.without = {PeerId(3)};
  const auto plan = PlanRebalance(topology, request);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_THAT(Texts(*plan), ::testing::ElementsAre("replicate 0: 1>2", "drop 0: 3>3",
                                                   "replicate 1: 2>1", "drop 1: 3>3"));
}

TEST(RebalancePlan, OnTheWayASilentPeerKeepsWhatItHolds) {
  Topology topology = testing::ClusterOf(3);
  Hold(topology, "docs", {{1}, {1}, {1}, {1}, {3}}, 1);
  Hold(topology, "twice", {{1, 3}, {1, 2}}, 2);
  topology.peers[2].answers = false;
  RebalanceRequest request;
  request.leave_silent = true;
  const auto plan = PlanRebalance(topology, request);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_THAT(Texts(*plan), ::testing::ElementsAre("move 2: 1>2", "move 3: 1>2"));
  EXPECT_THAT(plan->left,
              ::testing::ElementsAre(HasSubstr("peer 3"), HasSubstr("shard 4 of 'docs'")));

  request.wanted = *WantedLayoutFromJson(
      R"({"collections":{"docs":[{"shard":0,"peers":[3]},{"shard":1,"peers":[2]}]}})");
  const auto exactly = PlanRebalance(topology, request);
  ASSERT_TRUE(exactly.ok()) << exactly.error().ToString();
  EXPECT_THAT(Texts(*exactly), ::testing::ElementsAre("move 1: 1>2"));
}

TEST(RebalancePlan, OnlyWhoIsThereAndSilentCanBeGivenUp) {
  Topology topology = testing::ClusterOf(2);
  Hold(topology, "docs", {{1}, {2}});
  RebalanceRequest request;
  request.without = {PeerId(2)};
  const auto plan = PlanRebalance(topology, request);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_THAT(plan->steps, IsEmpty());
  EXPECT_THAT(plan->warnings, ::testing::ElementsAre(HasSubstr("peer 2 answers")));
  request.without = {PeerId(9)};
  EXPECT_EQ(PlanRebalance(topology, request).error().code(), ErrorCode::kInvalidArgument);
}

TEST(RebalancePlan, FewerPeersThanReplicasIsLessThanWhatIsWanted) {
  Topology topology = testing::ClusterOf(2);
  Hold(topology, "docs", {{1}}, 3);
  const auto plan = PlanRebalance(topology, {});
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(Texts(*plan), ::testing::ElementsAre("replicate 0: 1>2"));
  EXPECT_THAT(plan->left, ::testing::ElementsAre(HasSubstr("3 replicas")));
}

TEST(RebalancePlan, CollectionsOfOneShardSpreadToo) {
  Topology topology = testing::ClusterOf(3);
  for (int i = 0; i < 9; ++i) Hold(topology, "c" + std::to_string(i), {{1}});
  const auto plan = PlanRebalance(topology, {});
  ASSERT_TRUE(plan.ok());
  std::map<PeerId, int> gets;
  for (const RebalanceStep& step : plan->steps) ++gets[step.to];
  EXPECT_EQ(gets, (std::map<PeerId, int>{{PeerId(2), 3}, {PeerId(3), 3}}));
}

TEST(RebalancePlan, BytesAreEvenedOutWithFewMoves) {
  Topology topology = testing::ClusterOf(2);
  Hold(topology, "large", {{1}}).bytes = 100'000'000;
  for (int i = 0; i < 4; ++i) {
    Hold(topology, "small" + std::to_string(i), {{1}}).bytes = 25'000'000;
  }
  Hold(topology, "tiny", {{2}}).bytes = 10;
  const auto plan = PlanRebalance(topology, {});
  ASSERT_TRUE(plan.ok());
  ASSERT_THAT(plan->steps, SizeIs(1));
  EXPECT_EQ(plan->steps[0].collection, "large");

  // A zone rule that is kept stays kept: the only emptier peer is in the other replica's zone.
  Topology zones = testing::ClusterOf(3);
  Hold(zones, "docs", {{1, 2}}, 2).bytes = 100'000'000;
  Hold(zones, "more", {{1, 2}}, 2).bytes = 100'000'000;
  RebalanceRequest request;
  request.limits[PeerId(1)].zone = "a";
  request.limits[PeerId(2)].zone = "b";
  request.limits[PeerId(3)].zone = "b";
  const auto kept = PlanRebalance(zones, request);
  ASSERT_TRUE(kept.ok());
  EXPECT_THAT(Texts(*kept), ::testing::ElementsAre("move 0: 2>3"));
}

TEST(RebalancePlan, WhatIsNotAtRestIsLeftAlone) {
  Topology topology = testing::ClusterOf(2);
  Collection& docs = Hold(topology, "docs", {{1, 2}}, 2);
  const auto code = [&] {
    const auto plan = PlanRebalance(topology, {});
    return plan.ok() ? std::string("planned") : std::string(ErrorCodeName(plan.error().code()));
  };
  docs.shards[0].replicas[1].state = ReplicaState::kPartial;
  EXPECT_EQ(code(), "busy");
  docs.shards[0].replicas[1].state = ReplicaState::kManualRecovery;
  EXPECT_EQ(code(), "failed_precondition");
  docs.shards[0].replicas[1].state = ReplicaState::kActive;
  docs.resharding = "up";
  EXPECT_EQ(code(), "busy");
  topology.peers[1].answers = false;
  EXPECT_EQ(code(), "failed_precondition") << "what passes is not all that stands against it";
  topology.peers[1].answers = true;
  docs.resharding.clear();
  docs.transfers.push_back({.shard = ShardId(0),
                            .to_shard = {},
                            .from = PeerId(1),
                            .to = PeerId(2),
                            .method = "snapshot",
                            .comment = {}});
  EXPECT_EQ(code(), "busy");
  RebalanceRequest other;
  other.collections = {"nope"};
  EXPECT_EQ(PlanRebalance(topology, other).error().code(), ErrorCode::kNotFound);
}

TEST(RebalancePlan, AWantedLayoutIsFollowedExactly) {
  Topology topology = testing::ClusterOf(3);
  Hold(topology, "docs", {{1, 2}, {2, 3}}, 2);
  Hold(topology, "other", {{1}, {1}, {1}});
  RebalanceRequest request;
  const auto wanted = WantedLayoutFromJson(
      R"({"collections":{"docs":[{"shard":0,"peers":[3]},{"shard":1,"peers":[1,2]}]}})");
  ASSERT_TRUE(wanted.ok());
  request.wanted = *wanted;
  const auto plan = PlanRebalance(topology, request);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_THAT(Texts(*plan), ::testing::ElementsAre("move 0: 1>3", "drop 0: 2>2", "move 1: 3>1"));

  for (const char* bad :
       {R"({"collections":{"nope":[]}})", R"({"collections":{"docs":[{"shard":9,"peers":[1]}]}})",
        R"({"collections":{"docs":[{"shard":0,"peers":[7]}]}})"}) {
    request.wanted = *WantedLayoutFromJson(bad);
    EXPECT_EQ(PlanRebalance(topology, request).error().code(), ErrorCode::kInvalidArgument) << bad;
  }
  for (const char* bad : {"", "[]", R"({"collections":[]})", R"({"collections":{"docs":{}}})",
                          R"({"collections":{"docs":[{"shard":0,"peers":["1"]}]}})"}) {
    EXPECT_EQ(WantedLayoutFromJson(bad).error().code(), ErrorCode::kInvalidArgument) << bad;
  }
}

/// What is said of a wanted layout of 'docs', without its curly brackets.
std::string Refusal(const Topology& topology, RebalanceRequest request, const std::string& text) {
  auto wanted = WantedLayoutFromJson(R"({"collections":{)" + text + "}}");
  if (!wanted.ok()) return wanted.error().ToString();
  request.wanted = *std::move(wanted);
  const auto plan = PlanRebalance(topology, request);
  return plan.ok() ? "planned" : plan.error().ToString();
}

TEST(RebalancePlan, AWantedLayoutIsReadStrictlyAndSaysWhatIsWrong) {
  Topology topology = testing::ClusterOf(4);
  Hold(topology, "docs", {{1}, {2}}).aliases = {"live"};
  topology.peers[3].answers = false;
  topology.peers[3].trouble = "connection refused";
  RebalanceRequest request;
  request.limits[PeerId(3)].draining = true;
  request.without = {PeerId(4)};
  const auto refusal = [&](const std::string& text) { return Refusal(topology, request, text); };
  EXPECT_EQ(refusal(R"("docs":[{"shard":0,"peers":[2]}])"), "planned");
  EXPECT_THAT(refusal(R"("docs":[{"shard":0,"peers":[2]},{"shard":0,"peers":[1]}])"),
              HasSubstr("names shard 0 of 'docs' twice"));
  EXPECT_THAT(refusal(R"("docs":[{"shard":0,"peers":[2],"zone":"a"}])"),
              AllOf(HasSubstr("shard 0 of 'docs'"), HasSubstr("'zone'")));
  EXPECT_THAT(refusal(R"("docs":[{"shard":1,"peers":[]}])"),
              HasSubstr("names no peer for shard 1 of 'docs'"));
  EXPECT_THAT(refusal(R"("docs":[{"shard":1}])"), HasSubstr("shard 1 of 'docs' has no list"));
  EXPECT_THAT(refusal(R"("docs":[{"shard":1,"peers":[1,1]}])"),
              HasSubstr("names peer 1 twice for shard 1 of 'docs'"));
  EXPECT_THAT(refusal(R"("docs":[{"shard":1,"peers":[9]}])"),
              HasSubstr("peer 9, and the cluster has no such peer"));
  EXPECT_THAT(refusal(R"("docs":[{"shard":1,"peers":[3]}])"),
              HasSubstr("peer 3, which is draining"));
  EXPECT_THAT(refusal(R"("docs":[{"shard":1,"peers":[4]}])"),
              HasSubstr("peer 4, which does not answer (connection refused)"));
  EXPECT_THAT(refusal(R"("docs":[{"shard":1,"peers":["1"]}])"),
              AllOf(HasSubstr("shard 1 of 'docs'"), HasSubstr("number")));
  EXPECT_THAT(refusal(R"("live":[{"shard":1,"peers":[1]}])"),
              AllOf(HasSubstr("alias"), HasSubstr("name it by its own name 'docs'")));
  EXPECT_THAT(WantedLayoutFromJson(R"({"collections":{},"zone":"a"})").error().ToString(),
              HasSubstr("'zone'"));
}

TEST(RebalancePlan, APeerThatIsToldToBeFullIsNotFilled) {
  Topology topology = testing::ClusterOf(2);
  Hold(topology, "docs", {{1}, {1}, {1}, {1}});
  RebalanceRequest request;
  request.limits[PeerId(2)].disk_free = 150;
  const auto plan = PlanRebalance(topology, request);
  // One shard of 100 needs 200 while it arrives, so none may go there.
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_THAT(plan->steps, IsEmpty());
}

/// Chosen shard by shard they end with four replicas on one peer (found by the layout simulation).
TEST(RebalancePlan, ShardsWithDifferentNumbersOfReplicasAreSpreadEvenlyToo) {
  Topology topology = testing::ClusterOf(6);
  Hold(topology, "a", {{2, 3, 6}}, 3).bytes = 2188;
  Hold(topology, "b", {{4}}).bytes = 2136;
  Hold(topology, "docs", {{1, 2, 3, 4}, {1, 3, 4}, {1, 3}, {4, 5, 6}, {2, 4, 5, 6}, {5}}).bytes =
      2591;
  Hold(topology, "empty", {{3}, {2}, {6}, {5}}).bytes = 0;
  Hold(topology, "small", {{1, 2}, {5, 6}}, 2).bytes = 363;
  Hold(topology, "x", {{1}}).bytes = 2114;
  const auto plan = PlanRebalance(topology, {});
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  std::map<PeerId, std::size_t> held;
  for (const auto& [shard, on] : Carried(*topology.FindCollection("docs"), *plan, {})) {
    for (const PeerId peer : on) ++held[peer];
  }
  for (const auto& [peer, count] : held) EXPECT_LE(count, 3U) << peer.value();
}

TEST(RebalancePlan, AFullPeerThatGetsNothingIsNoReasonToRefuse) {
  Topology topology = testing::ClusterOf(2);
  Hold(topology, "docs", {{1}, {2}});
  RebalanceRequest request;
  request.limits[PeerId(1)].disk_free = 1;
  request.limits[PeerId(2)].disk_free = 1;
  const auto plan = PlanRebalance(topology, request);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_THAT(plan->steps, IsEmpty());
}

TEST(RebalancePlanProperty, TheStepsLeadToAnEvenLayoutWithoutLosingAReplica) {
  for (std::uint32_t seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    const std::uint32_t peers = 1 + below(7);
    Topology topology = testing::ClusterOf(peers);
    RebalanceRequest request;
    std::set<PeerId> silent;
    std::set<PeerId> usable;
    for (Peer& peer : topology.peers) {
      // Peer 1 stays, so that there is always one.
      if (peer.id != PeerId(1) && below(6) == 0) {
        peer.answers = false;
        request.without.push_back(peer.id);
        silent.insert(peer.id);
      } else if (peer.id != PeerId(1) && below(6) == 0) {
        request.limits[peer.id].draining = true;
      } else {
        usable.insert(peer.id);
      }
    }
    Layout layout;
    for (std::uint32_t s = 0; s < 1 + below(10); ++s) {
      std::set<std::uint64_t> on = {1};
      for (std::uint32_t r = 0; r < below(3); ++r) on.insert(1 + below(peers));
      layout.emplace_back(on.begin(), on.end());
    }
    Collection& docs = Hold(topology, "docs", layout, 1 + below(3));
    const auto plan = PlanRebalance(topology, request);
    ASSERT_TRUE(plan.ok()) << plan.error().ToString();
    const auto after = Carried(docs, *plan, silent);
    std::map<PeerId, std::size_t> held;
    std::size_t all = 0;
    for (const auto& [shard, on] : after) {
      ASSERT_GE(on.size(), std::min<std::size_t>(docs.replication_factor, usable.size()));
      for (const PeerId peer : on) {
        // Where too few are usable, a peer keeps what it is to give away.
        const bool stays =
            topology.FindPeer(peer)->answers && usable.size() < docs.replication_factor;
        ASSERT_TRUE(usable.contains(peer) || stays);
        ++held[peer];
        ++all;
      }
    }
    const std::size_t share = (all + usable.size() - 1) / usable.size();
    for (const auto& [peer, count] : held) ASSERT_LE(count, share);
    // Done again, nothing is left to do.
    Topology later = topology;
    for (Shard& shard : later.collections[0].shards) {
      shard.replicas.clear();
      for (const PeerId peer : after.at(shard.id)) {
        shard.replicas.push_back({.peer = peer, .state = ReplicaState::kActive});
      }
    }
    const auto again = PlanRebalance(later, request);
    ASSERT_TRUE(again.ok());
    ASSERT_THAT(Texts(*again), IsEmpty());
    const auto read = RebalancePlanFromJson(RebalancePlanToJson(*plan));
    ASSERT_TRUE(read.ok());
    ASSERT_EQ(Texts(*read), Texts(*plan));
  }
}

TEST(RebalancePlanProperty, ManyCollectionsBecomeEvenAndStaySo) {
  for (std::uint32_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    const std::uint32_t peers = 2 + below(6);
    Topology topology = testing::ClusterOf(peers);
    RebalanceRequest request;
    for (const Peer& peer : topology.peers) {
      if (seed % 3 == 0)
        request.limits[peer.id].zone = std::string(1, static_cast<char>('a' + below(3)));
    }
    const std::uint32_t crowded = 1 + below(peers);
    for (std::uint32_t c = 0; c < 1 + below(12); ++c) {
      Layout layout;
      const std::uint32_t replicas = 1 + below(2);
      for (std::uint32_t s = 0; s < 1 + below(4); ++s) {
        std::set<std::uint64_t> on;
        while (on.size() < replicas) on.insert(1 + below(on.empty() ? crowded : peers));
        layout.emplace_back(on.begin(), on.end());
      }
      Hold(topology, "c" + std::to_string(c), layout, replicas).bytes =
          std::uint64_t{below(100)} * below(3) * 1'000'000;
    }
    const auto plan = PlanRebalance(topology, request);
    ASSERT_TRUE(plan.ok()) << plan.error().ToString();
    Topology later = topology;
    for (Collection& collection : later.collections) {
      const auto after = Carried(collection, *plan, {});
      for (Shard& shard : collection.shards) {
        std::vector<Replica> replicas;
        for (const PeerId peer : after.at(shard.id)) {
          replicas.push_back({.peer = peer, .state = ReplicaState::kActive});
        }
        ASSERT_EQ(replicas.size(), shard.replicas.size());
        shard.replicas = std::move(replicas);
      }
    }
    const auto again = PlanRebalance(later, request);
    ASSERT_TRUE(again.ok());
    ASSERT_THAT(Texts(*again), IsEmpty());
  }
}

TEST(RebalancePlan, ALargeClusterThatGrewIsSpread) {
  Topology topology = testing::ClusterOf(100);
  for (int c = 0; c < 1000; ++c) {
    Layout layout;
    for (std::uint64_t s = 0; s < 10; ++s) {
      const std::uint64_t first = 1 + (static_cast<std::uint64_t>(c) * 7 + s) % 60;
      layout.push_back({first, 1 + first % 60});
    }
    Hold(topology, "c" + std::to_string(c), layout, 2).bytes =
        static_cast<std::uint64_t>(c % 17) * 10'000'000;
  }
  const auto plan = PlanRebalance(topology, {});
  ASSERT_TRUE(plan.ok());
  std::map<PeerId, std::uint64_t> load;
  std::uint64_t all = 0;
  for (const Collection& collection : topology.collections) {
    for (const auto& [shard, on] : Carried(collection, *plan, {})) {
      for (const PeerId peer : on) {
        load[peer] += collection.bytes / 10;
        all += collection.bytes / 10;
      }
    }
  }
  for (const auto& [peer, bytes] : load) {
    EXPECT_LT(static_cast<double>(bytes), 1.2 * static_cast<double>(all) / 100) << peer.value();
  }
}

}  // namespace
}  // namespace holdfast
