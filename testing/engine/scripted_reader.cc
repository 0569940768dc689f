// What is read of the simulated cluster: topology, health, points.

#include <algorithm>
#include <tuple>
#include <utility>

#include "engine/qdrant/layout.h"
#include "model/json.h"
#include "testing/engine/scripted_world.h"
#include "testing/scripted_engine.h"

namespace holdfast::testing {
namespace {

using json::Json;
using qdrant::PointId;

constexpr std::size_t kGoldenAnswers = 10;
// What an image has beside points and ballast: headers, padding, JSON files. More than it needs.
constexpr std::uint64_t kSmallFilesBytes = 64 * 1024;

std::string PurposeName(Purpose purpose) {
  switch (purpose) {
    case Purpose::kObserve:
      return "observe";
    case Purpose::kBackup:
      return "backup";
    case Purpose::kRestore:
      return "restore";
  }
  return "";
}

}  // namespace

Result<Topology> ScriptedEngine::ReadTopology(const CallContext& call) {
  return world_->Serve(call, EngineCall::kReadTopology, [&]() -> Result<Topology> {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kObserve));
    if (world_->load_balanced) {
      return Error(ErrorCode::kFailedPrecondition,
                   "one address answers as several peers: a load balancer stands in front");
    }
    const bool any =
        std::ranges::any_of(world_->peers, [](const auto& entry) { return entry.second.alive; });
    if (!any) return Error(ErrorCode::kUnavailable, "no address of the cluster answers");
    return world_->Snapshot();
  });
}

Result<Collection> ScriptedEngine::ReadCollection(const CallContext& call,
                                                  const std::string& name) {
  return world_->Serve(call, EngineCall::kReadCollection, [&]() -> Result<Collection> {
    HF_RETURN_IF_ERROR(world_->CheckAllowed(Purpose::kObserve));
    HF_TRY(const SimCollection* collection, world_->FindCollection(name));
    return world_->Describe(name, *collection);
  });
}

Result<ReplicaHealth> ScriptedEngine::ReadHealth(const CallContext& call,
                                                 const ReplicaRef& replica) {
  return world_->Serve(call, EngineCall::kReadHealth, [&]() -> Result<ReplicaHealth> {
    HF_TRY(SimReplica * found, world_->FindReplica(replica));
    ReplicaHealth health;
    health.state = found->state;
    health.calm = !found->optimizing;
    health.optimized = health.calm;
    for (const auto& [id, shard] : world_->Must(replica.collection).shards) {
      const auto same_peer = shard.replicas.find(replica.peer);
      if (same_peer != shard.replicas.end() && same_peer->second.optimizing) {
        ++health.optimizations_running;
      }
    }
    health.update_queue_length = found->queue;
    found->queue -= std::min(found->queue, found->queue_step);
    health.update_op_num = found->next_operation - 1;
    health.bytes =
        kSmallFilesBytes + found->log_bytes + world_->Must(replica.collection).ballast_bytes;
    return health;
  });
}

Status ScriptedEngine::CheckRights(const CallContext& call, Purpose purpose,
                                   const std::vector<std::string>& /*collections*/) {
  return world_->Serve(call, EngineCall::kCheckRights, [&]() -> Status {
    if (!world_->forbidden.contains(purpose)) return {};
    return Error(ErrorCode::kPermissionDenied, "the key has no right to " + PurposeName(purpose));
  });
}

Result<PointCounts> ScriptedEngine::CountPoints(const CallContext& call,
                                                const ReplicaRef& replica) {
  return world_->Serve(call, EngineCall::kCountPoints, [&]() -> Result<PointCounts> {
    HF_TRY(const SimReplica* found, world_->FindReplica(replica));
    const SimCollection& collection = world_->Must(replica.collection);
    PointCounts counts{.all = found->points.size(), .in_ring = 0};
    const std::optional<ShardKey>& key = collection.shards.at(replica.shard).key;
    // Of two rings the larger one counts (transcript 6).
    const bool goes =
        collection.round && collection.round->what.direction == ReshardDirection::kDown;
    for (const auto& [id, line] : found->points) {
      if (World::Owner(collection, key, id, goes) == replica.shard) ++counts.in_ring;
    }
    return counts;
  });
}

Result<std::vector<std::string>> ScriptedEngine::ListIds(const CallContext& call,
                                                         const ReplicaRef& replica,
                                                         const std::string& after,
                                                         std::uint32_t limit) {
  return world_->Serve(call, EngineCall::kListIds, [&]() -> Result<std::vector<std::string>> {
    HF_TRY(const SimReplica* found, world_->FindReplica(replica));
    auto next = found->points.begin();
    if (!after.empty()) {
      HF_TRY(const PointId last, qdrant::ParsePointId(after));
      next = found->points.upper_bound(last);
    }
    std::vector<std::string> ids;
    for (; next != found->points.end() && ids.size() < limit; ++next) {
      ids.push_back(qdrant::FormatPointId(next->first));
    }
    return ids;
  });
}

Result<std::vector<SampledPoint>> ScriptedEngine::ReadPoints(const CallContext& call,
                                                             const ReplicaRef& replica,
                                                             const std::vector<std::string>& ids) {
  return world_->Serve(call, EngineCall::kReadPoints, [&]() -> Result<std::vector<SampledPoint>> {
    HF_TRY(const SimReplica* found, world_->FindReplica(replica));
    const std::optional<ShardKey> key =
        world_->Must(replica.collection).shards.at(replica.shard).key;
    std::vector<SampledPoint> points;
    for (const std::string& id : ids) {
      HF_TRY(const PointId parsed, qdrant::ParsePointId(id));
      const auto point = found->points.find(parsed);
      if (point == found->points.end()) continue;
      points.push_back({.id_json = qdrant::FormatPointId(parsed),
                        .point_json = json::Dump(Json::parse(point->second)),
                        .key = key});
    }
    return points;
  });
}

Result<PointPage> ScriptedEngine::ReadPage(const CallContext& call, const ReplicaRef& replica,
                                           const std::string& after, const PageLimits& limits) {
  return world_->Serve(call, EngineCall::kReadPage, [&]() -> Result<PointPage> {
    HF_TRY(const SimReplica* found, world_->FindReplica(replica));
    auto next = found->points.begin();
    if (!after.empty()) {
      HF_TRY(const PointId last, qdrant::ParsePointId(after));
      next = found->points.upper_bound(last);
    }
    PointPage page;
    std::uint64_t bytes = 0;
    for (; next != found->points.end() && page.points.size() < limits.points; ++next) {
      if (!page.points.empty() && bytes >= limits.bytes) break;
      bytes += next->second.size();
      page.points.push_back(
          {.id_json = qdrant::FormatPointId(next->first), .point_json = next->second});
    }
    page.end = next == found->points.end();
    return page;
  });
}

Result<std::vector<GoldenQuery>> ScriptedEngine::ProposeQueries(
    const CallContext& call, const Collection& /*collection*/,
    const std::vector<SampledPoint>& samples) {
  return world_->Serve(
      call, EngineCall::kProposeQueries, [&]() -> Result<std::vector<GoldenQuery>> {
        std::vector<GoldenQuery> queries;
        if (samples.empty()) return queries;
        const Json point = Json::parse(samples.front().point_json);
        queries.push_back({.request_json = json::Dump(Json{{"query", point["vector"]},
                                                           {"limit", kGoldenAnswers},
                                                           {"params", {{"exact", true}}}}),
                           .ids = {},
                           .scores = {}});
        return queries;
      });
}

Result<GoldenQuery> ScriptedEngine::Ask(const CallContext& call, const std::string& name,
                                        const GoldenQuery& query) {
  return world_->Serve(call, EngineCall::kAsk, [&]() -> Result<GoldenQuery> {
    HF_TRY(const SimCollection* collection, world_->FindCollection(name));
    HF_TRY(const Json request, json::Parse(query.request_json, "a query"));
    const auto wanted = request.at("query").get<std::vector<double>>();
    std::vector<std::tuple<double, PointId>> hits;
    for (const auto& [id, shard] : collection->shards) {
      const auto answering = std::ranges::find_if(shard.replicas, [&](const auto& entry) {
        return entry.second.state == ReplicaState::kActive && world_->peers.at(entry.first).alive;
      });
      if (answering == shard.replicas.end()) {
        return Error(ErrorCode::kUnavailable, "shard " + std::to_string(id.value()) + " of '" +
                                                  name + "' has no replica that answers");
      }
      for (const auto& [point, line] : answering->second.points) {
        const auto vector = Json::parse(line)["vector"].get<std::vector<double>>();
        if (vector.size() != wanted.size()) {
          return Error(ErrorCode::kInvalidArgument, "Wrong input: Vector dimension error");
        }
        double score = 0;
        for (std::size_t i = 0; i < vector.size(); ++i) score += vector[i] * wanted[i];
        hits.emplace_back(-score, point);
      }
    }
    std::ranges::sort(hits);
    GoldenQuery answer{.request_json = query.request_json, .ids = {}, .scores = {}};
    for (const auto& [score, id] : hits) {
      if (answer.ids.size() == request.value("limit", kGoldenAnswers)) break;
      answer.ids.push_back(qdrant::FormatPointId(id));
      answer.scores.push_back(-score);
    }
    return answer;
  });
}

Status ScriptedEngine::CheckLayout(std::string_view image_layout_json,
                                   std::string_view collection_layout_json) {
  return qdrant::CheckLayout(image_layout_json, collection_layout_json);
}

Result<std::string> ScriptedEngine::LayoutOf(const Collection& collection) {
  return qdrant::LayoutOfCollection(collection.create_json);
}

}  // namespace holdfast::testing
