// The world's own calls: what a test makes, breaks and looks at.

#include "testing/scripted_engine.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "model/json.h"
#include "testing/engine/scripted_world.h"

namespace holdfast::testing {
namespace {

using json::Json;
using qdrant::PointId;

PointId MustParse(const std::string& id) {
  Result<PointId> parsed = qdrant::ParsePointId(id);
  HF_ASSERT(parsed.ok());
  return *parsed;
}

Json IdJson(const PointId& id) { return Json::parse(qdrant::FormatPointId(id)); }

// Multiples of 1/64, so that they are the same as float and as text everywhere.
std::vector<float> MakeVector(const PointId& id, std::uint64_t seed, std::uint32_t dimensions) {
  std::uint64_t state = id.number * 0x9E3779B97F4A7C15ULL + seed;
  for (const std::byte byte : id.uuid) state = state * 31 + std::to_integer<std::uint64_t>(byte);
  std::vector<float> vector;
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    vector.push_back(static_cast<float>(1 + (state >> 40) % 63) / 64.0F);
  }
  return vector;
}

std::string PointLine(const PointId& id, const ScriptedPoint& point) {
  return json::Dump(
      Json{{"id", IdJson(id)}, {"payload", Json::parse(point.payload)}, {"vector", point.vector}});
}

std::string CreateJson(const ScriptedCollection& config) {
  Json body = {{"vectors", {{"size", config.dimensions}, {"distance", "Dot"}}},
               {"shard_number", config.shards},
               {"replication_factor", config.replication_factor},
               {"on_disk_payload", true}};
  if (!config.keys.empty()) body["sharding_method"] = "custom";
  return json::Dump(body);
}

}  // namespace

ScriptedEngine::ScriptedEngine(Clock& clock, ScriptedOptions options)
    : world_(std::make_unique<World>(clock, std::move(options))) {}
ScriptedEngine::~ScriptedEngine() = default;

// --- the world -----------------------------------------------------------------------------------

void ScriptedEngine::AddCollection(const std::string& name, const ScriptedCollection& config) {
  const std::scoped_lock lock(world_->mutex);
  HF_ASSERT(!world_->collections.contains(name));
  SimCollection& collection = world_->collections[name];
  collection.uuid = world_->NewUuid();
  collection.dimensions = config.dimensions;
  collection.shard_number = config.shards;
  collection.replication_factor = config.replication_factor;
  collection.custom = !config.keys.empty();
  collection.create_json = CreateJson(config);
  collection.finish_json = config.finish_json;
  collection.ballast_bytes = config.ballast_bytes;
  collection.indexes = config.indexes;
  std::vector<PeerId> pool = config.placement;
  if (pool.empty()) {
    for (const auto& [id, peer] : world_->peers) pool.push_back(id);
  }
  std::size_t turn = 0;
  if (!collection.custom) {
    for (std::uint32_t i = 0; i < config.shards; ++i) {
      world_->PlaceShard(collection, ShardId(i), {}, config.replication_factor, pool, turn++);
    }
  }
  std::uint32_t next = 1;
  for (const ShardKey& key : config.keys) {
    for (std::uint32_t i = 0; i < config.shards; ++i) {
      world_->PlaceShard(collection, ShardId(next++), key, config.replication_factor, pool, turn++);
    }
  }
}

bool ScriptedEngine::Upsert(const std::string& name, const std::string& id, ScriptedPoint point,
                            const std::optional<ShardKey>& key) {
  const std::scoped_lock lock(world_->mutex);
  SimCollection& collection = world_->Must(name);
  const PointId parsed = MustParse(id);
  if (point.vector.empty()) {
    point.vector = MakeVector(parsed, world_->options.seed, collection.dimensions);
  }
  const std::string line = PointLine(parsed, point);
  if (World::IsSwallowed(collection, key, parsed)) return true;
  bool taken = true;
  for (const ShardId shard : World::Targets(collection, key, parsed, false)) {
    taken = world_->Write(collection, shard, [&](SimReplica& replica) {
      world_->Insert(replica, parsed, line);
    }) && taken;
  }
  return taken;
}

bool ScriptedEngine::Delete(const std::string& name, const std::string& id,
                            const std::optional<ShardKey>& key) {
  const std::scoped_lock lock(world_->mutex);
  SimCollection& collection = world_->Must(name);
  const PointId parsed = MustParse(id);
  bool taken = true;
  for (const ShardId shard : World::Targets(collection, key, parsed, true)) {
    taken = world_->Write(collection, shard, [&](SimReplica& replica) {
      world_->Remove(replica, parsed);
    }) && taken;
  }
  return taken;
}

void ScriptedEngine::Fill(const std::string& collection, std::uint64_t from, std::uint64_t to,
                          const std::optional<ShardKey>& key) {
  for (std::uint64_t i = from; i < to; ++i) {
    const std::string number = std::to_string(i);
    Upsert(collection, number, {.vector = {}, .payload = R"({"n":)" + number + "}"}, key);
  }
}

std::vector<std::string> ScriptedEngine::Ids(const std::string& name,
                                             const std::optional<ShardKey>& key) const {
  const std::scoped_lock lock(world_->mutex);
  std::vector<PointId> ids;
  for (const auto& [id, shard] : world_->Must(name).shards) {
    if (key && shard.key != key) continue;
    // Reads are answered by an Active replica, an empty one too (measured 12).
    const auto answering = std::ranges::find_if(shard.replicas, [&](const auto& entry) {
      return entry.second.state == ReplicaState::kActive && world_->peers.at(entry.first).alive;
    });
    if (answering == shard.replicas.end()) continue;
    for (const auto& [point, line] : answering->second.points) ids.push_back(point);
  }
  std::ranges::sort(ids);
  const auto repeated = std::ranges::unique(ids);
  ids.erase(repeated.begin(), repeated.end());
  std::vector<std::string> texts;
  for (const PointId& id : ids) texts.push_back(qdrant::FormatPointId(id));
  return texts;
}

Topology ScriptedEngine::Now() {
  const std::scoped_lock lock(world_->mutex);
  world_->Settle();
  return world_->Snapshot();
}

ShardId ScriptedEngine::ShardOf(const std::string& name, const std::string& id,
                                const std::optional<ShardKey>& key) const {
  const std::scoped_lock lock(world_->mutex);
  return World::Owner(world_->Must(name), key, MustParse(id));
}

std::map<std::string, std::string> ScriptedEngine::Content(const ReplicaRef& replica) const {
  const std::scoped_lock lock(world_->mutex);
  std::map<std::string, std::string> lines;
  for (const auto& [id, line] : world_->Must(replica).points) {
    lines[qdrant::FormatPointId(id)] = line;
  }
  return lines;
}

std::optional<std::string> ScriptedEngine::Payload(const std::string& name,
                                                   const std::string& id) const {
  const std::scoped_lock lock(world_->mutex);
  const PointId parsed = MustParse(id);
  for (const auto& [shard_id, shard] : world_->Must(name).shards) {
    for (const auto& [peer, replica] : shard.replicas) {
      const auto found = replica.points.find(parsed);
      if (found != replica.points.end()) return json::Dump(Json::parse(found->second)["payload"]);
    }
  }
  return std::nullopt;
}

void ScriptedEngine::KillPeer(PeerId peer) {
  const std::scoped_lock lock(world_->mutex);
  world_->Settle();
  world_->peers.at(peer).alive = false;
  world_->changed.notify_all();
}

void ScriptedEngine::StartPeer(PeerId peer, bool lost_disk) {
  const std::scoped_lock lock(world_->mutex);
  world_->Settle();
  world_->peers.at(peer).alive = true;
  // A restart of source or target aborts its transfers (reference 5).
  for (auto& [name, collection] : world_->collections) {
    world_->AbortTransfers(collection, [&](const SimTransfer& transfer) {
      return transfer.from == peer || transfer.to == peer;
    });
  }
  if (!lost_disk) return;
  world_->peers.at(peer).snapshots.clear();
  for (auto& [name, collection] : world_->collections) {
    for (auto& [id, shard] : collection.shards) {
      if (shard.replicas.contains(peer)) {
        world_->MakeReplica(collection, id, peer, ReplicaState::kDead);
      }
    }
  }
}

PeerId ScriptedEngine::AddPeer() {
  const std::scoped_lock lock(world_->mutex);
  const PeerId id(world_->peers.empty() ? 101 : world_->peers.rbegin()->first.value() + 1);
  world_->peers[id];
  return id;
}

void ScriptedEngine::SetReplicaState(const ReplicaRef& replica, ReplicaState state) {
  const std::scoped_lock lock(world_->mutex);
  SimReplica& found = world_->Must(replica);
  found.state = state;
  found.next_state.reset();
  found.dead_since = world_->clock.Monotonic();
}

bool ScriptedEngine::LoseReplica(const ReplicaRef& replica) {
  const std::scoped_lock lock(world_->mutex);
  world_->Settle();
  return world_->TurnDead(world_->Must(replica.collection), replica.shard, replica.peer);
}

void ScriptedEngine::StartOptimization(const ReplicaRef& replica) {
  const std::scoped_lock lock(world_->mutex);
  world_->Must(replica).optimizing = true;
}

void ScriptedEngine::FinishOptimization(const ReplicaRef& replica) {
  const std::scoped_lock lock(world_->mutex);
  world_->ApplyHidden(world_->Must(replica));
}

bool ScriptedEngine::RecoverReplica(const ReplicaRef& replica, Duration takes) {
  const std::scoped_lock lock(world_->mutex);
  SimReplica& found = world_->Must(replica);
  if (!world_->peers.at(replica.peer).alive || found.streams > 0) return false;
  if (world_->clock.Monotonic() < found.dead_since + takes) return false;
  for (auto& [peer, other] : world_->Must(replica.collection).shards.at(replica.shard).replicas) {
    if (peer == replica.peer || other.state != ReplicaState::kActive) continue;
    if (!world_->peers.at(peer).alive) continue;
    found = other;
    found.streams = 0;
    found.streaming = false;
    found.next_state.reset();
    world_->ApplyHidden(found);
    return true;
  }
  return false;
}

void ScriptedEngine::RecoverReplicas(PeerId peer) {
  for (const Collection& there : Now().collections) {
    for (const Shard& shard : there.shards) {
      if (there.StateOf(shard.id, peer) != ReplicaState::kDead) continue;
      RecoverReplica({.peer = peer, .collection = there.name, .shard = shard.id});
    }
  }
}

void ScriptedEngine::SetUpdateQueue(const ReplicaRef& replica, std::uint64_t length,
                                    std::uint64_t step) {
  const std::scoped_lock lock(world_->mutex);
  world_->Must(replica).queue = length;
  world_->Must(replica).queue_step = step;
}

void ScriptedEngine::ShowTransfer(const std::string& collection, const ShardTransfer& transfer) {
  const std::scoped_lock lock(world_->mutex);
  world_->Must(collection).transfers.push_back(transfer);
}

void ScriptedEngine::FinishTransfers(const std::string& collection) {
  const std::scoped_lock lock(world_->mutex);
  world_->Must(collection).transfers.clear();
}

void ScriptedEngine::SetResharding(const std::string& collection, const std::string& what) {
  const std::scoped_lock lock(world_->mutex);
  world_->Must(collection).resharding = what;
}

void ScriptedEngine::SetReshardable(bool reshardable) {
  const std::scoped_lock lock(world_->mutex);
  world_->reshardable = reshardable;
}

void ScriptedEngine::SetAlias(const std::string& alias, const std::string& collection) {
  const std::scoped_lock lock(world_->mutex);
  world_->aliases[alias] = collection;
}

void ScriptedEngine::SetMetadata(const std::string& key, const std::string& value_json) {
  const std::scoped_lock lock(world_->mutex);
  if (value_json.empty()) {
    world_->metadata.erase(key);
  } else {
    world_->metadata[key] = value_json;
  }
}

void ScriptedEngine::LosePoint(const ReplicaRef& replica, const std::string& id) {
  const std::scoped_lock lock(world_->mutex);
  world_->Remove(world_->Must(replica), MustParse(id));
}

void ScriptedEngine::Recreate(const std::string& name) {
  const std::scoped_lock lock(world_->mutex);
  SimCollection& collection = world_->Must(name);
  collection.uuid = world_->NewUuid();
  for (auto& [id, shard] : collection.shards) {
    std::vector<PeerId> peers;
    for (const auto& [peer, replica] : shard.replicas) peers.push_back(peer);
    for (const PeerId peer : peers) {
      world_->MakeReplica(collection, id, peer, ReplicaState::kActive);
    }
  }
}

void ScriptedEngine::IgnoreSetting(const std::string& member) {
  const std::scoped_lock lock(world_->mutex);
  world_->ignored.insert(member);
}

void ScriptedEngine::SetLoadBalanced(bool load_balanced) {
  const std::scoped_lock lock(world_->mutex);
  world_->load_balanced = load_balanced;
}

void ScriptedEngine::SetForbidden(Purpose purpose, bool forbidden) {
  const std::scoped_lock lock(world_->mutex);
  if (forbidden) {
    world_->forbidden.insert(purpose);
  } else {
    world_->forbidden.erase(purpose);
  }
}

void ScriptedEngine::Add(CallFault fault) {
  const std::scoped_lock lock(world_->mutex);
  world_->call_faults.push_back(std::move(fault));
}

void ScriptedEngine::DieAt(std::uint64_t n, bool after_effect) {
  CallFault fault;
  fault.skip = static_cast<int>(n);
  fault.error = Error(ErrorCode::kInternal, "this process is dead");
  if (after_effect) {
    fault.after_effect = true;
    Add(fault);
    ++fault.skip;
  }
  fault.after_effect = false;
  fault.times = -1;
  Add(fault);
}

void ScriptedEngine::Add(StreamFault fault) {
  const std::scoped_lock lock(world_->mutex);
  world_->stream_faults.push_back(std::move(fault));
}

void ScriptedEngine::ClearFaults() {
  const std::scoped_lock lock(world_->mutex);
  world_->call_faults.clear();
  world_->stream_faults.clear();
}

int ScriptedEngine::unused_faults() const {
  const std::scoped_lock lock(world_->mutex);
  const auto unused = [](const auto& faults) {
    return std::ranges::count_if(faults, [](const auto& fault) { return fault.times > 0; });
  };
  return static_cast<int>(unused(world_->call_faults) + unused(world_->stream_faults));
}

void ScriptedEngine::OnMoment(std::function<void(StreamMoment, const ReplicaRef&)> hook) {
  const std::scoped_lock lock(world_->mutex);
  world_->hook = std::move(hook);
}

void ScriptedEngine::BeforeCall(std::uint64_t number, std::function<void()> action) {
  const std::scoped_lock lock(world_->mutex);
  world_->before_call[number].push_back(std::move(action));
}

std::uint64_t ScriptedEngine::calls() const {
  const std::scoped_lock lock(world_->mutex);
  return world_->calls;
}

std::uint64_t ScriptedEngine::calls(EngineCall call) const {
  const std::scoped_lock lock(world_->mutex);
  const auto found = world_->calls_by_kind.find(call);
  return found == world_->calls_by_kind.end() ? 0 : found->second;
}

std::uint32_t ScriptedEngine::open_streams() const {
  const std::scoped_lock lock(world_->mutex);
  return world_->streams;
}

std::uint32_t ScriptedEngine::open_streams_max(std::optional<PeerId> peer) const {
  const std::scoped_lock lock(world_->mutex);
  return peer ? world_->peers.at(*peer).streams_max : world_->streams_max;
}

std::vector<StoredSnapshot> ScriptedEngine::stored_snapshots() const {
  const std::scoped_lock lock(world_->mutex);
  std::vector<StoredSnapshot> all;
  for (const auto& [id, peer] : world_->peers) {
    for (const auto& [snapshot, bytes] : peer.snapshots) all.push_back(snapshot);
  }
  return all;
}

}  // namespace holdfast::testing
