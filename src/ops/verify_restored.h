// Whether a restored collection is what the group says.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"
#include "model/group.h"
#include "plan/restore_plan.h"

namespace holdfast {

/// What the check needs beside the plan.
struct VerifyInput {
  const CollectionRecord& record;
  const CollectionPlan& plan;
  /// Ids that must not answer from a shard, JSON texts; a part of them is enough.
  std::map<ShardId, std::vector<std::string>> buried;
  /// Points that were copied, where the plan says so.
  std::uint64_t copied = 0;
  /// Points of shards when they had been sent, before tombstones were deleted.
  std::map<ShardId, std::uint64_t> sent{};
  /// How long replicas may take to become Active: states are proposed, and applied later
  /// (reference 3.6).
  Duration patience = std::chrono::seconds(60);
};

/// Points of the collection, as counted.
struct VerifiedCollection {
  std::uint64_t points = 0;
  std::uint32_t shards = 0;
  std::uint32_t replicas = 0;
  /// Samples and golden queries that differ where the group cannot prove what held at its cut.
  std::vector<std::string> warnings;
};

/// "Verified" as design.md defines it: every planned replica Active and no other one, both counts
/// of every replica within the group's, indexes and shard keys there, sampled points equal, golden
/// queries answered as recorded, no tombstone answers. Samples and queries that writers may have
/// changed at the cut are compared too, and reported as warnings. kDataLoss listing what differs at
/// two looks in a row, at most kDifferencesMax of them; kUnavailable when the replicas do not come
/// to be as planned.
///
/// Of a collection that was copied the shards are others than the group's: each must be Active with
/// all its replicas and hold nothing but points that belong to it, and together they must hold what
/// was copied, which must be within the group's counts. Sampled points are compared as the engine
/// says that copies are the same. Queries whose scores depend on the shards are left out, and said.
Result<VerifiedCollection> VerifyRestored(const CallContext& call, Engine& engine, Clock& clock,
                                          const VerifyInput& input);
inline constexpr std::size_t kDifferencesMax = 20;

}  // namespace holdfast
