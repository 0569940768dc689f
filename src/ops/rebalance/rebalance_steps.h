// Carries out the steps of rebalance plans: starts transfers, watches them, cleans up after those
// that fail. For this module.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"
#include "job/job_runner.h"
#include "ops/rebalance/rebalance_journal.h"
#include "ops/rebalance/rebalance_op.h"
#include "plan/rebalance_plan.h"

namespace holdfast {

/// Between two looks at what has just changed.
inline constexpr Duration kPollMin = std::chrono::milliseconds(200);
/// How long something may be unseen before it counts as failed: the peers hear of what was agreed
/// on one after the other, and a call without an answer may take effect later.
inline constexpr Duration kUnseenPatience = std::chrono::seconds(10);

/// Lives as long as one attempt of the job. One thread; it looks at the cluster again and again, so
/// that what happened is always what is seen there, never what a call said.
class RebalanceSteps {
 public:
  /// All must outlive the object.
  RebalanceSteps(const RebalanceParts& parts, const RebalanceOptions& options, StepContext& context,
                 RebalanceJournal& journal)
      : parts_(parts), options_(options), context_(context), journal_(journal) {}

  /// Waits for the transfers that the journal has; those that failed are cleaned up after.
  Status FinishOwn();

  /// Does what can be done of the plan. A step that fails is tried again a few times, a peer that
  /// is lost is asked for nothing more: both are no errors, a new plan sees what is there. Steps
  /// that have failed too often are left out from then on, and what comes after them for their
  /// shards.
  Status Run(const RebalancePlan& plan);

  /// Ends every transfer of the journal and removes what it left at its target. Nothing when that
  /// is done, else what is still there, for people.
  std::string AbortOwn(const CallContext& call);

  /// True when nothing of the plan is left to be run. What of it is left out is added to `left`.
  bool OnlyGivenUp(const RebalancePlan& plan, std::vector<std::string>& left) const;

  /// Steps that have failed too often, with the reason, by their keys.
  const std::map<std::string, Error>& given_up() const noexcept { return given_up_; }
  /// True once something may have been changed.
  bool changed() const noexcept { return changed_; }
  /// Steps that were done.
  std::size_t done() const noexcept { return done_; }

 private:
  enum class State { kWaiting, kRunning, kDone, kFailed };
  struct Work {
    RebalanceStep step;
    State state = State::kWaiting;
    /// As it is listed. Servers recover a Dead replica by themselves, in ways of their own.
    std::string method{};
    /// What the start was refused with. It counts when the transfer is not seen all the same.
    std::optional<Error> refused{};
    /// Tried again after a failure.
    bool again = true;
    MonotonicTime not_before{};
    /// When it began, or was last seen to go on.
    MonotonicTime since{};
    MonotonicTime next_look{};
    std::optional<MonotonicTime> silent_since{};
    /// Bytes that the progress was told of.
    std::uint64_t counted = 0;
  };
  using Works = std::vector<Work>;

  std::vector<RebalanceStep> StillToRun(const RebalancePlan& plan) const;
  static TransferRef RefOf(const RebalanceStep& step);
  static TransferKind KindOf(const RebalanceStep& step);
  static std::string KeyOf(const RebalanceStep& step);
  static std::string Doing(const RebalanceStep& step);

  Status Carry(Works& works);
  Result<bool> LookAtRunning(Works& works);
  Result<bool> Judge(Work& work, const Collection& now);
  Result<bool> LookAtPeers(Work& work);
  Result<bool> StartSome(Works& works);
  Result<bool> Start(Work& work);
  Status Drop(Work& work, const Works& works);
  Result<std::string> WhyNotDrop(const Work& work, const Works& works, const Collection& now);

  Status Done(Work& work);
  /// Cleans up; tries again, or gives up with `why`.
  Status Failed(Work& work, const Error& why);
  void Leave(Work& work, const Error& why);
  Status CleanUp(const CallContext& call, const TransferRef& transfer, TransferKind kind);
  Status Forget(const TransferRef& transfer);
  Status Save();
  void Count(Work& work, std::uint64_t bytes);
  bool Answers(PeerId peer, const RebalanceStep& step);
  bool Tolerable(const Error& error);
  /// A collection that was not found is gone when it stays so: while a move ends, a look at a
  /// collection may be told that its shard is not there (run on 1.18.3).
  bool Gone(const std::string& collection);

  const RebalanceParts& parts_;
  const RebalanceOptions& options_;
  StepContext& context_;
  RebalanceJournal& journal_;
  std::map<std::string, int> tries_;
  std::map<std::string, Error> given_up_;
  /// Peers that have stopped answering since the plan was made.
  std::set<PeerId> lost_;
  /// When all starts so far are paid for by the rate.
  MonotonicTime paid_until_{};
  /// Since when collections are not found.
  std::map<std::string, MonotonicTime> missing_since_;
  /// Since when the cluster could not be read.
  std::optional<MonotonicTime> blind_since_;
  bool changed_ = false;
  std::size_t done_ = 0;
};

}  // namespace holdfast
