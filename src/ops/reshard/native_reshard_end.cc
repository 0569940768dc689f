// The end of a round of resharding: from the moment at which readers are switched, with writers
// kept away where the user has hooks, until nothing is left of it.

#include <utility>

#include "model/json.h"
#include "ops/reshard/native_reshard.h"

namespace holdfast {
namespace {

constexpr const char* kReleasedByEnd =
    "an earlier run ended within the round, which released writers";
/// A round that readers have been switched to is brought to its end for so long.
constexpr Duration kCompletePatience = std::chrono::minutes(30);

/// For calls before which the state is read each time, or that may simply be made again.
Status Retryable(const Status& status) {
  if (status.ok() || status.error().code() != ErrorCode::kAborted) return status;
  return Error(status.error()).As(ErrorCode::kUnavailable);
}

/// What went wrong first, and what a person must know all the same.
Status Both(const Status& first, const Status& second) {
  if (first.ok()) return second;
  if (second.ok()) return first;
  const bool alone = first.error().hint().empty() || second.error().hint().empty();
  return Error(first.error().code(), first.error().message() + "; " + second.error().message(),
               first.error().hint() + (alone ? "" : "; then ") + second.error().hint());
}

}  // namespace

Status NativeReshard::Complete(StepContext& context, const Try& now) {
  const auto done =
      context.Step(now.prefix + "complete", [&](const CallContext& own) -> Result<std::string> {
        HF_RETURN_IF_ERROR(parts_.clock.Check(own));
        // From here on it is brought to its end whatever stops the job: half a round is worse than
        // a whole one, and every call may be made again.
        const CallContext call = parts_.clock.Within({}, kCompletePatience);
        HF_TRY(const auto running,
               Again(call, [&] { return parts_.engine.ReadResharding(call, plan_.collection); }));
        HF_TRY(const Collection there, Read(call));
        if (!running && ShardsOf(there, now.round.key) == now.round.to) {
          past_return_ = true;
          const Status right = Verify(call, now, {});
          HF_RETURN_IF_ERROR(Both(right, TellReleased(context, now, there, kReleasedByEnd)));
          return std::string("{}");
        }
        HF_RETURN_IF_ERROR(CheckOwn(call, now));
        if (parts_.fence != nullptr) HF_RETURN_IF_ERROR(parts_.fence->Freeze(own));
        HF_RETURN_IF_ERROR(EndRound(context, call, now, there));
        return std::string("{}");
      });
  return done.ok() ? Status() : Status(done.error());
}

/// Writers are kept away when it begins, and let go in any case.
Status NativeReshard::EndRound(StepContext& context, const CallContext& call, const Try& now,
                               const Collection& there) {
  bool again = false;
  bool switched = false;
  const auto work = [&]() -> Status {
    std::optional<Before> before;
    if (parts_.fence != nullptr) {
      HF_TRY(before, Look(call, now));
    }
    HF_TRY(const std::uint32_t first, NoteSwitch(context, call, now, before));
    again = first != context.attempt();
    // Writers have gone to the new shard alone since then.
    if (again && before) before->samples.clear();
    HF_RETURN_IF_ERROR(SwitchOver(call, now));
    switched = true;
    return Verify(call, now, before);
  };
  Status ended = work();
  const Status thawed = parts_.fence == nullptr ? Status() : parts_.fence->Thaw(context.call());
  if (!switched) return ended;
  // Writers that were let go too early have changed what was looked at before.
  const bool changed = !ended.ok() && ended.error().code() == ErrorCode::kDataLoss;
  if (changed && !thawed.ok()) ended = Verify(call, now, {});
  std::string released = again ? kReleasedByEnd : "";
  if (!thawed.ok() && thawed.error().code() == ErrorCode::kDeadlineExceeded) {
    released = "writers were released before the round had ended: " + thawed.error().message();
    context.Warn(released);
  } else if (!thawed.ok()) {
    // They were away until now, and may be still.
    outcome_.unproven = true;
    outcome_.warnings.push_back(thawed.error().message());
    context.Warn(thawed.error().message());
  }
  return Both(ended, TellReleased(context, now, there, released));
}

Status NativeReshard::SwitchOver(const CallContext& call, const Try& now) {
  past_return_ = true;
  const Status read = TakeOwnStep(call, now, ReshardStep::kCommitRead);
  if (!read.ok()) return read;
  const auto rest = [&]() -> Status {
    if (now.round.direction == ReshardDirection::kUp) {
      HF_RETURN_IF_ERROR(CleanAll(call, now));
    }
    HF_RETURN_IF_ERROR(TakeOwnStep(call, now, ReshardStep::kCommitWrite));
    return TakeOwnStep(call, now, ReshardStep::kFinish);
  };
  const Status ended = rest();
  if (ended.ok()) return {};
  return ended.error()
      .While("resharding '" + plan_.collection +
             "' is past the point where it can be taken back and not at its end "
             "(readers may see moved points twice)")
      .WithHint("run " + ResumeCommand() + ": it brings it to its end");
}

/// Removes what belongs elsewhere: from the shards that a new one has taken points from, and after
/// an aborted round what the shard that stays had given to the others (transcript 6).
Status NativeReshard::CleanAll(const CallContext& call, const Try& now) {
  HF_TRY(const Collection there, Read(call));
  for (const Shard& shard : there.shards) {
    if (shard.key != now.round.key || shard.id == now.shard) continue;
    for (const Replica& replica : shard.replicas) {
      HF_RETURN_IF_ERROR(Again(call, [&] {
        return Retryable(parts_.engine.CleanReplica(
            call, {.peer = replica.peer, .collection = plan_.collection, .shard = shard.id}));
      }));
    }
  }
  return {};
}

/// The steps say nothing of whose resharding they end: it is looked at before each.
Status NativeReshard::TakeOwnStep(const CallContext& call, const Try& now, ReshardStep step) {
  return Again(call, [&]() -> Status {
    HF_TRY(const auto running, parts_.engine.ReadResharding(call, plan_.collection));
    if (!running && step == ReshardStep::kFinish) {
      HF_TRY(const Collection there, Read(call));
      if (ShardsOf(there, now.round.key) == now.round.to) return {};
    }
    if (!running || running->uuid != now.uuid) return CheckOwn(call, now);
    return Retryable(parts_.engine.TakeStep(call, plan_.collection, step));
  });
}

/// Written down before readers are switched, and not before both places of every point are the
/// same: the run that came so far first. Whoever kept writers away for an earlier one has let them
/// go.
Result<std::uint32_t> NativeReshard::NoteSwitch(StepContext& context, const CallContext& call,
                                                const Try& now, std::optional<Before>& before) {
  HF_TRY(const std::string noted,
         context.Step(now.prefix + "switch", [&](const CallContext&) -> Result<std::string> {
           if (before) {
             HF_TRY(before, AwaitMoved(call, now, *std::move(before)));
           }
           return json::Dump({{"attempt", context.attempt()}});
         }));
  HF_TRY(const json::Json detail, json::Parse(noted, "a recorded switch"));
  json::Reader in(detail, "a recorded switch");
  const std::uint32_t attempt = in.Number32("attempt");
  HF_RETURN_IF_ERROR(in.status());
  return attempt;
}

/// Once for a round, at its end; an empty `text`: writers were kept away until then. Only one shard
/// more beside other keys loses what writers write meanwhile (docs/reshard.md).
Status NativeReshard::TellReleased(StepContext& context, const Try& now, const Collection& there,
                                   const std::string& text) {
  if (now.round.direction == ReshardDirection::kDown || there.shard_keys.size() < 2) return {};
  bool first = false;
  const auto told =
      context.Step(now.prefix + "told", [&](const CallContext&) -> Result<std::string> {
        first = true;
        return std::string("{}");
      });
  // Where that could not be recorded it is better told twice.
  const bool known = told.ok() && !first;
  if (text.empty()) return told.ok() ? Status() : Status(told.error());
  if (known) return {};
  return Error(ErrorCode::kFailedPrecondition,
               text + "; what they wrote under other shard keys since may be lost",
               "write anew what was written meanwhile, then run " + ResumeCommand() +
                   "; the freeze must outlast the end of a round (fence_limit)");
}

}  // namespace holdfast
