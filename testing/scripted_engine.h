// A whole simulated cluster behind the Engine interface: peers, collections, replicas, points and
// the traps of the real server (shared/qdrant/measured.md), for tests of what stands on an engine.
// Deterministic by seed as long as one thread calls it; safe for many.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "engine/engine.h"
#include "testing/engine/scripted_faults.h"

namespace holdfast::testing {

/// How a collection is made by AddCollection.
struct ScriptedCollection {
  std::uint32_t shards = 1;
  std::uint32_t replication_factor = 1;
  /// Custom sharding: `shards` of every key. Ids begin at 1 (reference 2.8).
  std::vector<ShardKey> keys;
  std::uint32_t dimensions = 4;
  std::vector<PayloadIndex> indexes;
  /// "{}", or what CollectionFinish gets.
  std::string finish_json = "{}";
  /// Peers to place on, in turn; empty: all.
  std::vector<PeerId> placement;
  /// Incompressible bytes that every image of the collection carries, the same for every capture.
  std::uint64_t ballast_bytes = 0;
};

/// One point as the simulation keeps it.
struct ScriptedPoint {
  std::vector<float> vector;
  /// A JSON object.
  std::string payload = "{}";
};

/// How the simulated cluster is laid out and how it takes its time.
struct ScriptedOptions {
  std::uint32_t peers = 3;
  std::uint64_t seed = 1;
  std::string version = "1.18.3";
  /// Every call moves the clock by this.
  Duration call_time = std::chrono::milliseconds(2);
  /// Every piece of a stream moves the clock by this.
  Duration piece_time = Duration(0);
  std::size_t piece_bytes = 4096;
  /// How long the servers take to copy a shard that is moved or replicated.
  Duration transfer_time = std::chrono::seconds(2);
  /// How long a state that was proposed (Active after SendShard) takes to be seen.
  Duration consensus_time = std::chrono::milliseconds(50);
  /// How long the servers leave a Dead replica on a living peer before they copy it anew from an
  /// Active one by themselves (reference 3.8), as a transfer that is listed. Absent: for ever.
  std::optional<Duration> recovery_after{};
  /// Stand-alone server: one peer, not distributed.
  bool distributed = true;
};

class ScriptedEngine final : public Engine {
 public:
  /// `clock` must outlive the engine. Peers get the ids 101, 102, ...
  ScriptedEngine(Clock& clock, ScriptedOptions options = {});
  ~ScriptedEngine() override;

  // --- the world ---------------------------------------------------------------------------------

  /// Makes a collection at once, all replicas Active.
  void AddCollection(const std::string& name, const ScriptedCollection& config = {});
  /// Writes a point to all replicas of its shard that take writes; those on dead peers become Dead
  /// (measured 18). False when no replica took it. `id` is a JSON text; `key` for custom sharding.
  /// A vector is made from id and seed when `point.vector` is empty.
  bool Upsert(const std::string& collection, const std::string& id, ScriptedPoint point = {},
              const std::optional<ShardKey>& key = {});
  /// As DELETE with wait=true: gone from reads at once. While the optimizer works on a replica its
  /// images still hold the point (measured 7). False and Dead replicas as for Upsert.
  bool Delete(const std::string& collection, const std::string& id,
              const std::optional<ShardKey>& key = {});
  /// Upserts numbers [from, to) with a small payload.
  void Fill(const std::string& collection, std::uint64_t from, std::uint64_t to,
            const std::optional<ShardKey>& key = {});

  /// Live ids of a collection by the replica that reads would ask, ascending; with `key` of that
  /// key's shards alone.
  std::vector<std::string> Ids(const std::string& collection,
                               const std::optional<ShardKey>& key = {}) const;
  /// The cluster as it is, without a call and its faults.
  Topology Now();
  /// The shard that a point belongs to.
  ShardId ShardOf(const std::string& collection, const std::string& id,
                  const std::optional<ShardKey>& key = {}) const;
  /// What one replica answers, whether or not its peer lives: JSON lines of points by their ids.
  std::map<std::string, std::string> Content(const ReplicaRef& replica) const;
  /// Payload of a live point; absent when no replica has it.
  std::optional<std::string> Payload(const std::string& collection, const std::string& id) const;

  /// The peer answers nobody any more; its replicas are still listed as they were (measured 18).
  void KillPeer(PeerId peer);
  /// Comes back with its data, or without (`with_disk` lost: replicas empty and Dead).
  void StartPeer(PeerId peer, bool lost_disk = false);
  PeerId AddPeer();
  void SetReplicaState(const ReplicaRef& replica, ReplicaState state);
  /// As when a write did not reach the replica: Dead, with what the servers do then. False when
  /// they refuse it: it is the last one that others could be made from, or a resharding needs it.
  bool LoseReplica(const ReplicaRef& replica);
  /// The replica gets all that an Active one on a live peer has, and becomes Active. False when
  /// there is none, the replica's own peer is dead, a stream of it is open (it holds the shard's
  /// locks), or it has been Dead for less than `takes`.
  bool RecoverReplica(const ReplicaRef& replica, Duration takes = Duration(0));
  /// RecoverReplica() for all Dead ones of the peer.
  void RecoverReplicas(PeerId peer);
  /// From now on deletes only hide points in memory; ends with everything applied.
  void StartOptimization(const ReplicaRef& replica);
  void FinishOptimization(const ReplicaRef& replica);
  /// Operations that are accepted and not yet applied; falls by `step` with every look at it.
  void SetUpdateQueue(const ReplicaRef& replica, std::uint64_t length, std::uint64_t step = 1);
  /// A transfer of somebody else's: listed, and doing nothing, until FinishTransfers.
  void ShowTransfer(const std::string& collection, const ShardTransfer& transfer);
  void FinishTransfers(const std::string& collection);
  /// The next `times` transfers that are started fail half way, as the server's do after its own
  /// three tries; with `collection` of that one alone.
  void FailTransfers(int times, const std::string& collection = {});
  /// Transfers under way, and the most there ever were at once: to one peer, and in total.
  std::uint32_t transfers_max(std::optional<PeerId> to = {}) const;
  /// The least number of Active replicas on living peers that the shard has had since it was made,
  /// or since WatchReplicas.
  std::uint32_t least_active(const std::string& collection, ShardId shard) const;
  void WatchReplicas();
  void SetResharding(const std::string& collection, const std::string& what);
  /// Whether the cluster reshards in place; it does unless this is called.
  void SetReshardable(bool reshardable);
  void SetAlias(const std::string& alias, const std::string& collection);
  /// An empty value removes the key.
  void SetMetadata(const std::string& key, const std::string& value_json);
  /// Damages one replica alone: a point that only it lacks.
  void LosePoint(const ReplicaRef& replica, const std::string& id);
  /// Recreates a collection under its name: same configuration, no points, another uuid.
  void Recreate(const std::string& collection);
  /// New collections do not take this member of the bodies that make and finish them.
  void IgnoreSetting(const std::string& member);
  /// A load balancer stands in front: ReadTopology is refused.
  void SetLoadBalanced(bool load_balanced);
  /// Purposes that CheckRights refuses, and calls that need them.
  void SetForbidden(Purpose purpose, bool forbidden);

  // --- faults, moments, counts -------------------------------------------------------------------

  void Add(CallFault fault);
  /// From the `n`-th next call on (from 0) every call fails as for a dead process; `after_effect`:
  /// the `n`-th itself still happens.
  void DieAt(std::uint64_t n, bool after_effect);
  void Add(StreamFault fault);
  void ClearFaults();
  /// Faults that were added and have not happened; a test that leaves some proved nothing.
  int unused_faults() const;
  /// Called at every moment of every stream.
  void OnMoment(std::function<void(StreamMoment, const ReplicaRef&)> hook);
  /// Called right before call number `number` (from 1) is served, whatever it is.
  void BeforeCall(std::uint64_t number, std::function<void()> action);
  /// Calls served so far, failed ones included.
  std::uint64_t calls() const;
  std::uint64_t calls(EngineCall call) const;
  /// Streams open now, and the most there were at once: on one peer, and in total.
  std::uint32_t open_streams() const;
  std::uint32_t open_streams_max(std::optional<PeerId> peer = {}) const;
  /// Bodies of snapshots that a peer keeps on its disk.
  std::vector<StoredSnapshot> stored_snapshots() const;

  // --- Engine ------------------------------------------------------------------------------------

  Result<Topology> ReadTopology(const CallContext& call) override;
  Result<Collection> ReadCollection(const CallContext& call, const std::string& name) override;
  Result<ReplicaHealth> ReadHealth(const CallContext& call, const ReplicaRef& replica) override;
  Status CheckRights(const CallContext& call, Purpose purpose,
                     const std::vector<std::string>& collections) override;

  /// A second stream of the same replica gets its headers at once and waits for the first one to
  /// end, in real time; its cut is then (sandbox-notes d).
  Status StreamShard(const CallContext& call, const ReplicaRef& replica, const StreamLimits& limits,
                     ByteSink& sink, CaptureObserver& observer) override;
  Result<StoredSnapshot> CreateSnapshot(const CallContext& call, PeerId peer,
                                        const std::string& collection, std::optional<ShardId> shard,
                                        CaptureObserver& observer) override;
  Status DownloadSnapshot(const CallContext& call, const StoredSnapshot& snapshot,
                          const StreamLimits& limits, ByteSink& sink) override;
  Status DeleteSnapshot(const CallContext& call, const StoredSnapshot& snapshot) override;
  Result<std::vector<StoredSnapshot>> ListSnapshots(const CallContext& call, PeerId peer,
                                                    const std::string& collection) override;
  std::unique_ptr<SnapshotUnpacker> UnpackStored(ByteSink& inner, bool collection_snapshot,
                                                 ShardId shard, PeerId peer) override;
  std::unique_ptr<ImageInspector> NewInspector(const std::string& spool_directory) override;

  Result<PointCounts> CountPoints(const CallContext& call, const ReplicaRef& replica) override;
  Result<std::vector<std::string>> ListIds(const CallContext& call, const ReplicaRef& replica,
                                           const std::string& after, std::uint32_t limit) override;
  Result<std::vector<SampledPoint>> ReadPoints(const CallContext& call, const ReplicaRef& replica,
                                               const std::vector<std::string>& ids) override;
  Result<PointPage> ReadPage(const CallContext& call, const ReplicaRef& replica,
                             const std::string& after, const PageLimits& limits) override;
  Result<std::vector<GoldenQuery>> ProposeQueries(
      const CallContext& call, const Collection& collection,
      const std::vector<SampledPoint>& samples) override;
  Result<GoldenQuery> Ask(const CallContext& call, const std::string& name,
                          const GoldenQuery& query) override;
  Status CheckLayout(std::string_view image_layout_json,
                     std::string_view collection_layout_json) override;
  Result<std::string> LayoutOf(const Collection& collection) override;

  Status CreateCollection(const CallContext& call, const std::string& name, const Collection& as,
                          std::uint32_t replication_factor) override;
  Status DropCollection(const CallContext& call, const std::string& name) override;
  Status CreateShardKey(const CallContext& call, const std::string& collection,
                        const ShardKeySpec& spec) override;
  Status DropShardKey(const CallContext& call, const std::string& collection,
                      const ShardKey& key) override;
  Status CreateIndex(const CallContext& call, const std::string& collection,
                     const PayloadIndex& index) override;
  /// Checks as little as the server does: a tar that ends short of replica_state.json leaves an
  /// empty shard and is OK; wrong dimensions and the wrong shard are OK too (measured 14-16).
  Status SendShard(const CallContext& call, const ReplicaRef& to, ByteSource& tar,
                   std::uint64_t bytes, std::string_view sha256) override;
  Status DropReplica(const CallContext& call, const ReplicaRef& replica) override;
  Status DeletePoints(const CallContext& call, const std::string& collection,
                      const std::optional<ShardKey>& key,
                      const std::vector<std::string>& ids) override;
  Status SwitchAliases(const CallContext& call, const std::vector<AliasMove>& moves) override;
  Status SetMetadata(const CallContext& call, const std::string& key,
                     const std::string& value_json) override;
  Status FinishCollection(const CallContext& call, const std::string& name,
                          const Collection& as) override;

  /// The target starts empty and is Active after transfer_time with what the source has then. While
  /// one of the two peers is dead nothing moves on: a dead target makes it fail in the end, a dead
  /// source keeps it listed until it comes back or somebody aborts it (reference 5).
  Status StartTransfer(const CallContext& call, const TransferRef& transfer,
                       TransferKind kind) override;
  Status AbortTransfer(const CallContext& call, const TransferRef& transfer) override;
  TransferProgress ProgressOf(const ShardTransfer& transfer) const override;
  Result<bool> CanReshard(const CallContext& call) override;
  Result<std::optional<Resharding>> ReadResharding(const CallContext& call,
                                                   const std::string& collection) override;
  Status StartResharding(const CallContext& call, const std::string& collection,
                         const Resharding& wanted) override;
  /// The points are there when it returns, so no transfer is ever listed.
  Status MigratePoints(const CallContext& call, const ReplicaRef& from,
                       const ReplicaRef& to) override;
  Status FinishMigration(const CallContext& call, const ReplicaRef& replica) override;
  Status TakeStep(const CallContext& call, const std::string& collection,
                  ReshardStep step) override;
  Status CleanReplica(const CallContext& call, const ReplicaRef& replica) override;
  Status UpsertPoints(const CallContext& call, const std::string& collection,
                      const std::optional<ShardKey>& key,
                      const std::vector<SourcePoint>& points) override;
  Result<Collection> Resharded(const Collection& collection, std::uint32_t shards,
                               std::string_view settings) override;
  Result<std::unique_ptr<PointComparer>> NewComparer(const Collection& collection) override;
  bool DependsOnShards(const Collection& collection, const GoldenQuery& query) override;

 private:
  struct World;
  std::unique_ptr<World> world_;
};

}  // namespace holdfast::testing
