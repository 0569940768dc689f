#include "engine/qdrant/collection_config.h"

#include <limits>
#include <utility>

namespace holdfast::qdrant {
namespace {

using json::Json;
using json::Member;

std::uint32_t Number32(const Json& object, const char* name, std::uint32_t fallback) {
  const Json& value = Member(object, name);
  if (!value.is_number_unsigned()) return fallback;
  const auto number = value.get<std::uint64_t>();
  return number <= std::numeric_limits<std::uint32_t>::max() ? static_cast<std::uint32_t>(number)
                                                             : fallback;
}

void CopyIfThere(const Json& from, const char* name, Json& to) {
  const Json& value = Member(from, name);
  if (!value.is_null()) to[name] = value;
}

// The same name on both sides, a null included.
void CopyAlways(const Json& from, const char* name, Json& to) { to[name] = Member(from, name); }

}  // namespace

Status TakeConfig(const Json& config, Collection& collection) {
  const Json& params = Member(config, "params");
  if (!params.is_object()) {
    return Error(ErrorCode::kUnavailable,
                 "unexpected answer: collection '" + collection.name + "' has no configuration");
  }
  Json create = Json::object();
  const Json& vectors = Member(params, "vectors");
  create["vectors"] = vectors.is_object() ? vectors : Json::object();
  CopyIfThere(params, "sparse_vectors", create);
  CopyIfThere(params, "sharding_method", create);
  CopyIfThere(params, "shard_number", create);
  CopyIfThere(params, "replication_factor", create);
  CopyIfThere(params, "write_consistency_factor", create);
  CopyIfThere(params, "on_disk_payload", create);
  CopyIfThere(config, "hnsw_config", create);
  CopyIfThere(config, "wal_config", create);
  CopyAlways(config, "quantization_config", create);
  CopyIfThere(config, "metadata", create);
  // Read under one name, created under another (reference 2.4).
  if (const Json& optimizers = Member(config, "optimizer_config"); optimizers.is_object()) {
    create["optimizers_config"] = optimizers;
  }
  collection.create_json = json::Dump(create);

  Json finish = Json::object();
  CopyIfThere(config, "strict_mode_config", finish);
  Json fan_out = Json::object();
  CopyIfThere(params, "read_fan_out_factor", fan_out);
  CopyIfThere(params, "read_fan_out_delay_ms", fan_out);
  if (!fan_out.empty()) finish["params"] = std::move(fan_out);
  collection.finish_json = json::Dump(finish);

  collection.shard_number = Number32(params, "shard_number", 1);
  collection.replication_factor = Number32(params, "replication_factor", 1);
  collection.custom_sharding = Member(params, "sharding_method") == Json("custom");
  if (const Json& uuid = Member(config, "uuid"); uuid.is_string()) {
    collection.uuid = uuid.get<std::string>();
  }
  return {};
}

Result<Json> CreateBody(std::string_view create_json, std::uint32_t replication_factor) {
  Result<Json> body = json::Parse(create_json, "the recorded configuration");
  if (!body.ok()) return std::move(body).error().As(ErrorCode::kInvalidArgument);
  if (!body->is_object() || !body->contains("vectors")) {
    return Error(ErrorCode::kInvalidArgument,
                 "the recorded configuration does not describe a collection");
  }
  if (replication_factor > 0) (*body)["replication_factor"] = replication_factor;
  return body;
}

bool QuantizationToDisable(const Json& created, const Json& body) {
  return Member(body, "quantization_config").is_null() &&
         !Member(created, "quantization_config").is_null();
}

ReadLimits ReadLimitsOf(const Collection& collection) {
  const Result<Json> finish = json::Parse(collection.finish_json, "finish_json");
  if (!finish.ok()) return {};
  const Json& strict = Member(*finish, "strict_mode_config");
  if (Member(strict, "enabled") != Json(true)) return {};
  ReadLimits limits;
  limits.exact_allowed = Member(strict, "search_allow_exact") != Json(false);
  const Json& limit = Member(strict, "max_query_limit");
  if (limit.is_number_unsigned()) limits.query_limit = limit.get<std::uint64_t>();
  return limits;
}

}  // namespace holdfast::qdrant
