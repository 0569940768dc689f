#include "testing/engine/scripted_world.h"

#include <algorithm>
#include <chrono>
#include <string_view>

#include "base/assert.h"
#include "base/size.h"
#include "model/json.h"

namespace holdfast::testing {
namespace {

using json::Json;
using qdrant::PointId;

// Segments of a replica; points are spread over them by id.
constexpr std::size_t kSegments = 2;
// A log entry of a UUID with its version, at most.
constexpr std::uint64_t kLogEntryBytes = 32;
constexpr std::uint64_t kFirstPeer = 101;

std::uint64_t HashOf(const PointId& id) {
  // FNV-1a: the ring of the simulation needs no more than to be fixed.
  std::uint64_t hash = 1469598103934665603ULL;
  const auto mix = [&hash](std::uint64_t value) {
    for (int i = 0; i < 8; ++i) hash = (hash ^ (value >> (8 * i) & 0xFF)) * 1099511628211ULL;
  };
  mix(id.number);
  for (const std::byte byte : id.uuid) mix(std::to_integer<std::uint64_t>(byte));
  return hash ^ (hash >> 29);
}

bool Matches(const StreamFault& fault, const ReplicaRef& replica) {
  return (!fault.peer || *fault.peer == replica.peer) &&
         (!fault.collection || *fault.collection == replica.collection) &&
         (!fault.shard || *fault.shard == replica.shard);
}

// Takes one turn of a fault; true when it strikes now.
template <class Fault>
bool Strike(std::list<Fault>& faults, typename std::list<Fault>::iterator fault) {
  if (fault->skip > 0) {
    --fault->skip;
    return false;
  }
  if (fault->times > 0 && --fault->times == 0) faults.erase(fault);
  return true;
}

}  // namespace

bool TakesWrites(ReplicaState state) {
  switch (state) {
    case ReplicaState::kDead:
    case ReplicaState::kRecovery:
    case ReplicaState::kPartialSnapshot:
    case ReplicaState::kManualRecovery:
    case ReplicaState::kUnknown:
      return false;
    default:
      return true;
  }
}

bool IsSource(ReplicaState state) {
  return state == ReplicaState::kActive || state == ReplicaState::kActiveRead ||
         state == ReplicaState::kResharding || state == ReplicaState::kReshardingScaleDown;
}

ScriptedEngine::World::World(Clock& the_clock, ScriptedOptions the_options)
    : clock(the_clock), options(std::move(the_options)), random(options.seed) {
  const std::uint32_t count = options.distributed ? options.peers : 1;
  for (std::uint32_t i = 0; i < count; ++i) peers[PeerId(kFirstPeer + i)];
}

Status ScriptedEngine::World::Arrive(const CallContext& call, EngineCall kind) {
  std::vector<std::function<void()>> actions;
  {
    const std::scoped_lock lock(mutex);
    ++calls;
    ++calls_by_kind[kind];
    // One that was set while other threads made the calls up to its own is late, not lost.
    while (!before_call.empty() && before_call.begin()->first <= calls) {
      for (auto& action : before_call.begin()->second) actions.push_back(std::move(action));
      before_call.erase(before_call.begin());
    }
  }
  for (const auto& action : actions) action();
  HF_RETURN_IF_ERROR(clock.SleepFor(call, options.call_time));
  const std::scoped_lock lock(mutex);
  if (std::optional<Error> fault = TakeFault(kind, false)) return *std::move(fault);
  return {};
}

Status ScriptedEngine::World::Depart(EngineCall kind) {
  const std::scoped_lock lock(mutex);
  if (std::optional<Error> fault = TakeFault(kind, true)) return *std::move(fault);
  return {};
}

std::optional<Error> ScriptedEngine::World::TakeFault(EngineCall kind, bool after_effect) {
  for (auto fault = call_faults.begin(); fault != call_faults.end(); ++fault) {
    if (fault->after_effect != after_effect || (fault->call && *fault->call != kind)) continue;
    const Error error = fault->error;
    if (Strike(call_faults, fault)) return error;
    return std::nullopt;
  }
  return std::nullopt;
}

std::optional<ChosenFault> ScriptedEngine::World::TakeStreamFault(const ReplicaRef& replica,
                                                                  std::uint64_t bytes) {
  const std::scoped_lock lock(mutex);
  for (auto fault = stream_faults.begin(); fault != stream_faults.end(); ++fault) {
    if (!Matches(*fault, replica)) continue;
    const ChosenFault chosen{.kind = fault->kind, .at = fault->at < bytes ? fault->at : bytes / 2};
    if (Strike(stream_faults, fault)) return chosen;
    return std::nullopt;
  }
  return std::nullopt;
}

void ScriptedEngine::World::Moment(StreamMoment moment, const ReplicaRef& replica) {
  std::function<void(StreamMoment, const ReplicaRef&)> call_it;
  {
    const std::scoped_lock lock(mutex);
    call_it = hook;
  }
  if (call_it) call_it(moment, replica);
}

void ScriptedEngine::World::Settle() {
  const MonotonicTime now = clock.Monotonic();
  for (auto& [name, collection] : collections) {
    for (auto& [shard_id, shard] : collection.shards) {
      for (auto& [peer, replica] : shard.replicas) {
        if (!replica.next_state || replica.seen_at > now) continue;
        replica.state = *replica.next_state;
        replica.next_state.reset();
      }
    }
    SettleTransfers(collection, now);
    Recover(collection, now);
  }
  CountActive();
}

std::string ScriptedEngine::World::NewUuid() {
  Bytes bytes;
  AppendU64(bytes, options.seed * 0x9E3779B97F4A7C15ULL + ++uuids_made);
  AppendU64(bytes, uuids_made * 0xC2B2AE3D27D4EB4FULL);
  PointId id{.is_uuid = true};
  std::copy(bytes.begin(), bytes.end(), id.uuid.begin());
  const std::string quoted = qdrant::FormatPointId(id);
  return quoted.substr(1, quoted.size() - 2);
}

SimCollection& ScriptedEngine::World::Must(const std::string& collection) {
  const auto found = collections.find(collection);
  HF_ASSERT(found != collections.end());
  return found->second;
}

SimReplica& ScriptedEngine::World::Must(const ReplicaRef& replica) {
  SimCollection& collection = Must(replica.collection);
  const auto shard = collection.shards.find(replica.shard);
  HF_ASSERT(shard != collection.shards.end());
  const auto found = shard->second.replicas.find(replica.peer);
  HF_ASSERT(found != shard->second.replicas.end());
  return found->second;
}

Status ScriptedEngine::World::CheckPeer(PeerId peer) const {
  const auto found = peers.find(peer);
  if (found == peers.end()) {
    return Error(ErrorCode::kNotFound, "peer " + std::to_string(peer.value()) + " is not known");
  }
  if (!found->second.alive) {
    return Error(ErrorCode::kUnavailable,
                 "peer " + std::to_string(peer.value()) + ": connection refused");
  }
  return {};
}

Status ScriptedEngine::World::CheckAllowed(Purpose purpose) const {
  if (!forbidden.contains(purpose)) return {};
  return Error(ErrorCode::kPermissionDenied, "Forbidden: the key lacks a right");
}

Result<SimCollection*> ScriptedEngine::World::FindCollection(const std::string& name) {
  const auto found = collections.find(name);
  if (found == collections.end()) {
    return Error(ErrorCode::kNotFound, "Not found: Collection `" + name + "` doesn't exist!");
  }
  return &found->second;
}

Result<SimReplica*> ScriptedEngine::World::FindReplica(const ReplicaRef& replica) {
  HF_RETURN_IF_ERROR(CheckPeer(replica.peer));
  HF_TRY(SimCollection * collection, FindCollection(replica.collection));
  const auto shard = collection->shards.find(replica.shard);
  if (shard != collection->shards.end()) {
    const auto found = shard->second.replicas.find(replica.peer);
    if (found != shard->second.replicas.end()) return &found->second;
  }
  return Error(ErrorCode::kNotFound, holdfast::Describe(replica) + ": no such replica");
}

void ScriptedEngine::World::MakeReplica(SimCollection& collection, ShardId shard, PeerId peer,
                                        ReplicaState state) {
  SimReplica& replica = collection.shards[shard].replicas[peer];
  replica = {};
  replica.state = state;
  for (std::size_t i = 0; i < kSegments; ++i) {
    replica.segments.push_back({.uuid = NewUuid(), .log = {}, .next_offset = 0});
  }
}

std::vector<PeerId> ScriptedEngine::World::PeersByLoad() const {
  std::map<PeerId, std::size_t> load;
  for (const auto& [id, peer] : peers) load[id] = 0;
  for (const auto& [name, collection] : collections) {
    for (const auto& [id, shard] : collection.shards) {
      for (const auto& [peer, replica] : shard.replicas) ++load[peer];
    }
  }
  std::vector<PeerId> order;
  for (const auto& [id, peer] : peers) order.push_back(id);
  std::stable_sort(order.begin(), order.end(),
                   [&](PeerId a, PeerId b) { return load[a] < load[b]; });
  return order;
}

void ScriptedEngine::World::PlaceShard(SimCollection& collection, ShardId shard,
                                       const std::optional<ShardKey>& key, std::uint32_t replicas,
                                       const std::vector<PeerId>& pool, std::size_t turn) {
  HF_ASSERT(!pool.empty());
  collection.shards[shard].key = key;
  const std::size_t count = std::min<std::size_t>(std::max(replicas, 1U), pool.size());
  for (std::size_t i = 0; i < count; ++i) {
    const PeerId peer = pool[(turn + i) % pool.size()];
    // Shards are placed on dead peers too, and stay there until somebody sends them (measured 18).
    MakeReplica(collection, shard, peer,
                peers.at(peer).alive ? ReplicaState::kActive : ReplicaState::kInitializing);
  }
}

ShardId ScriptedEngine::World::Owner(const SimCollection& collection,
                                     const std::optional<ShardKey>& key, const PointId& id,
                                     bool before_resharding) {
  // The shard with the largest draw: one shard more or less moves only what goes to it or was in
  // it.
  const auto draw = [&id](ShardId shard) {
    const std::uint64_t mixed =
        (HashOf(id) ^ (shard.value() + 1ULL) * 0x9E3779B97F4A7C15ULL) * 0xBF58476D1CE4E5B9ULL;
    return mixed ^ (mixed >> 31);
  };
  std::optional<ShardId> owner;
  for (const auto& [shard_id, shard] : collection.shards) {
    if (shard.key != key) continue;
    if (collection.round && collection.round->what.shard == shard_id) {
      const bool comes = collection.round->what.direction == ReshardDirection::kUp;
      if (comes == before_resharding) continue;
    }
    if (!owner || draw(shard_id) > draw(*owner)) owner = shard_id;
  }
  HF_ASSERT(owner);
  return *owner;
}

std::vector<ShardId> ScriptedEngine::World::Targets(const SimCollection& collection,
                                                    const std::optional<ShardKey>& key,
                                                    const PointId& id, bool removes) {
  const ShardId after = Owner(collection, key, id);
  const ShardId before = Owner(collection, key, id, true);
  if (after == before) return {after};
  const SimReshardStage stage = collection.round->stage;
  if (stage == SimReshardStage::kMigrating) return {before, after};
  // A late write must not bring a moved point back to where it was cleaned away.
  if (stage == SimReshardStage::kReadCommitted && removes) return {before, after};
  return {after};
}

void ScriptedEngine::World::Insert(SimReplica& replica, const PointId& id, std::string point_json) {
  ScriptedSegment& segment = replica.segments[HashOf(id) / 7 % replica.segments.size()];
  segment.log.push_back(
      {.id = id, .deleted = false, .offset = segment.next_offset++, .point_json = point_json});
  replica.log_bytes += point_json.size() + kLogEntryBytes;
  replica.points[id] = std::move(point_json);
  replica.hidden.erase(id);
  ++replica.next_operation;
}

void ScriptedEngine::World::Remove(SimReplica& replica, const PointId& id) {
  ++replica.next_operation;
  if (replica.points.erase(id) == 0) return;
  if (replica.optimizing) {
    replica.hidden.insert(id);
    return;
  }
  ScriptedSegment& segment = replica.segments[HashOf(id) / 7 % replica.segments.size()];
  segment.log.push_back({.id = id, .deleted = true, .offset = 0, .point_json = {}});
}

void ScriptedEngine::World::ApplyHidden(SimReplica& replica) {
  replica.optimizing = false;
  const std::set<PointId> hidden = std::exchange(replica.hidden, {});
  for (const PointId& id : hidden) {
    // The point is in a segment still; put back and taken out again, it is out of the log too.
    replica.points[id];
    Remove(replica, id);
    --replica.next_operation;
  }
}

Collection ScriptedEngine::World::Describe(const std::string& name,
                                           const SimCollection& collection) const {
  Collection out;
  out.name = name;
  out.uuid = collection.uuid;
  out.create_json = collection.create_json;
  out.finish_json = collection.finish_json;
  out.shard_number = collection.shard_number;
  out.replication_factor = collection.replication_factor;
  out.custom_sharding = collection.custom;
  out.indexes = collection.indexes;
  std::ranges::sort(out.indexes, {}, &PayloadIndex::field);
  out.transfers = collection.transfers;
  for (const SimTransfer& transfer : collection.moving) out.transfers.push_back(Shown(transfer));
  out.resharding = collection.resharding;
  if (collection.round) {
    out.resharding = "resharding " +
                     std::string(ReshardDirectionName(collection.round->what.direction)) +
                     ", shard " + std::to_string(collection.round->what.shard.value());
  }
  for (const auto& [alias, target] : aliases) {
    if (target == name) out.aliases.push_back(alias);
  }
  for (const auto& [id, shard] : collection.shards) {
    Shard one{.id = id, .key = shard.key, .replicas = {}};
    std::uint64_t points = 0;
    std::uint64_t bytes = 0;
    for (const auto& [peer, replica] : shard.replicas) {
      one.replicas.push_back({.peer = peer, .state = replica.state});
      points = std::max<std::uint64_t>(points, replica.points.size());
      std::uint64_t replica_bytes = collection.ballast_bytes;
      for (const auto& [point, line] : replica.points) replica_bytes += line.size();
      bytes = std::max(bytes, replica_bytes);
    }
    out.points += points;
    out.bytes += bytes;
    if (shard.key && std::ranges::find(out.shard_keys, *shard.key) == out.shard_keys.end()) {
      out.shard_keys.push_back(*shard.key);
    }
    out.shards.push_back(std::move(one));
  }
  return out;
}

Topology ScriptedEngine::World::Snapshot() {
  Topology out;
  out.engine = "qdrant";
  out.distributed = options.distributed;
  out.observed_at = clock.Wall();
  for (const auto& [id, peer] : peers) {
    const std::string host = "peer-" + std::to_string(id.value());
    out.peers.push_back({.id = id,
                         .p2p_uri = "http://" + host + ":6335/",
                         .url = peer.alive ? "http://" + host + ":6333" : "",
                         .answers = peer.alive,
                         .version = peer.alive ? options.version : "",
                         .trouble = peer.alive ? "" : "connection refused"});
  }
  for (const auto& [name, collection] : collections) {
    out.collections.push_back(Describe(name, collection));
  }
  out.metadata = metadata;
  return out;
}

ScriptedImage ScriptedEngine::World::ImageOf(const ReplicaRef& replica, SimReplica& from,
                                             bool with_log) {
  const SimCollection& collection = Must(replica.collection);
  ScriptedImage image;
  image.peer = replica.peer;
  image.dimensions = collection.dimensions;
  image.next_operation = from.next_operation;
  image.mtime = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::seconds>(clock.Wall().time_since_epoch()).count());
  image.ballast_bytes = collection.ballast_bytes;
  image.ballast_seed = HashOf(PointId::OfNumber(replica.shard.value())) + options.seed;
  image.segments = from.segments;
  image.with_log = with_log;
  // The log of a collection snapshot brings the deletes back in at load; the simulation, which
  // replays no log, puts them into the segments.
  if (with_log) {
    for (const PointId& id : from.hidden) {
      ScriptedSegment& segment = image.segments[HashOf(id) / 7 % image.segments.size()];
      segment.log.push_back({.id = id, .deleted = true, .offset = 0, .point_json = {}});
    }
  }
  return image;
}

}  // namespace holdfast::testing
