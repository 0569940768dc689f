// A collection of a group that gets another number of shards: its points are copied out of the
// images, each into the shard that it belongs to now.

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "base/join.h"
#include "base/size.h"
#include "exec/rate_limiter.h"
#include "ops/points/point_lookup.h"
#include "ops/restore_op.h"

namespace holdfast {

Status RestoreOp::CheckCopy(const CallContext& call) const {
  const auto copied = std::ranges::find_if(
      plan_.collections, [](const CollectionPlan& plan) { return plan.copy_shards != 0; });
  if (copied == plan_.collections.end()) return {};
  if (!options_.copy.check || !options_.copy.open) {
    return Error(ErrorCode::kInternal, "nothing that opens images was configured");
  }
  const Status there = options_.copy.check(call);
  if (there.ok()) return {};
  return there.error().While("'" + copied->source + "' cannot get another number of shards");
}

/// As asked for, or points would be spread in a way that nobody wanted.
Status RestoreOp::CheckNewShards(const CallContext& call, const CollectionPlan& plan) {
  HF_TRY(const Collection there,
         Again(call, [&] { return parts_.engine.ReadCollection(call, plan.target); }));
  std::map<std::optional<ShardKey>, std::uint32_t> shards;
  for (const Shard& shard : there.shards) ++shards[shard.key];
  std::map<std::optional<ShardKey>, std::uint32_t> wanted;
  for (const KeyStep& step : plan.keys) wanted[step.key] = step.shards;
  if (!there.custom_sharding) wanted[std::nullopt] = plan.copy_shards;
  if (shards == wanted) return {};
  return Error(ErrorCode::kFailedPrecondition,
               "'" + plan.target + "' was created with other shards than it was asked to get");
}

Status RestoreOp::CopyImages(StepContext& context, const CollectionPlan& plan,
                             const CollectionRecord& record) {
  HF_RETURN_IF_ERROR(CheckNewShards(context.call(), plan));
  const std::unique_ptr<PointSource> source = options_.copy.open(record);
  const std::uint64_t per_second = options_.copy.points_per_second;
  RateLimiter rate(parts_.clock, per_second, std::max<std::uint64_t>(per_second / 4, 1));
  const auto copied = CopyPoints(context,
                                 {.source = *source,
                                  .target = parts_.engine,
                                  .clock = parts_.clock,
                                  .rate = rate,
                                  .steps = "copy/" + plan.target},
                                 plan.target, options_.copy.limits);
  if (!copied.ok()) return copied.error().While("copy the points of '" + plan.source + "'");
  copied_[plan.target] = *copied;
  return {};
}

/// Every point of the images is in the collection and the same; that it has no others is what the
/// counts have told.
Status RestoreOp::CompareImages(StepContext& context, const CollectionPlan& plan,
                                const CollectionRecord& record) {
  const std::unique_ptr<PointSource> source = options_.copy.open(record);
  HF_TRY(const auto comparer, parts_.engine.NewComparer(record.collection));
  const std::uint64_t per_second = options_.copy.points_per_second;
  RateLimiter rate(parts_.clock, per_second, std::max<std::uint64_t>(per_second / 4, 1));
  const auto found = LookUpPoints(context.call(),
                                  {.source = *source,
                                   .engine = parts_.engine,
                                   .comparer = *comparer,
                                   .clock = parts_.clock,
                                   .rate = rate,
                                   .progress = context.progress()},
                                  plan.target, options_.copy.limits);
  if (!found.ok()) return found.error().While("compare the points of '" + plan.target + "'");
  if (found->differences() == 0) {
    context.Note("'" + plan.target + "': " + FormatCount(found->points) +
                 " points compared with the images, all the same");
    return {};
  }
  std::string text = "'" + plan.target + "' is not what the group holds: of " +
                     FormatCount(found->points) + " points " + FormatCount(found->missing) +
                     " are missing and " + FormatCount(found->changed) +
                     " others than in the images (among them " + Join(found->some) + ")";
  return Error(ErrorCode::kDataLoss, std::move(text));
}

}  // namespace holdfast
