// Resharding of the simulated cluster, as the real server does it (measured 21, transcript 6).

#include <algorithm>
#include <utility>

#include "testing/engine/scripted_world.h"
#include "testing/scripted_engine.h"

namespace holdfast::testing {
namespace {

/// With its transfers.
void EraseShard(SimCollection& collection, ShardId shard) {
  collection.shards.erase(shard);
  std::erase_if(collection.moving,
                [&](const SimTransfer& transfer) { return transfer.shard == shard; });
}

Error BadRequest(const std::string& what) {
  return {ErrorCode::kFailedPrecondition, "Bad request: " + what};
}

}  // namespace

bool ScriptedEngine::World::IsSwallowed(const SimCollection& collection,
                                        const std::optional<ShardKey>& key,
                                        const qdrant::PointId& id) {
  if (!collection.round || collection.round->stage == SimReshardStage::kMigrating) return false;
  const Resharding& what = collection.round->what;
  if (what.direction == ReshardDirection::kDown || what.key == key) return false;
  if (Owner(collection, what.key, id) != what.shard) return false;
  const auto& replicas = collection.shards.at(Owner(collection, key, id)).replicas;
  return std::ranges::none_of(replicas,
                              [&](const auto& entry) { return entry.second.points.contains(id); });
}

void ScriptedEngine::World::AbortResharding(SimCollection& collection) {
  const Resharding what = collection.round->what;
  collection.round.reset();
  if (what.direction == ReshardDirection::kUp) {
    EraseShard(collection, what.shard);
    if (!collection.custom) --collection.shard_number;
    return;
  }
  for (auto& [id, shard] : collection.shards) {
    if (shard.key != what.key || id == what.shard) continue;
    for (auto& [peer, replica] : shard.replicas) {
      if (replica.state == ReplicaState::kReshardingScaleDown) {
        replica.state = ReplicaState::kActive;
      }
      std::vector<qdrant::PointId> foreign;
      for (const auto& [point, line] : replica.points) {
        if (Owner(collection, what.key, point) != id) foreign.push_back(point);
      }
      for (const qdrant::PointId& point : foreign) Remove(replica, point);
    }
  }
}

Result<bool> ScriptedEngine::CanReshard(const CallContext& call) {
  return world_->Serve(call, EngineCall::kCanReshard,
                       [&]() -> Result<bool> { return world_->reshardable; });
}

Result<std::optional<Resharding>> ScriptedEngine::ReadResharding(const CallContext& call,
                                                                 const std::string& name) {
  return world_->Serve(call, EngineCall::kReadResharding,
                       [&]() -> Result<std::optional<Resharding>> {
                         HF_TRY(const SimCollection* collection, world_->FindCollection(name));
                         if (!collection->round) return std::optional<Resharding>();
                         return std::optional<Resharding>(collection->round->what);
                       });
}

Status ScriptedEngine::StartResharding(const CallContext& call, const std::string& name,
                                       const Resharding& wanted) {
  return world_->Serve(call, EngineCall::kStartResharding, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    if (!world_->reshardable) return BadRequest("resharding is only supported in Qdrant Cloud");
    HF_TRY(SimCollection * collection, world_->FindCollection(name));
    if (collection->round) return BadRequest("resharding is already in progress");
    if (collection->custom != wanted.key.has_value()) return BadRequest("shard key");
    if (!world_->peers.contains(wanted.peer)) return BadRequest("the peer does not exist");
    std::vector<ShardId> shards;
    for (const auto& [id, shard] : collection->shards) {
      if (shard.key == wanted.key) shards.push_back(id);
    }
    if (shards.empty()) return BadRequest("sharding key does not exist");
    SimResharding moving{.what = wanted};
    if (wanted.direction == ReshardDirection::kUp) {
      moving.what.shard = ShardId(collection->shards.rbegin()->first.value() + 1);
      collection->shards[moving.what.shard].key = wanted.key;
      world_->MakeReplica(*collection, moving.what.shard, wanted.peer, ReplicaState::kResharding);
      if (!collection->custom) ++collection->shard_number;
    } else {
      if (shards.size() == 1) return BadRequest("it is the last shard");
      moving.what.shard = shards.back();
    }
    collection->round = std::move(moving);
    return {};
  });
}

Status ScriptedEngine::MigratePoints(const CallContext& call, const ReplicaRef& from,
                                     const ReplicaRef& to) {
  return world_->Serve(call, EngineCall::kMigratePoints, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    HF_TRY(SimCollection * collection, world_->FindCollection(from.collection));
    if (!collection->round || collection->round->stage != SimReshardStage::kMigrating) {
      return BadRequest("resharding is not in progress");
    }
    const auto state =
        world_->Describe(from.collection, *collection).StateOf(from.shard, from.peer);
    const auto shard = collection->shards.find(to.shard);
    if (state != ReplicaState::kActive || shard == collection->shards.end() ||
        !shard->second.replicas.contains(to.peer)) {
      return BadRequest("there is no such replica to migrate from or to");
    }
    if (shard->second.replicas.at(to.peer).state == ReplicaState::kDead) {
      return BadRequest("destination shard is dead");
    }
    const SimReplica& source = world_->Must(from);
    if (!world_->peers.at(from.peer).alive || !world_->peers.at(to.peer).alive) {
      world_->AbortResharding(*collection);
      return {};
    }
    SimReplica& target = shard->second.replicas.at(to.peer);
    for (const auto& [id, line] : source.points) {
      if (World::Owner(*collection, collection->round->what.key, id) != to.shard) continue;
      if (!target.points.contains(id)) world_->Insert(target, id, line);
    }
    if (collection->round->what.direction == ReshardDirection::kDown) {
      target.state = ReplicaState::kReshardingScaleDown;
    }
    return {};
  });
}

Status ScriptedEngine::FinishMigration(const CallContext& call, const ReplicaRef& replica) {
  return world_->Serve(call, EngineCall::kFinishMigration, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    HF_TRY(SimCollection * collection, world_->FindCollection(replica.collection));
    if (!collection->round) return BadRequest("resharding is not in progress");
    const auto shard = collection->shards.find(replica.shard);
    if (shard == collection->shards.end() || !shard->second.replicas.contains(replica.peer)) {
      return BadRequest("there is no such replica");
    }
    ReplicaState& state = shard->second.replicas.at(replica.peer).state;
    const bool up = collection->round->what.direction == ReshardDirection::kUp;
    const ReplicaState wanted = up ? ReplicaState::kResharding : ReplicaState::kReshardingScaleDown;
    if (state != wanted && state != ReplicaState::kActive) {
      return BadRequest("the replica has another state than expected");
    }
    state = ReplicaState::kActive;
    return {};
  });
}

Status ScriptedEngine::TakeStep(const CallContext& call, const std::string& name,
                                ReshardStep step) {
  return world_->Serve(call, EngineCall::kTakeStep, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    HF_TRY(SimCollection * collection, world_->FindCollection(name));
    if (!collection->round) return BadRequest("resharding is not in progress");
    SimReshardStage& stage = collection->round->stage;
    switch (step) {
      case ReshardStep::kCommitRead:
        stage = std::max(stage, SimReshardStage::kReadCommitted);
        return {};
      case ReshardStep::kCommitWrite:
        if (stage == SimReshardStage::kMigrating) return BadRequest("the stage is too early");
        stage = SimReshardStage::kWriteCommitted;
        return {};
      case ReshardStep::kFinish:
        if (stage != SimReshardStage::kWriteCommitted) return BadRequest("the stage is too early");
        if (collection->round->what.direction == ReshardDirection::kDown) {
          EraseShard(*collection, collection->round->what.shard);
          if (!collection->custom) --collection->shard_number;
        }
        collection->round.reset();
        return {};
      case ReshardStep::kAbort:
        if (stage != SimReshardStage::kMigrating) return BadRequest("it must be completed");
        world_->AbortResharding(*collection);
        return {};
    }
    return {};
  });
}

Status ScriptedEngine::CleanReplica(const CallContext& call, const ReplicaRef& replica) {
  return world_->Serve(call, EngineCall::kCleanReplica, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    HF_TRY(SimReplica * found, world_->FindReplica(replica));
    SimCollection& collection = world_->Must(replica.collection);
    const std::optional<ShardKey> key = collection.shards.at(replica.shard).key;
    std::vector<qdrant::PointId> foreign;
    for (const auto& [id, line] : found->points) {
      if (World::Owner(collection, key, id) != replica.shard) foreign.push_back(id);
    }
    for (const qdrant::PointId& id : foreign) world_->Remove(*found, id);
    return {};
  });
}

}  // namespace holdfast::testing
