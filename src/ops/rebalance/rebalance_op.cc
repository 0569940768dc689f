#include "ops/rebalance/rebalance_op.h"

#include <algorithm>
#include <utility>

#include "model/json.h"
#include "ops/rebalance/rebalance_steps.h"

namespace holdfast {
namespace {

/// Between two looks at a cluster that is not at rest, and how long it may take to come to rest
/// again once we have begun.
constexpr Duration kRestPoll = std::chrono::seconds(2);
constexpr Duration kRestPatience = std::chrono::minutes(2);
/// Plans of one run: each one after the first means that something has failed or changed.
constexpr int kPlansMax = 8;
/// Cleaning up goes on after Ctrl-C, but not for ever.
constexpr Duration kAbortPatience = std::chrono::seconds(60);

}  // namespace

RebalanceOp::RebalanceOp(RebalanceParts parts, RebalanceOptions options)
    : parts_(parts), options_(std::move(options)) {
  options_.transfers_at_once = std::max(1U, options_.transfers_at_once);
  options_.request.receives_at_once = std::max(1U, options_.request.receives_at_once);
}

Result<RebalancePreview> RebalanceOp::Preview(const CallContext& call) {
  HF_TRY(Topology topology, Look(call));
  HF_TRY(RebalancePlan plan, PlanRebalance(topology, options_.request));
  return RebalancePreview{.topology = std::move(topology), .plan = std::move(plan)};
}

/// The cluster with all that a plan looks at.
Result<Topology> RebalanceOp::Look(const CallContext& call) {
  HF_TRY(Topology topology, parts_.engine.ReadTopology(call));
  parts_.engine.ReadSizes(call, topology);
  return topology;
}

/// Waits for what passes by itself. `begun`: peers that are silent by now are no reason to stop,
/// nor is a cluster that is out of reach for a moment.
Result<RebalancePlan> RebalanceOp::Plan(StepContext& context, bool begun) {
  const MonotonicTime until = parts_.clock.Monotonic() + (begun ? kRestPatience : options_.wait);
  RebalanceRequest request = options_.request;
  request.leave_silent = begun;
  for (;;) {
    const auto topology = Look(context.call());
    auto plan =
        topology.ok() ? PlanRebalance(*topology, request) : Result<RebalancePlan>(topology.error());
    if (plan.ok()) return plan;
    const ErrorCode code = plan.error().code();
    const bool passes = code == ErrorCode::kBusy || (begun && IsRetryable(code));
    if (!passes || parts_.clock.Monotonic() >= until) return plan;
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(context.call(), kRestPoll));
  }
}

Result<RebalanceOutcome> RebalanceOp::Run(StepContext& context) {
  auto outcome = Drive(context);
  if (outcome.ok()) return outcome;
  Error error = std::move(outcome).error();
  // Its lease is gone: another worker may have taken over what it had under way.
  const bool may_be_taken_up =
      !parts_.clock.Check(context.call()).ok() && !options_.user_stop.stop_requested();
  if (!may_be_taken_up) error = WithOwnAborted(context, std::move(error));
  // "Try later, nothing was changed" would not be true.
  const bool untouched =
      error.code() == ErrorCode::kUnavailable || error.code() == ErrorCode::kBusy;
  return changed_ && untouched ? std::move(error).As(ErrorCode::kAborted) : error;
}

Error RebalanceOp::WithOwnAborted(StepContext& context, Error error) {
  const CallContext call = parts_.clock.Within({}, kAbortPatience);
  const std::string left = RebalanceSteps(parts_, options_, context, journal_).AbortOwn(call);
  if (left.empty()) return error;
  return Error(error.code(),
               error.message() + "; of its transfers these could not be ended: " + left,
               "`holdfast topology` shows what becomes of them; abort them with the server's own "
               "call, or let them end");
}

Result<RebalanceOutcome> RebalanceOp::Drive(StepContext& context) {
  context.progress().BeginPhase("plan");
  HF_TRY(journal_, RebalanceJournalFromJson(context.plan_json()));
  HF_RETURN_IF_ERROR(
      parts_.engine.CheckRights(context.call(), Purpose::kRestore, options_.request.collections));
  RebalanceSteps steps(parts_, options_, context, journal_);
  RebalanceOutcome outcome;
  changed_ = !journal_.own.empty() || journal_.moved + journal_.replicated + journal_.dropped > 0;
  HF_RETURN_IF_ERROR(steps.FinishOwn());
  for (int plans = 0;; ++plans) {
    const bool begun = plans > 0 || changed_;
    if (plans > 0) context.progress().BeginPhase("plan");
    auto plan = Plan(context, begun);
    if (!plan.ok()) {
      const ErrorCode code = plan.error().code();
      const bool about_the_cluster =
          code == ErrorCode::kBusy || code == ErrorCode::kFailedPrecondition;
      if (steps.done() == 0 || !about_the_cluster) return std::move(plan).error();
      outcome.left.push_back(plan.error().message());
      break;
    }
    std::vector<std::string> blocked;
    const bool nothing_left = steps.OnlyGivenUp(*plan, blocked);
    if (nothing_left || plans == kPlansMax) {
      outcome.warnings = std::move(plan->warnings);
      outcome.left = std::move(plan->left);
      outcome.removable = std::move(plan->removable);
      std::ranges::move(blocked, std::back_inserter(outcome.left));
      if (!nothing_left)
        outcome.left.push_back("the cluster changed faster than it was rebalanced");
      break;
    }
    const Status ran = steps.Run(*plan);
    changed_ = changed_ || steps.changed();
    HF_RETURN_IF_ERROR(ran);
  }
  if (steps.done() == 0 && !steps.given_up().empty()) return steps.given_up().begin()->second;
  outcome.moved = journal_.moved;
  outcome.replicated = journal_.replicated;
  outcome.dropped = journal_.dropped;
  outcome.bytes = journal_.bytes;
  return outcome;
}

Result<RebalanceJournal> TakeOverOwn(const CallContext& call, JobJournal& jobs,
                                     const std::string& cluster) {
  JobFilter filter;
  filter.cluster = cluster;
  filter.kind = kRebalanceKind;
  filter.state = JobState::kInterrupted;
  RebalanceJournal taken;
  HF_TRY(const auto interrupted, jobs.ListJobs(call, filter, kPageRowsMax, std::nullopt));
  for (const JobRecord& job : interrupted) {
    HF_TRY(const auto details, jobs.FindJob(call, job.id));
    if (!details) continue;
    HF_TRY(const RebalanceJournal left, RebalanceJournalFromJson(details->documents.plan_json));
    for (const OwnTransfer& own : left.own) {
      const bool known = std::ranges::any_of(
          taken.own, [&](const OwnTransfer& one) { return one.transfer == own.transfer; });
      if (!known) taken.own.push_back(own);
    }
  }
  return taken;
}

std::string RebalanceOutcomeToJson(const RebalanceOutcome& outcome, Duration took) {
  return json::Dump({{"moved", outcome.moved},
                     {"replicated", outcome.replicated},
                     {"dropped", outcome.dropped},
                     {"bytes", outcome.bytes},
                     {"left", outcome.left},
                     {"warnings", outcome.warnings},
                     {"removable", outcome.removable},
                     {"seconds", static_cast<double>(took.count()) / 1e6}});
}

}  // namespace holdfast
