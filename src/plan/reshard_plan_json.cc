// A reshard plan as JSON, for `--dry-run --json` and the job's journal, and back.

#include <string>
#include <utility>

#include "model/json.h"
#include "model/topology_json.h"
#include "plan/reshard_plan.h"

namespace holdfast {
namespace {

using json::Json;
using json::Reader;

Result<std::vector<std::string>> TextsFrom(const Json& list, const char* what) {
  std::vector<std::string> texts;
  for (const Json& item : list) {
    if (!item.is_string()) return Error(ErrorCode::kDataLoss, std::string(what) + " is no text");
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

}  // namespace

std::string ReshardPlanToJson(const ReshardPlan& plan) {
  Json keys = Json::array();
  for (const ShardKey& key : plan.keys) keys.push_back(ShardKeyJson(key));
  return json::Dump({{"method", ReshardMethodName(plan.method)},
                     {"why", plan.why},
                     {"source", plan.source},
                     {"uuid", plan.uuid},
                     {"target", plan.target},
                     {"shards", plan.shards},
                     {"shards_now", plan.shards_now},
                     {"keys", std::move(keys)},
                     {"aliases", plan.aliases},
                     {"points", plan.points},
                     {"bytes", plan.bytes},
                     {"notes", plan.notes},
                     {"progress", plan.progress_json}});
}

Result<ReshardPlan> ReshardPlanFromJson(std::string_view text) {
  constexpr const char* kWhat = "a reshard plan";
  HF_TRY(const Json document, json::Parse(text, kWhat));
  Reader in(document, kWhat);
  ReshardPlan plan;
  const auto method = ReshardMethodFromName(in.Text("method"));
  plan.why = in.Text("why");
  plan.source = in.Text("source");
  plan.uuid = in.Text("uuid");
  plan.target = in.Text("target");
  plan.shards = in.Number32("shards");
  plan.shards_now = in.Number32("shards_now");
  plan.progress_json = in.TextOr("progress", "");
  plan.points = in.Number("points");
  plan.bytes = in.Number("bytes");
  for (const Json& item : in.Array("keys")) {
    HF_TRY(ShardKey key, ShardKeyFrom(item));
    plan.keys.push_back(std::move(key));
  }
  HF_TRY(plan.aliases, TextsFrom(in.Array("aliases"), "an alias"));
  HF_TRY(plan.notes, TextsFrom(in.Array("notes"), "a note"));
  HF_RETURN_IF_ERROR(in.status());
  if (!method.ok()) return method.error().While(kWhat).As(ErrorCode::kDataLoss);
  plan.method = *method;
  return plan;
}

}  // namespace holdfast
