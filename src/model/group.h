// A backup group: what one backup captured, under one id, at one cut.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "model/topology.h"

namespace holdfast {

/// What was achieved, never what was asked (design.md, Capture).
///  kFenced      no writer was at work between the first request and the last first byte
///  kWindow      one wave; the cut lies within the recorded skew
///  kBestEffort  several waves
enum class Consistency { kFenced, kWindow, kBestEffort };
std::string_view ConsistencyName(Consistency consistency) noexcept;

/// kStream: straight from the node's live files, no disk on the node. kStaged: the node stores a
/// snapshot first (of the shard, or of the collection), then it is downloaded and deleted.
enum class CaptureMode { kStream, kStaged };
std::string_view CaptureModeName(CaptureMode mode) noexcept;

/// Why deletes cannot come back from an image (measured 7).
///  kIdle                the replica was idle on both sides of the cut
///  kCollectionSnapshot  the image carries the write-ahead log
///  kTombstones          ids of the image that the live replica does not have are recorded
enum class DeleteProof { kIdle, kCollectionSnapshot, kTombstones };
std::string_view DeleteProofName(DeleteProof proof) noexcept;

/// The files of one shard as captured.
struct ShardImage {
  ShardId shard;
  std::optional<ShardKey> key;
  /// The peer it was taken from.
  PeerId peer;
  CaptureMode mode = CaptureMode::kStream;
  DeleteProof delete_proof = DeleteProof::kIdle;
  /// Key of the image within the repository.
  std::string image;
  std::uint64_t tar_bytes = 0;
  /// Lower-case hexadecimal SHA-256 of the tar; goes as `checksum` with every send.
  std::string tar_sha256;
  /// What a restored shard must count: exact count of the replica, and the same filtered by hash
  /// ring. Without a fence they are bounds: [min, max] of what was counted before and after.
  std::uint64_t points_min = 0;
  std::uint64_t points_max = 0;
  std::uint64_t ring_points_min = 0;
  std::uint64_t ring_points_max = 0;
  /// False when writers were at work and the image's own ids cannot be read: it may then hold more
  /// or fewer points than were ever counted, and a restored shard is compared with its replicas
  /// alone.
  bool counts_known = true;
  /// Live ids found in the image's id trackers; absent when their format was not known.
  std::optional<std::uint64_t> image_points;
  /// Number of ids that must be deleted after the image was sent, and the key of the repository
  /// file that lists them (one JSON id a line); empty when there are none.
  std::uint64_t tombstones = 0;
  std::string tombstones_file;
  /// Cut interval, microseconds since the group's clock zero (its begin): [request, first byte].
  std::int64_t cut_begin_us = 0;
  std::int64_t cut_end_us = 0;
  /// Vector layout found in the image's segments; compared with the target before sending.
  std::string layout_json;
};

/// A question whose exact answer is kept.
struct GoldenQuery {
  std::string request_json;
  /// Answer in order: ids as JSON text and scores.
  std::vector<std::string> ids;
  std::vector<double> scores;
};

/// A point read back by id, as the server answered (id, payload, vector), canonical JSON.
struct SampledPoint {
  std::string id_json;
  std::string point_json;
  std::optional<ShardKey> key;
};

/// Everything the group holds of one collection.
struct CollectionRecord {
  Collection collection;
  std::vector<ShardImage> shards;
  std::vector<SampledPoint> samples;
  std::vector<GoldenQuery> queries;
  /// True when nothing was written between the two looks at samples and queries, so that what both
  /// agree on held at the cut too. Else a point may have been taken away and put back in between.
  bool witnesses_proven = true;
  /// Vector layout the collection's configuration asks for.
  std::string layout_json;
};

/// The line of a collection in the manifest.
struct CollectionSummary {
  std::string name;
  std::string uuid;
  /// Number of its record.
  std::uint32_t record = 0;
  std::uint32_t shards = 0;
  std::uint64_t points = 0;
  std::uint64_t tar_bytes = 0;
  std::vector<std::string> aliases;
};

struct SkippedCollection {
  std::string name;
  std::string reason;
};

/// A file the user keeps with the group: access policies, source map.
struct Attachment {
  std::string name;
  /// Key of the repository file.
  std::string file;
  std::uint64_t bytes = 0;
  std::string sha256;
};

inline constexpr const char* kSafetyPurpose = "safety";

/// The manifest's body: what the group is, without the per-shard detail of the records.
struct GroupManifest {
  GroupId id;
  std::string cluster;
  std::string engine;
  std::string holdfast_version;
  /// Empty: asked for. kSafetyPurpose: taken by a restore of what it was about to replace; "latest"
  /// never means such a group.
  std::string purpose;
  WallTime begun_at{};
  /// The instant the group stands for: the latest end of all cut intervals, on the wall clock.
  WallTime cut_at{};
  WallTime finished_at{};
  std::int64_t skew_us = 0;
  Consistency consistency = Consistency::kWindow;
  std::uint32_t waves = 1;
  std::vector<CollectionSummary> collections;
  std::vector<SkippedCollection> skipped;
  std::vector<Attachment> attachments;
  std::vector<std::string> warnings;
  /// Peers and metadata keys as seen after the cut; its `collections` are left empty.
  Topology topology;
  std::uint64_t points = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_new = 0;
  std::uint64_t bytes_stored = 0;
};

/// JSON of the repository; and back. kDataLoss when it is not what the writer writes.
std::string ManifestToJson(const GroupManifest& manifest);
Result<GroupManifest> ManifestFromJson(std::string_view json);
std::string RecordToJson(const CollectionRecord& record);
Result<CollectionRecord> RecordFromJson(std::string_view json);

/// A new id from the wall clock and 64 random bits.
GroupId MakeGroupId(WallTime begun_at, std::uint64_t random);
/// True for what MakeGroupId makes.
bool IsGroupId(std::string_view text) noexcept;

}  // namespace holdfast
