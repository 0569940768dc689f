// Choosing replicas of a simulated cluster.

#pragma once

#include <vector>

#include "engine/replica_ref.h"
#include "model/topology.h"

namespace holdfast::testing {

/// All replicas for which `wanted(shard, replica)` is true.
template <class F>
std::vector<ReplicaRef> ReplicasWhere(const Topology& now, F wanted) {
  std::vector<ReplicaRef> found;
  for (const Collection& collection : now.collections) {
    for (const Shard& shard : collection.shards) {
      for (const Replica& replica : shard.replicas) {
        if (!wanted(shard, replica)) continue;
        found.push_back({.peer = replica.peer, .collection = collection.name, .shard = shard.id});
      }
    }
  }
  return found;
}

}  // namespace holdfast::testing
