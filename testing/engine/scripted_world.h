// The state of the simulated cluster. Everything here is guarded by World::mutex.

#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "testing/engine/scripted_image.h"
#include "testing/scripted_engine.h"

namespace holdfast::testing {

/// True for the states that take writes (reference 3.8).
bool TakesWrites(ReplicaState state);
/// True for the states that others are made from, and one of which must take a write (reference
/// 3.8).
bool IsSource(ReplicaState state);

/// One copy of one shard.
struct SimReplica {
  ReplicaState state = ReplicaState::kActive;
  /// A state that consensus has agreed on and peers see from `seen_at` on.
  std::optional<ReplicaState> next_state;
  MonotonicTime seen_at{};
  /// When it was last made Dead.
  MonotonicTime dead_since{};
  /// What reads see, hidden points left out, as JSON lines.
  std::map<qdrant::PointId, std::string> points;
  /// Deletes that are only in memory while the optimizer works (measured 7).
  std::set<qdrant::PointId> hidden;
  bool optimizing = false;
  std::vector<ScriptedSegment> segments;
  /// Of all log entries ever made, as they lie in the segments.
  std::uint64_t log_bytes = 0;
  std::uint64_t next_operation = 1;
  std::uint64_t queue = 0;
  std::uint64_t queue_step = 1;
  /// Streams asked for and not ended; one of them at most is `streaming`, the others wait.
  std::uint32_t streams = 0;
  bool streaming = false;
};

struct SimShard {
  std::optional<ShardKey> key;
  std::map<PeerId, SimReplica> replicas;
  /// Least number of Active replicas on living peers since it was last reset.
  std::optional<std::uint32_t> least_active;
};

/// A transfer that the servers carry out.
struct SimTransfer {
  ShardId shard;
  PeerId from;
  PeerId to;
  TransferKind kind = TransferKind::kMove;
  MonotonicTime begun{};
  MonotonicTime ends{};
  bool fails = false;
  /// The servers' own, for a replica that was Dead.
  bool recovery = false;
};

/// How far a resharding is (measured 21).
enum class SimReshardStage { kMigrating, kReadCommitted, kWriteCommitted };

struct SimResharding {
  Resharding what;
  SimReshardStage stage = SimReshardStage::kMigrating;
};

struct SimCollection {
  std::string uuid;
  std::uint32_t dimensions = 4;
  std::uint32_t shard_number = 1;
  std::uint32_t replication_factor = 1;
  bool custom = false;
  std::string create_json;
  std::string finish_json = "{}";
  std::uint64_t ballast_bytes = 0;
  std::map<ShardId, SimShard> shards;
  std::vector<PayloadIndex> indexes;
  /// Shown only.
  std::vector<ShardTransfer> transfers;
  std::vector<SimTransfer> moving;
  /// Somebody else's, told by the test.
  std::string resharding;
  std::optional<SimResharding> round;
};

struct SimPeer {
  bool alive = true;
  /// Stored snapshots by their description.
  std::vector<std::pair<StoredSnapshot, Bytes>> snapshots;
  std::uint32_t streams = 0;
  std::uint32_t streams_max = 0;
  std::uint32_t receives_max = 0;
};

/// How one stream goes wrong.
struct ChosenFault {
  StreamFault::Kind kind;
  std::uint64_t at;
};

struct ScriptedEngine::World {
  World(Clock& the_clock, ScriptedOptions the_options);

  Clock& clock;
  const ScriptedOptions options;
  Random random;
  mutable std::mutex mutex;
  std::condition_variable_any changed;

  std::map<PeerId, SimPeer> peers;
  std::map<std::string, SimCollection> collections;
  std::map<std::string, std::string> aliases;
  std::map<std::string, std::string> metadata;
  std::set<Purpose> forbidden;
  bool load_balanced = false;
  bool reshardable = true;
  /// Members of bodies that new collections do not take.
  std::set<std::string> ignored;
  std::uint64_t uuids_made = 0;
  std::uint64_t snapshots_made = 0;

  std::list<CallFault> call_faults;
  std::list<StreamFault> stream_faults;
  std::function<void(StreamMoment, const ReplicaRef&)> hook;
  std::map<std::uint64_t, std::vector<std::function<void()>>> before_call;
  std::uint64_t calls = 0;
  std::map<EngineCall, std::uint64_t> calls_by_kind;
  std::uint32_t streams = 0;
  std::uint32_t streams_max = 0;
  int failing_transfers = 0;
  std::string failing_collection;
  std::uint32_t transfers_max = 0;

  // --- calls ---

  /// Counts, runs what is to happen before this call, lets time pass, fails by script; `work` runs
  /// under the lock.
  template <class F>
  auto Serve(const CallContext& call, EngineCall kind, F work) -> std::invoke_result_t<F&> {
    HF_RETURN_IF_ERROR(Arrive(call, kind));
    std::unique_lock lock(mutex);
    Settle();
    auto result = work();
    lock.unlock();
    if (result.ok()) HF_RETURN_IF_ERROR(Depart(kind));
    return result;
  }
  Status Arrive(const CallContext& call, EngineCall kind);
  Status Depart(EngineCall kind);
  std::optional<Error> TakeFault(EngineCall kind, bool after_effect);
  std::optional<ChosenFault> TakeStreamFault(const ReplicaRef& replica, std::uint64_t bytes);
  void Moment(StreamMoment moment, const ReplicaRef& replica);
  Status Send(const CallContext& call, const ReplicaRef& replica, Bytes body,
              const StreamLimits& limits, ByteSink& sink, CaptureObserver* observer);
  Status DrainQueue(const CallContext& call, const ReplicaRef& replica, const StreamLimits& limits);

  // --- state, all under the lock ---

  /// Applies states whose time has come, and ends transfers.
  void Settle();
  void SettleTransfers(SimCollection& collection, MonotonicTime now);
  /// Ends it: on success the target is Active, else Dead (replicate) or gone (move).
  void EndTransfer(SimCollection& collection, const SimTransfer& transfer, bool success);
  /// Ends those that `ended` says true for without success.
  void AbortTransfers(SimCollection& collection,
                      const std::function<bool(const SimTransfer&)>& ended);
  void CountActive();
  ShardTransfer Shown(const SimTransfer& transfer) const;
  std::string NewUuid();
  SimCollection& Must(const std::string& collection);
  SimReplica& Must(const ReplicaRef& replica);
  Result<SimCollection*> FindCollection(const std::string& name);
  /// kUnavailable when the peer is dead, kNotFound when it has no such replica.
  Result<SimReplica*> FindReplica(const ReplicaRef& replica);
  Status CheckPeer(PeerId peer) const;
  Status CheckAllowed(Purpose purpose) const;
  void MakeReplica(SimCollection& collection, ShardId shard, PeerId peer, ReplicaState state);
  void PlaceShard(SimCollection& collection, ShardId shard, const std::optional<ShardKey>& key,
                  std::uint32_t replicas, const std::vector<PeerId>& pool, std::size_t turn);
  std::vector<PeerId> PeersByLoad() const;
  /// The shard that owns an id: within its key's shards, as the hash ring has it that a resharding
  /// leads to, or the one before.
  static ShardId Owner(const SimCollection& collection, const std::optional<ShardKey>& key,
                       const qdrant::PointId& id, bool before_resharding = false);
  /// Where a write of the point goes: one shard, or two while it moves (reference 5).
  static std::vector<ShardId> Targets(const SimCollection& collection,
                                      const std::optional<ShardKey>& key, const qdrant::PointId& id,
                                      bool removes);
  /// The server's defect (docs/reshard.md): while another key gets a shard more, a new point that
  /// this shard would own is acknowledged and not stored.
  static bool IsSwallowed(const SimCollection& collection, const std::optional<ShardKey>& key,
                          const qdrant::PointId& id);
  /// A resharding does not outlive a replica that it moves points into.
  void AbortResharding(SimCollection& collection);
  void Insert(SimReplica& replica, const qdrant::PointId& id, std::string point_json);
  void Remove(SimReplica& replica, const qdrant::PointId& id);
  /// Applies a client's write to all replicas that take writes and live. Those on dead peers become
  /// Dead then, as the server sees to before it answers. True when a replica that others are made
  /// from took it; else the client is told an error, though others may have it
  /// (C/shards/replica_set/update.rs).
  bool Write(SimCollection& collection, ShardId shard,
             const std::function<void(SimReplica&)>& apply);
  /// What becomes of a replica that failed: a resharding or a transfer that needs it ends with it.
  /// False when that cannot be, so that it stays as it is: it is the last one that others are made
  /// from, or a resharding that must be completed needs it (set_shard_replica_state in
  /// C/collection/mod.rs).
  bool TurnDead(SimCollection& collection, ShardId shard, PeerId peer);
  /// Dead replicas are recovered by the servers where the options say so, one of a collection at a
  /// time, and new ones become Active once all of their collection's peers live.
  void Recover(SimCollection& collection, MonotonicTime now);
  /// The optimizer has ended: hidden deletes reach the segments.
  void ApplyHidden(SimReplica& replica);
  Topology Snapshot();
  Collection Describe(const std::string& name, const SimCollection& collection) const;
  ScriptedImage ImageOf(const ReplicaRef& replica, SimReplica& from, bool with_log);
};

}  // namespace holdfast::testing
