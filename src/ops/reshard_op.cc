#include "ops/reshard_op.h"

#include <utility>

#include "model/json.h"
#include "ops/reshard_copy.h"

namespace holdfast {

Result<ReshardPlan> ReshardOp::Preview(const CallContext& call, const std::string& suffix) {
  HF_TRY(const Topology cluster, parts_.engine.ReadTopology(call));
  ReshardFacts facts{.native_refusal = "this build has no driver for it", .suffix = suffix};
  ReshardRequest request = options_.request;
  if (options_.native && options_.native_refusal) {
    for (const Collection& collection : cluster.collections) {
      bool meant = collection.name == request.collection;
      for (const std::string& alias : collection.aliases) {
        meant = meant || alias == request.collection;
      }
      if (!meant) continue;
      HF_TRY(facts.native_refusal, options_.native_refusal(call, collection));
      break;
    }
  }
  return PlanReshard(cluster, request, facts);
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
  if (plan.method == ReshardMethod::kCopy) {
    return ReshardCopy(parts_, options_, std::move(plan)).Run(context);
  }
  if (!options_.native) {
    return Error(ErrorCode::kUnsupported, "this build cannot drive native resharding",
                 "use --method copy");
  }
  return options_.native(context, plan);
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
