// Role 2 of an engine: taking shards.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "engine/replica_ref.h"
#include "stream/byte_sink.h"
#include "stream/tar_reader.h"

namespace holdfast {

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

}  // namespace holdfast
