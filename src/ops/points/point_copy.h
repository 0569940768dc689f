// Copying points from a source into a collection, shard by shard, resumable by position.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "base/size.h"
#include "engine/point_source.h"
#include "engine/point_writer.h"
#include "exec/rate_limiter.h"
#include "job/job_runner.h"

namespace holdfast {

struct CopyLimits {
  /// Shards of the source that are read at once, and threads that write.
  std::size_t shards_at_once = 4;
  std::size_t writers = 4;
  /// Points of one read and one write (`--batch`), and about how many bytes.
  PageLimits page;
  /// Bytes of points between readers and writers; as much again is with the threads.
  std::uint64_t bytes_in_flight = 32 * kMiB;
  /// Points of one recorded step: what an interruption makes copy again, at most, of each shard
  /// that was being read.
  std::uint64_t points_per_step = 20'000;
  /// How long a read or write that may succeed later is tried again.
  Duration patience = std::chrono::minutes(3);
};

/// What a copy works with; all of it outlives the call.
struct CopyParts {
  PointSource& source;
  PointWriter& target;
  Clock& clock;
  /// Of points read; shared with whatever else reads the source.
  RateLimiter& rate;
  /// Where the names of its steps begin; different for each copy of one job.
  std::string steps = "copy";
};

/// Writes every point of the source into `collection`, each under its shard's key. Steps are
/// "<steps>/<shard>/<n>" with the last id that is written for certain; what an earlier attempt has
/// recorded is not copied again. Returns how many points have been copied in all.
///
/// Points that change meanwhile may be copied as they were: ComparePoints finds them.
Result<std::uint64_t> CopyPoints(StepContext& context, const CopyParts& parts,
                                 const std::string& collection, const CopyLimits& limits);

}  // namespace holdfast
