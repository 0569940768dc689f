// Evens out bytes between peers once every collection is even in itself. Pure; for this module.

#pragma once

#include <cstdint>
#include <vector>

#include "plan/placement.h"

namespace holdfast {

struct LevelledCollection {
  std::uint64_t shard_bytes = 0;
  std::vector<ShardPlacement> shards;
};

/// Moves replicas from the fullest peers to the emptiest until no peer holds more than kLevelSlack
/// of the mean, or no move makes it better: collections of one shard each are all even in
/// themselves on one peer. No collection becomes less even, no zone rule is broken that was kept,
/// no peer is filled beyond its room. Every shard counts with a fixed size beside its bytes, so
/// that empty ones are spread too. Done again it does nothing.
void LevelPeers(const std::vector<PeerRoom>& peers, std::uint32_t receives_at_once,
                std::vector<LevelledCollection>& collections);

}  // namespace holdfast
