#include "engine/qdrant/collection_settings.h"

#include <algorithm>
#include <array>
#include <limits>
#include <ranges>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/join.h"
#include "base/nearest.h"
#include "engine/qdrant/collection_config.h"
#include "model/json.h"

namespace holdfast::qdrant {
namespace {

using json::Json;
using json::Member;

/// A member that bodies have, and another name that servers take for it.
struct Known {
  std::string_view name;
  std::string_view also{};
};
using Knowns = std::span<const Known>;

// Reference 2.3; G/types.rs, C/operations/config_diff.rs.
constexpr auto kTop = std::to_array<Known>({{"vectors"},
                                            {"sparse_vectors"},
                                            {"hnsw_config"},
                                            {"optimizers_config", "optimizer_config"},
                                            {"wal_config"},
                                            {"quantization_config", "quantization"},
                                            {"on_disk_payload"},
                                            {"replication_factor"},
                                            {"write_consistency_factor"},
                                            {"metadata"},
                                            {"strict_mode_config"},
                                            {"params"},
                                            {"uuid"},
                                            {"shard_number"},
                                            {"sharding_method"}});
// What the PATCH form and the form that a server shows keep apart.
constexpr auto kParams = std::to_array<Known>({{"vectors"},
                                               {"sparse_vectors"},
                                               {"on_disk_payload"},
                                               {"replication_factor"},
                                               {"write_consistency_factor"},
                                               {"read_fan_out_factor"},
                                               {"read_fan_out_delay_ms"},
                                               {"shard_number"},
                                               {"sharding_method"}});
constexpr auto kHnsw = std::to_array<Known>({{"m"},
                                             {"ef_construct"},
                                             {"full_scan_threshold", "full_scan_threshold_kb"},
                                             {"max_indexing_threads"},
                                             {"on_disk"},
                                             {"payload_m"},
                                             {"inline_storage"}});
constexpr auto kOptimizers = std::to_array<Known>({{"deleted_threshold"},
                                                   {"vacuum_min_vector_number"},
                                                   {"default_segment_number"},
                                                   {"max_segment_size", "max_segment_size_kb"},
                                                   {"memmap_threshold", "memmap_threshold_kb"},
                                                   {"indexing_threshold", "indexing_threshold_kb"},
                                                   {"flush_interval_sec"},
                                                   {"max_optimization_threads"},
                                                   {"prevent_unoptimized"}});
constexpr auto kWal =
    std::to_array<Known>({{"wal_capacity_mb"}, {"wal_segments_ahead"}, {"wal_retain_closed"}});
constexpr auto kVector = std::to_array<Known>({{"size"},
                                               {"distance"},
                                               {"datatype"},
                                               {"multivector_config"},
                                               {"hnsw_config"},
                                               {"quantization_config", "quantization"},
                                               {"on_disk"}});
constexpr auto kSparseVector = std::to_array<Known>({{"index"}, {"modifier"}});
constexpr auto kSparseIndex =
    std::to_array<Known>({{"full_scan_threshold"}, {"on_disk"}, {"datatype"}});
constexpr auto kQuantizations =
    std::to_array<Known>({{"scalar"}, {"product"}, {"binary"}, {"turbo"}});
constexpr auto kScalar = std::to_array<Known>({{"type"}, {"quantile"}, {"always_ram"}});
constexpr auto kProduct = std::to_array<Known>({{"compression"}, {"always_ram"}});
constexpr auto kBinary = std::to_array<Known>({{"always_ram"}, {"encoding"}, {"query_encoding"}});
constexpr auto kTurbo = std::to_array<Known>({{"always_ram"}, {"bits"}});
// Reference 2.5.
constexpr auto kStrictMode = std::to_array<Known>({{"enabled"},
                                                   {"max_query_limit"},
                                                   {"max_timeout"},
                                                   {"unindexed_filtering_retrieve"},
                                                   {"unindexed_filtering_update"},
                                                   {"search_max_hnsw_ef"},
                                                   {"search_allow_exact"},
                                                   {"search_max_oversampling"},
                                                   {"search_max_batchsize"},
                                                   {"upsert_max_batchsize"},
                                                   {"max_collection_vector_size_bytes"},
                                                   {"max_collection_payload_size_bytes"},
                                                   {"max_points_count"},
                                                   {"read_rate_limit"},
                                                   {"write_rate_limit"},
                                                   {"filter_max_conditions"},
                                                   {"condition_max_size"},
                                                   {"multivector_config"},
                                                   {"sparse_config"},
                                                   {"max_payload_index_count"},
                                                   {"max_disk_usage_percent"},
                                                   {"max_resident_memory_percent"}});

/// What the copy must have as the original has it: why, and what to do instead.
struct Kept {
  const char* reason;
  const char* way_out;
  /// What absent and null mean.
  const char* usual = nullptr;
};
constexpr const char* kEmbedAgain = "write the points, embedded anew, to a collection of that kind";
constexpr const char* kNotByCopy =
    "change it in the new collection once the copy is done: PATCH /collections/{c}";
constexpr const char* kOtherScores = "the scores of every search by it would change";
constexpr Kept kShardNumber{"it is told beside the settings", "pass --shards N"};
constexpr Kept kShardingMethod{"shard keys say where points are, and a copy keeps them there",
                               "make a collection of that kind and write the points to it", "auto"};
constexpr Kept kSize{"the points have vectors of that size", kEmbedAgain};
constexpr Kept kDistance{
    "every search would be answered in another way, and Cosine stores vectors normalized",
    kEmbedAgain};
constexpr Kept kDatatype{"vectors would be stored with another precision", kEmbedAgain, "float32"};
constexpr Kept kMultivector{"the points' vectors are of the other kind", kEmbedAgain};
constexpr Kept kModifier{kOtherScores, kNotByCopy, "none"};
constexpr Kept kIndexDatatype{kOtherScores, kNotByCopy, "float32"};

Knowns MembersOfQuantization(std::string_view kind) {
  if (kind == "scalar") return kScalar;
  if (kind == "product") return kProduct;
  return kind == "binary" ? Knowns(kBinary) : Knowns(kTurbo);
}

Json Object(const Json& value) { return value.is_object() ? value : Json::object(); }

std::string Path(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

/// One unnamed vector stands without a map around it; a vector that is called "size" is an object.
bool IsUnnamed(const Json& vectors) {
  return vectors.is_object() && Member(vectors, "size").is_number();
}

class Merger {
 public:
  Merger(Json& create, Json& finish, std::uint32_t shards)
      : create_(create), finish_(finish), shards_(shards) {}

  void Merge(const Json& settings) {
    Json top = Canonical(settings, "", kTop, Json::object());
    if (top.contains("params")) {
      const Json params = Canonical(top["params"], "params", kParams, Json::object());
      top.erase("params");
      for (const auto& [name, value] : params.items()) {
        if (top.contains(name)) {
          Problem("'" + name + "' stands both beside and in 'params'", "leave one of them out");
        }
        top[name] = value;
      }
    }
    for (const auto& [name, value] : top.items()) Take(name, value);
    CheckReplicas(top);
  }

  Status status() const {
    if (problems_.empty()) return {};
    return Error(ErrorCode::kInvalidArgument,
                 "the settings cannot be taken: " + Join(problems_, " | "), hint_);
  }

 private:
  void Problem(std::string text, std::string way_out = {}) {
    problems_.push_back(std::move(text));
    if (hint_.empty()) hint_ = std::move(way_out);
  }

  /// `change` under the names that a creation takes, without what nobody knows. A member that the
  /// server shows in `there` is known, too: it may be newer than this list.
  Json Canonical(const Json& change, const std::string& path, Knowns known, const Json& there) {
    Json canonical = Json::object();
    if (!change.is_object()) {
      Problem((path.empty() ? "they are" : "'" + path + "' is") + std::string(" no JSON object"),
              "write them as in the body that creates a collection");
      return canonical;
    }
    for (const auto& [name, value] : change.items()) {
      const auto found = std::ranges::find_if(
          known, [&](const Known& one) { return one.name == name || one.also == name; });
      if (found == known.end() && !Object(there).contains(name)) {
        const std::string nearest = NearestOf(name, known | std::views::transform(&Known::name));
        Problem("there is no setting '" + Path(path, name) + "'",
                "did you mean '" + Path(path, nearest) + "'?");
        continue;
      }
      const std::string as(found == known.end() ? std::string_view(name) : found->name);
      if (canonical.contains(as)) {
        Problem("'" + Path(path, as) + "' stands in it under two names", "leave one of them out");
      }
      canonical[as] = value;
    }
    return canonical;
  }

  void Take(const std::string& name, const Json& value) {
    if (name == "hnsw_config") return TakeGroup(create_, name, value, name, kHnsw);
    if (name == "optimizers_config") return TakeGroup(create_, name, value, name, kOptimizers);
    if (name == "wal_config") return TakeGroup(create_, name, value, name, kWal);
    if (name == "quantization_config") return TakeQuantization(create_, value, name);
    if (name == "vectors") return TakeVectors(value);
    if (name == "sparse_vectors") return TakeSparse(value);
    if (name == "shard_number") {
      if (value == Json(shards_)) return;
      return Keep(name, Member(create_, "shard_number"), value, kShardNumber);
    }
    if (name == "sharding_method") {
      return Keep(name, Member(create_, "sharding_method"), value, kShardingMethod);
    }
    if (name == "strict_mode_config") return TakeGroup(finish_, name, value, name, kStrictMode);
    if (name == "metadata") {
      if (value.is_null()) {
        create_.erase(name);
      } else {
        create_[name].merge_patch(value);
      }
      return;
    }
    // Each server makes its own; a configuration as it is shown has it.
    if (name == "uuid") return;
    if (name.starts_with("read_fan_out_")) {
      Json params = Object(Member(finish_, "params"));
      Set(params, name, value);
      Set(finish_, "params", params.empty() ? Json() : std::move(params));
      return;
    }
    Set(create_, name, value);
  }

  static void Set(Json& into, const std::string& name, const Json& value) {
    if (value.is_null()) {
      into.erase(name);
    } else {
      into[name] = value;
    }
  }

  /// Members of `in[name]`, one by one.
  void TakeGroup(Json& in, const std::string& name, const Json& change, const std::string& path,
                 Knowns known) {
    if (change.is_null()) {
      in.erase(name);
      return;
    }
    Json group = Object(Member(in, name.c_str()));
    const Json members = Canonical(change, path, known, group);
    for (const auto& [member, value] : members.items()) {
      if (value.is_object()) {
        group[member].merge_patch(value);
      } else {
        Set(group, member, value);
      }
    }
    in[name] = std::move(group);
  }

  /// One of several kinds: parts of two would be none.
  void TakeQuantization(Json& in, const Json& value, const std::string& path) {
    if (value.is_null() || value == Json("Disabled")) {
      in["quantization_config"] = nullptr;
      return;
    }
    const Json& now = Member(in, "quantization_config");
    const Json kinds = Canonical(value, path, kQuantizations, now);
    if (value.is_object() && value.size() != 1) {
      Problem("'" + path + "' names " + std::to_string(value.size()) + " kinds of quantization",
              "name one: scalar, product, binary or turbo; or null for none");
    }
    Json taken = Json::object();
    for (const auto& [kind, members] : kinds.items()) {
      taken[kind] = Canonical(members, Path(path, kind), MembersOfQuantization(kind),
                              Member(now, kind.c_str()));
    }
    in["quantization_config"] = std::move(taken);
  }

  void TakeVectors(const Json& change) {
    Json& vectors = create_["vectors"];
    if (!IsUnnamed(vectors)) {
      return TakeNamed(vectors, change, "vectors",
                       [this](Json& vector, const Json& other, const std::string& path) {
                         TakeVector(vector, other, path);
                       });
    }
    // PATCH calls the unnamed one "" (reference 2.2).
    const bool patch = change.is_object() && change.size() == 1 && change.contains("");
    TakeVector(vectors, patch ? change[""] : change, "vectors");
  }

  void TakeSparse(const Json& change) {
    Json sparse = Object(Member(create_, "sparse_vectors"));
    TakeNamed(sparse, change, "sparse_vectors",
              [this](Json& vector, const Json& other, const std::string& path) {
                TakeSparseVector(vector, other, path);
              });
    if (!sparse.empty()) create_["sparse_vectors"] = std::move(sparse);
  }

  template <class Take>
  void TakeNamed(Json& vectors, const Json& change, const std::string& path, Take take) {
    if (!change.is_object()) {
      return Problem("'" + path + "' is no JSON object",
                     "write the names of vectors as its members");
    }
    for (const auto& [name, value] : change.items()) {
      const std::string where = Path(path, name);
      if (!vectors.contains(name)) {
        Problem("'" + where + "' is no vector of the collection, and no point has one",
                "add it to the new collection: PUT /collections/{c}/vectors/{name}");
      } else if (value.is_null()) {
        Problem("'" + where + "' cannot be removed: the points would lose it",
                "remove it from the new collection: DELETE /collections/{c}/vectors/{name}");
      } else {
        Json vector = Object(vectors[name]);
        take(vector, value, where);
        vectors[name] = std::move(vector);
      }
    }
  }

  void TakeVector(Json& vector, const Json& change, const std::string& path) {
    const Json members = Canonical(change, path, kVector, vector);
    for (const auto& [name, value] : members.items()) {
      const std::string where = Path(path, name);
      if (name == "hnsw_config") {
        TakeGroup(vector, name, value, where, kHnsw);
      } else if (name == "quantization_config") {
        TakeQuantization(vector, value, where);
        if (vector[name].is_null()) vector.erase(name);
      } else if (name == "size") {
        Keep(where, Member(vector, "size"), value, kSize);
      } else if (name == "distance") {
        Keep(where, Member(vector, "distance"), value, kDistance);
      } else if (name == "datatype") {
        Keep(where, Member(vector, "datatype"), value, kDatatype);
      } else if (name == "multivector_config") {
        Keep(where, Member(vector, "multivector_config"), value, kMultivector);
      } else {
        Set(vector, name, value);
      }
    }
  }

  void TakeSparseVector(Json& vector, const Json& change, const std::string& path) {
    const Json members = Canonical(change, path, kSparseVector, vector);
    for (const auto& [name, value] : members.items()) {
      const std::string where = Path(path, name);
      if (name == "modifier") {
        Keep(where, Member(vector, "modifier"), value, kModifier);
      } else if (name == "index") {
        if (value.is_null() || value.contains("datatype")) {
          Keep(where + ".datatype", Member(Member(vector, "index"), "datatype"),
               Member(value, "datatype"), kIndexDatatype);
        }
        TakeGroup(vector, name, value, where, kSparseIndex);
      } else {
        Set(vector, name, value);
      }
    }
  }

  void Keep(const std::string& path, const Json& now, const Json& wanted, const Kept& kept) {
    const auto shown = [&kept](const Json& value) {
      return value.is_null() && kept.usual != nullptr ? Json(kept.usual) : value;
    };
    if (shown(now) == shown(wanted)) return;
    Problem("'" + path + "' stays " + json::Dump(shown(now)) + ": " + kept.reason, kept.way_out);
  }

  /// More replicas that must answer than there are would leave a collection that takes no writes.
  void CheckReplicas(const Json& top) {
    const auto number = [&](const char* name) -> std::uint64_t {
      const Json& value = Member(create_, name);
      if (value.is_null()) return 1;
      const bool good = value.is_number_unsigned() && value.get<std::uint64_t>() >= 1 &&
                        value.get<std::uint64_t>() <= std::numeric_limits<std::uint32_t>::max();
      if (!good) Problem("'" + std::string(name) + "' is no number from 1 on");
      return good ? value.get<std::uint64_t>() : 1;
    };
    const std::uint64_t replicas = number("replication_factor");
    if (number("write_consistency_factor") <= replicas) return;
    if (!Member(top, "write_consistency_factor").is_null()) {
      Problem("no write could succeed with a 'write_consistency_factor' above the " +
                  std::to_string(replicas) + " of 'replication_factor'",
              "raise 'replication_factor', too");
    }
    create_["write_consistency_factor"] = replicas;
  }

  Json& create_;
  Json& finish_;
  const std::uint32_t shards_;
  std::vector<std::string> problems_;
  std::string hint_;
};

}  // namespace

Result<Collection> ReshardedCollection(const Collection& collection, std::uint32_t shards,
                                       std::string_view settings) {
  HF_TRY(Json create, CreateBody(collection.create_json, 0));
  Collection resharded = collection;
  if (!settings.empty()) {
    Result<Json> wanted = json::Parse(settings, "the settings");
    if (!wanted.ok()) return std::move(wanted).error().As(ErrorCode::kInvalidArgument);
    HF_TRY(Json finish, json::Parse(collection.finish_json, "finish_json"));
    Merger merger(create, finish, shards);
    merger.Merge(*wanted);
    HF_RETURN_IF_ERROR(merger.status());
    resharded.finish_json = json::Dump(finish);
    const Json& replicas = Member(create, "replication_factor");
    resharded.replication_factor = replicas.is_null() ? 1 : replicas.get<std::uint32_t>();
  }
  create["shard_number"] = shards;
  resharded.create_json = json::Dump(create);
  resharded.shard_number = shards;
  return resharded;
}

}  // namespace holdfast::qdrant
