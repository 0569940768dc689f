// Resharding, as a job.

#include <utility>

#include "model/json.h"
#include "ops/reshard/reshard_op.h"
#include "service/service_parts.h"

namespace holdfast {

Result<ReshardOptions> Service::MakeReshardOptions(const CallContext& call,
                                                   const ReshardCommand& command) {
  HF_TRY(const ClusterConfig cluster, parts_->Cluster());
  ReshardOptions options;
  options.request = command.request;
  options.points_per_second = command.points_per_second;
  options.passes = command.passes;
  options.index_wait = command.index_wait;
  options.copy.page.points = command.batch;
  options.user_stop = call.stop;
  HF_TRY(options.fence, parts_->OpenedFence());
  options.fence_limit = cluster.fence_limit;
  options.limits = cluster.peers;
  if (command.resume_job.empty()) return options;
  HF_TRY(const JobDetails job, parts_->FindToResume(call, command.resume_job, "reshard"));
  HF_TRY(options.request, ReshardRequestFromJson(job.documents.request_json));
  return options;
}

Result<ReshardPlan> Service::PreviewReshard(const CallContext& call,
                                            const ReshardCommand& command) {
  HF_TRY(Engine* const engine, parts_->OpenedEngine(call));
  HF_TRY(ReshardOptions options, MakeReshardOptions(call, command));
  return ReshardOp({.engine = *engine, .clock = parts_->clock(), .random = parts_->random()},
                   std::move(options))
      .Preview(call, "JOB");
}

Result<ReshardOutcome> Service::Reshard(const CallContext& call, const ReshardCommand& command) {
  HF_TRY(Engine* const engine, parts_->OpenedEngine(call));
  HF_TRY(Catalog* const catalog, parts_->OpenedCatalog(call));
  HF_TRY(const ClusterConfig cluster, parts_->Cluster());
  HF_TRY(ReshardOptions options, MakeReshardOptions(call, command));
  const std::string subject = options.request.collection;
  const std::string request_json = ReshardRequestToJson(options.request);
  ReshardOp reshard({.engine = *engine, .clock = parts_->clock(), .random = parts_->random()},
                    std::move(options));
  std::optional<ReshardOutcome> outcome;
  const JobBody body = [&](StepContext& context) -> Result<std::string> {
    const MonotonicTime began = parts_->clock().Monotonic();
    // Now that the lease is ours: until then a dead run reads as running.
    if (command.resume_job.empty()) {
      HF_RETURN_IF_ERROR(TellOfInterrupted(context, *catalog, cluster.name, "reshard"));
    }
    auto ran = reshard.Run(context);
    if (!ran.ok()) return AfterChange(std::move(ran).error());
    outcome = *std::move(ran);
    return ReshardOutcomeToJson(*outcome, parts_->clock().Monotonic() - began);
  };
  HF_RETURN_IF_ERROR(parts_->RunOrResume(call, command.resume_job,
                                         {.kind = "reshard",
                                          .cluster = cluster.name,
                                          .subject = subject,
                                          .lease_name = "cluster/" + cluster.name,
                                          .request_json = request_json,
                                          .interrupted = InterruptedJobs::kKeep,
                                          .wait = command.wait},
                                         body));
  return *std::move(outcome);
}

}  // namespace holdfast
