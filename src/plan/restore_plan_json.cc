// A restore plan as JSON, for `--dry-run --json` and the job's journal, and back.

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

Result<RestoreLayout> LayoutFrom(const std::string& name) {
  for (const RestoreLayout layout :
       {RestoreLayout::kSpread, RestoreLayout::kSame, RestoreLayout::kConsolidate}) {
    if (RestoreLayoutName(layout) == name) return layout;
  }
  return Error(ErrorCode::kDataLoss,
               "the request of a restore has an unknown layout '" + name + "'");
}

Result<std::vector<std::string>> TextsFrom(const Json& list, const char* what) {
  std::vector<std::string> texts;
  for (const Json& item : list) {
    if (!item.is_string()) return Error(ErrorCode::kDataLoss, std::string(what) + " is not a text");
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

Result<std::vector<PeerId>> PeersFrom(const Json& list) {
  std::vector<PeerId> peers;
  for (const Json& item : list) {
    if (!item.is_number_unsigned()) return Error(ErrorCode::kDataLoss, "a peer id is no number");
    peers.push_back(PeerId(item.get<std::uint64_t>()));
  }
  return peers;
}

Result<PlaceReason> ReasonFrom(const Json& name) {
  for (const PlaceReason reason :
       {PlaceReason::kHadIt, PlaceReason::kEven, PlaceReason::kZone, PlaceReason::kRoom}) {
    if (name == PlaceReasonName(reason)) return reason;
  }
  return Error(ErrorCode::kDataLoss, "a restore plan has an unknown reason " + name.dump());
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
    Json reasons = Json::array();
    for (const PlaceReason reason : placement.reasons) reasons.push_back(PlaceReasonName(reason));
    shards.push_back({{"shard", placement.shard.value()},
                      {"peers", std::move(peers)},
                      {"reasons", std::move(reasons)},
                      {"revision", placement.revision}});
  }
  Json place_on = Json::array();
  for (const PeerId peer : plan.place_on) place_on.push_back(peer.value());
  return {{"source", plan.source},
          {"record", plan.record},
          {"target", plan.target},
          {"naming", NamingName(plan.naming)},
          {"replication_factor", plan.replication_factor},
          {"keys", std::move(keys)},
          {"copy_shards", plan.copy_shards},
          {"place_on", std::move(place_on)},
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
  // Plans of versions before have none of these.
  if (in.Has("copy_shards")) plan.copy_shards = in.Number32("copy_shards");
  if (in.Has("place_on")) {
    HF_TRY(plan.place_on, PeersFrom(in.Array("place_on")));
  }
  for (const Json& item : in.Array("keys")) {
    Reader key(item, "a shard key step");
    HF_TRY(ShardKey value, ShardKeyFrom(key.At("key")));
    plan.keys.push_back(
        {.key = std::move(value), .shards = key.Number32("shards"), .filler = key.Flag("filler")});
    HF_RETURN_IF_ERROR(key.status());
  }
  for (const Json& item : in.Array("shards")) {
    Reader shard(item, "a shard placement");
    ShardPlacement placement{
        .shard = ShardId(shard.Number32("shard")), .peers = {}, .reasons = {}, .revision = 0};
    HF_TRY(placement.peers, PeersFrom(shard.Array("peers")));
    if (shard.Has("revision")) placement.revision = shard.Number32("revision");
    if (shard.Has("reasons")) {
      for (const Json& reason : shard.Array("reasons")) {
        HF_TRY(const PlaceReason read, ReasonFrom(reason));
        placement.reasons.push_back(read);
      }
    }
    HF_RETURN_IF_ERROR(shard.status());
    plan.shards.push_back(std::move(placement));
  }
  HF_TRY(plan.aliases, TextsFrom(in.Array("aliases"), "an alias"));
  HF_RETURN_IF_ERROR(in.status());
  HF_TRY(plan.naming, NamingFrom(naming));
  return plan;
}

}  // namespace

std::string RestoreRequestToJson(const GroupId& group, const RestoreRequest& request) {
  Json avoid = Json::array();
  for (const PeerId peer : request.avoid) avoid.push_back(peer.value());
  Json out = {{"group", group.value()},
              {"collections", request.collections},
              {"rename", request.rename},
              {"hidden", request.hidden},
              {"in_place", request.in_place},
              {"allow_consolidation", request.allow_consolidation},
              {"accept_crowding", request.accept_crowding},
              {"layout", RestoreLayoutName(request.layout)},
              {"avoid", std::move(avoid)}};
  if (request.consolidate_on) out["consolidate_on"] = request.consolidate_on->value();
  if (!request.shards.empty()) out["shards"] = request.shards;
  if (request.shards_of_all != 0) out["shards_of_all"] = request.shards_of_all;
  return json::Dump(out);
}

Result<std::pair<GroupId, RestoreRequest>> RestoreRequestFromJson(std::string_view text) {
  HF_TRY(const Json document, json::Parse(text, "the request of a restore"));
  Reader in(document, "the request of a restore");
  const GroupId group(in.Text("group"));
  RestoreRequest request;
  HF_TRY(request.collections, TextsFrom(in.Array("collections"), "a collection"));
  const Json& rename = in.At("rename");
  if (!rename.is_object()) in.Fail("rename", "object");
  HF_RETURN_IF_ERROR(in.status());
  for (const auto& [from, to] : rename.items()) {
    if (!to.is_string()) return Error(ErrorCode::kDataLoss, "a new name is not a text");
    request.rename[from] = to.get<std::string>();
  }
  request.hidden = in.Flag("hidden");
  request.in_place = in.Flag("in_place");
  request.allow_consolidation = in.Flag("allow_consolidation");
  request.accept_crowding = in.Has("accept_crowding") && in.Flag("accept_crowding");
  HF_TRY(request.avoid, PeersFrom(in.Array("avoid")));
  if (in.Has("consolidate_on")) request.consolidate_on = PeerId(in.Number("consolidate_on"));
  if (in.Has("layout")) {
    HF_TRY(request.layout, LayoutFrom(in.Text("layout")));
  }
  if (in.Has("shards_of_all")) request.shards_of_all = in.Number32("shards_of_all");
  for (const auto& [name, shards] : in.At("shards").items()) {
    if (!shards.is_number_unsigned()) {
      return Error(ErrorCode::kDataLoss, "a number of shards is no number");
    }
    request.shards[name] = shards.get<std::uint32_t>();
  }
  HF_RETURN_IF_ERROR(in.status());
  return std::pair(group, std::move(request));
}

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
    if (!value.is_string()) return Error(ErrorCode::kDataLoss, "a metadata value is not a text");
    plan.metadata[key] = value.get<std::string>();
  }
  HF_TRY(plan.given_up, TextsFrom(in.Array("given_up"), "what is given up"));
  HF_TRY(plan.warnings, TextsFrom(in.Array("warnings"), "a warning"));
  HF_RETURN_IF_ERROR(in.status());
  return plan;
}

}  // namespace holdfast
