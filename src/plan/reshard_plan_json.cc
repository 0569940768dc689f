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

/// A setting that is not set is null.
Json SettingJson(const std::string& text) {
  return text.empty() ? Json() : Json::parse(text, nullptr, false);
}

Json ChangesJson(const std::vector<SettingChange>& changes) {
  Json list = Json::array();
  for (const SettingChange& change : changes) {
    list.push_back({{"name", change.name},
                    {"before", SettingJson(change.before)},
                    {"after", SettingJson(change.after)},
                    {"at_end", change.at_end}});
  }
  return list;
}

Result<std::vector<SettingChange>> ChangesFrom(const Json& list) {
  const auto text = [](const Json& value) {
    return value.is_null() ? std::string() : json::Dump(value);
  };
  std::vector<SettingChange> changes;
  for (const Json& item : list) {
    Reader in(item, "a changed setting");
    changes.push_back({.name = in.Text("name"),
                       .before = text(in.At("before")),
                       .after = text(in.At("after")),
                       .at_end = in.Flag("at_end")});
    HF_RETURN_IF_ERROR(in.status());
  }
  return changes;
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
                     {"settings", plan.settings_json},
                     {"changes", ChangesJson(plan.changes)},
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
  // Plans of versions before have neither.
  plan.settings_json = in.TextOr("settings", "");
  if (in.Has("changes")) {
    HF_TRY(plan.changes, ChangesFrom(in.Array("changes")));
  }
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
