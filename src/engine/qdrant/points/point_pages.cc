#include "engine/qdrant/points/point_pages.h"

#include <algorithm>

#include "engine/qdrant/collection_config.h"
#include "engine/qdrant/point_id.h"
#include "engine/qdrant/points/raw_json.h"
#include "model/topology_json.h"

namespace holdfast::qdrant {
namespace {

using json::Json;
using json::Member;

// Before anything is known of a shard's points: 64 of 4,096 dimensions are 3 MiB.
constexpr std::uint32_t kFirstPage = 64;
constexpr std::size_t kSizesMax = 100'000;
// Half of what a server takes by default: other settings are lower rather than higher.
constexpr std::uint64_t kBodyBytesMax = 16 * kMiB;

Result<SourcePoint> PointFrom(std::string_view text) {
  HF_TRY(const auto members, RawMembers(text));
  std::string_view id;
  std::string_view vector = "{}";
  std::string_view payload;
  for (const auto& [name, value] : members) {
    if (name == "id") id = value;
    if (name == "vector" && value != "null") vector = value;
    if (name == "payload" && value != "null") payload = value;
  }
  const Result<PointId> parsed = ParsePointId(id);
  if (!parsed.ok()) {
    return Error(ErrorCode::kUnavailable, "unexpected answer: " + parsed.error().message());
  }
  SourcePoint point{.id_json = FormatPointId(*parsed), .point_json = {}};
  point.point_json.reserve(text.size() + 16);
  point.point_json.append(R"({"id":)").append(point.id_json);
  point.point_json.append(R"(,"vector":)").append(vector);
  if (!payload.empty()) point.point_json.append(R"(,"payload":)").append(payload);
  point.point_json += '}';
  return point;
}

}  // namespace

Result<PointPage> PageFromAnswer(std::string_view answer) {
  HF_TRY(const auto envelope, RawMembers(answer));
  const auto result =
      std::ranges::find(envelope, "result", &std::pair<std::string_view, std::string_view>::first);
  if (result == envelope.end()) {
    return Error(ErrorCode::kUnavailable, "unexpected answer: a page without a result");
  }
  HF_TRY(const auto members, RawMembers(result->second));
  PointPage page{.points = {}, .end = true};
  bool found = false;
  for (const auto& [name, value] : members) {
    if (name == "next_page_offset") page.end = value == "null";
    if (name != "points") continue;
    found = true;
    HF_TRY(const auto points, RawElements(value));
    page.points.reserve(points.size());
    for (const std::string_view text : points) {
      HF_TRY(SourcePoint point, PointFrom(text));
      page.points.push_back(std::move(point));
    }
  }
  if (!found) return Error(ErrorCode::kUnavailable, "unexpected answer: a page without points");
  return page;
}

std::string UpsertBody(const std::optional<ShardKey>& key, const SourcePoint* begin,
                       const SourcePoint* end) {
  std::size_t bytes = 64;
  for (const SourcePoint* point = begin; point != end; ++point) {
    bytes += point->point_json.size() + 1;
  }
  std::string body;
  body.reserve(bytes);
  body = R"({"points":[)";
  for (const SourcePoint* point = begin; point != end; ++point) {
    if (point != begin) body += ',';
    body += point->point_json;
  }
  body += ']';
  if (key) body.append(R"(,"shard_key":)").append(json::Dump(ShardKeyJson(*key)));
  body += '}';
  return body;
}

std::uint32_t QdrantPointPages::PointsToAskFor(const ReplicaRef& replica,
                                               const PageLimits& limits) {
  const std::scoped_lock lock(mutex_);
  const auto known = sizes_.find({replica.collection, replica.shard});
  if (known == sizes_.end()) return std::min(limits.points, kFirstPage);
  const std::uint64_t fit = limits.bytes / std::max<std::uint64_t>(known->second, 1);
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(fit, 1, limits.points));
}

Result<std::string> QdrantPointPages::Scroll(const CallContext& call, const ReplicaRef& replica,
                                             const std::string& after, std::uint32_t& limit) {
  HF_TRY(const Url url, directory_.UrlOf(call, replica.peer));
  Json body = {{"with_payload", true}, {"with_vector", true}, {"limit", limit}};
  if (!after.empty()) {
    HF_TRY(const PointId last, ParsePointId(after));
    // The server's offset is the first id of the page, not the last one before it.
    const std::optional<PointId> first = NextPointId(last);
    if (!first) return std::string(R"({"result":{"points":[],"next_page_offset":null}})");
    HF_TRY(body["offset"], json::Parse(FormatPointId(*first), "a point id"));
  }
  const Url scroll = CollectionUrl(url, replica.collection) / "shards" /
                     std::to_string(replica.shard.value()) / "points" / "scroll";
  for (;;) {
    Result<std::string> page = api_.AskText(call, scroll, json::Dump(body));
    if (page.ok()) return page;
    std::uint32_t fewer = limit;
    if (page.error().code() == ErrorCode::kResourceExhausted) {
      fewer = limit / 4;  // An answer that is too large, or a limit of reads: fewer do no harm.
    } else if (page.error().code() == ErrorCode::kInvalidArgument) {
      // A strict collection caps the limit (reference 2.5).
      HF_TRY(const Json info, api_.Get(call, CollectionUrl(url, replica.collection)));
      Collection collection;
      HF_RETURN_IF_ERROR(TakeConfig(Member(info, "config"), collection));
      const std::uint64_t cap = ReadLimitsOf(collection).query_limit;
      if (cap > 0 && cap < limit) fewer = static_cast<std::uint32_t>(cap);
    }
    if (fewer == limit || fewer == 0) return page;
    limit = fewer;
    body["limit"] = limit;
  }
}

Result<PointPage> QdrantPointPages::ReadPage(const CallContext& call, const ReplicaRef& replica,
                                             const std::string& after, const PageLimits& limits) {
  std::uint32_t limit = PointsToAskFor(replica, limits);
  const Result<std::string> answer = Scroll(call, replica, after, limit);
  if (!answer.ok()) return answer.error().While("read points of " + Describe(replica));
  Result<PointPage> page = PageFromAnswer(*answer);
  if (!page.ok()) return std::move(page).error().While("read points of " + Describe(replica));
  if (page->points.empty()) return PointPage{.points = {}, .end = true};
  {
    const std::scoped_lock lock(mutex_);
    if (sizes_.size() >= kSizesMax) sizes_.clear();
    sizes_[{replica.collection, replica.shard}] = answer->size() / page->points.size();
  }
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < page->points.size(); ++i) {
    if (i > 0 && bytes >= limits.bytes) {
      page->points.resize(i);
      page->end = false;
      break;
    }
    bytes += page->points[i].point_json.size();
  }
  return page;
}

Result<Url> QdrantPointPages::NextUrl(const CallContext& call) {
  HF_TRY(const LocatedCluster cluster, directory_.Located(call));
  std::vector<const LocatedPeer*> answering;
  for (const LocatedPeer& peer : cluster.peers) {
    if (peer.url) answering.push_back(&peer);
  }
  if (answering.empty()) return directory_.AnyUrl(call);
  return *answering[turn_++ % answering.size()]->url;
}

Status QdrantPointPages::UpsertPoints(const CallContext& call, const std::string& collection,
                                      const std::optional<ShardKey>& key,
                                      const std::vector<SourcePoint>& points) {
  const std::string doing = "write points of '" + collection + "'";
  for (std::size_t begin = 0; begin < points.size();) {
    std::size_t end = begin;
    std::uint64_t bytes = 0;
    do {
      bytes += points[end++].point_json.size() + 1;
    } while (end < points.size() && bytes + points[end].point_json.size() <= kBodyBytesMax);
    HF_TRY(const Url url, NextUrl(call));
    const Url target =
        api_.WithTimeout(call, (CollectionUrl(url, collection) / "points").With("wait", "true"));
    const Result<Json> result =
        api_.Write(call, HttpMethod::kPut, target,
                   UpsertBody(key, points.data() + begin, points.data() + end));
    if (!result.ok()) return result.error().While(doing);
    if (Member(*result, "status") != Json("completed")) {
      return Error(ErrorCode::kDeadlineExceeded,
                   doing + ": the server has accepted the points and not applied them in time");
    }
    begin = end;
  }
  return {};
}

}  // namespace holdfast::qdrant
