// How a cluster that reshards in place gets a collection to another number of shards: one shard at
// a time. Pure: no I/O, no clock, no chance.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/resharding.h"
#include "model/topology.h"
#include "plan/placement.h"

namespace holdfast {

struct NativeReshardRequest {
  std::string collection;
  /// Shards it shall have; with custom sharding, under every key.
  std::uint32_t shards = 0;
  std::map<PeerId, PeerLimits> limits;
  /// The cluster's own setting (measured 21).
  bool allowed = true;
  /// Writers can be kept away while a round ends.
  bool fenced = false;
};

/// One shard more or less.
struct ReshardRound {
  ReshardDirection direction = ReshardDirection::kUp;
  std::optional<ShardKey> key;
  /// kUp: where the new shard's replicas go, the one that gets the points first. kDown: empty.
  std::vector<PeerId> peers;
  /// Shards of the key before and after it.
  std::uint32_t from = 0;
  std::uint32_t to = 0;

  friend bool operator==(const ReshardRound&, const ReshardRound&) = default;
};

struct NativeReshardPlan {
  std::string collection;
  /// Of the collection that was looked at: another one under its name is not resharded.
  std::string uuid;
  std::vector<ReshardRound> rounds;
  std::vector<std::string> warnings;
};

/// New shards go where the collection has least, in zones that its replicas are not in yet, to
/// peers that answer, are not draining and have room. kFailedPrecondition with everything that is
/// in the way: a cluster that does not reshard, a replica that is not Active or whose peer is
/// silent, transfers or a resharding under way, a known lack of room, and writers of other shard
/// keys that nobody keeps away (they would lose acknowledged points: docs/reshard.md). kNotFound.
Result<NativeReshardPlan> PlanNativeReshard(const Topology& topology,
                                            const NativeReshardRequest& request);

/// For `--dry-run --json` and the job's journal, and back. kDataLoss when it is not what the writer
/// writes.
std::string NativeReshardPlanToJson(const NativeReshardPlan& plan);
Result<NativeReshardPlan> NativeReshardPlanFromJson(std::string_view json);

}  // namespace holdfast
