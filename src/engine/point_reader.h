// Role 3 of an engine: reading points.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/point_source.h"
#include "engine/replica_ref.h"
#include "model/group.h"
#include "model/topology.h"

namespace holdfast {

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
  /// Whole points in the order of their ids, strictly after `after` (empty: from the start); see
  /// PointSource::ReadPage. From this replica alone.
  virtual Result<PointPage> ReadPage(const CallContext& call, const ReplicaRef& replica,
                                     const std::string& after, const PageLimits& limits) = 0;
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

}  // namespace holdfast
