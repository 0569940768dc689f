// Clusters as plain values, for tests of plans.

#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "model/topology.h"

namespace holdfast::testing {

/// Shard -> the peers that have it.
using Layout = std::vector<std::vector<std::uint64_t>>;

/// Peers 1 to `peers`, all of which answer.
inline Topology ClusterOf(std::uint64_t peers) {
  Topology topology;
  topology.engine = "qdrant";
  for (std::uint64_t id = 1; id <= peers; ++id) {
    Peer peer;
    peer.id = PeerId(id);
    peer.answers = true;
    peer.version = "1.18.3";
    topology.peers.push_back(std::move(peer));
  }
  return topology;
}

/// Gives it a collection whose replicas are all Active; 100 bytes a shard.
inline Collection& Hold(Topology& topology, const std::string& name, const Layout& layout,
                        std::uint32_t replication = 1) {
  Collection collection;
  collection.name = name;
  collection.replication_factor = replication;
  collection.bytes = 100 * layout.size();
  for (std::size_t i = 0; i < layout.size(); ++i) {
    Shard shard;
    shard.id = ShardId(static_cast<std::uint32_t>(i));
    for (const std::uint64_t peer : layout[i]) {
      shard.replicas.push_back({.peer = PeerId(peer), .state = ReplicaState::kActive});
    }
    collection.shards.push_back(std::move(shard));
  }
  topology.collections.push_back(std::move(collection));
  return topology.collections.back();
}

}  // namespace holdfast::testing
