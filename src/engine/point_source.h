// Points of a collection, shard by shard in the order of their ids, for a logical copy: read from a
// live collection, or straight from the images of a group.

#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/size.h"
#include "model/topology.h"

namespace holdfast {

/// One point as the engine gave it.
struct SourcePoint {
  /// 17, or the UUID in quotes, lower case, with hyphens: as PointReader::ListIds gives it.
  std::string id_json;
  /// The whole point as a JSON object that an upsert takes: "id", "vector" ({} for a point without
  /// vectors: an upsert refuses a point that lacks it) and "payload" (absent when there is none);
  /// nothing else. Numbers as the engine printed them, never through a double: ids go up to 2^64-1.
  std::string point_json;
};

/// How much of a shard is read at once.
struct PageLimits {
  /// Most points, at least 1.
  std::uint32_t points = 256;
  /// About how many bytes of point_json; passed by at most one point where the source can help it,
  /// and a single larger point passes alone.
  std::uint64_t bytes = 4 * kMiB;
};

/// Consecutive points of one shard, ascending by id (CompareIds).
struct PointPage {
  std::vector<SourcePoint> points;
  /// Nothing comes behind it. A page without points is the end, too.
  bool end = false;
};

/// One shard of the source.
struct SourceShard {
  ShardId shard;
  /// Points of a shard key stay under it.
  std::optional<ShardKey> key;
  /// About how many points it has, for progress; 0 when unknown.
  std::uint64_t points = 0;
};

/// Where a logical copy reads. Thread-safe: several shards are read at once. One shard may be read
/// by several threads, too. Which replica or image answers is the source's own affair.
class PointSource {
 public:
  virtual ~PointSource() = default;

  /// Ascending by id; the same ones as long as the source lives.
  virtual Result<std::vector<SourceShard>> Shards(const CallContext& call) = 0;

  /// Points strictly after `after`, an id_json (empty: from the start), which need not exist: a
  /// copy that was interrupted goes on behind the last id that it has recorded. Points that are
  /// written or deleted meanwhile may be seen or not.
  ///
  /// kUnavailable when the shard cannot be read now and may be later; kDataLoss when it is damaged.
  virtual Result<PointPage> ReadPage(const CallContext& call, ShardId shard,
                                     const std::string& after, const PageLimits& limits) = 0;
};

/// The order of pages on canonical id texts: numbers before UUIDs, numbers by value, UUIDs by their
/// bytes. Numbers are compared as digits, so that 2^64-1 is no matter.
inline std::strong_ordering CompareIds(std::string_view a, std::string_view b) {
  const auto is_uuid = [](std::string_view id) { return id.starts_with('"'); };
  if (is_uuid(a) != is_uuid(b)) return is_uuid(a) <=> is_uuid(b);
  if (!is_uuid(a) && a.size() != b.size()) return a.size() <=> b.size();
  return a.compare(b) <=> 0;
}

}  // namespace holdfast
