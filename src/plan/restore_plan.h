// What one restore will do, decided from the group's records and the observed target. Pure: no I/O,
// no clock, no chance.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/group.h"
#include "model/topology.h"
#include "plan/placement.h"

namespace holdfast {

/// kSpread: even over the usable peers, shards on the peers they had as far as that is even.
/// kSame: on the peers they had, wherever those are still there. kConsolidate: everything on one
/// peer, one replica each, for contingency and validation.
enum class RestoreLayout { kSpread, kSame, kConsolidate };

struct RestoreRequest {
  /// Names as in the group; empty means all.
  std::vector<std::string> collections;
  /// Names, or patterns with '*', in the order in which they are wanted back; what none of them
  /// matches comes after, as in the group.
  std::vector<std::string> first;
  /// Name as in the group -> name to restore under (`--as`).
  std::map<std::string, std::string> rename;
  /// Build every collection as `<name>__<group>` first, also where its name is free (`--hidden`).
  bool hidden = false;
  /// Replace a collection that is read by its own name (`--in-place`). The caller has taken a
  /// safety backup of it and knows that nothing writes.
  bool in_place = false;
  /// Let shards crowd on few peers, or replication fall below the group's.
  bool allow_consolidation = false;
  /// Peers not to use although they answer.
  std::vector<PeerId> avoid;
  RestoreLayout layout = RestoreLayout::kSpread;
  /// The peer that gets everything; with kConsolidate.
  std::optional<PeerId> consolidate_on;
  /// Consolidate also where the target has collections already (`--yes`).
  bool accept_crowding = false;
  /// Name as in the group -> number of shards to restore it with (`--shards NAME=K`); with custom
  /// sharding, of every shard key. Where that is not the number it had, its points are copied out
  /// of the images.
  std::map<std::string, std::uint32_t> shards;
  /// The same for collections that are not named there (`--shards K`); 0: as in the group.
  std::uint32_t shards_of_all = 0;
  std::map<PeerId, PeerLimits> limits;
  /// Images a peer may be sent at a time.
  std::uint32_t receives_at_once = 4;
};

std::string_view RestoreLayoutName(RestoreLayout layout) noexcept;

/// A shard key to make on the target, in order. Fillers exist only to make ids come out equal and
/// are dropped again (reference 2.8).
struct KeyStep {
  ShardKey key;
  std::uint32_t shards = 1;
  bool filler = false;
};

/// How readers get to a restored collection.
enum class Naming {
  /// Under the name it had (or `--as`), which is free.
  kFree,
  /// Beside the live collection, then aliases are switched in one call.
  kBesideAlias,
  /// Beside: `--hidden`. Where the name is free it becomes an alias of it at the end, where it is
  /// taken the collection is left beside.
  kHidden,
  /// The live collection is replaced: dropped, made again and filled.
  kInPlace,
};

struct CollectionPlan {
  /// Name in the group, and number of its record there.
  std::string source;
  std::uint32_t record = 0;
  /// Name it is built under.
  std::string target;
  Naming naming = Naming::kFree;
  std::uint32_t replication_factor = 1;
  std::vector<KeyStep> keys;
  /// Not 0: the collection gets so many shards (of every shard key), and its points are copied out
  /// of the images instead of the images being sent; `shards` is empty then, for the server places
  /// new shards: on `place_on` with custom sharding, else on any of its peers.
  std::uint32_t copy_shards = 0;
  std::vector<PeerId> place_on;
  /// Ascending by shard.
  std::vector<ShardPlacement> shards;
  /// Aliases to point at the target when it is verified.
  std::vector<std::string> aliases;
  std::uint64_t tar_bytes = 0;
};

struct RestorePlan {
  GroupId group;
  /// In the order in which they are restored.
  std::vector<CollectionPlan> collections;
  /// Cluster metadata of the group that the target lacks: key -> value as JSON. Only when the whole
  /// group is restored; a key that has another value there stays as it is and is a warning.
  std::map<std::string, std::string> metadata;
  /// What is given up against the group, and how to undo it later.
  std::vector<std::string> given_up;
  std::vector<std::string> warnings;
};

/// Lists every problem at once: kFailedPrecondition (names taken, no usable peer, consolidation
/// without permission, a target that is older than the group, ids that cannot be made again),
/// kNotFound for a collection the group does not have, kInvalidArgument for bad names.
/// `records` are those of the collections asked for, by name.
Result<RestorePlan> PlanRestore(const GroupManifest& manifest,
                                const std::map<std::string, CollectionRecord>& records,
                                const Topology& target, const RestoreRequest& request);

/// What became of one collection's plan when peers were lost.
struct RevisedPlan {
  CollectionPlan collection;
  /// The peers that were lost, for people.
  std::vector<std::string> lost;
  std::vector<std::string> given_up;
  std::vector<std::string> warnings;
};

/// Gives the shards of planned peers that do not answer any more to others; nothing when all
/// answer. Peers that are left keep what they have. Errors as for PlanRestore.
Result<std::optional<RevisedPlan>> RevisePlan(
    const GroupManifest& manifest, const std::map<std::string, CollectionRecord>& records,
    const Topology& target, const RestoreRequest& request, const CollectionPlan& plan);

/// `<name>__<group>`, shortened so that it stays a legal collection name (reference 2.2).
std::string BesideName(const std::string& name, const GroupId& group);

/// What was asked for, for the job's journal, and back. Limits and order come from the
/// configuration and are left out: an interrupted restore goes on with those of its day.
std::string RestoreRequestToJson(const GroupId& group, const RestoreRequest& request);
Result<std::pair<GroupId, RestoreRequest>> RestoreRequestFromJson(std::string_view json);

/// JSON for `--dry-run --json` and the job's journal; and back.
std::string RestorePlanToJson(const RestorePlan& plan);
Result<RestorePlan> RestorePlanFromJson(std::string_view json);

}  // namespace holdfast
