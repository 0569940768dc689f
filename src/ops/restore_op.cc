#include "ops/restore_op.h"

#include <algorithm>
#include <set>
#include <utility>

#include "model/json.h"
#include "ops/fanout.h"
#include "ops/parallel.h"
#include "ops/restore_io.h"
#include "ops/verify_restored.h"

namespace holdfast {
namespace {

/// How long replicas that were sent may take to become Active, and how often that is looked at:
/// often at first, since with small shards this is what a restore of many collections waits for.
constexpr Duration kActivePatience = std::chrono::seconds(60);
constexpr Duration kActivePollMin = std::chrono::milliseconds(25);
constexpr Duration kActivePollMax = std::chrono::milliseconds(400);
/// How often the plan of one collection is made anew because peers were lost.
constexpr int kRevisionsMax = 8;
constexpr std::size_t kBuryPerCall = 1000;
/// Tombstones that are asked for again during verification.
constexpr std::size_t kBuriedChecksMax = 10'000;

}  // namespace

RestoreOp::RestoreOp(RestoreParts parts, RestoreOptions options)
    : parts_(parts), options_(std::move(options)) {}

Status RestoreOp::ReadGroup(const CallContext& call, const Intent& intent) {
  if (!intent.RelyOn(options_.group)) {
    return Error(ErrorCode::kFailedPrecondition,
                 "group " + options_.group.value() + " is forgotten",
                 "choose another one: `holdfast groups`");
  }
  HF_TRY(const GroupEnvelope envelope, parts_.repository.ReadManifest(call, options_.group));
  HF_TRY(manifest_, ManifestFromJson(envelope.body));
  for (const CollectionSummary& summary : manifest_.collections) {
    const bool wanted = options_.request.collections.empty() ||
                        std::ranges::find(options_.request.collections, summary.name) !=
                            options_.request.collections.end();
    if (!wanted) continue;
    HF_TRY(const std::string text,
           parts_.repository.ReadCollection(call, envelope, summary.record));
    HF_TRY(records_[summary.name], RecordFromJson(text));
  }
  return {};
}

/// The target with all that a plan looks at.
Result<Topology> RestoreOp::ReadTarget(const CallContext& call) {
  HF_TRY(Topology target, parts_.engine.ReadTopology(call));
  parts_.engine.ReadSizes(call, target);
  return target;
}

Result<RestorePreview> RestoreOp::Preview(const CallContext& call) {
  HF_TRY(const auto intent,
         Intent::Declare(call, parts_.repository,
                         {.purpose = "restore", .own = {}, .relies_on = {options_.group}}));
  HF_RETURN_IF_ERROR(ReadGroup(call, *intent));
  HF_TRY(Topology target, ReadTarget(call));
  HF_TRY(plan_, PlanRestore(manifest_, records_, target, options_.request));
  HF_RETURN_IF_ERROR(CheckCopy(call));
  auto differences = CompareThenAndNow(manifest_, records_, target, plan_);
  return RestorePreview{.manifest = manifest_,
                        .target = std::move(target),
                        .plan = std::move(plan_),
                        .differences = std::move(differences)};
}

Status RestoreOp::Plan(StepContext& context) {
  if (!context.plan_json().empty()) {
    // An interrupted restore goes on with the names and places it had chosen.
    HF_TRY(plan_, RestorePlanFromJson(context.plan_json()));
    return {};
  }
  HF_TRY(const Topology target, ReadTarget(context.call()));
  HF_TRY(plan_, PlanRestore(manifest_, records_, target, options_.request));
  std::vector<std::string> names;
  for (const CollectionPlan& plan : plan_.collections) names.push_back(plan.target);
  HF_RETURN_IF_ERROR(parts_.engine.CheckRights(context.call(), Purpose::kRestore, names));
  for (const CollectionPlan& plan : plan_.collections) {
    const CollectionRecord& record = records_.at(plan.source);
    for (const ShardImage& image : record.shards) {
      HF_RETURN_IF_ERROR(parts_.engine.CheckLayout(image.layout_json, record.layout_json));
    }
  }
  return context.SavePlan(RestorePlanToJson(plan_));
}

Result<RestoreOutcome> RestoreOp::Run(StepContext& context) {
  Result<RestoreOutcome> outcome = Restore(context);
  if (outcome.ok() || context.attempt() == 1) return outcome;
  return WithLeftovers(context, std::move(outcome).error());
}

/// What an earlier run may have made, and this one has not come to.
Error RestoreOp::WithLeftovers(const StepContext& context, Error error) const {
  RestorePlan plan = plan_;
  if (plan.collections.empty() && !context.plan_json().empty()) {
    auto read = RestorePlanFromJson(context.plan_json());
    if (read.ok()) plan = *std::move(read);
  }
  std::string names;
  for (const CollectionPlan& one : plan.collections) {
    if (settled_.contains(one.target) || replaced_.contains(one.target)) continue;
    names += (names.empty() ? "'" : ", '") + one.target + "'";
  }
  if (names.empty()) return error;
  return Error(error.code(), error.message() + "; an earlier run may have left " + names,
               error.hint().empty() ? "`holdfast topology` shows what is there: drop what is not "
                                      "whole, or resume the job if it is still interrupted"
                                    : error.hint());
}

Result<RestoreOutcome> RestoreOp::Restore(StepContext& context) {
  const CallContext& call = context.call();
  context.progress().BeginPhase("plan");
  HF_RETURN_IF_ERROR(context.SetSubject(options_.group.value()));
  HF_TRY(const auto intent,
         Intent::Declare(call, parts_.repository,
                         {.purpose = "restore", .own = {}, .relies_on = {options_.group}}));
  HF_RETURN_IF_ERROR(ReadGroup(call, *intent));
  HF_RETURN_IF_ERROR(Plan(context));
  HF_RETURN_IF_ERROR(CheckCopy(call));
  RestoreOutcome outcome;
  outcome.group = options_.group;
  context.progress().BeginPhase("send");
  for (const CollectionPlan& plan : plan_.collections) {
    const auto& images = records_.at(plan.source).shards;
    for (const ShardPlacement& placement : plan.shards) {
      const auto image = std::ranges::find(images, placement.shard, &ShardImage::shard);
      for (const PeerId peer : placement.peers) {
        context.progress().Expect(std::to_string(peer.value()), image->tar_bytes, 1);
      }
    }
  }
  for (CollectionPlan& plan : plan_.collections) {
    HF_RETURN_IF_ERROR(intent->Check());
    HF_TRY(RestoredCollection restored, RestoreCollection(context, plan));
    outcome.collections.push_back(std::move(restored));
  }
  HF_RETURN_IF_ERROR(WriteMetadata(context));
  outcome.metadata_keys = plan_.metadata.size();
  outcome.given_up = plan_.given_up;
  outcome.warnings = plan_.warnings;
  if (const Status released = intent->Release(call); !released.ok()) {
    context.Warn("the intent note stays for a week: " + released.error().message());
  }
  return outcome;
}

Result<RestoredCollection> RestoreOp::RestoreCollection(StepContext& context,
                                                        CollectionPlan& plan) {
  const CollectionRecord& record = records_.at(plan.source);
  RestoredCollection restored{.source = plan.source,
                              .target = plan.target,
                              .points = 0,
                              .shards = 0,
                              .replicas = 0,
                              .aliases = plan.aliases};
  const auto done = context.Step(
      "collection/" + plan.target, [&](const CallContext& call) -> Result<std::string> {
        if (context.attempt() > 1) {
          const auto revised = Revise(context, plan);
          if (!revised.ok()) return CleanUp(plan, revised.error());
        }
        auto verified = BuildAndVerify(context, plan, record);
        for (int i = 0; i < kRevisionsMax && !verified.ok() && parts_.clock.Check(call).ok(); ++i) {
          auto revised = Revise(context, plan);
          // What the peers that are left cannot take says more than the call that failed.
          if (!revised.ok() && revised.error().code() == ErrorCode::kFailedPrecondition) {
            verified = std::move(revised).error();
          }
          if (!revised.ok() || !*revised) break;
          verified = BuildAndVerify(context, plan, record);
        }
        if (!verified.ok()) return CleanUp(plan, verified.error());
        for (const std::string& text : verified->warnings) {
          context.Warn("'" + plan.target + "': " + text);
        }
        if (const Status switched = Switch(call, plan); !switched.ok()) {
          return CleanUp(plan, switched.error());
        }
        if (const Status finished =
                parts_.engine.FinishCollection(call, plan.target, record.collection);
            !finished.ok()) {
          return finished.error().While("'" + plan.target +
                                        "' is restored and verified, but its strict mode and read "
                                        "fan-out could not be set");
        }
        return json::Dump({{"points", verified->points},
                           {"shards", verified->shards},
                           {"replicas", verified->replicas}});
      });
  if (!done.ok()) return done.error();
  settled_.insert(plan.target);
  HF_TRY(const json::Json counts, json::Parse(*done, "a restore step"));
  json::Reader in(counts, "a restore step");
  restored.points = in.Number("points");
  restored.shards = in.Number32("shards");
  restored.replicas = in.Number32("replicas");
  HF_RETURN_IF_ERROR(in.status());
  return restored;
}

Result<VerifiedCollection> RestoreOp::BuildAndVerify(StepContext& context, CollectionPlan& plan,
                                                     const CollectionRecord& record) {
  const CallContext& call = context.call();
  HF_RETURN_IF_ERROR(Build(context, plan, record));
  for (bool anew = false;; anew = true) {
    HF_TRY(auto buried, Again(call, [&] { return Bury(call, plan, record); }));
    const VerifyInput input{.record = record,
                            .plan = plan,
                            .buried = std::move(buried),
                            .copied = copied_[plan.target],
                            .sent = sent_[plan.target]};
    auto verified =
        Again(call, [&] { return VerifyRestored(call, parts_.engine, parts_.clock, input); });
    if (verified.ok() && plan.copy_shards != 0) {
      HF_RETURN_IF_ERROR(CompareImages(context, plan, record));
    }
    const bool differs = !verified.ok() && verified.error().code() == ErrorCode::kDataLoss;
    if (!differs || anew || plan.copy_shards != 0) return verified;
    context.Warn(verified.error().message() + "; its images are sent again");
    HF_RETURN_IF_ERROR(SendAnew(context, plan, record));
  }
}

/// A peer that was lost meanwhile gets nothing more: its shards go to others. True when the plan
/// has changed, so that what failed is worth another try; what was sent to the peers that are left
/// stays.
Result<bool> RestoreOp::Revise(StepContext& context, CollectionPlan& plan) {
  HF_TRY(const Topology target, ReadTarget(context.call()));
  HF_TRY(auto revised, RevisePlan(manifest_, records_, target, options_.request, plan));
  if (!revised) return false;
  for (const std::string& lost : revised->lost) {
    context.Warn(lost + "; its shards of '" + plan.target + "' go to other peers");
  }
  plan = std::move(revised->collection);
  for (std::string& text : revised->given_up) plan_.given_up.push_back(std::move(text));
  for (std::string& text : revised->warnings) plan_.warnings.push_back(std::move(text));
  HF_RETURN_IF_ERROR(context.SavePlan(RestorePlanToJson(plan_)));
  return true;
}

Status RestoreOp::Build(StepContext& context, const CollectionPlan& plan,
                        const CollectionRecord& record) {
  const CallContext& call = context.call();
  HF_RETURN_IF_ERROR(Create(context, call, plan, record));
  // Before the images, or every restored segment builds them anew (reference 2.6). Where the server
  // put a shard's only replica on a dead peer that fails, until images have made other replicas.
  std::vector<PayloadIndex> later;
  for (const PayloadIndex& index : record.collection.indexes) {
    const Status made = parts_.engine.CreateIndex(call, plan.target, index);
    if (made.ok()) continue;
    HF_RETURN_IF_ERROR(parts_.clock.Check(call));
    if (made.error().code() == ErrorCode::kPermissionDenied) return made;
    later.push_back(index);
  }
  if (plan.copy_shards != 0) {
    for (const PayloadIndex& index : later) {
      HF_RETURN_IF_ERROR(
          Again(call, [&] { return parts_.engine.CreateIndex(call, plan.target, index); }));
    }
    return CopyImages(context, plan, record);
  }
  HF_RETURN_IF_ERROR(CheckShards(call, plan, record));
  // From here on no call that changes the collection's shape: it would wait behind the sending and
  // everything else behind it (reference 3.6).
  HF_RETURN_IF_ERROR(SendImages(context, plan, record));
  HF_RETURN_IF_ERROR(Again(call, [&] { return DropUnplanned(call, plan); }));
  for (const PayloadIndex& index : later) {
    HF_RETURN_IF_ERROR(
        Again(call, [&] { return parts_.engine.CreateIndex(call, plan.target, index); }));
  }
  return {};
}

/// States are proposed and applied later (reference 3.6): until the replica that was sent is
/// Active, the empty one is the last active one and cannot be dropped.
Result<Collection> RestoreOp::AwaitActive(const CallContext& call, const CollectionPlan& plan) {
  const MonotonicTime until = parts_.clock.Monotonic() + kActivePatience;
  for (Duration pause = kActivePollMin;; pause = std::min(pause * 2, kActivePollMax)) {
    HF_TRY(Collection there, parts_.engine.ReadCollection(call, plan.target));
    std::size_t active = 0;
    std::size_t planned = 0;
    for (const ShardPlacement& placement : plan.shards) {
      planned += placement.peers.size();
      for (const PeerId peer : placement.peers) {
        if (there.StateOf(placement.shard, peer) == ReplicaState::kActive) ++active;
      }
    }
    if (active == planned) return there;
    if (parts_.clock.Monotonic() >= until) {
      return Error(ErrorCode::kDeadlineExceeded, std::to_string(planned - active) + " of " +
                                                     std::to_string(planned) + " replicas of '" +
                                                     plan.target + "' did not become Active");
    }
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, pause));
  }
}

/// The server placed replicas where it liked; those that got no image are empty and would answer
/// (measured 12).
Status RestoreOp::DropUnplanned(const CallContext& call, const CollectionPlan& plan) {
  HF_TRY(const Collection there, AwaitActive(call, plan));
  for (const Shard& shard : there.shards) {
    const auto placement = std::ranges::find(plan.shards, shard.id, &ShardPlacement::shard);
    for (const Replica& replica : shard.replicas) {
      const bool planned =
          placement != plan.shards.end() &&
          std::ranges::find(placement->peers, replica.peer) != placement->peers.end();
      if (planned) continue;
      HF_RETURN_IF_ERROR(parts_.engine.DropReplica(
          call, {.peer = replica.peer, .collection = plan.target, .shard = shard.id}));
    }
  }
  return {};
}

/// Deletes the tombstones of images that were sent; some of them, for verification. Those of images
/// that were copied were left out.
Result<std::map<ShardId, std::vector<std::string>>> RestoreOp::Bury(
    const CallContext& call, const CollectionPlan& plan, const CollectionRecord& record) {
  std::map<ShardId, std::vector<std::string>> buried;
  std::size_t kept = 0;
  for (const ShardImage& image : record.shards) {
    if (image.tombstones == 0) continue;
    HF_TRY(const auto file, ImageReader::Open(call, parts_.repository, image.tombstones_file));
    HF_TRY(const auto source, file->OpenTar(call, options_.read));
    LineReader lines(*source);
    std::vector<std::string> ids;
    const bool sent = plan.copy_shards == 0;
    for (bool more = true; more && (sent || kept < kBuriedChecksMax);) {
      HF_TRY(std::string id, lines.Next(call));
      more = !id.empty();
      if (more && kept < kBuriedChecksMax) {
        buried[image.shard].push_back(id);
        ++kept;
      }
      if (more) ids.push_back(std::move(id));
      if (ids.size() < kBuryPerCall && more) continue;
      if (!ids.empty() && sent) {
        HF_RETURN_IF_ERROR(parts_.engine.DeletePoints(call, plan.target, image.key, ids));
      }
      ids.clear();
    }
  }
  return buried;
}

Status RestoreOp::Switch(const CallContext& call, const CollectionPlan& plan) {
  if (plan.aliases.empty()) return {};
  std::vector<AliasMove> moves;
  for (const std::string& alias : plan.aliases) {
    moves.push_back({.alias = alias, .to = plan.target});
  }
  const Status switched = parts_.engine.SwitchAliases(call, moves);
  // What counts is where the aliases point: after an error the switch may have happened all the
  // same. Not the operation's own call: this must be known after Ctrl-C too.
  const CallContext looking = parts_.clock.Within({}, kCleanUpPatience);
  const auto now =
      Again(looking, [&] { return parts_.engine.ReadCollection(looking, plan.target); });
  if (!now.ok() && now.error().code() != ErrorCode::kNotFound) {
    made_.erase(plan.target);
    return Error(switched.ok() ? now.error().code() : switched.error().code(),
                 "'" + plan.target +
                     "' is restored and verified, but whether its aliases point to "
                     "it could not be seen: " +
                     (switched.ok() ? now.error() : switched.error()).message(),
                 "look with `holdfast topology`; point the aliases to it, or drop it");
  }
  std::string missing;
  for (const std::string& alias : plan.aliases) {
    if (now.ok() && std::ranges::find(now->aliases, alias) != now->aliases.end()) {
      // Somebody reads it from now on, so it stays whatever comes.
      made_.erase(plan.target);
    } else if (missing.empty()) {
      missing = alias;
    }
  }
  if (missing.empty()) return {};
  if (!switched.ok()) return switched;
  return Error(ErrorCode::kAborted,
               "alias '" + missing + "' does not point to '" + plan.target + "'");
}

/// A key that has come into being since the restore was planned is somebody else's.
Status RestoreOp::WriteMetadata(StepContext& context) {
  if (plan_.metadata.empty()) return {};
  const auto write = [&](const CallContext& call) -> Result<std::string> {
    HF_TRY(const Topology target, parts_.engine.ReadTopology(call));
    for (const auto& [key, value] : plan_.metadata) {
      if (target.metadata.contains(key)) continue;
      HF_RETURN_IF_ERROR(Again(call, [&] { return parts_.engine.SetMetadata(call, key, value); }));
    }
    return std::string("{}");
  };
  const auto written = context.Step("metadata", write);
  return written.ok() ? Status() : Status(written.error());
}

/// Removes what was made, unless another run goes on with it. Readers never saw it.
Error RestoreOp::CleanUp(const CollectionPlan& plan, Error error) {
  if (plan.naming == Naming::kInPlace) {
    if (!replaced_.contains(plan.target)) return error;
    settled_.insert(plan.target);
    return std::move(error).While("'" + plan.target + "' is not restored and incomplete");
  }
  const bool may_be_resumed =
      error.code() == ErrorCode::kCancelled && !options_.user_stop.stop_requested();
  if (!made_.contains(plan.target) || may_be_resumed) return error;
  const CallContext call = parts_.clock.Within({}, kCleanUpPatience);
  const Status dropped =
      Again(call, [&] { return parts_.engine.DropCollection(call, plan.target); });
  settled_.insert(plan.target);
  if (dropped.ok()) return error;
  return Error(error.code(),
               error.message() + "; '" + plan.target +
                   "' was made for it and could not be removed: " + dropped.error().message(),
               "drop '" + plan.target + "' by hand");
}

}  // namespace holdfast
