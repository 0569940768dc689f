// The end of a copy: the last pass under the fence, the switch of the aliases, and the look at what
// was written to the old collection meanwhile.

#include <algorithm>
#include <map>
#include <utility>

#include "base/join.h"
#include "base/size.h"
#include "model/json.h"
#include "ops/insist.h"
#include "ops/reshard/reshard_copy.h"
#include "ops/restore_op.h"

namespace holdfast {
namespace {

constexpr Duration kPoll = std::chrono::milliseconds(250);
/// Between two looks at operation numbers that must be the same: longer than an operation takes.
constexpr Duration kSettle = std::chrono::milliseconds(500);
/// How long writers may take to be really still after the freeze hook has ended.
constexpr Duration kStillPatience = std::chrono::seconds(10);
/// What a fenced pass needs beside the comparison itself: looks, counts, questions, the switch.
constexpr Duration kFencedBeside = std::chrono::seconds(5);
constexpr std::size_t kIdsPerRead = 64;

/// The two marks that the switch relies on, as the plan keeps them for a run that goes on.
std::string MarksToJson(const WriteMark& source, const WriteMark& target) {
  return json::Dump({{"source", WriteMarkToJson(source)}, {"target", WriteMarkToJson(target)}});
}

Result<std::pair<WriteMark, WriteMark>> MarksFromJson(std::string_view text) {
  constexpr const char* kWhat = "the marks of a switch";
  HF_TRY(const json::Json document, json::Parse(text, kWhat));
  json::Reader in(document, kWhat);
  const std::string source = in.Text("source");
  const std::string target = in.Text("target");
  HF_RETURN_IF_ERROR(in.status());
  HF_TRY(WriteMark first, WriteMarkFromJson(source));
  HF_TRY(WriteMark second, WriteMarkFromJson(target));
  return std::pair(std::move(first), std::move(second));
}

}  // namespace

/// Writers are kept away from construction's Freeze() to Thaw() or the end of the scope.
class ReshardCopy::Frozen {
 public:
  explicit Frozen(Fence& fence) : fence_(fence) {}
  ~Frozen() {
    if (frozen_) static_cast<void>(fence_.Thaw({}).ok());
  }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;

  Status Freeze(const CallContext& call) {
    HF_RETURN_IF_ERROR(fence_.Freeze(call));
    frozen_ = true;
    return {};
  }
  Status Thaw() { return std::exchange(frozen_, false) ? fence_.Thaw({}) : Status(); }

 private:
  Fence& fence_;
  bool frozen_ = false;
};

/// True when everything is done; false when something wrote all the same, so that another pass is
/// needed.
Result<bool> ReshardCopy::FencedEnd(StepContext& context, Duration last_pass) {
  const CallContext& call = context.call();
  const Duration needed = last_pass + last_pass / 4 + kFencedBeside;
  if (needed > options_.fence_limit) {
    worth_resuming_ = true;
    return Error(ErrorCode::kFailedPrecondition,
                 "comparing '" + plan_.source + "' takes " + FormatDuration(last_pass) +
                     ", and the hooks keep writers away for " +
                     FormatDuration(options_.fence_limit) + " at most",
                 "raise the limit of the fence to more than " + FormatDuration(needed) +
                     ", or stop the writers");
  }
  Frozen frozen(*options_.fence);
  if (const Status away = frozen.Freeze(call); !away.ok()) {
    // A hook that failed once is no reason to copy everything again.
    worth_resuming_ = true;
    return away.error();
  }
  const MonotonicTime until = parts_.clock.Monotonic() + kStillPatience;
  for (bool still = false; !still;) {
    HF_TRY(const WriteMark before, Drained(call));
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kSettle));
    HF_TRY(const WriteMark after, Drained(call));
    still = after.pending == 0 && !ProvesWrites(before, after);
    if (!still && parts_.clock.Monotonic() >= until) {
      context.Warn("something writes to '" + plan_.source + "' although the freeze hook has ended");
      return false;
    }
  }
  HF_TRY(const Compared last, Compare(context, "pass under the fence"));
  if (last.after.pending > 0 || ProvesWrites(last.before, last.after)) {
    context.Warn("something wrote to '" + plan_.source + "' while the hooks kept writers away");
    return false;
  }
  if (last.found.differences() > 0) {
    if (last.found.ids_complete()) {
      const Status same = Recheck(call, last.found);
      if (!same.ok() && same.error().code() == ErrorCode::kDataLoss) {
        HF_TRY(const WriteMark now, Drained(call));
        // Once it may be a replica that turned Dead while it was read.
        if (ProvesQuiet(last.before, now) && ++rechecks_failed_ > 1) return same.error();
        context.Warn(
            "something may have written to '" + plan_.source +
            "' while the hooks kept writers away, or a replica failed: " + same.error().message());
        return false;
      }
      HF_RETURN_IF_ERROR(same);
    } else {
      HF_TRY(const Compared again, Compare(context, "second pass under the fence"));
      if (again.found.differences() > 0) return false;
    }
  }
  outcome_.fenced = true;
  HF_TRY(const bool done, End(context, last, /*fenced=*/true));
  const Status thawed = frozen.Thaw();
  if (!thawed.ok() && thawed.error().code() == ErrorCode::kDeadlineExceeded) {
    // Whether that did harm is what the operation numbers tell, up to the look after the switch.
    context.Warn("the hooks did not keep writers away to the end: " + thawed.error().message());
  } else if (!thawed.ok()) {
    Unproven(context, thawed.error().message());
  }
  if (!done) return false;
  if (last.before.silent > 0 && !thawed.ok()) {
    Unproven(context, "the servers do not tell all operation numbers of '" + plan_.source +
                          "', so that what was written after the hooks let go is not known");
  }
  if (plan_.aliases.empty()) return true;
  // Now that writers are free they are to be on the new collection.
  // Also after Ctrl-C: everything is done.
  const CallContext looking = parts_.clock.Within({}, kCleanUpPatience);
  const auto mark = Insist(looking, parts_.clock, kCleanUpPatience, [&] {
    return ReadMark(looking, parts_.engine, plan_.source, plan_.uuid);
  });
  if (!mark.ok()) {
    Unproven(context, "whether something writes to '" + plan_.source +
                          "' under its own name could not be seen: " + mark.error().message());
    return true;
  }
  HF_RETURN_IF_ERROR(parts_.clock.SleepFor(looking, kLateWatch));
  const auto later = ReadMark(looking, parts_.engine, plan_.source, plan_.uuid);
  if (ProvesWrites(last.after, *mark) || (later.ok() && ProvesWrites(*mark, *later))) {
    Unproven(context, "something writes to '" + plan_.source +
                          "' under its own name: that does not reach '" + plan_.target + "'");
  }
  return true;
}

/// Whether what a quiet pass has brought over is there: by id, on both sides.
Status ReshardCopy::Recheck(const CallContext& call, const PassResult& found) {
  HF_TRY(const auto comparer, parts_.engine.NewComparer(*source_));
  const auto read =
      [&](const std::string& name, const std::optional<ShardKey>& key,
          const std::vector<std::string>& ids) -> Result<std::map<std::string, std::string>> {
    HF_TRY(const Collection there, Insist(call, parts_.clock, options_.copy.patience, [&] {
             return parts_.engine.ReadCollection(call, name);
           }));
    std::map<std::string, std::string> points;
    for (const Shard& shard : there.shards) {
      if (shard.key != key) continue;
      for (const Replica& replica : shard.replicas) {
        if (replica.state != ReplicaState::kActive) continue;
        HF_TRY(const auto some, Insist(call, parts_.clock, options_.copy.patience, [&] {
                 return parts_.engine.ReadPoints(
                     call, {.peer = replica.peer, .collection = name, .shard = shard.id}, ids);
               }));
        for (const SampledPoint& point : some) points[point.id_json] = point.point_json;
        break;
      }
    }
    return points;
  };
  for (std::size_t at = 0; at < found.ids.size();) {
    const std::optional<ShardKey>& key = found.ids[at].first;
    std::vector<std::string> ids;
    for (; at < found.ids.size() && found.ids[at].first == key && ids.size() < kIdsPerRead; ++at) {
      ids.push_back(found.ids[at].second);
    }
    HF_TRY(const auto want, read(plan_.source, key, ids));
    HF_TRY(const auto have, read(plan_.target, key, ids));
    for (const std::string& id : ids) {
      const auto here = want.find(id);
      const auto there = have.find(id);
      const bool same = here == want.end() || there == have.end()
                            ? (here == want.end()) == (there == have.end())
                            : comparer->Same(here->second, there->second);
      if (same) continue;
      return Error(ErrorCode::kDataLoss, "point " + id + " of '" + plan_.target +
                                             "' is not what was brought over from '" +
                                             plan_.source + "'");
    }
  }
  return {};
}

/// After a pass that found both the same: the proofs, the switch, the look behind it. False when
/// something was written meanwhile.
Result<bool> ReshardCopy::End(StepContext& context, const Compared& last, bool fenced) {
  const CallContext& call = context.call();
  context.progress().BeginPhase("verify");
  Status verified = Verify(call, last.found.source_points);
  if (verified.ok()) verified = CompareQueries(call, context);
  if (!verified.ok() && verified.error().code() != ErrorCode::kDataLoss) return verified.error();
  HF_TRY(const WriteMark now, Insist(call, parts_.clock, options_.copy.patience, [&] {
           return ReadMark(call, parts_.engine, plan_.source, plan_.uuid);
         }));
  const bool still =
      fenced ? now.pending == 0 && !ProvesWrites(last.before, now) : ProvesQuiet(last.before, now);
  if (!still) {
    context.Note("'" + plan_.source + "' was written to meanwhile");
    return false;
  }
  HF_RETURN_IF_ERROR(verified);
  if (plan_.aliases.empty()) return true;
  context.progress().BeginPhase("switch");
  HF_TRY(const WriteMark target, Insist(call, parts_.clock, options_.copy.patience, [&] {
           return ReadMark(call, parts_.engine, plan_.target);
         }));
  // A run that goes on after this one's death must know what was there before the switch.
  plan_.progress_json = MarksToJson(last.before, target);
  HF_RETURN_IF_ERROR(context.SavePlan(ReshardPlanToJson(plan_)));
  HF_RETURN_IF_ERROR(PointAliases(plan_.target));
  HF_TRY(const After after,
         LookAfterSwitch(context, last.before, target, fenced ? Duration(0) : kLateWatch));
  return after == After::kQuiet;
}

/// What counts is where the aliases point: after an error the switch may have happened all the
/// same. Not the operation's own call: this must be known after Ctrl-C too.
Status ReshardCopy::PointAliases(const std::string& to) {
  std::vector<AliasMove> moves;
  for (const std::string& alias : plan_.aliases) moves.push_back({.alias = alias, .to = to});
  const CallContext looking = parts_.clock.Within({}, kCleanUpPatience);
  switched_ = true;
  return Insist(looking, parts_.clock, kCleanUpPatience, [&]() -> Status {
    const Status switched = parts_.engine.SwitchAliases(looking, moves);
    const auto now = Insist(looking, parts_.clock, kCleanUpPatience,
                            [&] { return parts_.engine.ReadCollection(looking, to); });
    if (!now.ok()) {
      return Error(switched.ok() ? now.error().code() : switched.error().code(),
                   "whether the aliases read '" + to + "' could not be seen: " +
                       (switched.ok() ? now.error() : switched.error()).message(),
                   "look with `holdfast topology`; both '" + plan_.source + "' and '" +
                       plan_.target + "' are there");
    }
    std::size_t there = 0;
    for (const std::string& alias : plan_.aliases) {
      there += static_cast<std::size_t>(std::ranges::count(now->aliases, alias));
    }
    const bool all = there == plan_.aliases.size();
    switched_ = to == plan_.target ? there > 0 : !all;
    if (all) return {};
    if (!switched.ok()) return switched;
    return Error(ErrorCode::kAborted, "the aliases do not read '" + to + "'");
  });
}

/// `source` and `target` as they were before the switch.
Result<ReshardCopy::After> ReshardCopy::LookAfterSwitch(StepContext& context,
                                                        const WriteMark& source,
                                                        const WriteMark& target, Duration watch) {
  // Not stopped by the user: half a minute later it would be too late to find out.
  const CallContext call = parts_.clock.Within({}, kCleanUpPatience);
  const MonotonicTime until = parts_.clock.Monotonic() + watch;
  for (;;) {
    const auto now = Insist(call, parts_.clock, kCleanUpPatience,
                            [&] { return ReadMark(call, parts_.engine, plan_.source); });
    if (!now.ok()) {
      Unproven(context,
               "whether something was written to '" + plan_.source +
                   "' at the moment of the switch could not be seen: " + now.error().message());
      return After::kQuiet;
    }
    if (now->pending > 0 || ProvesWrites(source, *now)) return UndoSwitch(context, target);
    if (parts_.clock.Monotonic() >= until) {
      if (!outcome_.fenced && !ProvesQuiet(source, *now)) {
        Unproven(context, "a replica of '" + plan_.source +
                              "' went silent at the moment of the switch: whether something was "
                              "written to it then is not known");
      }
      return After::kQuiet;
    }
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
  }
}

/// Something was written to the old collection when the last pass had seen it already. As long as
/// nobody has written to the new one, nothing is lost by going back; else each has what the other
/// lacks, and only a person knows which counts.
Result<ReshardCopy::After> ReshardCopy::UndoSwitch(StepContext& context, const WriteMark& target) {
  const CallContext call = parts_.clock.Within({}, kCleanUpPatience);
  const auto written = [&]() -> Result<bool> {
    HF_TRY(const WriteMark now, Insist(call, parts_.clock, kCleanUpPatience, [&] {
             return ReadMark(call, parts_.engine, plan_.target);
           }));
    return now.pending > 0 || !ProvesQuiet(target, now);
  };
  HF_TRY(bool both, written());
  std::string reads = plan_.target;
  if (!both) {
    const Status back = PointAliases(plan_.source);
    if (!back.ok()) {
      return back.error().While("something was written to '" + plan_.source +
                                "' at the moment of the switch, and the aliases could not be "
                                "put back on it");
    }
    reads = plan_.source;
    // What was on its way to the new one when it was still read arrives a little later.
    for (const MonotonicTime until = parts_.clock.Monotonic() + kLateWatch;
         !both && parts_.clock.Monotonic() < until;) {
      HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
      HF_TRY(both, written());
    }
  }
  if (!both) {
    context.Warn("something was written to '" + plan_.source +
                 "' at the moment of the switch: the aliases are back on it, another pass follows");
    return After::kSwitchedBack;
  }
  switched_ = true;
  std::string text = "both '" + plan_.source + "' and '" + plan_.target +
                     "' were written to at the moment of the switch; the aliases read '" + reads +
                     "' now";
  const auto comparer = parts_.engine.NewComparer(*source_);
  if (comparer.ok()) {
    const ComparePassParts parts{.source = source_points_,
                                 .target = target_points_,
                                 .comparer = **comparer,
                                 .engine = nullptr,
                                 .collection = plan_.target,
                                 .clock = parts_.clock,
                                 .rate = rate_,
                                 .progress = context.progress()};
    const auto found = ComparePoints(context.call(), parts, options_.copy);
    if (found.ok()) {
      text += "; " + FormatCount(found->differences()) + " points differ";
      if (!found->some.empty()) text += " (among them " + Join(found->some) + ")";
    }
  }
  return Error(
      ErrorCode::kFailedPrecondition, std::move(text),
      "write to '" + reads + "' what it lacks of the other one; holdfast has dropped nothing");
}

/// True when an earlier run of this job had switched the aliases and nothing speaks against it.
Result<bool> ReshardCopy::FinishInterruptedSwitch(StepContext& context) {
  if (plan_.progress_json.empty() || plan_.aliases.empty()) return false;
  const CallContext& call = context.call();
  const auto there = Insist(call, parts_.clock, options_.copy.patience,
                            [&] { return parts_.engine.ReadCollection(call, plan_.target); });
  if (!there.ok() && there.error().code() == ErrorCode::kNotFound) return false;
  if (!there.ok()) return there.error();
  const bool all = std::ranges::all_of(plan_.aliases, [&](const std::string& alias) {
    return std::ranges::find(there->aliases, alias) != there->aliases.end();
  });
  if (!all) return false;
  switched_ = true;
  HF_TRY(const auto marks, MarksFromJson(plan_.progress_json));
  outcome_.points = there->points;
  HF_TRY(const After after, LookAfterSwitch(context, marks.first, marks.second, kLateWatch));
  return after == After::kQuiet;
}

}  // namespace holdfast
