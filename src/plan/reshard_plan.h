// How one collection gets another number of shards or other settings, decided from the observed
// cluster. Pure: no I/O, no clock, no chance.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/topology.h"
#include "plan/setting_changes.h"

namespace holdfast {

/// kAuto: natively where the cluster allows it, else by a copy. kNative: the cluster moves the
/// points itself, holdfast drives it; the collection keeps its name. kCopy: the points are copied
/// into a new collection, and the aliases are switched.
enum class ReshardMethod { kAuto, kNative, kCopy };

/// "auto", "native", "copy".
std::string_view ReshardMethodName(ReshardMethod method) noexcept;
/// kInvalidArgument for any other text.
Result<ReshardMethod> ReshardMethodFromName(std::string_view name);

/// Most shards (of one key) that are asked for; a typing error rather than a wish beyond it.
inline constexpr std::uint32_t kReshardShardsMax = 1000;

struct ReshardRequest {
  /// The collection's name, or an alias of it.
  std::string collection{};
  /// Shards it shall have; with custom sharding, of every shard key. 0: as many as now, which takes
  /// other settings.
  std::uint32_t shards = 0;
  ReshardMethod method = ReshardMethod::kAuto;
  /// What is laid over its settings (PointWriter::Resharded); empty: nothing.
  std::string settings_json{};
  /// Name of the new collection of a copy (`--as`); empty: `<name>__<suffix>`.
  std::string as{};
};

/// What the planner cannot see in a topology.
struct ReshardFacts {
  /// Why the cluster cannot reshard this collection natively; empty: it can.
  std::string native_refusal{};
  /// Tells the new collection's name from others; a part of the job's id.
  std::string suffix{};
  /// What the request's settings change.
  std::vector<SettingChange> changes{};
};

struct ReshardPlan {
  /// kNative or kCopy.
  ReshardMethod method = ReshardMethod::kCopy;
  /// Why this one, for people.
  std::string why;
  /// The collection as it is called, never an alias.
  std::string source;
  std::string uuid;
  /// Where the points end: `source` itself for kNative.
  std::string target;
  std::uint32_t shards = 0;
  /// Now: of the collection, or of its shard key with the most.
  std::uint32_t shards_now = 0;
  /// As the request has it, and what it changes.
  std::string settings_json;
  std::vector<SettingChange> changes;
  /// With custom sharding, in the order they are made.
  std::vector<ShardKey> keys;
  /// Switched from source to target once it is verified; ascending. Empty: nobody is switched.
  std::vector<std::string> aliases;
  /// As the server reports them; what a copy takes in addition while both exist.
  std::uint64_t points = 0;
  std::uint64_t bytes = 0;
  /// What a person should know before it begins.
  std::vector<std::string> notes;
  /// What the method has recorded for a run that goes on after an interruption; a JSON text of its
  /// own, or empty.
  std::string progress_json;
};

/// kNotFound when there is no such collection; kInvalidArgument for what can never be done;
/// kFailedPrecondition naming everything that is in the way now.
Result<ReshardPlan> PlanReshard(const Topology& cluster, const ReshardRequest& request,
                                const ReshardFacts& facts);

/// The collection of that name, or the one that an alias of that name reads; nothing when there is
/// none.
const Collection* FindByNameOrAlias(const Topology& cluster, const std::string& name);

/// For `--dry-run --json` and the job's journal, and back. kDataLoss when it is not what the writer
/// writes.
std::string ReshardPlanToJson(const ReshardPlan& plan);
Result<ReshardPlan> ReshardPlanFromJson(std::string_view json);

}  // namespace holdfast
