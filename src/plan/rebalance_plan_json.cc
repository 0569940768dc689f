// A rebalance plan as JSON, for `--dry-run --json`, and back; and plan files.

#include <utility>

#include "model/json.h"
#include "plan/rebalance_plan.h"

namespace holdfast {
namespace {

using json::Json;
using json::Reader;

Result<RebalanceAction> ActionFrom(const std::string& name) {
  for (const RebalanceAction action :
       {RebalanceAction::kMove, RebalanceAction::kReplicate, RebalanceAction::kDrop}) {
    if (RebalanceActionName(action) == name) return action;
  }
  return Error(ErrorCode::kDataLoss, "a rebalance plan has an unknown action '" + name + "'");
}

Result<std::vector<ShardPlacement>> ShardsFrom(const Json& list) {
  std::vector<ShardPlacement> shards;
  if (!list.is_array()) {
    return Error(ErrorCode::kInvalidArgument, "a collection of the wanted layout is no list");
  }
  for (const Json& item : list) {
    Reader in(item, "a shard of the wanted layout");
    ShardPlacement placement{
        .shard = ShardId(in.Number32("shard")), .peers = {}, .reasons = {}, .revision = 0};
    for (const Json& peer : in.Array("peers")) {
      if (!peer.is_number_unsigned()) {
        return Error(ErrorCode::kInvalidArgument, "a peer of the wanted layout is no number");
      }
      placement.peers.push_back(PeerId(peer.get<std::uint64_t>()));
    }
    HF_RETURN_IF_ERROR(in.status());
    shards.push_back(std::move(placement));
  }
  return shards;
}

}  // namespace

std::string RebalancePlanToJson(const RebalancePlan& plan) {
  Json steps = Json::array();
  for (const RebalanceStep& step : plan.steps) {
    steps.push_back({{"action", RebalanceActionName(step.action)},
                     {"collection", step.collection},
                     {"shard", step.shard.value()},
                     {"from", step.from.value()},
                     {"to", step.to.value()},
                     {"bytes", step.bytes}});
  }
  return json::Dump({{"steps", std::move(steps)},
                     {"bytes", plan.bytes},
                     {"left", plan.left},
                     {"warnings", plan.warnings}});
}

Result<RebalancePlan> RebalancePlanFromJson(std::string_view text) {
  HF_TRY(const Json document, json::Parse(text, "the rebalance plan"));
  Reader in(document, "the rebalance plan");
  RebalancePlan plan;
  plan.bytes = in.Number("bytes");
  for (const Json& item : in.Array("steps")) {
    Reader step(item, "a step of the rebalance plan");
    const std::string action = step.Text("action");
    plan.steps.push_back({.action = {},
                          .collection = step.Text("collection"),
                          .shard = ShardId(step.Number32("shard")),
                          .from = PeerId(step.Number("from")),
                          .to = PeerId(step.Number("to")),
                          .bytes = step.Number("bytes")});
    HF_RETURN_IF_ERROR(step.status());
    HF_TRY(plan.steps.back().action, ActionFrom(action));
  }
  const auto texts = [&](const char* name, std::vector<std::string>& into) -> Status {
    for (const Json& item : in.Array(name)) {
      if (!item.is_string()) return Error(ErrorCode::kDataLoss, "a warning is not a text");
      into.push_back(item.get<std::string>());
    }
    return {};
  };
  HF_RETURN_IF_ERROR(texts("left", plan.left));
  HF_RETURN_IF_ERROR(texts("warnings", plan.warnings));
  HF_RETURN_IF_ERROR(in.status());
  return plan;
}

Result<std::map<std::string, std::vector<ShardPlacement>>> WantedLayoutFromJson(
    std::string_view text) {
  const auto document = json::Parse(text, "the wanted layout");
  if (!document.ok()) return Error(document.error()).As(ErrorCode::kInvalidArgument);
  Reader in(*document, "the wanted layout");
  const Json& collections = in.At("collections");
  if (!collections.is_object()) in.Fail("collections", "object");
  if (!in.status().ok()) return Error(in.status().error()).As(ErrorCode::kInvalidArgument);
  std::map<std::string, std::vector<ShardPlacement>> wanted;
  for (const auto& [name, list] : collections.items()) {
    auto shards = ShardsFrom(list);
    if (!shards.ok()) return Error(shards.error()).As(ErrorCode::kInvalidArgument);
    wanted[name] = *std::move(shards);
  }
  return wanted;
}

}  // namespace holdfast
