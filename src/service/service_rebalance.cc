// The part of Service that rebalances a cluster.

#include <optional>
#include <utility>

#include "service/service.h"
#include "service/service_parts.h"

namespace holdfast {
namespace {

/// The job takes the place of those that died: what they had under way is its own now. Written down
/// before they are closed, so that nothing is forgotten in between.
Status TakeOver(StepContext& context, Catalog& catalog, const std::string& cluster,
                const std::string& lease_name) {
  HF_TRY(const RebalanceJournal taken, TakeOverOwn(context.call(), catalog, cluster));
  HF_RETURN_IF_ERROR(context.SavePlan(RebalanceJournalToJson(taken)));
  HF_TRY(const auto lease, catalog.FindLease(context.call(), lease_name));
  if (!lease) return Error(ErrorCode::kAborted, "the lease " + lease_name + " is gone");
  const Error closed(ErrorCode::kAborted, "interrupted: its process ended before it did",
                     "A later rebalance has taken over what it had under way.");
  HF_TRY(const std::uint64_t count, catalog.CloseInterrupted(context.call(), lease->lease,
                                                             kRebalanceKind, ErrorToJson(closed)));
  if (count > 0) {
    context.Warn("a rebalance was interrupted before; what it had under way is taken over (" +
                 std::to_string(taken.own.size()) + " transfers)");
  }
  return {};
}

}  // namespace

/// What is to be done, with what the configuration says of the peers today.
Result<RebalanceAsked> Service::AskedOf(const CallContext& call, const RebalanceCommand& command) {
  HF_TRY(const ClusterConfig cluster, parts_->Cluster());
  RebalanceAsked asked = command.asked;
  if (!command.resume_job.empty()) {
    HF_TRY(const JobDetails job, parts_->FindToResume(call, command.resume_job, kRebalanceKind));
    HF_TRY(asked, RebalanceAskedFromJson(job.documents.request_json));
  }
  asked.request.limits = cluster.peers;
  return asked;
}

Result<RebalancePreview> Service::PreviewRebalance(const CallContext& call,
                                                   const RebalanceCommand& command) {
  HF_TRY(Engine* const engine, parts_->OpenedEngine(call));
  HF_TRY(RebalanceAsked asked, AskedOf(call, command));
  RebalanceOptions options;
  options.request = std::move(asked.request);
  return RebalanceOp({.engine = *engine, .clock = parts_->clock()}, std::move(options))
      .Preview(call);
}

Result<RebalanceOutcome> Service::Rebalance(const CallContext& call,
                                            const RebalanceCommand& command) {
  HF_TRY(Engine* const engine, parts_->OpenedEngine(call));
  HF_TRY(Catalog* const catalog, parts_->OpenedCatalog(call));
  HF_TRY(const ClusterConfig cluster, parts_->Cluster());
  HF_TRY(const RebalanceAsked asked, AskedOf(call, command));
  RebalanceOptions options;
  options.request = asked.request;
  options.transfers_at_once = asked.transfers_at_once;
  options.bytes_per_second = asked.bytes_per_second;
  options.wait = command.wait;
  options.user_stop = call.stop;
  RebalanceOp rebalance({.engine = *engine, .clock = parts_->clock()}, std::move(options));
  const std::string lease_name = "cluster/" + cluster.name;
  std::optional<RebalanceOutcome> outcome;
  const JobBody body = [&](StepContext& context) -> Result<std::string> {
    const MonotonicTime began = parts_->clock().Monotonic();
    if (command.resume_job.empty()) {
      HF_RETURN_IF_ERROR(TakeOver(context, *catalog, cluster.name, lease_name));
    }
    auto ran = rebalance.Run(context);
    if (!ran.ok()) return std::move(ran).error();
    outcome = *std::move(ran);
    return RebalanceOutcomeToJson(*outcome, parts_->clock().Monotonic() - began);
  };
  HF_RETURN_IF_ERROR(parts_->RunOrResume(call, command.resume_job,
                                         {.kind = kRebalanceKind,
                                          .cluster = cluster.name,
                                          .subject = {},
                                          .lease_name = lease_name,
                                          .request_json = RebalanceAskedToJson(asked),
                                          .interrupted = InterruptedJobs::kKeep,
                                          .wait = command.wait},
                                         body));
  return *std::move(outcome);
}

}  // namespace holdfast
