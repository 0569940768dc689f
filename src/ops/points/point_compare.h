// Comparing two collections point by point, and making the second one like the first.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"
#include "engine/point_source.h"
#include "exec/rate_limiter.h"
#include "job/progress.h"
#include "ops/points/point_copy.h"

namespace holdfast {

/// What one pass over both found.
struct PassResult {
  /// Points of the source, and of the target before anything was changed.
  std::uint64_t source_points = 0;
  std::uint64_t target_points = 0;
  /// Only in the source; in both and not the same; only in the target.
  std::uint64_t missing = 0;
  std::uint64_t changed = 0;
  std::uint64_t extra = 0;
  /// Ids that stand in two shards of the source; the first one counts.
  std::uint64_t doubled = 0;
  /// Some ids that differ, for messages.
  std::vector<std::string> some;
  /// Every difference with its shard key, unless there are more than kDifferentIdsMax.
  std::vector<std::pair<std::optional<ShardKey>, std::string>> ids;

  std::uint64_t differences() const noexcept { return missing + changed + extra; }
  bool ids_complete() const noexcept { return ids.size() == differences(); }
};
inline constexpr std::size_t kDifferentIdsMax = 10'000;

/// "3 new, 5 changed, 1 deleted".
std::string DescribeDifferences(const PassResult& result);

struct ComparePassParts {
  PointSource& source;
  PointSource& target;
  const PointComparer& comparer;
  /// Absent: differences are counted and left as they are.
  Engine* engine = nullptr;
  /// The collection that is made like the source.
  const std::string& collection;
  Clock& clock;
  RateLimiter& rate;
  Progress& progress;
};

/// Walks through both in the order of ids, shard key by shard key, with a bounded part of each
/// shard in memory. Points that change while they are compared may be counted or not, and be
/// written as they were: only a pass during which nothing was written proves that both are the
/// same.
Result<PassResult> ComparePoints(const CallContext& call, const ComparePassParts& parts,
                                 const CopyLimits& limits);

}  // namespace holdfast
