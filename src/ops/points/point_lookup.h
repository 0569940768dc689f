// Whether a collection has every point of a source: each is asked for by its id.

#pragma once

#include <cstdint>
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

struct LookupResult {
  /// Points of the source.
  std::uint64_t points = 0;
  /// Not in the collection; there and not the same.
  std::uint64_t missing = 0;
  std::uint64_t changed = 0;
  /// Some ids of those, for messages.
  std::vector<std::string> some;

  std::uint64_t differences() const noexcept { return missing + changed; }
};

struct LookupParts {
  PointSource& source;
  Engine& engine;
  const PointComparer& comparer;
  Clock& clock;
  RateLimiter& rate;
  Progress& progress;
};

/// Reads every shard of the source once, a few at once, and asks the shards of `collection` that
/// are under the same key for the points of each page. Unlike ComparePoints it has no more than
/// `limits.shards_at_once` shards of the source open, with one page of each in memory; what only
/// `collection` has is not found, which counts tell. Replicas of a shard are asked in turn.
Result<LookupResult> LookUpPoints(const CallContext& call, const LookupParts& parts,
                                  const std::string& collection, const CopyLimits& limits);

}  // namespace holdfast
