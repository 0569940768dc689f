#include "model/replica_counts.h"

#include <algorithm>

namespace holdfast {

ReplicaCounts CountReplicas(const Topology& topology, const Collection& collection) {
  ReplicaCounts counts;
  const std::size_t wanted = collection.replication_factor;
  counts.least = collection.shards.empty() ? wanted : collection.shards.front().replicas.size();
  for (const Shard& shard : collection.shards) {
    const std::size_t has = shard.replicas.size();
    counts.all += has;
    counts.missing += wanted - std::min(wanted, has);
    counts.least = std::min(counts.least, has);
    for (const Replica& replica : shard.replicas) {
      const Peer* const peer = topology.FindPeer(replica.peer);
      if (peer == nullptr || !peer->answers) {
        ++counts.silent;
      } else if (replica.state == ReplicaState::kActive) {
        ++counts.active;
      }
    }
  }
  return counts;
}

std::string FormatReplicaNumber(const ReplicaCounts& counts, std::uint32_t replication_factor) {
  const std::string wanted = std::to_string(replication_factor);
  return counts.least == replication_factor ? wanted
                                            : std::to_string(counts.least) + " of " + wanted;
}

std::string FormatReplicaState(const ReplicaCounts& counts) {
  if (counts.active == counts.all && counts.missing == 0) return "all replicas active";
  std::string text =
      std::to_string(counts.active) + " of " + std::to_string(counts.all) + " replicas active";
  if (counts.silent > 0) {
    text += ", " + std::to_string(counts.silent) + " on peers that do not answer";
  }
  if (counts.missing > 0) text += ", " + std::to_string(counts.missing) + " missing";
  return text;
}

}  // namespace holdfast
