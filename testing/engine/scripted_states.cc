// What becomes of replicas of the simulated cluster that fail, and how they come back.

#include <algorithm>
#include <vector>

#include "testing/engine/scripted_world.h"

namespace holdfast::testing {

bool ScriptedEngine::World::Write(SimCollection& collection, ShardId shard,
                                  const std::function<void(SimReplica&)>& apply) {
  const auto found = collection.shards.find(shard);
  // It was to be resharded into, and the first half of the write has ended that.
  if (found == collection.shards.end()) return true;
  bool applied = false;
  bool taken = false;
  std::vector<PeerId> failed;
  for (auto& [peer, replica] : found->second.replicas) {
    if (!TakesWrites(replica.state)) continue;
    if (!peers.at(peer).alive) {
      failed.push_back(peer);
      continue;
    }
    taken = taken || IsSource(replica.state);
    applied = true;
    apply(replica);
  }
  for (const PeerId peer : failed) {
    if (applied) TurnDead(collection, shard, peer);
  }
  return taken;
}

bool ScriptedEngine::World::TurnDead(SimCollection& collection, ShardId shard, PeerId peer) {
  const auto found = collection.shards.find(shard);
  if (found == collection.shards.end() || !found->second.replicas.contains(peer)) return false;
  // is_last_source_of_truth_replica in C/shards/replica_set/mod.rs.
  const auto is_active = [](const auto& entry) {
    return entry.second.state == ReplicaState::kActive ||
           entry.second.state == ReplicaState::kReshardingScaleDown;
  };
  const ReplicaState before = found->second.replicas.at(peer).state;
  const auto active = std::ranges::count_if(found->second.replicas, is_active);
  const bool last = active == 0 ? before == ReplicaState::kInitializing
                                : active == 1 && is_active(*found->second.replicas.find(peer));
  if (last) return false;
  const bool moving =
      before == ReplicaState::kResharding || before == ReplicaState::kReshardingScaleDown;
  if (collection.round && moving) {
    if (collection.round->stage != SimReshardStage::kMigrating) return false;
    AbortResharding(collection);
    if (!collection.shards.contains(shard)) return true;
  }
  SimReplica& replica = collection.shards.at(shard).replicas.at(peer);
  replica.state = ReplicaState::kDead;
  replica.next_state.reset();
  replica.dead_since = clock.Monotonic();
  AbortTransfers(collection, [&](const SimTransfer& transfer) {
    return transfer.shard == shard && (transfer.from == peer || transfer.to == peer);
  });
  return true;
}

void ScriptedEngine::World::Recover(SimCollection& collection, MonotonicTime now) {
  bool all_live = true;
  for (const auto& [id, shard] : collection.shards) {
    for (const auto& [peer, replica] : shard.replicas) {
      all_live = all_live && peers.at(peer).alive;
    }
  }
  bool recovers =
      !options.recovery_after || std::ranges::any_of(collection.moving, &SimTransfer::recovery);
  for (auto& [id, shard] : collection.shards) {
    for (auto& [peer, replica] : shard.replicas) {
      if (all_live && replica.state == ReplicaState::kInitializing && !replica.next_state) {
        replica.next_state = ReplicaState::kActive;
        replica.seen_at = now + options.consensus_time;
      }
      if (recovers || replica.state != ReplicaState::kDead || !peers.at(peer).alive) continue;
      if (now < replica.dead_since + *options.recovery_after) continue;
      const auto source = std::ranges::find_if(shard.replicas, [&](const auto& entry) {
        return entry.second.state == ReplicaState::kActive && peers.at(entry.first).alive;
      });
      const bool busy = std::ranges::any_of(
          collection.moving, [&](const SimTransfer& transfer) { return transfer.shard == id; });
      if (source == shard.replicas.end() || busy) continue;
      replica.state = ReplicaState::kPartial;
      collection.moving.push_back({.shard = id,
                                   .from = source->first,
                                   .to = peer,
                                   .kind = TransferKind::kReplicate,
                                   .begun = now,
                                   .ends = now + options.transfer_time,
                                   .fails = false,
                                   .recovery = true});
      recovers = true;
    }
  }
}

}  // namespace holdfast::testing
