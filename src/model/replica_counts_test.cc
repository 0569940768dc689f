#include "model/replica_counts.h"

#include <gtest/gtest.h>

#include "testing/plan_cluster.h"

namespace holdfast {
namespace {

using testing::ClusterOf;
using testing::Hold;

std::string Shown(const Topology& topology) {
  const Collection& docs = topology.collections.front();
  const ReplicaCounts counts = CountReplicas(topology, docs);
  return FormatReplicaNumber(counts, docs.replication_factor) + ": " + FormatReplicaState(counts);
}

TEST(ReplicaCounts, WhatIsAsItShouldBeIsShortlySaid) {
  Topology topology = ClusterOf(2);
  Hold(topology, "docs", {{1, 2}, {1, 2}}, 2);
  EXPECT_EQ(Shown(topology), "2: all replicas active");
}

TEST(ReplicaCounts, ShardsWithFewerReplicasThanWantedAreSeen) {
  Topology topology = ClusterOf(2);
  Hold(topology, "docs", {{1, 2}, {2}}, 2);
  EXPECT_EQ(Shown(topology), "1 of 2: 3 of 3 replicas active, 1 missing");
}

TEST(ReplicaCounts, AReplicaOnASilentPeerIsNotActiveWhateverTheOthersSay) {
  Topology topology = ClusterOf(3);
  Hold(topology, "docs", {{1, 3}, {2, 3}, {1, 2}}, 2).shards[2].replicas[1].state =
      ReplicaState::kDead;
  topology.peers[2].answers = false;
  EXPECT_EQ(Shown(topology), "2: 3 of 6 replicas active, 2 on peers that do not answer");
}

TEST(ReplicaCounts, MoreReplicasThanTheFactorAreNotMissing) {
  Topology topology = ClusterOf(3);
  Hold(topology, "docs", {{1, 2, 3}}, 2);
  EXPECT_EQ(Shown(topology), "3 of 2: all replicas active");
}

TEST(ReplicaCounts, ACollectionWithoutShardsHasNothingMissing) {
  Topology topology = ClusterOf(1);
  Hold(topology, "docs", {}, 2);
  EXPECT_EQ(Shown(topology), "2: all replicas active");
}

}  // namespace
}  // namespace holdfast
