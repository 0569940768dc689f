// How many replicas a collection has, and how many of them are of use. Pure.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "model/topology.h"

namespace holdfast {

struct ReplicaCounts {
  std::size_t all = 0;
  /// Active ones on peers that answer.
  std::size_t active = 0;
  /// On peers that do not answer or are not there, whatever state they are listed with.
  std::size_t silent = 0;
  /// How many more the replication factor asks for, over all shards.
  std::size_t missing = 0;
  /// Of the shard that has least; the replication factor where there is no shard.
  std::size_t least = 0;
};

ReplicaCounts CountReplicas(const Topology& topology, const Collection& collection);

/// "2", or "1 of 2" where some shard has another number than the replication factor.
std::string FormatReplicaNumber(const ReplicaCounts& counts, std::uint32_t replication_factor);

/// "all replicas active", or "3 of 4 replicas active, 1 on peers that do not answer, 2 missing".
std::string FormatReplicaState(const ReplicaCounts& counts);

}  // namespace holdfast
