#include "plan/restore_places.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/size.h"

namespace holdfast {
namespace {

std::uint32_t MostReplicas(const Collection& collection) {
  std::size_t most = 0;
  for (const Shard& shard : collection.shards) most = std::max(most, shard.replicas.size());
  return static_cast<std::uint32_t>(most);
}

std::size_t DistinctPeers(const Collection& collection) {
  std::set<PeerId> peers;
  for (const Shard& shard : collection.shards) {
    for (const Replica& replica : shard.replicas) peers.insert(replica.peer);
  }
  return peers.size();
}

}  // namespace

Status RestorePlacer::FindPeers(bool begun) {
  std::map<PeerId, std::uint64_t> held;
  for (const Collection& collection : target_.collections) {
    for (const Shard& shard : collection.shards) {
      for (const Replica& replica : shard.replicas) held[replica.peer] += ReplicaBytes(collection);
    }
  }
  for (const Peer& peer : target_.peers) {
    if (!peer.answers) {
      findings_.warnings.push_back(FormatPeer(peer.id) + " does not answer (" + peer.trouble +
                                   "): it gets nothing");
      continue;
    }
    const PeerLimits limits = LimitsOf(request_.limits, peer.id);
    if (limits.draining) {
      findings_.warnings.push_back(FormatPeer(peer.id) + " is being emptied: it gets nothing");
      continue;
    }
    if (std::ranges::find(request_.avoid, peer.id) != request_.avoid.end()) continue;
    usable_.push_back(RoomOf(peer, limits, held[peer.id]));
  }
  return Consolidate(begun);
}

/// Leaves the one peer that is to get everything.
Status RestorePlacer::Consolidate(bool begun) {
  if (request_.layout != RestoreLayout::kConsolidate) return {};
  if (!request_.consolidate_on) {
    return Error(ErrorCode::kInvalidArgument, "consolidate onto which peer?",
                 "write --layout consolidate=PEER; `holdfast topology` lists them");
  }
  const PeerId only = *request_.consolidate_on;
  std::erase_if(usable_, [&](const PeerRoom& room) { return room.peer != only; });
  if (usable_.empty()) {
    return Error(ErrorCode::kFailedPrecondition,
                 FormatPeer(only) + ", which is to get everything, cannot be used",
                 "`holdfast topology` lists the peers that answer");
  }
  if (!target_.collections.empty() && !request_.accept_crowding && !begun) {
    findings_.Problem("the target is in use (" + std::to_string(target_.collections.size()) +
                          " collections), and everything would go to one of its peers",
                      "pass --yes and --allow-consolidation if that is meant");
  }
  return {};
}

bool RestorePlacer::Uses(PeerId peer) const {
  return std::ranges::find(usable_, peer, &PeerRoom::peer) != usable_.end();
}

void RestorePlacer::Place(std::vector<CollectionPlan>& plans, bool stay) {
  if (usable_.empty()) {
    findings_.Problem("no peer of the target can be used", "`holdfast topology` shows why");
    return;
  }
  Placer placer(usable_, request_.receives_at_once);
  for (CollectionPlan& plan : plans) {
    const CollectionRecord& record = records_.at(plan.source);
    const std::uint32_t had = std::max<std::uint32_t>(1, record.collection.replication_factor);
    plan.replication_factor = std::min(had, static_cast<std::uint32_t>(usable_.size()));
    plan.tar_bytes = 0;
    for (const ShardImage& image : record.shards) plan.tar_bytes += image.tar_bytes;
    placer.Add(Demands(record, plan, stay), stay || request_.layout == RestoreLayout::kSame);
  }
  for (std::size_t i = 0; i < plans.size(); ++i) {
    plans[i].shards = placer.PlacementsOf(i);
    CheckConsolidation(records_.at(plans[i].source), plans[i]);
  }
  CheckRoom(placer, plans);
  for (CollectionPlan& plan : plans) {
    if (plan.copy_shards == 0) continue;
    // They stood for what the server will do, as far as room and crowding go.
    plan.shards.clear();
    plan.place_on.clear();
    for (const PeerRoom& room : usable_) plan.place_on.push_back(room.peer);
  }
}

/// Shards that are not there yet, all of a size.
std::vector<ShardDemand> RestorePlacer::NewShards(const CollectionPlan& plan) {
  const std::size_t number = plan.copy_shards * std::max<std::size_t>(1, plan.keys.size());
  std::vector<ShardDemand> demands;
  for (std::size_t i = 0; i < number; ++i) {
    demands.push_back({.shard = ShardId(static_cast<std::uint32_t>(i)),
                       .bytes = plan.tar_bytes / number,
                       .had = {},
                       .replicas = plan.replication_factor});
  }
  return demands;
}

std::vector<ShardDemand> RestorePlacer::Demands(const CollectionRecord& record,
                                                const CollectionPlan& plan, bool stay) const {
  if (plan.copy_shards != 0) return NewShards(plan);
  std::vector<ShardDemand> demands;
  for (const ShardImage& image : record.shards) {
    ShardDemand demand{.shard = image.shard,
                       .bytes = image.tar_bytes,
                       .had = {},
                       .replicas = plan.replication_factor};
    const auto planned = std::ranges::find(plan.shards, image.shard, &ShardPlacement::shard);
    const Shard* const shard = record.collection.FindShard(image.shard);
    if (stay && planned != plan.shards.end()) {
      demand.had = planned->peers;
    } else if (shard != nullptr) {
      for (const Replica& replica : shard->replicas) demand.had.push_back(replica.peer);
    }
    demands.push_back(std::move(demand));
  }
  return demands;
}

/// Free space is not in the servers' API: what was told refuses, what was estimated warns.
void RestorePlacer::CheckRoom(const Placer& placer, const std::vector<CollectionPlan>& plans) {
  for (const RoomLack& lack : placer.Lacks()) {
    std::string text = FormatPeer(lack.peer) + " would need " + FormatSize(lack.needed) +
                       " of disk while it is being filled, and has ";
    if (lack.estimated) {
      findings_.warnings.push_back(text + "an estimated " + FormatSize(lack.free) +
                                   " (size of its disk less what it holds)");
      continue;
    }
    findings_.Problem(
        text + FormatSize(lack.free),
        "restore fewer collections, add peers or space, or correct disk_free of the peer");
  }
  CheckMemory(plans);
}

void RestorePlacer::CheckMemory(const std::vector<CollectionPlan>& plans) {
  std::map<PeerId, std::uint64_t> memory;
  for (const CollectionPlan& plan : plans) {
    for (const ShardPlacement& placement : plan.shards) {
      std::uint64_t bytes = plan.tar_bytes / plan.shards.size();
      if (plan.copy_shards == 0) {
        const auto& images = records_.at(plan.source).shards;
        bytes = std::ranges::find(images, placement.shard, &ShardImage::shard)->tar_bytes;
      }
      for (const PeerId peer : placement.peers) memory[peer] += bytes;
    }
  }
  for (const auto& [peer, limits] : request_.limits) {
    if (!limits.memory_free || memory[peer] <= *limits.memory_free) continue;
    findings_.warnings.push_back(FormatPeer(peer) + " gets images of " + FormatSize(memory[peer]) +
                                 " and has " + FormatSize(*limits.memory_free) +
                                 " of memory: enough only if vectors are kept on disk");
  }
}

void RestorePlacer::CheckConsolidation(const CollectionRecord& record, const CollectionPlan& plan) {
  std::vector<std::string> reasons;
  const std::uint32_t configured = record.collection.replication_factor;
  const std::string fewer = "'" + plan.source + "' is restored with " +
                            std::to_string(plan.replication_factor) + " of " +
                            std::to_string(configured) + " replicas, as only " +
                            std::to_string(usable_.size()) + " peers can be used";
  if (plan.replication_factor < std::min(configured, MostReplicas(record.collection))) {
    reasons.push_back(fewer);
  } else if (plan.replication_factor < configured) {
    findings_.warnings.push_back(fewer + "; it had no more when it was backed up");
  }
  std::map<PeerId, std::size_t> held;
  for (const ShardPlacement& placement : plan.shards) {
    for (const PeerId peer : placement.peers) ++held[peer];
  }
  const bool had_several = DistinctPeers(record.collection) > 1;
  if (plan.shards.size() > 1 && held.size() == 1 && had_several) {
    reasons.push_back("all shards of '" + plan.source + "' share one peer");
  }
  const std::size_t usable = usable_.size();
  const std::size_t share = (plan.shards.size() * plan.replication_factor + usable - 1) / usable;
  for (const auto& [peer, count] : held) {
    if (count <= share + 1) continue;
    std::string reason =
        FormatPeer(peer) + " holds " + std::to_string(count) + " shards of '" + plan.source + "'";
    for (const PeerRoom& room : usable_) {
      const bool told = room.free_bytes && !room.estimated;
      if (!told || (held.contains(room.peer) && held[room.peer] >= share)) continue;
      reason += ", as " + FormatPeer(room.peer) + " has " + FormatSize(*room.free_bytes) +
                " of disk for them";
    }
    reasons.push_back(std::move(reason));
  }
  for (std::string& reason : reasons) {
    if (request_.allow_consolidation) {
      findings_.given_up.push_back(reason +
                                   "; to undo it when peers are back: `holdfast rebalance`");
    } else {
      findings_.Problem(std::move(reason), "add peers, or pass --allow-consolidation to accept it");
    }
  }
}

}  // namespace holdfast
