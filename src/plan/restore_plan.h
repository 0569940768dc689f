// What one restore will do, decided from the group's records and the observed target. Pure: no I/O,
// no clock, no chance.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/group.h"
#include "model/topology.h"

namespace holdfast {

struct RestoreRequest {
  /// Names as in the group; empty means all.
  std::vector<std::string> collections;
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
};

/// A shard key to make on the target, in order. Fillers exist only to make ids come out equal and
/// are dropped again (reference 2.8).
struct KeyStep {
  ShardKey key;
  std::uint32_t shards = 1;
  bool filler = false;
};

/// One shard and the peers that get its image; never empty, no peer twice.
struct ShardPlacement {
  ShardId shard;
  std::vector<PeerId> peers;
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

/// `<name>__<group>`, shortened so that it stays a legal collection name (reference 2.2).
std::string BesideName(const std::string& name, const GroupId& group);

/// JSON for `--dry-run --json` and the job's journal; and back.
std::string RestorePlanToJson(const RestorePlan& plan);
Result<RestorePlan> RestorePlanFromJson(std::string_view json);

}  // namespace holdfast
