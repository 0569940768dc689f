#include "ops/reshard/reshard_copy.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "base/join.h"
#include "base/size.h"
#include "model/json.h"
#include "ops/insist.h"
#include "ops/late_change.h"
#include "ops/parallel.h"
#include "ops/points/await_indexed.h"
#include "ops/restore_op.h"
#include "ops/witnesses.h"

namespace holdfast {
namespace {

constexpr std::size_t kCountsAtOnce = 8;
constexpr Duration kPoll = std::chrono::milliseconds(250);
/// How long operations that were accepted may take to be applied before a pass begins.
constexpr Duration kDrainPatience = std::chrono::seconds(30);
/// How long replicas of the new collection may take to be Active.
constexpr Duration kActivePatience = std::chrono::seconds(60);
/// How long a setting may take to be seen on the peer that is asked.
constexpr Duration kSettingsPatience = std::chrono::seconds(10);

}  // namespace

ReshardCopy::ReshardCopy(const ReshardParts& parts, const ReshardOptions& options, ReshardPlan plan)
    : parts_(parts),
      options_(options),
      plan_(std::move(plan)),
      source_points_(parts.engine, plan_.source),
      target_points_(parts.engine, plan_.target),
      rate_(parts.clock, options.points_per_second,
            std::max<std::uint64_t>(options.points_per_second / 4, 1)) {}

Result<ReshardOutcome> ReshardCopy::Run(StepContext& context) {
  Result<ReshardOutcome> worked = Work(context);
  if (worked.ok()) return worked;
  return CleanUp(context, std::move(worked).error());
}

Result<ReshardOutcome> ReshardCopy::Work(StepContext& context) {
  const CallContext& call = context.call();
  HF_TRY(source_, Insist(call, parts_.clock, options_.copy.patience,
                         [&] { return parts_.engine.ReadCollection(call, plan_.source); }));
  if (!plan_.uuid.empty() && !source_->uuid.empty() && source_->uuid != plan_.uuid) {
    return Error(ErrorCode::kFailedPrecondition,
                 "'" + plan_.source + "' is another collection than when this job began",
                 "begin anew without --resume");
  }
  outcome_.method = ReshardMethod::kCopy;
  outcome_.source = plan_.source;
  outcome_.target = plan_.target;
  outcome_.shards = plan_.shards;
  outcome_.changes = plan_.changes;
  HF_TRY(wanted_, parts_.engine.Resharded(*source_, plan_.shards, plan_.settings_json));
  HF_TRY(const bool switched, FinishInterruptedSwitch(context));
  if (!switched) {
    context.progress().BeginPhase("create");
    HF_RETURN_IF_ERROR(CheckBelongs(call));
    HF_RETURN_IF_ERROR(Create(context));
    context.progress().BeginPhase("copy");
    const CopyParts copy{
        .source = source_points_, .target = parts_.engine, .clock = parts_.clock, .rate = rate_};
    HF_TRY(const std::uint64_t copied, CopyPoints(context, copy, plan_.target, options_.copy));
    context.Note("copied " + FormatCount(copied) + " points into '" + plan_.target + "'");
    HF_TRY(const std::string not_built,
           AwaitIndexed(context, parts_.engine, parts_.clock, plan_.target, options_.index_wait));
    if (!not_built.empty()) Unproven(context, not_built);
    HF_RETURN_IF_ERROR(CatchUp(context));
  }
  Finish(context);
  outcome_.aliases = plan_.aliases;
  return outcome_;
}

/// Whoever reads it already is not to lose it for what goes wrong here.
void ReshardCopy::Finish(StepContext& context) {
  const CallContext& call = context.call();
  const Status finished = Insist(call, parts_.clock, options_.copy.patience, [&] {
    return parts_.engine.FinishCollection(call, plan_.target, wanted_);
  });
  if (!finished.ok()) {
    Unproven(context, "the strict mode and read fan-out of '" + plan_.target +
                          "' could not be set: " + finished.error().message());
    return;
  }
  const auto lacks = AwaitSettings(call, /*at_end=*/true);
  if (!lacks.ok()) {
    Unproven(context, "whether '" + plan_.target +
                          "' has the strict mode and read fan-out that were asked for could not "
                          "be seen: " +
                          lacks.error().message());
  } else if (!lacks->empty()) {
    Unproven(context,
             "the servers did not take all settings: of '" + plan_.target + "' " + Join(*lacks));
  }
}

/// A point in a shard that it does not belong to has no place in the order of ids: which of two
/// with one id is meant cannot be told. Writers may come in between the two counts.
Status ReshardCopy::CheckBelongs(const CallContext& call) {
  return ForEachIndex(
      call, source_->shards.size(), kCountsAtOnce,
      [&](const CallContext& inner, std::size_t i) -> Status {
        const Shard& shard = source_->shards[i];
        for (const Replica& replica : shard.replicas) {
          if (replica.state != ReplicaState::kActive) continue;
          const ReplicaRef ref{.peer = replica.peer, .collection = plan_.source, .shard = shard.id};
          PointCounts counts;
          for (int look = 0; look < 3; ++look) {
            const auto counted = parts_.engine.CountPoints(inner, ref);
            if (!counted.ok() && !MayPass(counted.error().code())) return counted.error();
            if (!counted.ok()) break;
            counts = *counted;
            if (counts.all <= counts.in_ring) return {};
          }
          if (counts.all <= counts.in_ring) continue;  // It does not answer.
          return Error(ErrorCode::kFailedPrecondition,
                       FormatCount(counts.all - counts.in_ring) + " points of " + Describe(ref) +
                           " belong to another shard",
                       "call POST /collections/" + plan_.source + "/shards/" +
                           std::to_string(shard.id.value()) +
                           "/cleanup once it is sure that they are left over from a resharding");
        }
        return {};
      });
}

Status ReshardCopy::Create(StepContext& context) {
  HF_TRY(const std::string made, context.Step("create", [&](const CallContext& inner) {
    return CreateEmpty(context, inner);
  }));
  if (made_) return {};
  // Made by an earlier attempt: much may have happened to it since.
  HF_TRY(const json::Json detail, json::Parse(made, "a reshard step"));
  json::Reader in(detail, "a reshard step");
  const std::string uuid = in.Text("uuid");
  HF_RETURN_IF_ERROR(in.status());
  const CallContext& call = context.call();
  const auto there = Insist(call, parts_.clock, options_.copy.patience,
                            [&] { return parts_.engine.ReadCollection(call, plan_.target); });
  if (!there.ok() && there.error().code() != ErrorCode::kNotFound) return there.error();
  if (!there.ok() || there->uuid != uuid) {
    return Error(ErrorCode::kFailedPrecondition,
                 "'" + plan_.target + "', which the interrupted job had made, is gone" +
                     (there.ok() ? ", and another collection has its name" : ""),
                 "begin anew without --resume");
  }
  made_ = true;
  return {};
}

/// Sees to it that nothing has the name: what is there is either our own creation whose record was
/// lost, then it is empty, or somebody else's.
Status ReshardCopy::MakeRoom(StepContext& context, const CallContext& call) {
  const auto there = parts_.engine.ReadCollection(call, plan_.target);
  if (!there.ok()) {
    return there.error().code() == ErrorCode::kNotFound ? Status() : there.error();
  }
  if (context.attempt() == 1 || there->points != 0) {
    return Error(ErrorCode::kAlreadyExists, "'" + plan_.target + "' has come into being meanwhile",
                 "drop it if nobody needs it, or begin anew");
  }
  return parts_.engine.DropCollection(call, plan_.target);
}

Result<std::string> ReshardCopy::CreateEmpty(StepContext& context, const CallContext& call) {
  const MonotonicTime until = parts_.clock.Monotonic() + kActivePatience;
  Status created;
  for (bool again = true; again;) {
    HF_RETURN_IF_ERROR(MakeRoom(context, call));
    HF_RETURN_IF_ERROR(parts_.clock.Check(call));
    created = parts_.engine.CreateCollection(call, plan_.target, wanted_, 0);
    // Run: what a process that was killed had asked for may come into being after it.
    again = !created.ok() && created.error().code() == ErrorCode::kAlreadyExists &&
            context.attempt() > 1 && parts_.clock.Monotonic() < until &&
            parts_.clock.SleepFor(call, kPoll).ok();
  }
  made_ = created.ok();
  if (!created.ok() && created.error().code() != ErrorCode::kAlreadyExists) {
    // It may have been made all the same. Also after Ctrl-C this must be known.
    const CallContext looking = parts_.clock.Within({}, kCleanUpPatience);
    HF_TRY(made_, WasCreated(looking, parts_.clock, parts_.engine, plan_.target, created.error()));
  }
  if (!created.ok() && created.error().code() == ErrorCode::kInvalidArgument &&
      !plan_.changes.empty()) {
    return Error(ErrorCode::kInvalidArgument, created.error().message(),
                 "correct what it says in the file of --settings; nothing was made");
  }
  HF_RETURN_IF_ERROR(created);
  const auto again = [&](const auto& work) {
    return Insist(call, parts_.clock, options_.copy.patience, [&] {
      const Status done = work();
      return !done.ok() && done.error().code() == ErrorCode::kAlreadyExists ? Status() : done;
    });
  };
  for (const ShardKey& key : plan_.keys) {
    HF_RETURN_IF_ERROR(again([&] {
      return parts_.engine.CreateShardKey(call, plan_.target,
                                          {.key = key,
                                           .shards = plan_.shards,
                                           .replication_factor = wanted_.replication_factor,
                                           .placement = {}});
    }));
  }
  // Before the points: an index that is made later is built over all of them at once.
  for (const PayloadIndex& index : source_->indexes) {
    HF_RETURN_IF_ERROR(again([&] { return parts_.engine.CreateIndex(call, plan_.target, index); }));
  }
  HF_TRY(const Collection there, Insist(call, parts_.clock, options_.copy.patience, [&] {
           return parts_.engine.ReadCollection(call, plan_.target);
         }));
  const std::size_t shards = plan_.shards * std::max<std::size_t>(plan_.keys.size(), 1);
  if (there.shards.size() != shards) {
    return Error(ErrorCode::kAborted, "'" + plan_.target + "' was made with " +
                                          std::to_string(there.shards.size()) +
                                          " shards instead of " + std::to_string(shards));
  }
  HF_TRY(const auto lacks, AwaitSettings(call, /*at_end=*/false));
  if (!lacks.empty()) {
    return Error(ErrorCode::kFailedPrecondition,
                 "the servers did not take all settings: of '" + plan_.target + "' " + Join(lacks),
                 "leave them out, or run servers that know them");
  }
  return json::Dump({{"uuid", there.uuid}});
}

/// What the new collection has otherwise than was asked for, as it reads back.
Result<std::vector<std::string>> ReshardCopy::AwaitSettings(const CallContext& call, bool at_end) {
  const bool none = std::ranges::none_of(
      plan_.changes, [&](const SettingChange& change) { return change.at_end == at_end; });
  if (none) return std::vector<std::string>();
  const MonotonicTime until = parts_.clock.Monotonic() + kSettingsPatience;
  for (;;) {
    HF_TRY(const Collection now, Insist(call, parts_.clock, options_.copy.patience, [&] {
             return parts_.engine.ReadCollection(call, plan_.target);
           }));
    std::vector<std::string> lacks = SettingsNotTaken(plan_.changes, now, at_end);
    if (lacks.empty() || parts_.clock.Monotonic() >= until) return lacks;
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
  }
}

Result<WriteMark> ReshardCopy::Drained(const CallContext& call) {
  const MonotonicTime until = parts_.clock.Monotonic() + kDrainPatience;
  for (;;) {
    HF_TRY(WriteMark mark, Insist(call, parts_.clock, options_.copy.patience, [&] {
             return ReadMark(call, parts_.engine, plan_.source, plan_.uuid);
           }));
    if (mark.pending == 0 || parts_.clock.Monotonic() >= until) return mark;
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
  }
}

Result<ReshardCopy::Compared> ReshardCopy::Compare(StepContext& context, const std::string& phase) {
  const CallContext& call = context.call();
  context.progress().BeginPhase(phase);
  HF_TRY(const auto comparer, parts_.engine.NewComparer(*source_));
  Compared compared;
  HF_TRY(compared.before, Drained(call));
  const MonotonicTime began = parts_.clock.Monotonic();
  const ComparePassParts parts{.source = source_points_,
                               .target = target_points_,
                               .comparer = *comparer,
                               .engine = &parts_.engine,
                               .collection = plan_.target,
                               .clock = parts_.clock,
                               .rate = rate_,
                               .progress = context.progress()};
  HF_TRY(compared.found, ComparePoints(call, parts, options_.copy));
  compared.took = parts_.clock.Monotonic() - began;
  HF_TRY(compared.after, Insist(call, parts_.clock, options_.copy.patience, [&] {
           return ReadMark(call, parts_.engine, plan_.source, plan_.uuid);
         }));
  compared.quiet = ProvesQuiet(compared.before, compared.after);
  ++outcome_.passes;
  outcome_.caught_up += compared.found.differences();
  outcome_.points = compared.found.source_points;
  std::string text = phase + ": " + FormatCount(compared.found.source_points) + " points, ";
  text += compared.found.differences() == 0 ? "all the same"
                                            : DescribeDifferences(compared.found) + " brought over";
  if (ProvesWrites(compared.before, compared.after)) text += "; writers are at work";
  context.Note(text);
  if (compared.found.doubled > 0) {
    return Error(
        ErrorCode::kFailedPrecondition,
        FormatCount(compared.found.doubled) + " ids of '" + plan_.source +
            "' stand in two of its shards",
        "call POST /collections/" + plan_.source + "/shards/N/cleanup for its shards first");
  }
  return compared;
}

/// Passes until both are the same and stay so, then the switch.
Status ReshardCopy::CatchUp(StepContext& context) {
  Compared last;
  for (std::uint32_t pass = 1; pass <= options_.passes; ++pass) {
    HF_TRY(last, Compare(context, "pass " + std::to_string(pass)));
    if (last.before.silent > 0 && options_.fence == nullptr) {
      worth_resuming_ = true;
      return Error(ErrorCode::kFailedPrecondition,
                   "the servers do not tell the operation numbers of " +
                       std::to_string(last.before.silent) + " shards of '" + plan_.source +
                       "', so that it cannot be proven that nothing writes to it",
                   "configure freeze and thaw hooks for the cluster");
    }
    if (last.quiet && last.found.differences() == 0) {
      HF_TRY(const bool done, End(context, last, /*fenced=*/false));
      if (done) return {};
      continue;
    }
    const bool enough = last.found.differences() <= kFewDifferences || pass == options_.passes;
    if (options_.fence == nullptr || !enough) continue;
    HF_TRY(const bool done, FencedEnd(context, last.took));
    if (done) return {};
  }
  worth_resuming_ = true;
  std::string text = "'" + plan_.source + "' is being written to: the last of " +
                     std::to_string(outcome_.passes) + " passes still had to bring over " +
                     DescribeDifferences(last.found);
  if (!last.found.some.empty()) text += " (among them " + Join(last.found.some) + ")";
  return Error(ErrorCode::kFailedPrecondition, std::move(text),
               "stop the writers, or configure freeze and thaw hooks for the cluster");
}

/// The new collection, once all of its replicas are Active.
Result<Collection> ReshardCopy::AwaitActive(const CallContext& call, MonotonicTime until) {
  for (;;) {
    HF_TRY(Collection now, Insist(call, parts_.clock, options_.copy.patience, [&] {
             return parts_.engine.ReadCollection(call, plan_.target);
           }));
    std::string trouble;
    for (const Shard& shard : now.shards) {
      for (const Replica& replica : shard.replicas) {
        if (replica.state == ReplicaState::kActive) continue;
        trouble = "the replica of shard " + std::to_string(shard.id.value()) + " of '" +
                  plan_.target + "' on peer " + std::to_string(replica.peer.value()) + " is " +
                  std::string(ReplicaStateName(replica.state));
      }
    }
    if (trouble.empty()) return now;
    if (parts_.clock.Monotonic() >= until) return Error(ErrorCode::kUnavailable, trouble);
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
  }
}

Error ReshardCopy::NotWhatWasCopied(const std::string& differs) const {
  return {ErrorCode::kDataLoss, "'" + plan_.target + "' is not what was copied: " + differs};
}

/// The new collection is whole: replicas, keys, indexes, counts. kDataLoss when it is not.
Status ReshardCopy::Verify(const CallContext& call, std::uint64_t points) {
  const MonotonicTime until = parts_.clock.Monotonic() + kActivePatience;
  HF_TRY(Collection now, AwaitActive(call, until));
  std::string differs;
  const auto found = [&](const std::string& text) {
    differs += (differs.empty() ? "" : "; ") + text;
  };
  if (now.shard_keys != source_->shard_keys) found("its shard keys are not the same");
  for (const PayloadIndex& index : source_->indexes) {
    if (std::ranges::find(now.indexes, index) != now.indexes.end()) continue;
    found("the payload index on '" + index.field + "' is missing or another one");
  }
  for (const std::string& text : SettingsNotTaken(plan_.changes, now, /*at_end=*/false)) {
    found(text);
  }
  if (!differs.empty()) return NotWhatWasCopied(differs);
  // A replica that turns Dead between the look and the count, and is made anew, counts otherwise.
  for (std::string before;; before = differs) {
    HF_TRY(differs, CountDifferences(call, now, points));
    if (differs.empty()) return {};
    if (differs == before) return NotWhatWasCopied(differs);
    if (!before.empty() && parts_.clock.Monotonic() >= until) {
      return Error(ErrorCode::kUnavailable,
                   "'" + plan_.target + "' does not come to rest: " + differs);
    }
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
    HF_TRY(now, AwaitActive(call, until));
  }
}

/// What is wrong with the counts of its replicas; empty: nothing.
Result<std::string> ReshardCopy::CountDifferences(const CallContext& call, const Collection& now,
                                                  std::uint64_t points) {
  std::vector<ReplicaRef> replicas;
  for (const Shard& shard : now.shards) {
    for (const Replica& replica : shard.replicas) {
      replicas.push_back({.peer = replica.peer, .collection = plan_.target, .shard = shard.id});
    }
  }
  std::vector<PointCounts> counts(replicas.size());
  HF_RETURN_IF_ERROR(ForEachIndex(
      call, replicas.size(), kCountsAtOnce, [&](const CallContext& inner, std::size_t i) -> Status {
        HF_TRY(counts[i], Insist(inner, parts_.clock, options_.copy.patience,
                                 [&] { return parts_.engine.CountPoints(inner, replicas[i]); }));
        return {};
      }));
  std::vector<std::string> wrong;
  std::map<ShardId, std::uint64_t> counted;
  for (std::size_t i = 0; i < replicas.size(); ++i) {
    const std::uint64_t other = counted.try_emplace(replicas[i].shard, counts[i].all).first->second;
    if (other == counts[i].all && counts[i].all == counts[i].in_ring) continue;
    wrong.push_back(Describe(replicas[i]) + " counts " + FormatCount(counts[i].all) + " points, " +
                    FormatCount(counts[i].in_ring) + " of them its own, another replica " +
                    FormatCount(other));
  }
  std::uint64_t all = 0;
  for (const auto& [shard, count] : counted) all += count;
  if (all != points) {
    wrong.push_back("it counts " + FormatCount(all) + " points, the source " + FormatCount(points));
  }
  return Join(wrong, "; ");
}

/// Exact questions about points of the source are answered alike by both.
Status ReshardCopy::CompareQueries(const CallContext& call, StepContext& context) {
  std::vector<CaptureStep> steps;
  for (const Shard& shard : source_->shards) {
    CaptureStep step;
    step.shard = shard.id;
    step.key = shard.key;
    for (const Replica& replica : shard.replicas) {
      if (replica.state == ReplicaState::kActive) step.sources.push_back(replica.peer);
    }
    steps.push_back(std::move(step));
  }
  HF_TRY(const Witnesses witnesses,
         ChooseWitnesses(call, parts_.engine, parts_.random, *source_, steps));
  std::size_t asked = 0;
  for (const GoldenQuery& query : witnesses.queries) {
    if (parts_.engine.DependsOnShards(*source_, query)) continue;
    HF_TRY(const GoldenQuery answer, Insist(call, parts_.clock, options_.copy.patience, [&] {
             return parts_.engine.Ask(call, plan_.target, query);
           }));
    ++asked;
    if (const std::string difference = CompareAnswers(query, answer); !difference.empty()) {
      return Error(ErrorCode::kDataLoss, "'" + plan_.target +
                                             "' answers a golden query differently than '" +
                                             plan_.source + "': " + difference);
    }
  }
  context.Note("golden queries: " + std::to_string(asked) + " answered alike");
  return {};
}

void ReshardCopy::Unproven(StepContext& context, std::string text) {
  outcome_.unproven = true;
  context.Warn(text);
  outcome_.warnings.push_back(std::move(text));
}

/// Removes what was made, unless somebody reads it or it is worth going on with.
Error ReshardCopy::CleanUp(StepContext& context, Error error) {
  if (switched_) {
    // Whoever goes on looks again at what was written to which of them.
    if (!MayPass(error.code())) {
      const bool said = error.message().find("'" + plan_.target + "'") != std::string::npos;
      const std::string more = said ? "" : "; the aliases read '" + plan_.target + "'";
      return Error(error.code(), error.message() + more, error.hint());
    }
    context.LeaveInterrupted();
    return Error(error.code(), error.message() + "; the aliases may read '" + plan_.target + "'",
                 "`holdfast reshard --resume " + context.job().value() + "` looks again");
  }
  const bool user = options_.user_stop.stop_requested();
  if (!made_) {
    if (context.attempt() == 1) return error;
    if (!user && MayPass(error.code())) context.LeaveInterrupted();
    return Error(error.code(),
                 error.message() + "; an earlier run of this job may have left '" + plan_.target +
                     "'" +
                     (plan_.progress_json.empty() ? "" : ", which the aliases may read already"),
                 error.hint());
  }
  if (error.code() == ErrorCode::kCancelled && !user) return error;
  if (!user && (worth_resuming_ || MayPass(error.code()))) {
    context.LeaveInterrupted();
    const std::string resume = "`holdfast reshard --resume " + context.job().value() +
                               "` goes on with it; or drop '" + plan_.target + "'";
    return Error(error.code(),
                 error.message() + "; what was copied stays in '" + plan_.target + "'",
                 error.hint().empty() ? resume : error.hint() + "; then " + resume);
  }
  const CallContext call = parts_.clock.Within({}, kCleanUpPatience);
  const Status dropped = Insist(call, parts_.clock, kCleanUpPatience,
                                [&] { return parts_.engine.DropCollection(call, plan_.target); });
  if (dropped.ok()) return error;
  return Error(error.code(),
               error.message() + "; '" + plan_.target +
                   "' was made for it and could not be removed: " + dropped.error().message(),
               "drop '" + plan_.target + "' by hand");
}

}  // namespace holdfast
