#include "plan/shard_placer.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "base/assert.h"

namespace holdfast {
namespace {

std::vector<PeerId> PeersOf(const Collection& collection, ShardId id) {
  std::vector<PeerId> peers;
  const auto shard = std::ranges::find(collection.shards, id, &Shard::id);
  if (shard == collection.shards.end()) return peers;
  for (const Replica& replica : shard->replicas) peers.push_back(replica.peer);
  return peers;
}

}  // namespace

void ShardPlacer::AddLoad(PeerId peer, std::uint64_t bytes) {
  if (const auto found = load_.find(peer); found != load_.end()) found->second += bytes;
}

std::size_t ShardPlacer::Share(std::size_t shards, std::uint32_t replicas) const {
  return (shards * replicas + load_.size() - 1) / load_.size();
}

std::vector<ShardPlacement> ShardPlacer::Place(const CollectionRecord& record,
                                               std::uint32_t replicas) {
  HF_ASSERT(replicas > 0 && replicas <= load_.size());
  Room room;
  for (const auto& [peer, bytes] : load_) room[peer] = Share(record.shards.size(), replicas);
  std::vector<ShardPlacement> placements;
  for (std::size_t i = 0; i < record.shards.size(); ++i) {
    const ShardImage& image = record.shards[i];
    const std::size_t later = record.shards.size() - i - 1;
    std::vector<PeerId> chosen;
    for (const PeerId peer : PeersOf(record.collection, image.shard)) {
      if (chosen.size() == replicas) break;
      const auto left = room.find(peer);
      if (left == room.end() || left->second == 0) continue;
      --left->second;
      chosen.push_back(peer);
      if (CanComplete(room, chosen, replicas, later)) continue;
      ++left->second;
      chosen.pop_back();
    }
    while (chosen.size() < replicas) {
      chosen.push_back(LeastLoaded(chosen, room));
      --room.at(chosen.back());
    }
    for (const PeerId peer : chosen) load_[peer] += image.tar_bytes;
    std::ranges::sort(chosen);
    placements.push_back({.shard = image.shard, .peers = std::move(chosen)});
  }
  return placements;
}

/// Whether a shard that is on `taken` so far, and the `later` shards after it, can still get
/// `replicas` different peers each. It is best completed by the peers with most room. The shards
/// after it then fit exactly when all peers together take that many replicas, of which none takes
/// more than one of each shard.
bool ShardPlacer::CanComplete(const Room& room, const std::vector<PeerId>& taken,
                              std::size_t replicas, std::size_t later) {
  std::size_t takes = 0;
  std::vector<std::size_t> others;
  for (const auto& [peer, left] : room) {
    if (std::ranges::find(taken, peer) != taken.end()) {
      takes += std::min(left, later);
    } else {
      others.push_back(left);
    }
  }
  std::ranges::sort(others, std::greater());
  for (std::size_t i = 0; i < replicas - taken.size(); ++i) {
    if (others[i] == 0) return false;
    --others[i];
  }
  for (const std::size_t left : others) takes += std::min(left, later);
  return takes >= later * replicas;
}

/// The peer with most room, and of those the one with the fewest bytes.
PeerId ShardPlacer::LeastLoaded(const std::vector<PeerId>& taken, const Room& room) const {
  std::optional<PeerId> best;
  std::pair<std::size_t, std::uint64_t> best_room;
  for (const auto& [peer, bytes] : load_) {
    if (std::ranges::find(taken, peer) != taken.end()) continue;
    const std::pair<std::size_t, std::uint64_t> has{room.at(peer), ~bytes};
    if (best && has <= best_room) continue;
    best = peer;
    best_room = has;
  }
  HF_ASSERT(best.has_value() && best_room.first > 0);
  return *best;
}

}  // namespace holdfast
