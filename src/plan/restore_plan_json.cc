// The restore plan as JSON, and back.

#include <utility>

#include "model/json.h"
#include "model/topology_json.h"
#include "plan/restore_plan.h"

namespace holdfast {
namespace {

using json::Json;
using json::Reader;

std::string_view NamingName(Naming naming) {
  switch (naming) {
    case Naming::kFree:
      return "free";
    case Naming::kBesideAlias:
      return "beside-alias";
    case Naming::kHidden:
      return "hidden";
    case Naming::kInPlace:
      return "in-place";
  }
  return "free";
}

Result<Naming> NamingFrom(const std::string& name) {
  for (const Naming naming :
       {Naming::kFree, Naming::kBesideAlias, Naming::kHidden, Naming::kInPlace}) {
    if (NamingName(naming) == name) return naming;
  }
  return Error(ErrorCode::kDataLoss, "a restore plan has an unknown naming '" + name + "'");
}

Json CollectionPlanJson(const CollectionPlan& plan) {
  Json keys = Json::array();
  for (const KeyStep& step : plan.keys) {
    keys.push_back(
        {{"key", ShardKeyJson(step.key)}, {"shards", step.shards}, {"filler", step.filler}});
  }
  Json shards = Json::array();
  for (const ShardPlacement& placement : plan.shards) {
    Json peers = Json::array();
    for (const PeerId peer : placement.peers) peers.push_back(peer.value());
    shards.push_back({{"shard", placement.shard.value()}, {"peers", std::move(peers)}});
  }
  return {{"source", plan.source},
          {"record", plan.record},
          {"target", plan.target},
          {"naming", NamingName(plan.naming)},
          {"replication_factor", plan.replication_factor},
          {"keys", std::move(keys)},
          {"shards", std::move(shards)},
          {"aliases", plan.aliases},
          {"tar_bytes", plan.tar_bytes}};
}

Result<CollectionPlan> CollectionPlanFrom(const Json& document) {
  Reader in(document, "a collection's restore plan");
  CollectionPlan plan;
  plan.source = in.Text("source");
  plan.record = in.Number32("record");
  plan.target = in.Text("target");
  plan.replication_factor = in.Number32("replication_factor");
  plan.tar_bytes = in.Number("tar_bytes");
  const std::string naming = in.Text("naming");
  for (const Json& item : in.Array("keys")) {
    Reader key(item, "a shard key step");
    HF_TRY(ShardKey value, ShardKeyFrom(key.At("key")));
    plan.keys.push_back(
        {.key = std::move(value), .shards = key.Number32("shards"), .filler = key.Flag("filler")});
    HF_RETURN_IF_ERROR(key.status());
  }
  for (const Json& item : in.Array("shards")) {
    Reader shard(item, "a shard placement");
    ShardPlacement placement{.shard = ShardId(shard.Number32("shard")), .peers = {}};
    for (const Json& peer : shard.Array("peers")) {
      if (!peer.is_number_unsigned()) return Error(ErrorCode::kDataLoss, "a peer id is no number");
      placement.peers.push_back(PeerId(peer.get<std::uint64_t>()));
    }
    HF_RETURN_IF_ERROR(shard.status());
    plan.shards.push_back(std::move(placement));
  }
  for (const Json& alias : in.Array("aliases")) {
    if (!alias.is_string()) return Error(ErrorCode::kDataLoss, "an alias is not a text");
    plan.aliases.push_back(alias.get<std::string>());
  }
  HF_RETURN_IF_ERROR(in.status());
  HF_TRY(plan.naming, NamingFrom(naming));
  return plan;
}

}  // namespace

std::string RestorePlanToJson(const RestorePlan& plan) {
  Json collections = Json::array();
  for (const CollectionPlan& item : plan.collections)
    collections.push_back(CollectionPlanJson(item));
  return json::Dump({{"group", plan.group.value()},
                     {"collections", std::move(collections)},
                     {"metadata", plan.metadata},
                     {"given_up", plan.given_up},
                     {"warnings", plan.warnings}});
}

Result<RestorePlan> RestorePlanFromJson(std::string_view text) {
  HF_TRY(const Json document, json::Parse(text, "the restore plan"));
  Reader in(document, "the restore plan");
  RestorePlan plan;
  plan.group = GroupId(in.Text("group"));
  for (const Json& item : in.Array("collections")) {
    HF_TRY(CollectionPlan collection, CollectionPlanFrom(item));
    plan.collections.push_back(std::move(collection));
  }
  const Json& metadata = in.At("metadata");
  if (!metadata.is_object()) in.Fail("metadata", "object");
  HF_RETURN_IF_ERROR(in.status());
  for (const auto& [key, value] : metadata.items()) {
    if (value.is_string()) plan.metadata[key] = value.get<std::string>();
  }
  for (const char* list : {"given_up", "warnings"}) {
    for (const Json& item : in.Array(list)) {
      if (!item.is_string()) continue;
      (std::string_view(list) == "given_up" ? plan.given_up : plan.warnings)
          .push_back(item.get<std::string>());
    }
  }
  HF_RETURN_IF_ERROR(in.status());
  return plan;
}

}  // namespace holdfast
