// Bringing a cluster to the layout that is wanted: shards move, replicas are made and dropped.

#pragma once

#include <cstdint>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "catalog/job_journal.h"
#include "engine/engine.h"
#include "job/job_runner.h"
#include "ops/rebalance/rebalance_journal.h"
#include "plan/rebalance_plan.h"

namespace holdfast {

struct RebalanceOptions {
  RebalanceRequest request;
  /// Transfers under way at a time, in the whole cluster; request.receives_at_once bounds each
  /// peer.
  std::uint32_t transfers_at_once = 4;
  /// Paces the starts of transfers by their sizes: the servers do the copying, and have no limit of
  /// their own. 0: no limit.
  std::uint64_t bytes_per_second = 0;
  /// How long to wait, before anything is done, for what passes by itself: others' transfers,
  /// resharding, replicas that are being recovered.
  Duration wait{};
  /// The user's own wish to stop. Transfers are aborted then; when the operation is stopped for
  /// another reason (its lease is gone) somebody else may go on with it, so they run on.
  std::stop_token user_stop;
};

struct RebalanceParts {
  Engine& engine;
  Clock& clock;
};

struct RebalanceOutcome {
  std::uint64_t moved = 0;
  std::uint64_t replicated = 0;
  std::uint64_t dropped = 0;
  /// About what was transferred.
  std::uint64_t bytes = 0;
  /// What of the wanted layout was not reached, for people; empty: all of it was.
  std::vector<std::string> left;
  std::vector<std::string> warnings;
  /// As in RebalancePlan: emptied peers, with the call that removes each.
  std::vector<std::string> removable;
};

/// What `--dry-run` shows.
struct RebalancePreview {
  Topology topology;
  RebalancePlan plan;
};

/// One thread; made anew for each rebalance.
class RebalanceOp {
 public:
  RebalanceOp(RebalanceParts parts, RebalanceOptions options);

  /// Reads the cluster and plans; changes nothing. Does not wait.
  Result<RebalancePreview> Preview(const CallContext& call);

  /// The body of a rebalance job; safe to run again for a job that was interrupted anywhere:
  /// transfers that are written down and under way are waited for, the rest is planned anew.
  ///
  /// Plans until nothing is left to do. A peer that is lost on the way keeps what it holds and gets
  /// nothing more. Errors: those of PlanRebalance, and those of calls that nothing can be done
  /// without; of the transfers that were started then none is left. What was moved stays.
  Result<RebalanceOutcome> Run(StepContext& context);

 private:
  Result<RebalanceOutcome> Drive(StepContext& context);
  Result<Topology> Look(const CallContext& call);
  Result<RebalancePlan> Plan(StepContext& context, bool begun);
  Error WithOwnAborted(StepContext& context, Error error);

  RebalanceParts parts_;
  RebalanceOptions options_;
  RebalanceJournal journal_;
  bool changed_ = false;
};

/// What interrupted rebalances of the cluster may have left under way, for the journal of one that
/// takes their place.
Result<RebalanceJournal> TakeOverOwn(const CallContext& call, JobJournal& jobs,
                                     const std::string& cluster);

/// The members of the command line's result line without "event" and "state".
std::string RebalanceOutcomeToJson(const RebalanceOutcome& outcome, Duration took);

}  // namespace holdfast
