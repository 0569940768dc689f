// What a vector database offers to holdfast, in four roles. `engine/qdrant` is the first engine;
// tests have a scripted one. Everything is safe for use from many threads.
//
// A peer is always addressed by id: the engine knows which URL answers with that id, and a call to
// a peer that answers with another id fails (kAborted), because pods move and load balancers lie.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "model/group.h"
#include "model/topology.h"
#include "stream/byte_sink.h"
#include "stream/byte_source.h"
#include "stream/tar_reader.h"

namespace holdfast {

/// One copy of one shard.
struct ReplicaRef {
  PeerId peer;
  std::string collection;
  ShardId shard;

  friend bool operator==(const ReplicaRef&, const ReplicaRef&) = default;
};

/// "shard 3 of 'docs' on peer 6106786298590253".
std::string Describe(const ReplicaRef& replica);

/// What one peer says of its own replica, at one instant.
struct ReplicaHealth {
  ReplicaState state = ReplicaState::kUnknown;
  /// Status of the shard is green or grey, or whatever this server shows for "not working on it".
  bool calm = false;
  /// Optimizations running on this replica's peer for this collection.
  std::uint32_t optimizations_running = 0;
  /// Operations accepted and not yet applied.
  std::uint64_t update_queue_length = 0;
  /// Number of the last operation; equal numbers on both sides prove that nothing was written.
  /// Absent when the server does not tell.
  std::optional<std::uint64_t> update_op_num;
  /// Predicted size of a shard tar in bytes, 0 when unknown.
  std::uint64_t bytes = 0;

  /// Deletes acknowledged now are in a snapshot taken now (measured 7).
  bool idle() const noexcept { return calm && optimizations_running == 0; }
};

/// What the operation needs; rights are checked for it.
enum class Purpose { kObserve, kBackup, kRestore };

/// Role 1: what is there.
class ClusterReader {
 public:
  virtual ~ClusterReader() = default;

  /// The whole cluster as it is now. kUnavailable when no configured URL answers;
  /// kFailedPrecondition when a load balancer stands in front (one URL, changing peer ids).
  virtual Result<Topology> ReadTopology(const CallContext& call) = 0;
  /// One collection's part of it, cheaper. kNotFound.
  virtual Result<Collection> ReadCollection(const CallContext& call, const std::string& name) = 0;
  /// From the replica's own peer. Optimizations count for the whole peer and collection.
  virtual Result<ReplicaHealth> ReadHealth(const CallContext& call, const ReplicaRef& replica) = 0;
  /// Of many replicas, for a plan: a whole cluster in one look where the engine can. In the order
  /// asked for; coarser than ReadHealth (update_op_num may be absent), and a replica that nothing
  /// is known of is kUnknown and not calm instead of an error. Never for the two sides of a cut.
  virtual Result<std::vector<ReplicaHealth>> ReadHealths(const CallContext& call,
                                                         const std::vector<ReplicaRef>& replicas);
  /// OK, or kPermissionDenied listing every right that is missing for `purpose` on `collections`.
  /// Changes nothing on the cluster.
  virtual Status CheckRights(const CallContext& call, Purpose purpose,
                             const std::vector<std::string>& collections) = 0;
};

/// Told of the instants of one capture, from the thread that captures. All on one monotonic clock.
class CaptureObserver {
 public:
  virtual ~CaptureObserver() = default;
  /// The request is about to be sent: everything acknowledged before is in the image.
  virtual void OnRequest(MonotonicTime) {}
  /// Status 200 and headers are in. Not the cut (measured 1).
  virtual void OnHeaders(MonotonicTime) {}
  /// The first body byte is in: nothing sent from now on is in the image.
  virtual void OnFirstByte(MonotonicTime) {}
};

/// A snapshot file that a node keeps.
struct StoredSnapshot {
  PeerId peer;
  std::string collection;
  /// Absent: a snapshot of the collection (all shards local to that peer, with write-ahead log).
  std::optional<ShardId> shard;
  std::string name;
  std::uint64_t bytes = 0;
  /// Lower-case hexadecimal SHA-256; empty when the node does not know (snapshots kept on S3).
  std::string sha256;
  /// When its making began, by the node's clock; to the second. Absent when it does not say.
  std::optional<WallTime> created_at;
};

/// What an inspector found in a shard tar that passed it by.
struct ImageFacts {
  /// The peer that wrote the image, by its own word: not the one that was asked when a load
  /// balancer or a moved address came in between.
  PeerId peer;
  /// Vector layout of the segments as a canonical JSON text; equal for all of them. Empty when the
  /// image has no segment.
  std::string layout_json;
  std::uint32_t segments = 0;
  /// Live points by the id trackers; absent when a tracker format was unknown ("ids unknown", never
  /// zero) or the image carries a log with more.
  std::optional<std::uint64_t> live_points;
};

/// Looks at a shard tar while it passes and decides whether it is complete (design.md, "Complete
/// means"). Used by one thread.
class ImageInspector : public TarVisitor {
 public:
  /// After TarReader::Finish() said that the end marker was there. kDataLoss naming what is
  /// missing.
  virtual Result<ImageFacts> Finish(const CallContext& call) = 0;
  /// Only after Finish and when live_points is present: the live ids, each once, as JSON texts
  /// (17 or "uuid"), ascending (numbers before UUIDs). Spooled, not held in memory.
  virtual Status VisitIds(const CallContext& call,
                          const std::function<Status(std::string_view)>& visit) = 0;
};

/// Takes a stored snapshot in slices and writes a shard tar. Used by one thread.
class SnapshotUnpacker : public ByteSink {
 public:
  /// At the end of the input: kDataLoss naming what is missing, else writes the last entries.
  virtual Status Finish(const CallContext& call) = 0;
};

/// Limits of one capture stream.
struct StreamLimits {
  /// Longest wait for the first body byte while the update queue does not fall.
  Duration first_byte = std::chrono::minutes(2);
  /// Longest gap between two bytes afterwards.
  Duration between_bytes = std::chrono::seconds(60);
};

/// Role 2: taking shards.
class ShardSource {
 public:
  virtual ~ShardSource() = default;

  /// Streams the tar of one replica into `sink`, raw bytes as the server sends them. OK says only
  /// that HTTP ended well: completeness is the tar's own (measured 2).
  virtual Status StreamShard(const CallContext& call, const ReplicaRef& replica,
                             const StreamLimits& limits, ByteSink& sink,
                             CaptureObserver& observer) = 0;
  /// Makes the node store a snapshot of one shard, or of the collection (`shard` absent). The cut
  /// interval is [OnRequest, OnFirstByte = the answer].
  virtual Result<StoredSnapshot> CreateSnapshot(const CallContext& call, PeerId peer,
                                                const std::string& collection,
                                                std::optional<ShardId> shard,
                                                CaptureObserver& observer) = 0;
  virtual Status DownloadSnapshot(const CallContext& call, const StoredSnapshot& snapshot,
                                  const StreamLimits& limits, ByteSink& sink) = 0;
  /// OK when it is gone, whether or not it was there.
  virtual Status DeleteSnapshot(const CallContext& call, const StoredSnapshot& snapshot) = 0;
  /// Snapshots the peer keeps of a collection: its own and those of its shards.
  virtual Result<std::vector<StoredSnapshot>> ListSnapshots(const CallContext& call, PeerId peer,
                                                            const std::string& collection) = 0;
  /// A sink that turns a stored snapshot (nested tars; of the shard, or the `shard`'s part of a
  /// collection's) into the bytes of a shard tar for `inner`, which must outlive it.
  /// `collection_snapshot` says which. Finish() it after the download.
  virtual std::unique_ptr<SnapshotUnpacker> UnpackStored(ByteSink& inner, bool collection_snapshot,
                                                         ShardId shard, PeerId peer) = 0;
  /// `spool_directory` takes unlinked temporary files for ids.
  virtual std::unique_ptr<ImageInspector> NewInspector(const std::string& spool_directory) = 0;
};

/// Both counts of one replica.
struct PointCounts {
  std::uint64_t all = 0;
  /// Only points that belong to this shard by the hash ring (measured 16).
  std::uint64_t in_ring = 0;
};

/// Role 3: reading points.
class PointReader {
 public:
  virtual ~PointReader() = default;

  /// Exact, from this replica alone.
  virtual Result<PointCounts> CountPoints(const CallContext& call, const ReplicaRef& replica) = 0;
  /// Ids as JSON texts, ascending, strictly after `after` (empty: from the start), at most `limit`;
  /// an empty page is the end. From this replica alone.
  virtual Result<std::vector<std::string>> ListIds(const CallContext& call,
                                                   const ReplicaRef& replica,
                                                   const std::string& after,
                                                   std::uint32_t limit) = 0;
  /// `ids` as JSON texts; canonical JSON of those of them that exist, from this replica alone.
  virtual Result<std::vector<SampledPoint>> ReadPoints(const CallContext& call,
                                                       const ReplicaRef& replica,
                                                       const std::vector<std::string>& ids) = 0;
  /// Exact questions about the collection made from points of it: one per vector at most, each a
  /// request without an answer yet. Empty when the collection has no vectors or no points.
  virtual Result<std::vector<GoldenQuery>> ProposeQueries(
      const CallContext& call, const Collection& collection,
      const std::vector<SampledPoint>& samples) = 0;
  /// Asks `query` of the whole collection `name` and fills in ids and scores.
  virtual Result<GoldenQuery> Ask(const CallContext& call, const std::string& name,
                                  const GoldenQuery& query) = 0;
  /// OK when `image` fits a collection of layout `collection` (names, sizes, distances, types);
  /// kFailedPrecondition naming the difference. Pure.
  virtual Status CheckLayout(std::string_view image_layout_json,
                             std::string_view collection_layout_json) = 0;
  /// Layout asked for by a Collection's create_json. Pure.
  virtual Result<std::string> LayoutOf(const Collection& collection) = 0;
};

struct ShardKeySpec {
  ShardKey key;
  std::uint32_t shards = 1;
  std::uint32_t replication_factor = 1;
  /// Peers to place on; empty: the server's choice.
  std::vector<PeerId> placement;
};

struct AliasMove {
  std::string alias;
  /// Collection it shall point to; it is created or switched.
  std::string to;
};

/// Role 4: writing, for restore. Nothing is ever retried blindly after a timeout: the caller reads
/// the state again (reference 1.2).
class ClusterWriter {
 public:
  virtual ~ClusterWriter() = default;

  /// `create_json` with another name; auto sharding makes its shards at once, custom sharding none.
  /// `replication_factor` 0 keeps the recorded one. kAlreadyExists.
  virtual Status CreateCollection(const CallContext& call, const std::string& name,
                                  const Collection& as, std::uint32_t replication_factor) = 0;
  /// OK when it is gone.
  virtual Status DropCollection(const CallContext& call, const std::string& name) = 0;
  virtual Status CreateShardKey(const CallContext& call, const std::string& collection,
                                const ShardKeySpec& spec) = 0;
  virtual Status DropShardKey(const CallContext& call, const std::string& collection,
                              const ShardKey& key) = 0;
  virtual Status CreateIndex(const CallContext& call, const std::string& collection,
                             const PayloadIndex& index) = 0;
  /// Sends the shard tar to one peer (`priority=no_sync`, measured 11). A peer without a replica of
  /// the shard gets one (measured 12). `sha256` is required.
  virtual Status SendShard(const CallContext& call, const ReplicaRef& to, ByteSource& tar,
                           std::uint64_t bytes, std::string_view sha256) = 0;
  virtual Status DropReplica(const CallContext& call, const ReplicaRef& replica) = 0;
  /// Deletes points by id (JSON texts) through the collection, applied when it returns.
  virtual Status DeletePoints(const CallContext& call, const std::string& collection,
                              const std::optional<ShardKey>& key,
                              const std::vector<std::string>& ids) = 0;
  /// All in one call: readers see all of them or none (measured 19).
  virtual Status SwitchAliases(const CallContext& call, const std::vector<AliasMove>& moves) = 0;
  /// Applies finish_json; a no-op for "{}".
  virtual Status FinishCollection(const CallContext& call, const std::string& name,
                                  const Collection& as) = 0;
};

/// One cluster under one configuration.
class Engine : public ClusterReader,
               public ShardSource,
               public PointReader,
               public ClusterWriter {};

}  // namespace holdfast
