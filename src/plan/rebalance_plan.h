// How to get from the layout that is there to the one that is wanted. Pure: no I/O, no clock, no
// chance.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/topology.h"
#include "plan/placement.h"
#include "plan/restore_plan.h"

namespace holdfast {

struct RebalanceRequest {
  /// Names; empty means all.
  std::vector<std::string> collections;
  /// Wanted layout, collection -> shards (`--to plan-file`); empty: even.
  std::map<std::string, std::vector<ShardPlacement>> wanted;
  std::map<PeerId, PeerLimits> limits;
  /// Peers that do not answer and are given up: what they held is made anew elsewhere.
  std::vector<PeerId> without;
  /// Other peers that do not answer keep what they hold and get nothing, instead of refusing: for
  /// going on with a rebalance that has begun.
  bool leave_silent = false;
  /// Transfers a peer may be receiving at a time.
  std::uint32_t receives_at_once = 1;
};

///  kMove       the replica goes from one peer to another
///  kReplicate  another replica is made from an active one
///  kDrop       a replica too many, or one on a peer that is gone, is removed
enum class RebalanceAction { kMove, kReplicate, kDrop };
std::string_view RebalanceActionName(RebalanceAction action) noexcept;

struct RebalanceStep {
  RebalanceAction action = RebalanceAction::kMove;
  std::string collection;
  ShardId shard;
  /// Where the data comes from (kDrop: the replica that goes).
  PeerId from;
  /// Where it goes; as `from` for kDrop.
  PeerId to;
  /// About what is transferred; 0 for kDrop.
  std::uint64_t bytes = 0;
};

struct RebalancePlan {
  /// In an order in which no shard ever has fewer active replicas than it began with, or than it is
  /// to have. Steps of different shards do not depend on each other.
  std::vector<RebalanceStep> steps;
  std::uint64_t bytes = 0;
  /// What of the wanted layout cannot be had now, for people.
  std::vector<std::string> left;
  std::vector<std::string> warnings;
  /// Peers that are draining or given up and hold no replica of any collection now, each with the
  /// server's own call that removes it, for people: holdfast never removes a peer.
  std::vector<std::string> removable;
};

/// The least transfers after which every shard has at least its collection's replication factor (as
/// far as there are peers), nothing is on peers that are given up or draining, no peer has more
/// than its even share of a collection, and none holds over kLevelSlack of the mean of bytes where
/// that can be helped. Replicas above the replication factor are somebody's choice: they may move,
/// and stay in number. kBusy when all that stands against it passes by itself: transfers,
/// resharding, replicas that the servers are recovering. kFailedPrecondition for a silent peer that
/// is not given up, a shard without an active replica, and a peer known to have no room; kNotFound
/// for a collection, kInvalidArgument for a wanted layout or a given-up peer that is not there.
Result<RebalancePlan> PlanRebalance(const Topology& topology, const RebalanceRequest& request);

/// A peer that holds more than this share of the peers' mean is relieved by moving whole shards.
inline constexpr double kLevelSlack = 1.1;

/// For `--dry-run --json`; and back. A plan file for `--to` is the JSON of
/// {"collections": {NAME: [{"shard": 0, "peers": [1, 2]}]}}.
std::string RebalancePlanToJson(const RebalancePlan& plan);
Result<RebalancePlan> RebalancePlanFromJson(std::string_view json);
Result<std::map<std::string, std::vector<ShardPlacement>>> WantedLayoutFromJson(
    std::string_view json);

}  // namespace holdfast
