// A rebalance plan as JSON, for `--dry-run --json`, and back; and plan files.

#include <algorithm>
#include <initializer_list>
#include <set>
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

/// People write plan files: what is not understood may be what they care for most.
Status OnlyMembers(const Json& object, std::initializer_list<std::string_view> known,
                   const std::string& what) {
  for (const auto& [name, value] : object.items()) {
    if (std::ranges::find(known, name) != known.end()) continue;
    std::string names;
    for (const std::string_view one : known) {
      names += (names.empty() ? "'" : " and '") + std::string(one) + "'";
    }
    return Error(ErrorCode::kInvalidArgument,
                 what + " has a member '" + name + "', which nobody knows",
                 "leave it out; what can be said there: " + names);
  }
  return {};
}

Result<std::vector<ShardPlacement>> ShardsFrom(const std::string& name, const Json& list) {
  std::vector<ShardPlacement> shards;
  std::set<ShardId> seen;
  if (!list.is_array()) {
    return Error(ErrorCode::kInvalidArgument,
                 "the wanted layout of '" + name + "' is no list of shards");
  }
  for (const Json& item : list) {
    Reader in(item, "a shard of '" + name + "' in the wanted layout");
    ShardPlacement placement{
        .shard = ShardId(in.Number32("shard")), .peers = {}, .reasons = {}, .revision = 0};
    HF_RETURN_IF_ERROR(in.status());
    const std::string where =
        "shard " + std::to_string(placement.shard.value()) + " of '" + name + "'";
    HF_RETURN_IF_ERROR(OnlyMembers(item, {"shard", "peers"}, "the wanted layout of " + where));
    if (!in.Has("peers")) {
      return Error(ErrorCode::kInvalidArgument,
                   "the wanted layout of " + where + " has no list 'peers'");
    }
    for (const Json& peer : in.Array("peers")) {
      if (!peer.is_number_unsigned()) {
        return Error(ErrorCode::kInvalidArgument,
                     "a peer of " + where + " in the wanted layout is not given as a number",
                     "write the id of a peer as a number, without quotes: 17, not \"17\"");
      }
      placement.peers.push_back(PeerId(peer.get<std::uint64_t>()));
    }
    HF_RETURN_IF_ERROR(in.status());
    if (!seen.insert(placement.shard).second) {
      return Error(ErrorCode::kInvalidArgument, "the wanted layout names " + where + " twice",
                   "leave one of the two entries out");
    }
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
                     {"warnings", plan.warnings},
                     {"removable", plan.removable}});
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
  HF_RETURN_IF_ERROR(texts("removable", plan.removable));
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
  HF_RETURN_IF_ERROR(OnlyMembers(*document, {"collections"}, "the wanted layout"));
  std::map<std::string, std::vector<ShardPlacement>> wanted;
  for (const auto& [name, list] : collections.items()) {
    auto shards = ShardsFrom(name, list);
    if (!shards.ok()) return Error(shards.error()).As(ErrorCode::kInvalidArgument);
    wanted[name] = *std::move(shards);
  }
  return wanted;
}

}  // namespace holdfast
