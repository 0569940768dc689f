// Streams and stored snapshots of the simulated cluster, and their faults.

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/qdrant/image/image_inspector.h"
#include "engine/qdrant/stored_snapshot.h"
#include "exec/wait.h"
#include "stream/digest.h"
#include "testing/engine/scripted_world.h"
#include "testing/scripted_engine.h"

namespace holdfast::testing {
namespace {

// How long the simulated server takes to look at its update queue again.
constexpr Duration kQueueTime = std::chrono::milliseconds(10);

// Runs a function when the scope ends.
template <class F>
class AtEnd {
 public:
  explicit AtEnd(F function) : function_(std::move(function)) {}
  ~AtEnd() { function_(); }
  AtEnd(const AtEnd&) = delete;
  AtEnd& operator=(const AtEnd&) = delete;

 private:
  F function_;
};

// What a fault leaves of the bytes, and how the stream ends after them.
struct Ending {
  std::uint64_t bytes;
  Status status;
  /// Time that passes before the end is noticed.
  Duration silence{};
};

Ending Spoil(Bytes& body, const std::optional<ChosenFault>& fault, const StreamLimits& limits) {
  if (!fault || body.empty()) return {.bytes = body.size(), .status = {}};
  const Duration limit = fault->at == 0 ? limits.first_byte : limits.between_bytes;
  switch (fault->kind) {
    case StreamFault::Kind::kShort:
      return {.bytes = fault->at, .status = {}};
    case StreamFault::Kind::kReset:
      return {.bytes = fault->at,
              .status = Error(ErrorCode::kUnavailable, "connection reset by peer (scripted)")};
    case StreamFault::Kind::kStall:
      return {.bytes = fault->at,
              .status = Error(ErrorCode::kUnavailable,
                              "no byte for " + FormatDuration(limit) + " (scripted)"),
              .silence = limit};
    case StreamFault::Kind::kFlip:
      body[fault->at] ^= std::byte{0x10};
      return {.bytes = body.size(), .status = {}};
    case StreamFault::Kind::kShortAtEntry: {
      std::uint64_t end = 0;
      for (const std::uint64_t boundary : EntryBoundaries(body)) {
        if (boundary <= fault->at) end = boundary;
      }
      return {.bytes = end, .status = {}};
    }
  }
  return {.bytes = body.size(), .status = {}};
}

}  // namespace

// Sends the body piece by piece. A peer that dies takes its streams with it.
Status ScriptedEngine::World::Send(const CallContext& call, const ReplicaRef& replica, Bytes body,
                                   const StreamLimits& limits, ByteSink& sink,
                                   CaptureObserver* observer) {
  const Ending ending = Spoil(body, TakeStreamFault(replica, body.size()), limits);
  const ByteView all = ByteView(body).first(ending.bytes);
  for (std::size_t at = 0; at < all.size(); at += options.piece_bytes) {
    HF_RETURN_IF_ERROR(options.piece_time > Duration(0) ? clock.SleepFor(call, options.piece_time)
                                                        : clock.Check(call));
    {
      const std::scoped_lock lock(mutex);
      if (!peers.at(replica.peer).alive) {
        return Error(ErrorCode::kUnavailable,
                     holdfast::Describe(replica) + ": connection reset by peer");
      }
    }
    if (at == 0 && observer != nullptr) {
      observer->OnFirstByte(clock.Monotonic());
      Moment(StreamMoment::kFirstByte, replica);
    }
    const std::size_t half = all.size() / 2;
    if (at <= half && half < at + options.piece_bytes) Moment(StreamMoment::kHalf, replica);
    HF_RETURN_IF_ERROR(
        sink.Write(call, all.subspan(at, std::min(options.piece_bytes, all.size() - at))));
  }
  if (ending.silence > Duration(0)) HF_RETURN_IF_ERROR(clock.SleepFor(call, ending.silence));
  Moment(StreamMoment::kEnd, replica);
  return ending.status;
}

// Body bytes start only when the update queue is empty; a queue that stands still is given up.
Status ScriptedEngine::World::DrainQueue(const CallContext& call, const ReplicaRef& replica,
                                         const StreamLimits& limits) {
  for (;;) {
    {
      const std::scoped_lock lock(mutex);
      HF_TRY(SimReplica * found, FindReplica(replica));
      if (found->queue == 0) return {};
      if (found->queue_step == 0) break;
      found->queue -= std::min(found->queue, found->queue_step);
    }
    HF_RETURN_IF_ERROR(clock.SleepFor(call, kQueueTime));
  }
  HF_RETURN_IF_ERROR(clock.SleepFor(call, limits.first_byte));
  return Error(ErrorCode::kUnavailable, holdfast::Describe(replica) + ": no first byte within " +
                                            FormatDuration(limits.first_byte));
}

Status ScriptedEngine::StreamShard(const CallContext& call, const ReplicaRef& replica,
                                   const StreamLimits& limits, ByteSink& sink,
                                   CaptureObserver& observer) {
  World& world = *world_;
  HF_RETURN_IF_ERROR(world.Arrive(call, EngineCall::kStreamShard));
  // The cut is anywhere between request and first byte (measured 1).
  const std::int64_t cut = world.random.Between(0, 2);
  observer.OnRequest(world.clock.Monotonic());
  std::optional<ScriptedImage> image;
  const auto take = [&]() -> Status {
    const std::scoped_lock lock(world.mutex);
    HF_TRY(SimReplica * found, world.FindReplica(replica));
    image = world.ImageOf(replica, *found, false);
    return {};
  };

  bool waits = false;
  {
    const std::scoped_lock lock(world.mutex);
    HF_RETURN_IF_ERROR(world.CheckAllowed(Purpose::kBackup));
    HF_TRY(SimReplica * found, world.FindReplica(replica));
    waits = found->streams > 0;
    ++found->streams;
    SimPeer& peer = world.peers.at(replica.peer);
    peer.streams_max = std::max(peer.streams_max, ++peer.streams);
    world.streams_max = std::max(world.streams_max, ++world.streams);
  }
  bool holds = false;
  const AtEnd ended([&] {
    const std::scoped_lock lock(world.mutex);
    const auto collection = world.collections.find(replica.collection);
    if (collection != world.collections.end()) {
      const auto shard = collection->second.shards.find(replica.shard);
      if (shard != collection->second.shards.end()) {
        const auto found = shard->second.replicas.find(replica.peer);
        // A replica that was made anew meanwhile never had this stream.
        if (found != shard->second.replicas.end() && found->second.streams > 0) {
          --found->second.streams;
          if (holds) found->second.streaming = false;
        }
      }
    }
    --world.peers.at(replica.peer).streams;
    --world.streams;
    world.changed.notify_all();
  });

  if (cut == 0 && !waits) HF_RETURN_IF_ERROR(take());
  world.Moment(StreamMoment::kRequested, replica);
  HF_RETURN_IF_ERROR(world.clock.SleepFor(call, world.options.call_time));
  if (cut == 1 && !waits) HF_RETURN_IF_ERROR(take());
  observer.OnHeaders(world.clock.Monotonic());
  world.Moment(StreamMoment::kHeaders, replica);
  {
    std::unique_lock lock(world.mutex);
    HF_RETURN_IF_ERROR(WaitUntil(call, world.clock, world.changed, lock, [&] {
      const Result<SimReplica*> found = world.FindReplica(replica);
      return !found.ok() || !(*found)->streaming;
    }));
    HF_TRY(SimReplica * found, world.FindReplica(replica));
    found->streaming = true;
    holds = true;
  }
  HF_RETURN_IF_ERROR(world.DrainQueue(call, replica, limits));
  if (!image) HF_RETURN_IF_ERROR(take());
  return world.Send(call, replica, MakeStreamedTar(*image), limits, sink, &observer);
}

Result<StoredSnapshot> ScriptedEngine::CreateSnapshot(const CallContext& call, PeerId peer,
                                                      const std::string& collection,
                                                      std::optional<ShardId> shard,
                                                      CaptureObserver& observer) {
  World& world = *world_;
  HF_RETURN_IF_ERROR(world.Arrive(call, EngineCall::kCreateSnapshot));
  const ReplicaRef about{
      .peer = peer, .collection = collection, .shard = shard.value_or(ShardId())};
  observer.OnRequest(world.clock.Monotonic());
  const bool cut_early = world.random.Between(0, 1) == 0;
  if (!cut_early) world.Moment(StreamMoment::kRequested, about);
  StoredSnapshot snapshot;
  snapshot.peer = peer;
  snapshot.collection = collection;
  snapshot.shard = shard;
  snapshot.created_at = std::chrono::floor<std::chrono::seconds>(world.clock.Wall());
  {
    const std::scoped_lock lock(world.mutex);
    HF_RETURN_IF_ERROR(world.CheckAllowed(Purpose::kBackup));
    HF_RETURN_IF_ERROR(world.CheckPeer(peer));
    HF_TRY(SimCollection * found, world.FindCollection(collection));
    Bytes body;
    if (shard) {
      HF_TRY(SimReplica * replica, world.FindReplica(about));
      body = MakeStoredTar(world.ImageOf(about, *replica, false));
    } else {
      std::map<ShardId, ScriptedImage> images;
      for (auto& [id, sim] : found->shards) {
        const auto local = sim.replicas.find(peer);
        if (local == sim.replicas.end()) continue;
        images[id] = world.ImageOf({.peer = peer, .collection = collection, .shard = id},
                                   local->second, true);
      }
      body = MakeStoredCollectionTar(images, 0);
    }
    snapshot.name =
        collection +
        (shard ? "-shard-" + std::to_string(shard->value()) : "-" + std::to_string(peer.value())) +
        "-" + std::to_string(++world.snapshots_made) + ".snapshot";
    snapshot.bytes = body.size();
    snapshot.sha256 = ToHex(Sha256Of(body));
    world.peers.at(peer).snapshots.emplace_back(snapshot, std::move(body));
  }
  if (cut_early) world.Moment(StreamMoment::kRequested, about);
  HF_RETURN_IF_ERROR(world.clock.SleepFor(call, world.options.call_time));
  observer.OnHeaders(world.clock.Monotonic());
  observer.OnFirstByte(world.clock.Monotonic());
  world.Moment(StreamMoment::kFirstByte, about);
  HF_RETURN_IF_ERROR(world.Depart(EngineCall::kCreateSnapshot));
  return snapshot;
}

Status ScriptedEngine::DownloadSnapshot(const CallContext& call, const StoredSnapshot& snapshot,
                                        const StreamLimits& limits, ByteSink& sink) {
  World& world = *world_;
  HF_RETURN_IF_ERROR(world.Arrive(call, EngineCall::kDownloadSnapshot));
  Bytes body;
  {
    const std::scoped_lock lock(world.mutex);
    HF_RETURN_IF_ERROR(world.CheckPeer(snapshot.peer));
    const auto& kept = world.peers.at(snapshot.peer).snapshots;
    const auto found = std::ranges::find_if(
        kept, [&](const auto& entry) { return entry.first.name == snapshot.name; });
    if (found == kept.end()) {
      return Error(ErrorCode::kNotFound, "Not found: Snapshot " + snapshot.name);
    }
    body = found->second;
  }
  const std::uint64_t bytes = body.size();
  const std::string wanted = snapshot.sha256;
  std::uint64_t sent = 0;
  Sha256 digest;
  FunctionSink counted([&](const CallContext& inner, ByteView piece) {
    sent += piece.size();
    digest.Update(piece);
    return sink.Write(inner, piece);
  });
  const ReplicaRef about{.peer = snapshot.peer,
                         .collection = snapshot.collection,
                         .shard = snapshot.shard.value_or(ShardId())};
  HF_RETURN_IF_ERROR(world.Send(call, about, std::move(body), limits, counted, nullptr));
  // A stored file has a length and a digest, so a short or damaged one is noticed.
  if (sent != bytes) {
    return Error(ErrorCode::kUnavailable, "snapshot " + snapshot.name + " ended early");
  }
  if (ToHex(digest.Finish()) != wanted) {
    return Error(ErrorCode::kDataLoss, "snapshot " + snapshot.name + " has another SHA-256");
  }
  return {};
}

Status ScriptedEngine::DeleteSnapshot(const CallContext& call, const StoredSnapshot& snapshot) {
  return world_->Serve(call, EngineCall::kDeleteSnapshot, [&]() -> Status {
    HF_RETURN_IF_ERROR(world_->CheckPeer(snapshot.peer));
    std::erase_if(world_->peers.at(snapshot.peer).snapshots,
                  [&](const auto& entry) { return entry.first.name == snapshot.name; });
    return {};
  });
}

Result<std::vector<StoredSnapshot>> ScriptedEngine::ListSnapshots(const CallContext& call,
                                                                  PeerId peer,
                                                                  const std::string& collection) {
  return world_->Serve(call, EngineCall::kListSnapshots,
                       [&]() -> Result<std::vector<StoredSnapshot>> {
                         HF_RETURN_IF_ERROR(world_->CheckPeer(peer));
                         HF_TRY(const SimCollection* found, world_->FindCollection(collection));
                         static_cast<void>(found);
                         std::vector<StoredSnapshot> list;
                         for (const auto& [snapshot, bytes] : world_->peers.at(peer).snapshots) {
                           if (snapshot.collection == collection) list.push_back(snapshot);
                         }
                         return list;
                       });
}

std::unique_ptr<SnapshotUnpacker> ScriptedEngine::UnpackStored(ByteSink& inner,
                                                               bool collection_snapshot,
                                                               ShardId shard, PeerId /*peer*/) {
  return qdrant::NewStoredSnapshotUnpacker(
      collection_snapshot ? std::optional(shard) : std::nullopt, inner);
}

std::unique_ptr<ImageInspector> ScriptedEngine::NewInspector(const std::string& spool_directory) {
  return qdrant::NewImageInspector(spool_directory);
}

}  // namespace holdfast::testing
