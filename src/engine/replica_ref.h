// Names one copy of one shard.

#pragma once

#include <string>

#include "base/ids.h"

namespace holdfast {

/// One copy of one shard.
struct ReplicaRef {
  PeerId peer;
  std::string collection;
  ShardId shard;

  friend bool operator==(const ReplicaRef&, const ReplicaRef&) = default;
};

/// "shard 3 of 'docs' on peer 6106786298590253".
std::string Describe(const ReplicaRef& replica);

}  // namespace holdfast
