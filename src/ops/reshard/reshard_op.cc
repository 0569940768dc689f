#include "ops/reshard/reshard_op.h"

#include <utility>

#include "model/json.h"
#include "ops/reshard/native_reshard.h"
#include "ops/reshard/reshard_copy.h"

namespace holdfast {

namespace {

/// Gives the native method a place of its own in the plan of the job.
class NestedPlan final : public StepContext {
 public:
  NestedPlan(StepContext& outer, ReshardPlan plan) : outer_(outer), plan_(std::move(plan)) {}

  const CallContext& call() const override { return outer_.call(); }
  const JobId& job() const override { return outer_.job(); }
  std::uint32_t attempt() const override { return outer_.attempt(); }
  const std::string& request_json() const override { return outer_.request_json(); }
  const std::string& plan_json() const override { return plan_.progress_json; }
  Status SavePlan(std::string plan_json) override {
    plan_.progress_json = std::move(plan_json);
    return outer_.SavePlan(ReshardPlanToJson(plan_));
  }
  Status SetSubject(std::string subject) override { return outer_.SetSubject(std::move(subject)); }
  Result<std::string> Step(std::string_view key, const StepBody& body) override {
    return outer_.Step(key, body);
  }
  void OutliveCatalog() override { outer_.OutliveCatalog(); }
  void LeaveInterrupted() override { outer_.LeaveInterrupted(); }
  Progress& progress() override { return outer_.progress(); }
  void Warn(std::string_view text) override { outer_.Warn(text); }
  void Note(std::string_view text) override { outer_.Note(text); }

 private:
  StepContext& outer_;
  ReshardPlan plan_;
};

}  // namespace

NativeReshardRequest ReshardOp::NativeRequest(const std::string& collection) const {
  return {.collection = collection,
          .shards = options_.request.shards,
          .limits = options_.limits,
          .allowed = true,
          .fenced = options_.fence != nullptr};
}

/// Empty when the cluster can do it in place; what is in the way else.
Result<std::string> ReshardOp::NativeRefusal(const CallContext& call, const Topology& cluster) {
  HF_TRY(const bool allowed, parts_.engine.CanReshard(call));
  if (!allowed) return std::string("this cluster does not reshard in place");
  const Collection* const meant = FindByNameOrAlias(cluster, options_.request.collection);
  // That there is none is said by the plan.
  if (meant == nullptr) return std::string();
  const auto plan = PlanNativeReshard(cluster, NativeRequest(meant->name));
  if (plan.ok()) return std::string();
  const ErrorCode code = plan.error().code();
  if (code != ErrorCode::kFailedPrecondition && code != ErrorCode::kUnsupported) {
    return std::string();
  }
  return plan.error().message();
}

Result<ReshardPlan> ReshardOp::Preview(const CallContext& call, const std::string& suffix) {
  HF_TRY(Topology cluster, parts_.engine.ReadTopology(call));
  parts_.engine.ReadSizes(call, cluster);
  ReshardFacts facts{.native_refusal = {}, .suffix = suffix};
  if (options_.request.method != ReshardMethod::kCopy) {
    HF_TRY(facts.native_refusal, NativeRefusal(call, cluster));
  }
  HF_TRY(ReshardPlan plan, PlanReshard(cluster, options_.request, facts));
  if (plan.method != ReshardMethod::kNative) return plan;
  HF_TRY(const NativeReshardPlan native, PlanNativeReshard(cluster, NativeRequest(plan.source)));
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
    HF_RETURN_IF_ERROR(context.SavePlan(ReshardPlanToJson(plan)));
  } else {
    // An interrupted job goes on with the method and the name that it had chosen.
    HF_TRY(plan, ReshardPlanFromJson(context.plan_json()));
  }
  HF_RETURN_IF_ERROR(context.SetSubject(plan.source));
  if (plan.method == ReshardMethod::kNative) return RunNative(context, std::move(plan));
  return ReshardCopy(parts_, options_, std::move(plan)).Run(context);
}

Result<ReshardOutcome> ReshardOp::RunNative(StepContext& context, ReshardPlan plan) {
  NativeReshard native({.engine = parts_.engine,
                        .clock = parts_.clock,
                        .random = parts_.random,
                        .fence = options_.fence},
                       {.request = NativeRequest(plan.source), .user_stop = options_.user_stop});
  NestedPlan nested(context, plan);
  HF_TRY(NativeReshardOutcome done, native.Run(nested));
  ReshardOutcome outcome;
  outcome.method = ReshardMethod::kNative;
  outcome.source = plan.source;
  outcome.target = plan.source;
  outcome.shards = plan.shards;
  outcome.points = done.points;
  outcome.fenced = options_.fence != nullptr;
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
  HF_TRY(request.method, ReshardMethodFromName(in.Text("method")));
  HF_RETURN_IF_ERROR(in.status());
  return request;
}

}  // namespace holdfast
