// How a restored collection comes into being: its name, its shards and their keys, without points.

#include <algorithm>
#include <set>
#include <utility>

#include "model/json.h"
#include "ops/late_change.h"
#include "ops/quiet.h"
#include "ops/restore_op.h"

namespace holdfast {
namespace {

/// Between two looks at the operation numbers of a collection that is to be replaced.
constexpr Duration kQuietWatch = std::chrono::seconds(2);
/// Of CreateCollection.
constexpr std::uint32_t kRecordedFactor = 0;

}  // namespace

/// The safety backup of a live collection, then its end. Whatever has the name afterwards is ours.
Status RestoreOp::Replace(StepContext& context, const CollectionPlan& plan) {
  const auto replaced =
      context.Step("replace/" + plan.target, [&](const CallContext& call) -> Result<std::string> {
        const auto before = OperationNumbers(call, parts_.engine, plan.target);
        if (!before.ok()) {
          // Dropped by an attempt that did not live to record it.
          if (before.error().code() == ErrorCode::kNotFound) return std::string("{}");
          return before.error();
        }
        HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kQuietWatch));
        HF_RETURN_IF_ERROR(CheckQuiet(call, parts_.engine, plan.target, *before));
        if (!options_.safety_backup) {
          return Error(ErrorCode::kInternal, "no safety backup was configured");
        }
        HF_TRY(const GroupId group, options_.safety_backup({plan.target}));
        HF_RETURN_IF_ERROR(CheckQuiet(call, parts_.engine, plan.target, *before));
        context.Warn("'" + plan.target + "' was backed up as group " + group.value() +
                     " before it is replaced; if that fails from here on, what was in it is in "
                     "that group only");
        replaced_.insert(plan.target);
        HF_RETURN_IF_ERROR(parts_.engine.DropCollection(call, plan.target));
        return json::Dump({{"group", group.value()}});
      });
  if (!replaced.ok()) return replaced.error();
  replaced_.insert(plan.target);
  return {};
}

Status RestoreOp::Create(StepContext& context, const CallContext& call, const CollectionPlan& plan,
                         const CollectionRecord& record) {
  if (plan.naming == Naming::kInPlace) HF_RETURN_IF_ERROR(Replace(context, plan));
  HF_TRY(
      const std::string made,
      context.Step("create/" + plan.target, [&](const CallContext& inner) -> Result<std::string> {
        HF_RETURN_IF_ERROR(MakeRoom(context, inner, plan));
        HF_RETURN_IF_ERROR(CreateEmpty(inner, plan, record));
        HF_RETURN_IF_ERROR(CreateKeys(inner, plan));
        HF_TRY(const Collection there,
               Again(inner, [&] { return parts_.engine.ReadCollection(inner, plan.target); }));
        return json::Dump({{"uuid", there.uuid}});
      }));
  if (made_.contains(plan.target)) return {};
  // Made by an earlier attempt: much may have happened to it since.
  HF_TRY(const json::Json detail, json::Parse(made, "a restore step"));
  json::Reader in(detail, "a restore step");
  const std::string uuid = in.Text("uuid");
  HF_RETURN_IF_ERROR(in.status());
  const auto there = Again(call, [&] { return parts_.engine.ReadCollection(call, plan.target); });
  if (!there.ok() && there.error().code() != ErrorCode::kNotFound) return there.error();
  if (!there.ok() || there->uuid != uuid) {
    return Error(ErrorCode::kFailedPrecondition,
                 "'" + plan.target + "', which the interrupted restore had made, is gone" +
                     (there.ok() ? ", and another collection has its name" : ""),
                 "start a new restore instead of resuming this one");
  }
  made_.insert(plan.target);
  return {};
}

/// With the replication factor of the group also where fewer replicas are planned: the server makes
/// as many as there are peers and asks writers for no more, and the wanted number stays in the
/// collection for `holdfast rebalance` to reach. Afterwards made_ says whether what has the name is
/// ours to drop.
Status RestoreOp::CreateEmpty(const CallContext& call, const CollectionPlan& plan,
                              const CollectionRecord& record) {
  Result<Collection> as = record.collection;
  if (plan.copy_shards != 0) as = parts_.engine.Resharded(record.collection, plan.copy_shards, {});
  if (!as.ok()) return as.error();
  HF_RETURN_IF_ERROR(parts_.clock.Check(call));
  const Status created = parts_.engine.CreateCollection(call, plan.target, *as, kRecordedFactor);
  if (created.ok()) made_.insert(plan.target);
  if (created.ok() || created.error().code() == ErrorCode::kAlreadyExists) return created;
  // It may have been made all the same. Also after Ctrl-C this must be known.
  const CallContext looking = parts_.clock.Within({}, kCleanUpPatience);
  HF_TRY(const bool made,
         WasCreated(looking, parts_.clock, parts_.engine, plan.target, created.error()));
  if (made) made_.insert(plan.target);
  return created;
}

/// Sees to it that nothing has the name that the collection is to get.
Status RestoreOp::MakeRoom(StepContext& context, const CallContext& call,
                           const CollectionPlan& plan) {
  const auto there = parts_.engine.ReadCollection(call, plan.target);
  if (!there.ok()) {
    return there.error().code() == ErrorCode::kNotFound ? Status() : there.error();
  }
  // Either our own creation whose record was lost, then it is empty, or somebody else's.
  if (context.attempt() == 1 || there->points != 0) {
    return Error(ErrorCode::kAlreadyExists, "'" + plan.target + "' has come into being meanwhile",
                 "drop it if nobody needs it, or restore with --as");
  }
  return parts_.engine.DropCollection(call, plan.target);
}

Status RestoreOp::CreateKeys(const CallContext& call, const CollectionPlan& plan) {
  // Named, because the server would place on dead peers too (measured 18).
  std::set<PeerId> peers(plan.place_on.begin(), plan.place_on.end());
  for (const ShardPlacement& placement : plan.shards) {
    peers.insert(placement.peers.begin(), placement.peers.end());
  }
  for (const KeyStep& step : plan.keys) {
    HF_RETURN_IF_ERROR(parts_.engine.CreateShardKey(
        call, plan.target,
        {.key = step.key,
         .shards = step.shards,
         .replication_factor = step.filler ? 1 : plan.replication_factor,
         .placement = {peers.begin(), peers.end()}}));
  }
  for (const KeyStep& step : plan.keys) {
    if (!step.filler) continue;
    HF_RETURN_IF_ERROR(parts_.engine.DropShardKey(call, plan.target, step.key));
  }
  return {};
}

/// Ids decide where points are looked for, so they must be the group's (reference 2.8).
Status RestoreOp::CheckShards(const CallContext& call, const CollectionPlan& plan,
                              const CollectionRecord& record) {
  HF_TRY(const Collection there, parts_.engine.ReadCollection(call, plan.target));
  std::map<ShardId, std::optional<ShardKey>> want;
  std::map<ShardId, std::optional<ShardKey>> have;
  for (const ShardImage& image : record.shards) want[image.shard] = image.key;
  for (const Shard& shard : there.shards) have[shard.id] = shard.key;
  if (want == have) return {};
  return Error(ErrorCode::kFailedPrecondition,
               "'" + plan.target + "' was created with other shard ids or keys than the group has",
               "this server numbers shards in another way; restore it logically");
}

}  // namespace holdfast
