// The parts of a rebalance that take replicas away: those that are too many, and what transfers
// that failed or were aborted left behind.

#include <algorithm>
#include <utility>

#include "ops/rebalance/rebalance_steps.h"

namespace holdfast {
namespace {

/// How long dropping a replica may take to be seen.
constexpr Duration kDropPatience = std::chrono::seconds(30);

}  // namespace

/// Empty when every replica that the shard is to keep is Active on a peer that answers.
Result<std::string> RebalanceSteps::WhyNotDrop(const Work& work, const Works& works,
                                               const Collection& now) {
  const RebalanceStep& step = work.step;
  if (std::ranges::any_of(now.transfers,
                          [&](const ShardTransfer& one) { return one.shard == step.shard; })) {
    return std::string("the shard is being transferred");
  }
  if (!now.resharding.empty()) return std::string("the collection is being resharded");
  std::set<PeerId> going;
  for (const Work& other : works) {
    if (other.step.action == RebalanceAction::kDrop && other.step.shard == step.shard &&
        other.step.collection == step.collection) {
      going.insert(other.step.from);
    }
  }
  std::size_t kept = 0;
  const Shard* const shard = now.FindShard(step.shard);
  for (const Replica& replica : shard->replicas) {
    if (going.contains(replica.peer)) continue;
    const ReplicaRef ref{.peer = replica.peer, .collection = step.collection, .shard = step.shard};
    const auto health = parts_.engine.ReadHealth(context_.call(), ref);
    if (!health.ok() && health.error().code() == ErrorCode::kUnavailable) {
      return Describe(ref) + " cannot be reached";
    }
    if (!health.ok()) return health.error();
    if (health->state != ReplicaState::kActive) {
      return Describe(ref) + " is " + std::string(ReplicaStateName(health->state));
    }
    ++kept;
  }
  return kept > 0 ? std::string() : std::string("no other replica would be left");
}

Status RebalanceSteps::Drop(Work& work, const Works& works) {
  const RebalanceStep& step = work.step;
  const CallContext& call = context_.call();
  const MonotonicTime until = parts_.clock.Monotonic() + kDropPatience;
  std::string why = "it is still there";
  for (bool asked = false;;) {
    const auto now = parts_.engine.ReadCollection(call, step.collection);
    if (now.ok()) {
      blind_since_.reset();
      missing_since_.erase(step.collection);
      if (!now->StateOf(step.shard, step.from)) return Done(work);
      if (!asked) {
        auto reason = WhyNotDrop(work, works, *now);
        if (!reason.ok() && !Tolerable(reason.error())) return std::move(reason).error();
        why = reason.ok() ? *reason : reason.error().message();
        if (why.empty()) {
          changed_ = true;
          asked = true;
          const Status dropped = parts_.engine.DropReplica(
              call, {.peer = step.from, .collection = step.collection, .shard = step.shard});
          why = dropped.ok() ? "it is still there" : dropped.error().message();
          // Whether it happened all the same is looked at.
          const bool fatal = !dropped.ok() && !Tolerable(dropped.error()) &&
                             dropped.error().code() != ErrorCode::kFailedPrecondition &&
                             dropped.error().code() != ErrorCode::kInvalidArgument &&
                             dropped.error().code() != ErrorCode::kNotFound;
          if (fatal) return dropped.error();
        }
      }
    } else if (now.error().code() == ErrorCode::kNotFound) {
      if (Gone(step.collection)) {
        Leave(work, now.error());
        return {};
      }
    } else if (!Tolerable(now.error())) {
      return now.error();
    }
    const MonotonicTime clock = parts_.clock.Monotonic();
    if (clock >= until || (!asked && clock >= until - kDropPatience + kUnseenPatience)) break;
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPollMin));
  }
  Leave(work, Error(ErrorCode::kAborted, Doing(step) + ": " + why));
  return {};
}

/// Ends the transfer and removes what it made of a replica at its target. One that has become
/// Active is whole, and stays.
Status RebalanceSteps::CleanUp(const CallContext& call, const TransferRef& transfer,
                               TransferKind kind) {
  const MonotonicTime until = parts_.clock.Monotonic() + kDropPatience;
  Error last(ErrorCode::kDeadlineExceeded, "it is still there");
  for (;;) {
    const auto now = parts_.engine.ReadCollection(call, transfer.collection);
    const bool missing = !now.ok() && now.error().code() == ErrorCode::kNotFound;
    if (missing && Gone(transfer.collection)) return {};
    if (now.ok()) missing_since_.erase(transfer.collection);
    Status done;
    if (!now.ok()) {
      done = now.error();
    } else {
      const bool listed = std::ranges::any_of(
          now->transfers, [&](const ShardTransfer& one) { return IsTransfer(one, transfer); });
      const auto state = now->StateOf(transfer.shard, transfer.to);
      const bool half = state && state != ReplicaState::kActive;
      if (!listed && !half) return {};
      // Dropping it ends its transfers in the same moment, also those by which the servers recover
      // it. The target of a move goes by itself; were it Active by now, it would be the only one.
      if (half && !(listed && kind == TransferKind::kMove)) {
        done = parts_.engine.DropReplica(
            call,
            {.peer = transfer.to, .collection = transfer.collection, .shard = transfer.shard});
      } else {
        done = parts_.engine.AbortTransfer(call, transfer);
      }
    }
    if (!done.ok()) last = done.error();
    const bool hopeless = !done.ok() && (done.error().code() == ErrorCode::kPermissionDenied ||
                                         done.error().code() == ErrorCode::kInternal);
    if (hopeless || parts_.clock.Monotonic() >= until) break;
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPollMin));
  }
  return std::move(last).While("clean up after the transfer of " + Describe(transfer));
}

std::string RebalanceSteps::AbortOwn(const CallContext& call) {
  std::string left;
  for (const OwnTransfer& own : journal_.own) {
    const Status aborted = CleanUp(call, own.transfer, own.kind);
    if (aborted.ok()) continue;
    left += (left.empty() ? "" : "; ") + Describe(own.transfer) + " (" + aborted.error().message() +
            ")";
  }
  return left;
}

}  // namespace holdfast
