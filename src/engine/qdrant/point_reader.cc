#include "engine/qdrant/point_reader.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "engine/qdrant/collection_config.h"
#include "engine/qdrant/layout.h"
#include "engine/qdrant/point_id.h"
#include "model/topology_json.h"

namespace holdfast::qdrant {
namespace {

using json::Json;
using json::Member;

// Bodies of per-replica reads may have 2 MiB (reference 0.1), answers with vectors are far larger.
constexpr std::size_t kPointsAtOnce = 64;
constexpr std::uint64_t kGoldenAnswers = 10;

Error Unexpected(const std::string& what) {
  return {ErrorCode::kUnavailable, "unexpected answer: " + what};
}

Url ShardUrl(const Url& url, const ReplicaRef& replica) {
  return url / "collections" / replica.collection / "shards" /
         std::to_string(replica.shard.value()) / "points";
}

Result<PointId> IdFrom(const Json& point) {
  Result<PointId> id = ParsePointId(json::Dump(Member(point, "id")));
  if (!id.ok()) return Unexpected(id.error().message());
  return id;
}

Json IdJson(const PointId& id) {
  if (!id.is_uuid) return id.number;
  const std::string quoted = FormatPointId(id);
  return quoted.substr(1, quoted.size() - 2);
}

Result<SampledPoint> SampleFrom(const Json& point) {
  HF_TRY(const PointId id, IdFrom(point));
  SampledPoint sample;
  sample.id_json = FormatPointId(id);
  // Objects of this library are ordered by name, so that equal points are equal texts. The shard
  // key stands beside, everything else is of the answer, not of the point.
  sample.point_json = json::Dump(Json{{"id", Member(point, "id")},
                                      {"payload", Member(point, "payload")},
                                      {"vector", Member(point, "vector")}});
  if (const Json& key = Member(point, "shard_key"); !key.is_null()) {
    HF_TRY(sample.key, ShardKeyFrom(key));
  }
  return sample;
}

// The vector called `name` of a point, as the server prints it.
const Json& VectorOf(const Json& point, const std::string& name) {
  const Json& vector = Member(point, "vector");
  if (vector.is_array()) {
    static const Json none;
    return name.empty() ? vector : none;
  }
  return Member(vector, name.c_str());
}

bool CanBeAsked(const Json& vector) {
  if (vector.is_array()) return !vector.empty();
  return !Member(vector, "indices").empty();
}

}  // namespace

Result<std::uint64_t> QdrantPointReader::Count(const CallContext& call, const Url& url,
                                               const Json& body) {
  HF_TRY(const Json result, api_.Ask(call, url, body));
  const Json& count = Member(result, "count");
  if (!count.is_number_unsigned()) return Unexpected("a count is no number");
  return count.get<std::uint64_t>();
}

Result<PointCounts> QdrantPointReader::CountPoints(const CallContext& call,
                                                   const ReplicaRef& replica) {
  HF_TRY(const Url url, directory_.UrlOf(call, replica.peer));
  const Url count_url = ShardUrl(url, replica) / "count";
  const Result<std::uint64_t> all = Count(call, count_url, Json{{"exact", true}});
  if (!all.ok()) {
    if (all.error().code() == ErrorCode::kUnsupported) {
      return CountWithoutShardCalls(call, url, replica, all.error());
    }
    return all.error().While("count " + Describe(replica));
  }
  const Json in_ring_body = {{"exact", true},
                             {"hash_ring_filter", {{"expected_shard_id", replica.shard.value()}}}};
  const Result<std::uint64_t> in_ring = Count(call, count_url, in_ring_body);
  if (!in_ring.ok()) return in_ring.error().While("count " + Describe(replica));
  return PointCounts{.all = *all, .in_ring = *in_ring};
}

// A collection of one shard with one replica is that replica, and its ring has one place. Anything
// else cannot be counted replica by replica on a server without those calls.
Result<PointCounts> QdrantPointReader::CountWithoutShardCalls(const CallContext& call,
                                                              const Url& url,
                                                              const ReplicaRef& replica,
                                                              const Error& problem) {
  const Url collection = url / "collections" / replica.collection;
  HF_TRY(const Json cluster, api_.Get(call, collection / "cluster"));
  const bool alone =
      Member(cluster, "local_shards").size() == 1 && Member(cluster, "remote_shards").empty();
  if (!alone) return problem.While("count " + Describe(replica));
  HF_TRY(const std::uint64_t count,
         Count(call, collection / "points" / "count", Json{{"exact", true}}));
  return PointCounts{.all = count, .in_ring = count};
}

Result<Json> QdrantPointReader::Scroll(const CallContext& call, const Url& url,
                                       const ReplicaRef& replica, Json body, std::uint32_t limit) {
  body["limit"] = limit;
  const Url scroll = ShardUrl(url, replica) / "scroll";
  Result<Json> page = api_.Ask(call, scroll, body);
  if (page.ok() || page.error().code() != ErrorCode::kInvalidArgument) return page;
  // A strict collection caps the limit (reference 2.5).
  HF_TRY(const Json info, api_.Get(call, url / "collections" / replica.collection));
  Collection collection;
  HF_RETURN_IF_ERROR(TakeConfig(Member(info, "config"), collection));
  const std::uint64_t cap = ReadLimitsOf(collection).query_limit;
  if (cap == 0 || cap >= limit) return page;
  body["limit"] = cap;
  return api_.Ask(call, scroll, body);
}

Result<std::vector<std::string>> QdrantPointReader::ListIds(const CallContext& call,
                                                            const ReplicaRef& replica,
                                                            const std::string& after,
                                                            std::uint32_t limit) {
  std::vector<std::string> ids;
  if (limit == 0) return ids;
  Json body = {{"with_payload", false}, {"with_vector", false}};
  if (!after.empty()) {
    HF_TRY(const PointId last, ParsePointId(after));
    // The server's offset is the first id of the page, not the last one before it.
    const std::optional<PointId> first = NextPointId(last);
    if (!first) return ids;
    body["offset"] = IdJson(*first);
  }
  HF_TRY(const Url url, directory_.UrlOf(call, replica.peer));
  const Result<Json> page = Scroll(call, url, replica, std::move(body), limit);
  if (!page.ok()) return page.error().While("list ids of " + Describe(replica));
  const Json& points = Member(*page, "points");
  if (!points.is_array()) return Unexpected("a page of points is no list");
  for (const Json& point : points) {
    HF_TRY(const PointId id, IdFrom(point));
    ids.push_back(FormatPointId(id));
  }
  return ids;
}

Result<std::vector<SampledPoint>> QdrantPointReader::ReadPoints(
    const CallContext& call, const ReplicaRef& replica, const std::vector<std::string>& ids) {
  HF_TRY(const Url url, directory_.UrlOf(call, replica.peer));
  std::map<std::string, SampledPoint> found;
  for (std::size_t at = 0; at < ids.size(); at += kPointsAtOnce) {
    Json wanted = Json::array();
    for (std::size_t i = at; i < std::min(ids.size(), at + kPointsAtOnce); ++i) {
      HF_TRY(const PointId id, ParsePointId(ids[i]));
      wanted.push_back(IdJson(id));
    }
    const Result<Json> points =
        api_.Ask(call, ShardUrl(url, replica),
                 Json{{"ids", std::move(wanted)}, {"with_payload", true}, {"with_vector", true}});
    if (!points.ok()) return points.error().While("read points of " + Describe(replica));
    if (!points->is_array()) return Unexpected("points are no list");
    for (const Json& point : *points) {
      HF_TRY(SampledPoint sample, SampleFrom(point));
      found[sample.id_json] = std::move(sample);
    }
  }
  std::vector<SampledPoint> samples;
  for (const std::string& id : ids) {
    HF_TRY(const PointId parsed, ParsePointId(id));
    auto sample = found.extract(FormatPointId(parsed));
    if (!sample.empty()) samples.push_back(std::move(sample.mapped()));
  }
  return samples;
}

Result<GoldenQuery> QdrantPointReader::Ask(const CallContext& call, const std::string& name,
                                           const GoldenQuery& query) {
  HF_TRY(const Json body, json::Parse(query.request_json, "a golden query"));
  HF_TRY(const Url url, directory_.AnyUrl(call));
  const Result<Json> result = api_.Ask(call, url / "collections" / name / "points" / "query", body);
  if (!result.ok()) return result.error().While("ask '" + name + "' a golden query");
  const Json& points = Member(*result, "points");
  if (!points.is_array()) return Unexpected("the answer to a query has no points");
  GoldenQuery answer{.request_json = query.request_json, .ids = {}, .scores = {}};
  for (const Json& point : points) {
    HF_TRY(const PointId id, IdFrom(point));
    const Json& score = Member(point, "score");
    if (!score.is_number()) return Unexpected("a point that was found has no score");
    answer.ids.push_back(FormatPointId(id));
    answer.scores.push_back(score.get<double>());
  }
  return answer;
}

Result<std::vector<GoldenQuery>> MakeGoldenQueries(const Collection& collection,
                                                   const std::vector<SampledPoint>& samples) {
  std::vector<GoldenQuery> queries;
  const ReadLimits limits = ReadLimitsOf(collection);
  if (!limits.exact_allowed) return queries;
  HF_TRY(const std::string layout_text, LayoutOfCollection(collection.create_json));
  HF_TRY(const Json layout, json::Parse(layout_text, "a layout"));
  std::vector<std::string> names;
  for (const auto& [name, vector] : Member(layout, "vectors").items()) names.push_back(name);
  for (const Json& name : Member(layout, "sparse")) names.push_back(name.get<std::string>());

  std::vector<Json> points;
  for (const SampledPoint& sample : samples) {
    HF_TRY(Json point, json::Parse(sample.point_json, "a sampled point"));
    points.push_back(std::move(point));
  }
  const std::uint64_t limit =
      limits.query_limit == 0 ? kGoldenAnswers : std::min(kGoldenAnswers, limits.query_limit);
  for (const std::string& name : names) {
    const auto sample = std::ranges::find_if(
        points, [&](const Json& point) { return CanBeAsked(VectorOf(point, name)); });
    if (sample == points.end()) continue;
    Json body = {{"query", VectorOf(*sample, name)},
                 {"limit", limit},
                 {"params", {{"exact", true}}},
                 {"with_payload", false},
                 {"with_vector", false}};
    if (!name.empty()) body["using"] = name;
    queries.push_back({.request_json = json::Dump(body), .ids = {}, .scores = {}});
  }
  return queries;
}

}  // namespace holdfast::qdrant
