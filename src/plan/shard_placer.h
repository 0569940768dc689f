// Chooses peers for the shards of restored collections. Pure; for this module.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "base/ids.h"
#include "model/group.h"
#include "plan/restore_plan.h"

namespace holdfast {

/// Spreads collections one after the other over the peers that may be used, and remembers how many
/// bytes that adds up to.
class ShardPlacer {
 public:
  void Use(PeerId peer) { load_.try_emplace(peer, 0); }
  /// Bytes that are there already; of no account for a peer that is not used.
  void AddLoad(PeerId peer, std::uint64_t bytes);

  bool Uses(PeerId peer) const { return load_.contains(peer); }
  std::size_t peers() const noexcept { return load_.size(); }
  /// Replicas that a peer holds of a collection when all peers hold about the same number.
  std::size_t Share(std::size_t shards, std::uint32_t replicas) const;

  /// Peers of every shard, each shard on `replicas` different ones (1 to peers()): those it had
  /// where they are still there and not crowded, else the least loaded ones. No peer gets more than
  /// its share.
  std::vector<ShardPlacement> Place(const CollectionRecord& record, std::uint32_t replicas);

 private:
  /// Replicas of the collection at work that each peer still takes.
  using Room = std::map<PeerId, std::size_t>;

  static bool CanComplete(const Room& room, const std::vector<PeerId>& taken, std::size_t replicas,
                          std::size_t later);
  PeerId LeastLoaded(const std::vector<PeerId>& taken, const Room& room) const;

  /// Bytes there or planned, of each peer that may be used.
  std::map<PeerId, std::uint64_t> load_;
};

}  // namespace holdfast
