// Writing to the simulated cluster, with the little checking that the real server does.

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/size.h"
#include "engine/qdrant/collection_settings.h"
#include "engine/qdrant/points/same_point.h"
#include "model/json.h"
#include "stream/digest.h"
#include "testing/engine/scripted_world.h"
#include "testing/scripted_engine.h"

namespace holdfast::testing {
namespace {

using json::Json;
using qdrant::PointId;

constexpr std::uint64_t kImageBytesMax = 256 * kMiB;

Result<Bytes> ReadAll(const CallContext& call, ByteSource& source, std::uint64_t bytes) {
  if (bytes > kImageBytesMax) {
    return Error(ErrorCode::kResourceExhausted, "the image is too large for the simulation");
  }
  Bytes all(bytes);
  std::size_t filled = 0;
  while (filled < all.size()) {
    HF_TRY(const std::size_t got, source.Read(call, std::span(all).subspan(filled)));
    if (got == 0) {
      return Error(ErrorCode::kDataLoss,
                   "the image ended " + std::to_string(all.size() - filled) + " bytes early");
    }
    filled += got;
  }
  return all;
}

Error AlreadyExists(const std::string& what) {
  return {ErrorCode::kAlreadyExists, "Wrong input: " + what + " already exists"};
}

}  // namespace

Status ScriptedEngine::CreateCollection(const CallContext& call, const std::string& name,
                                        const Collection& as, std::uint32_t replication_factor) {
  return world_->Serve(call, EngineCall::kCreateCollection, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    if (world_->collections.contains(name)) return AlreadyExists("Collection `" + name + "`");
    if (world_->aliases.contains(name)) return AlreadyExists("alias `" + name + "`");
    Result<Json> body = json::Parse(as.create_json, "create_json");
    if (!body.ok() || !body->is_object()) {
      return Error(ErrorCode::kInvalidArgument, "Wrong input: the body is not JSON");
    }
    if (replication_factor > 0) (*body)["replication_factor"] = replication_factor;
    for (const std::string& member : world_->ignored) body->erase(member);
    SimCollection collection;
    collection.uuid = world_->NewUuid();
    collection.create_json = json::Dump(*body);
    collection.dimensions = (*body)["vectors"].value("size", 4U);
    collection.shard_number = body->value("shard_number", 1U);
    collection.replication_factor = body->value("replication_factor", 1U);
    collection.custom = body->value("sharding_method", "auto") == "custom";
    if (!collection.custom) {
      const std::vector<PeerId> pool = world_->PeersByLoad();
      for (std::uint32_t i = 0; i < collection.shard_number; ++i) {
        world_->PlaceShard(collection, ShardId(i), {}, collection.replication_factor, pool, i);
      }
    }
    world_->collections[name] = std::move(collection);
    return {};
  });
}

Status ScriptedEngine::DropCollection(const CallContext& call, const std::string& name) {
  return world_->Serve(call, EngineCall::kDropCollection, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    world_->collections.erase(name);
    std::erase_if(world_->aliases, [&](const auto& alias) { return alias.second == name; });
    return {};
  });
}

Status ScriptedEngine::CreateShardKey(const CallContext& call, const std::string& name,
                                      const ShardKeySpec& spec) {
  return world_->Serve(call, EngineCall::kCreateShardKey, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    HF_TRY(SimCollection * collection, world_->FindCollection(name));
    if (!collection->custom) {
      return Error(ErrorCode::kInvalidArgument, "Bad request: no custom sharding");
    }
    for (const auto& [id, shard] : collection->shards) {
      if (shard.key == spec.key) return AlreadyExists("shard key " + FormatShardKey(spec.key));
    }
    std::vector<PeerId> pool = spec.placement;
    for (const PeerId peer : pool) {
      if (!world_->peers.contains(peer)) {
        return Error(ErrorCode::kInvalidArgument, "Bad request: unknown peer in the placement");
      }
    }
    if (pool.empty()) pool = world_->PeersByLoad();
    // Ids go on from the highest one; the first is 1 (reference 2.8).
    std::uint32_t next =
        collection->shards.empty() ? 1 : collection->shards.rbegin()->first.value() + 1;
    for (std::uint32_t i = 0; i < spec.shards; ++i) {
      world_->PlaceShard(*collection, ShardId(next++), spec.key, spec.replication_factor, pool, i);
    }
    return {};
  });
}

Status ScriptedEngine::DropShardKey(const CallContext& call, const std::string& name,
                                    const ShardKey& key) {
  return world_->Serve(call, EngineCall::kDropShardKey, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    HF_TRY(SimCollection * collection, world_->FindCollection(name));
    std::erase_if(collection->moving, [&](const SimTransfer& transfer) {
      return collection->shards.at(transfer.shard).key == key;
    });
    std::erase_if(collection->shards, [&](const auto& entry) { return entry.second.key == key; });
    return {};
  });
}

Status ScriptedEngine::CreateIndex(const CallContext& call, const std::string& name,
                                   const PayloadIndex& index) {
  return world_->Serve(call, EngineCall::kCreateIndex, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    HF_TRY(SimCollection * collection, world_->FindCollection(name));
    std::erase_if(collection->indexes,
                  [&](const PayloadIndex& other) { return other.field == index.field; });
    collection->indexes.push_back(index);
    return {};
  });
}

Status ScriptedEngine::SendShard(const CallContext& call, const ReplicaRef& to, ByteSource& tar,
                                 std::uint64_t bytes, std::string_view sha256) {
  // The body is read outside of the lock: its source may use the engine.
  HF_RETURN_IF_ERROR(world_->Arrive(call, EngineCall::kSendShard));
  HF_TRY(const Bytes image, ReadAll(call, tar, bytes));
  {
    const std::scoped_lock lock(world_->mutex);
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    HF_RETURN_IF_ERROR(world_->CheckPeer(to.peer));
    HF_TRY(SimCollection * collection, world_->FindCollection(to.collection));
    if (!collection->shards.contains(to.shard)) {
      return Error(ErrorCode::kNotFound,
                   "Not found: shard " + std::to_string(to.shard.value()) + " not found");
    }
    const std::string actual = ToHex(Sha256Of(image));
    if (actual != sha256) {
      return Error(ErrorCode::kDataLoss,
                   "Checksum mismatch: expected " + actual + ", actual " + std::string(sha256));
    }
    HF_TRY(const ReceivedImage received, ReadStreamedTar(image));
    SimShard& shard = collection->shards.at(to.shard);
    const auto existing = shard.replicas.find(to.peer);
    const ReplicaState before =
        existing == shard.replicas.end() ? ReplicaState::kPartial : existing->second.state;
    world_->MakeReplica(*collection, to.shard, to.peer, before);
    SimReplica& replica = shard.replicas.at(to.peer);
    for (const auto& [id, line] : received.points) world_->Insert(replica, id, line);
    replica.next_operation = std::max(replica.next_operation, received.next_operation);
    replica.next_state = ReplicaState::kActive;
    replica.seen_at = world_->clock.Monotonic() + world_->options.consensus_time;
  }
  return world_->Depart(EngineCall::kSendShard);
}

Status ScriptedEngine::DropReplica(const CallContext& call, const ReplicaRef& replica) {
  return world_->Serve(call, EngineCall::kDropReplica, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    HF_TRY(SimCollection * collection, world_->FindCollection(replica.collection));
    const auto shard = collection->shards.find(replica.shard);
    if (shard == collection->shards.end() || !shard->second.replicas.contains(replica.peer)) {
      return Error(ErrorCode::kNotFound, holdfast::Describe(replica) + ": no such replica");
    }
    const auto active = std::ranges::count_if(shard->second.replicas, [](const auto& entry) {
      return entry.second.state == ReplicaState::kActive;
    });
    const bool is_active = shard->second.replicas.at(replica.peer).state == ReplicaState::kActive;
    if (is_active && active == 1) {
      return Error(ErrorCode::kFailedPrecondition,
                   "Bad request: the last active replica cannot be dropped");
    }
    // What involves the replica ends with it (C/collection/collection_ops.rs).
    world_->AbortTransfers(*collection, [&](const SimTransfer& transfer) {
      return transfer.shard == replica.shard &&
             (transfer.from == replica.peer || transfer.to == replica.peer);
    });
    shard->second.replicas.erase(replica.peer);
    return {};
  });
}

Status ScriptedEngine::DeletePoints(const CallContext& call, const std::string& name,
                                    const std::optional<ShardKey>& key,
                                    const std::vector<std::string>& ids) {
  return world_->Serve(call, EngineCall::kDeletePoints, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    HF_TRY(SimCollection * collection, world_->FindCollection(name));
    if (collection->custom && !key) {
      return Error(ErrorCode::kInvalidArgument, "Wrong input: Shard key not specified");
    }
    for (const std::string& id : ids) {
      HF_TRY(const PointId parsed, qdrant::ParsePointId(id));
      for (const ShardId target : World::Targets(*collection, key, parsed, true)) {
        const bool taken = world_->Write(
            *collection, target, [&](SimReplica& replica) { world_->Remove(replica, parsed); });
        if (!taken) {
          return Error(ErrorCode::kUnavailable, "no replica of the point's shard answers");
        }
      }
    }
    return {};
  });
}

Status ScriptedEngine::UpsertPoints(const CallContext& call, const std::string& name,
                                    const std::optional<ShardKey>& key,
                                    const std::vector<SourcePoint>& points) {
  return world_->Serve(call, EngineCall::kUpsertPoints, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    HF_TRY(SimCollection * collection, world_->FindCollection(name));
    if (collection->custom && !key) {
      return Error(ErrorCode::kInvalidArgument, "Wrong input: Shard key not specified");
    }
    for (const SourcePoint& point : points) {
      HF_TRY(const Json read, json::Parse(point.point_json, "a point"));
      HF_TRY(const PointId id, qdrant::ParsePointId(json::Dump(read.at("id"))));
      if (!read.contains("vector")) {
        return Error(ErrorCode::kInvalidArgument, "Format error in JSON body: missing `vector`");
      }
      const bool taken = world_->Write(
          *collection, World::Owner(*collection, key, id),
          [&](SimReplica& replica) { world_->Insert(replica, id, point.point_json); });
      if (!taken) return Error(ErrorCode::kUnavailable, "no replica of the point's shard answers");
    }
    return {};
  });
}

Result<Collection> ScriptedEngine::Resharded(const Collection& collection, std::uint32_t shards,
                                             std::string_view settings) {
  return qdrant::ReshardedCollection(collection, shards, settings);
}

Result<std::unique_ptr<PointComparer>> ScriptedEngine::NewComparer(const Collection& collection) {
  return qdrant::NewPointComparer(collection);
}

bool ScriptedEngine::DependsOnShards(const Collection& collection, const GoldenQuery& query) {
  return qdrant::DependsOnShards(collection, query);
}

Status ScriptedEngine::SwitchAliases(const CallContext& call, const std::vector<AliasMove>& moves) {
  return world_->Serve(call, EngineCall::kSwitchAliases, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    for (const AliasMove& move : moves) {
      if (world_->collections.contains(move.alias)) {
        return AlreadyExists("Collection `" + move.alias + "`");
      }
      HF_RETURN_IF_ERROR([&]() -> Status {
        HF_TRY(const SimCollection* target, world_->FindCollection(move.to));
        static_cast<void>(target);
        return {};
      }());
    }
    for (const AliasMove& move : moves) world_->aliases[move.alias] = move.to;
    return {};
  });
}

Status ScriptedEngine::SetMetadata(const CallContext& call, const std::string& key,
                                   const std::string& value_json) {
  return world_->Serve(call, EngineCall::kSetMetadata, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    world_->metadata[key] = value_json;
    return {};
  });
}

Status ScriptedEngine::FinishCollection(const CallContext& call, const std::string& name,
                                        const Collection& as) {
  return world_->Serve(call, EngineCall::kFinishCollection, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kRestore));
    HF_TRY(SimCollection * collection, world_->FindCollection(name));
    HF_TRY(Json finish, json::Parse(as.finish_json, "finish_json"));
    for (const std::string& member : world_->ignored) finish.erase(member);
    if (!finish.empty()) collection->finish_json = json::Dump(finish);
    return {};
  });
}

}  // namespace holdfast::testing
