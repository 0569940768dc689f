// Ids that an image still has but the group must not (measured 7).

#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"

namespace holdfast {

/// Ids compared in one page of the live replica.
inline constexpr std::uint32_t kIdPage = 10'000;
/// Above this many the shard fails: so many lost deletes are not a race but something else.
inline constexpr std::uint64_t kTombstonesMax = 10'000'000;

/// Walks the image's ids and those of the live replica, both ascending, and writes to `out` each id
/// (one JSON text a line) that the image has and the replica has not. How many. Right only while
/// nothing writes: the caller proves that (same operation number before the cut and afterwards).
/// `inspector` has finished with live_points present.
Result<std::uint64_t> FindTombstones(const CallContext& call, PointReader& reader,
                                     const ReplicaRef& replica, ImageInspector& inspector,
                                     ByteSink& out);

/// Order of ids as JSON texts: numbers ascending, then UUIDs by their text.
bool IdLess(std::string_view left, std::string_view right) noexcept;

}  // namespace holdfast
