// Transfers of the simulated cluster: the servers copy a shard, in the simulation's own time.

#include <algorithm>
#include <functional>
#include <utility>

#include "engine/qdrant/shard_mover.h"
#include "testing/engine/scripted_world.h"
#include "testing/scripted_engine.h"

namespace holdfast::testing {
namespace {

constexpr const char* kMethod = "stream_records";
constexpr const char* kRecoveryMethod = "wal_delta";

Error Refused(const std::string& text) {
  return {ErrorCode::kFailedPrecondition, "Bad request: " + text};
}

}  // namespace

ShardTransfer ScriptedEngine::World::Shown(const SimTransfer& transfer) const {
  const std::int64_t whole = std::max<std::int64_t>(1, (transfer.ends - transfer.begun).count());
  const std::int64_t done =
      std::clamp<std::int64_t>((clock.Monotonic() - transfer.begun).count(), 0, whole);
  return {.shard = transfer.shard,
          .to_shard = {},
          .from = transfer.from,
          .to = transfer.to,
          .method = transfer.recovery ? kRecoveryMethod : kMethod,
          .comment = "transferring (1.00s) | Transferring records (" +
                     std::to_string(done * 100 / whole) + "/100), ETA: 1.00s"};
}

void ScriptedEngine::World::EndTransfer(SimCollection& collection, const SimTransfer& transfer,
                                        bool success) {
  const auto found = collection.shards.find(transfer.shard);
  if (found == collection.shards.end()) return;
  auto& replicas = found->second.replicas;
  const auto target = replicas.find(transfer.to);
  if (target == replicas.end()) return;
  if (success) {
    const SimReplica& source = replicas.at(transfer.from);
    const bool optimizing = source.optimizing;
    SimReplica copy = source;
    copy.state = ReplicaState::kActive;
    copy.next_state.reset();
    copy.streams = 0;
    copy.streaming = false;
    copy.optimizing = optimizing;
    // Point by point as readers see them: what was deleted does not come along.
    ApplyHidden(copy);
    target->second = std::move(copy);
    if (transfer.kind == TransferKind::kMove) replicas.erase(transfer.from);
  } else if (target->second.state == ReplicaState::kActive) {
    // It has been sent meanwhile.
  } else if (transfer.kind == TransferKind::kReplicate) {
    target->second.state = ReplicaState::kDead;
    target->second.next_state.reset();
    target->second.dead_since = clock.Monotonic();
  } else {
    replicas.erase(target);
  }
}

void ScriptedEngine::World::AbortTransfers(SimCollection& collection,
                                           const std::function<bool(const SimTransfer&)>& ended) {
  std::vector<SimTransfer> left;
  for (const SimTransfer& transfer : std::exchange(collection.moving, {})) {
    if (ended(transfer)) {
      EndTransfer(collection, transfer, false);
    } else {
      left.push_back(transfer);
    }
  }
  collection.moving = std::move(left);
}

void ScriptedEngine::World::SettleTransfers(SimCollection& collection, MonotonicTime now) {
  std::vector<SimTransfer> left;
  for (const SimTransfer& transfer : std::exchange(collection.moving, {})) {
    const bool stuck = !peers.at(transfer.from).alive;
    if (stuck || now < transfer.ends) {
      left.push_back(transfer);
      continue;
    }
    const auto& replicas = collection.shards.at(transfer.shard).replicas;
    const auto source = replicas.find(transfer.from);
    const bool success = !transfer.fails && peers.at(transfer.to).alive &&
                         source != replicas.end() && source->second.state == ReplicaState::kActive;
    EndTransfer(collection, transfer, success);
  }
  collection.moving = std::move(left);
}

void ScriptedEngine::World::CountActive() {
  for (auto& [name, collection] : collections) {
    for (auto& [id, shard] : collection.shards) {
      const auto active =
          static_cast<std::uint32_t>(std::ranges::count_if(shard.replicas, [&](const auto& entry) {
            return entry.second.state == ReplicaState::kActive && peers.at(entry.first).alive;
          }));
      shard.least_active = std::min(shard.least_active.value_or(active), active);
    }
  }
}

void ScriptedEngine::FailTransfers(int times, const std::string& collection) {
  const std::scoped_lock lock(world_->mutex);
  world_->failing_transfers = times;
  world_->failing_collection = collection;
}

std::uint32_t ScriptedEngine::transfers_max(std::optional<PeerId> to) const {
  const std::scoped_lock lock(world_->mutex);
  return to ? world_->peers.at(*to).receives_max : world_->transfers_max;
}

std::uint32_t ScriptedEngine::least_active(const std::string& collection, ShardId shard) const {
  const std::scoped_lock lock(world_->mutex);
  world_->CountActive();
  return world_->Must(collection).shards.at(shard).least_active.value_or(0);
}

void ScriptedEngine::WatchReplicas() {
  const std::scoped_lock lock(world_->mutex);
  for (auto& [name, collection] : world_->collections) {
    for (auto& [id, shard] : collection.shards) shard.least_active.reset();
  }
  world_->CountActive();
}

Status ScriptedEngine::StartTransfer(const CallContext& call, const TransferRef& transfer,
                                     TransferKind kind) {
  return world_->Serve(call, EngineCall::kStartTransfer, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    HF_TRY(SimCollection * collection, world_->FindCollection(transfer.collection));
    const auto shard = collection->shards.find(transfer.shard);
    if (shard == collection->shards.end()) return Refused("no such shard");
    if (!world_->peers.contains(transfer.from) || !world_->peers.contains(transfer.to)) {
      return Refused("Peer does not exist");
    }
    auto& replicas = shard->second.replicas;
    const auto source = replicas.find(transfer.from);
    if (source == replicas.end() || source->second.state != ReplicaState::kActive) {
      return Refused("Shard is not active on peer " + std::to_string(transfer.from.value()));
    }
    if (replicas.contains(transfer.to)) return Refused("the target has a replica of it already");
    const auto involved = [&](ShardId id, PeerId from, PeerId to) {
      return id == transfer.shard && (from == transfer.from || from == transfer.to ||
                                      to == transfer.from || to == transfer.to);
    };
    for (const SimTransfer& other : collection->moving) {
      if (involved(other.shard, other.from, other.to)) return Refused("already involved");
    }
    for (const ShardTransfer& other : collection->transfers) {
      if (involved(other.shard, other.from, other.to)) return Refused("already involved");
    }
    world_->MakeReplica(*collection, transfer.shard, transfer.to, ReplicaState::kPartial);
    const MonotonicTime now = world_->clock.Monotonic();
    const bool fails =
        world_->failing_transfers > 0 &&
        (world_->failing_collection.empty() || world_->failing_collection == transfer.collection);
    if (fails) --world_->failing_transfers;
    collection->moving.push_back({.shard = transfer.shard,
                                  .from = transfer.from,
                                  .to = transfer.to,
                                  .kind = kind,
                                  .begun = now,
                                  .ends = now + world_->options.transfer_time,
                                  .fails = fails});
    std::uint32_t all = 0;
    std::map<PeerId, std::uint32_t> receiving;
    for (const auto& [name, other] : world_->collections) {
      for (const SimTransfer& one : other.moving) {
        ++all;
        ++receiving[one.to];
      }
    }
    world_->transfers_max = std::max(world_->transfers_max, all);
    std::uint32_t& most = world_->peers.at(transfer.to).receives_max;
    most = std::max(most, receiving[transfer.to]);
    return {};
  });
}

Status ScriptedEngine::AbortTransfer(const CallContext& call, const TransferRef& transfer) {
  return world_->Serve(call, EngineCall::kAbortTransfer, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    const auto collection = world_->collections.find(transfer.collection);
    if (collection == world_->collections.end()) return {};
    world_->AbortTransfers(collection->second, [&](const SimTransfer& one) {
      return one.shard == transfer.shard && one.from == transfer.from && one.to == transfer.to;
    });
    std::erase_if(collection->second.transfers,
                  [&](const ShardTransfer& one) { return IsTransfer(one, transfer); });
    return {};
  });
}

TransferProgress ScriptedEngine::ProgressOf(const ShardTransfer& transfer) const {
  return qdrant::ReadTransferComment(transfer.comment);
}

}  // namespace holdfast::testing
