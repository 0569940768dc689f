// Shard snapshots of the scripted engine: small tars with the names, the order and the id trackers
// of real ones (reference 4.3), and points that can be read back out of them.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "engine/qdrant/point_id.h"

namespace holdfast::testing {

/// One entry of a segment's id tracker: an append-only log (reference 4.7, measured 7).
struct LogEntry {
  qdrant::PointId id;
  bool deleted = false;
  /// Offset within the segment; for inserts.
  std::uint32_t offset = 0;
  /// One line of JSON with payload and vector; for inserts.
  std::string point_json;
};

/// A segment as it is on the node's disk.
struct ScriptedSegment {
  std::string uuid;
  std::vector<LogEntry> log;
  std::uint32_t next_offset = 0;
};

struct ScriptedImage {
  PeerId peer;
  std::uint32_t dimensions = 0;
  /// Number that the next operation gets; names the file in wal/.
  std::uint64_t next_operation = 1;
  std::uint64_t mtime = 0;
  std::uint64_t ballast_bytes = 0;
  std::uint64_t ballast_seed = 0;
  std::vector<ScriptedSegment> segments;
  /// A collection snapshot carries the operations that segments do not have yet.
  bool with_log = false;
};

/// As the server streams it.
Bytes MakeStreamedTar(const ScriptedImage& image);
/// As the server stores it: segments are tars inside the tar.
Bytes MakeStoredTar(const ScriptedImage& image);
/// A stored collection snapshot: one folder a shard.
Bytes MakeStoredCollectionTar(const std::map<ShardId, ScriptedImage>& shards, std::uint64_t mtime);

/// What the simulated server finds in a tar that is sent to it.
struct ReceivedImage {
  /// Live points, as JSON lines by id.
  std::map<qdrant::PointId, std::string> points;
  std::uint64_t next_operation = 1;
  /// False: the shard ends up empty (measured 14).
  bool has_replica_state = false;
};

/// As much as the server checks: kInvalidArgument without wal/ or segments/, kAborted for a tar
/// that breaks off inside an entry or is none.
Result<ReceivedImage> ReadStreamedTar(ByteView tar);

/// Offsets in `tar` at which an entry ends, ascending.
std::vector<std::uint64_t> EntryBoundaries(ByteView tar);

}  // namespace holdfast::testing
