#include "ops/reshard/reshard_op.h"

#include <utility>

#include "model/json.h"
#include "ops/reshard/native_reshard.h"
#include "ops/reshard/reshard_copy.h"

namespace holdfast {
namespace {

/// Name to value; null for what was removed.
json::Json SettingsJson(const std::vector<SettingChange>& changes) {
  json::Json settings = json::Json::object();
  for (const SettingChange& change : changes) {
    settings[change.name] =
        change.after.empty() ? json::Json() : json::Json::parse(change.after, nullptr, false);
  }
  return settings;
}

}  // namespace

NativeReshardRequest ReshardOp::NativeRequest(const std::string& collection) const {
  return {.collection = collection,
          .shards = options_.request.shards,
          .limits = options_.limits,
          .allowed = true,
          .fenced = options_.fence != nullptr};
}

/// Fills in `plan` when the cluster can do it in place, and says what is in the way else.
Result<std::string> ReshardOp::NativeRefusal(const CallContext& call, const Topology& cluster,
                                             NativeReshardPlan& plan) {
  HF_TRY(const bool allowed, parts_.engine.CanReshard(call));
  if (!allowed) return std::string("this cluster does not reshard in place");
  const Collection* const meant = FindByNameOrAlias(cluster, options_.request.collection);
  // That there is none is said by the plan.
  if (meant == nullptr) return std::string();
  auto planned = PlanNativeReshard(cluster, NativeRequest(meant->name));
  if (!planned.ok()) return planned.error().message();
  plan = *std::move(planned);
  return std::string();
}

Result<ReshardPlan> ReshardOp::Preview(const CallContext& call, const std::string& suffix) {
  HF_TRY(Topology cluster, parts_.engine.ReadTopology(call));
  parts_.engine.ReadSizes(call, cluster);
  ReshardFacts facts{.native_refusal = {}, .suffix = suffix, .changes = {}};
  NativeReshardPlan native;
  const Collection* const meant = FindByNameOrAlias(cluster, options_.request.collection);
  if (meant != nullptr && !options_.request.settings_json.empty()) {
    const std::uint32_t shards =
        options_.request.shards == 0 ? meant->shard_number : options_.request.shards;
    HF_TRY(const Collection wanted,
           parts_.engine.Resharded(*meant, shards, options_.request.settings_json));
    facts.changes = SettingChanges(*meant, wanted);
  }
  if (options_.request.method != ReshardMethod::kCopy && facts.changes.empty() &&
      options_.request.shards != 0) {
    HF_TRY(facts.native_refusal, NativeRefusal(call, cluster, native));
  }
  HF_TRY(ReshardPlan plan, PlanReshard(cluster, options_.request, facts));
  if (plan.method != ReshardMethod::kNative) return plan;
  plan.notes.insert(plan.notes.end(), native.warnings.begin(), native.warnings.end());
  plan.notes.push_back(std::to_string(native.rounds.size()) + " rounds of one shard each");
  return plan;
}

Result<ReshardOutcome> ReshardOp::Run(StepContext& context) {
  context.progress().BeginPhase("plan");
  ReshardPlan plan;
  if (context.plan_json().empty()) {
    HF_TRY(plan, Preview(context.call(), ReshardSuffix(context.job())));
    HF_RETURN_IF_ERROR(
        parts_.engine.CheckRights(context.call(), Purpose::kRestore, {plan.source, plan.target}));
    HF_RETURN_IF_ERROR(context.SetSubject(plan.source));
    HF_RETURN_IF_ERROR(context.SavePlan(ReshardPlanToJson(plan)));
  } else {
    // An interrupted job goes on with the method and the name that it had chosen.
    HF_TRY(plan, ReshardPlanFromJson(context.plan_json()));
  }
  if (plan.method == ReshardMethod::kNative) return RunNative(context, plan);
  return ReshardCopy(parts_, options_, std::move(plan)).Run(context);
}

Result<ReshardOutcome> ReshardOp::RunNative(StepContext& context, const ReshardPlan& plan) {
  NativeReshard native({.engine = parts_.engine,
                        .clock = parts_.clock,
                        .random = parts_.random,
                        .fence = options_.fence},
                       {.request = NativeRequest(plan.source), .user_stop = options_.user_stop});
  HF_TRY(NativeReshardOutcome done, native.Run(context));
  ReshardOutcome outcome;
  outcome.method = ReshardMethod::kNative;
  outcome.source = plan.source;
  outcome.target = plan.source;
  outcome.shards = plan.shards;
  outcome.points = done.points;
  outcome.fenced = options_.fence != nullptr;
  outcome.unproven = done.unproven;
  outcome.warnings = std::move(done.warnings);
  return outcome;
}

std::string ReshardSuffix(const JobId& job) {
  constexpr std::size_t kDigits = 8;
  const std::string& id = job.value();
  return id.size() <= kDigits ? id : id.substr(id.size() - kDigits);
}

std::string ReshardOutcomeToJson(const ReshardOutcome& outcome, Duration took) {
  return json::Dump({{"method", ReshardMethodName(outcome.method)},
                     {"source", outcome.source},
                     {"target", outcome.target},
                     {"shards", outcome.shards},
                     {"settings", SettingsJson(outcome.changes)},
                     {"points", outcome.points},
                     {"aliases", outcome.aliases},
                     {"passes", outcome.passes},
                     {"caught_up", outcome.caught_up},
                     {"fenced", outcome.fenced},
                     {"unproven", outcome.unproven},
                     {"warnings", outcome.warnings},
                     {"seconds", static_cast<double>(took.count()) / 1e6}});
}

std::string ReshardRequestToJson(const ReshardRequest& request) {
  return json::Dump({{"collection", request.collection},
                     {"shards", request.shards},
                     {"method", ReshardMethodName(request.method)},
                     {"settings", request.settings_json},
                     {"as", request.as}});
}

Result<ReshardRequest> ReshardRequestFromJson(std::string_view text) {
  constexpr const char* kWhat = "the request of a reshard";
  HF_TRY(const json::Json document, json::Parse(text, kWhat));
  json::Reader in(document, kWhat);
  ReshardRequest request;
  request.collection = in.Text("collection");
  request.shards = in.Number32("shards");
  request.as = in.Text("as");
  // Requests of versions before have none.
  request.settings_json = in.TextOr("settings", "");
  HF_TRY(request.method, ReshardMethodFromName(in.Text("method")));
  HF_RETURN_IF_ERROR(in.status());
  return request;
}

}  // namespace holdfast
