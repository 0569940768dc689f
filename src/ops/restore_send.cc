// Sending the images of a collection to the peers that get its shards.

#include <algorithm>
#include <utility>

#include "model/json.h"
#include "ops/fanout.h"
#include "ops/parallel.h"
#include "ops/restore_io.h"
#include "ops/restore_op.h"

namespace holdfast {

Status RestoreOp::SendImages(StepContext& context, const CollectionPlan& plan,
                             const CollectionRecord& record) {
  return ForEachIndex(
      context.call(), plan.shards.size(), options_.shards_at_once,
      [&](const CallContext&, std::size_t i) -> Status {
        const ShardPlacement& placement = plan.shards[i];
        const auto image = std::ranges::find(record.shards, placement.shard, &ShardImage::shard);
        std::string key = "send/" + plan.target + "/" + std::to_string(placement.shard.value());
        // Other peers have it now, so what is recorded of the first ones does not count.
        if (placement.revision > 0) key += "/revision/" + std::to_string(placement.revision);
        HF_TRY(const std::string sent,
               context.Step(key, [&](const CallContext& call) -> Result<std::string> {
                 for (int tries = 1;; ++tries) {
                   const Status done = SendImage(call, plan, placement, *image, context.progress());
                   if (done.ok()) return CountSent(call, plan, placement, *image);
                   const bool again = IsRetryable(done.error().code()) &&
                                      tries < options_.tries_per_shard &&
                                      parts_.clock.Check(call).ok();
                   if (!again) return done.error();
                   context.Warn("sending shard " + std::to_string(placement.shard.value()) +
                                " of '" + plan.target + "' again: " + done.error().message());
                   HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kRetryPause));
                 }
               }));
        for (const PeerId peer : placement.peers) {
          context.progress().AddItem(std::to_string(peer.value()));
        }
        HF_TRY(const json::Json detail, json::Parse(sent, "a restore step"));
        if (!detail.contains("points")) return {};
        json::Reader in(detail, "a restore step");
        const std::uint64_t points = in.Number("points");
        HF_RETURN_IF_ERROR(in.status());
        const std::scoped_lock lock(sent_mutex_);
        sent_[plan.target][placement.shard] = points;
        return {};
      });
}

/// A replica that turned Dead while images were sent is made anew by the servers from any Active
/// one, also from one that was still empty: what was sent before is not there then, and the group
/// is not at fault.
Status RestoreOp::SendAnew(StepContext& context, CollectionPlan& plan,
                           const CollectionRecord& record) {
  for (ShardPlacement& placement : plan.shards) ++placement.revision;
  HF_RETURN_IF_ERROR(context.SavePlan(RestorePlanToJson(plan_)));
  HF_RETURN_IF_ERROR(SendImages(context, plan, record));
  return Again(context.call(), [&] { return DropUnplanned(context.call(), plan); });
}

/// A replica that dies now is made anew by the servers from any Active one, also from one that is
/// still empty. Where the group does not know how many points a shard has, this is what
/// verification goes by.
Result<std::string> RestoreOp::CountSent(const CallContext& call, const CollectionPlan& plan,
                                         const ShardPlacement& placement, const ShardImage& image) {
  if (image.counts_known) return std::string("{}");
  std::uint64_t points = 0;
  for (const PeerId peer : placement.peers) {
    const ReplicaRef replica{.peer = peer, .collection = plan.target, .shard = placement.shard};
    HF_TRY(const PointCounts counts,
           Again(call, [&] { return parts_.engine.CountPoints(call, replica); }));
    points = std::max(points, counts.all);
  }
  return json::Dump({{"points", points}});
}

Status RestoreOp::SendImage(const CallContext& call, const CollectionPlan& plan,
                            const ShardPlacement& placement, const ShardImage& image,
                            Progress& progress) {
  HF_TRY(const auto reader, OpenImage(call, parts_.repository, image));
  return SendToAll(
      call, parts_.clock, placement.peers.size(),
      [&](const CallContext& inner) { return reader->OpenTar(inner, options_.read); },
      [&](const CallContext& inner, std::size_t target, ByteSource& source) -> Status {
        const PeerId peer = placement.peers[target];
        CountedSource counted(source, progress, std::to_string(peer.value()));
        return parts_.engine.SendShard(
            inner, {.peer = peer, .collection = plan.target, .shard = placement.shard}, counted,
            image.tar_bytes, image.tar_sha256);
      });
}

}  // namespace holdfast
