#include "engine/qdrant/resharder.h"

#include <algorithm>
#include <utility>

#include "engine/qdrant/documents.h"
#include "model/topology_json.h"

namespace holdfast::qdrant {
namespace {

using json::Json;

constexpr Duration kPoll = std::chrono::milliseconds(50);
/// How long one call waits for a cleaning that goes on; then it asks again (reference 5).
constexpr std::chrono::seconds kCleanWait{20};

const char* StepName(ReshardStep step) {
  switch (step) {
    case ReshardStep::kCommitRead:
      return "commit_read_hash_ring";
    case ReshardStep::kCommitWrite:
      return "commit_write_hash_ring";
    case ReshardStep::kFinish:
      return "finish_resharding";
    case ReshardStep::kAbort:
      break;
  }
  return "abort_resharding";
}

}  // namespace

Result<std::optional<Resharding>> ReadReshardingOperations(const Json& result) {
  json::Reader view(result, "the collection's cluster");
  if (!view.Has("resharding_operations")) return std::optional<Resharding>();
  const Json& list = view.At("resharding_operations");
  if (!list.is_array() || list.empty()) return std::optional<Resharding>();
  json::Reader in(list.front(), "a resharding");
  Resharding found{.uuid = in.Text("uuid"),
                   .direction = ReshardDirection::kUp,
                   .shard = ShardId(in.Number32("shard_id")),
                   .peer = PeerId(in.Number("peer_id")),
                   .key = {}};
  const std::string direction = in.Text("direction");
  if (in.Has("shard_key")) {
    HF_TRY(found.key, ShardKeyFrom(in.At("shard_key")));
  }
  HF_RETURN_IF_ERROR(in.status());
  if (direction == "down") {
    found.direction = ReshardDirection::kDown;
  } else if (direction != "up") {
    return Error(ErrorCode::kUnsupported, "a resharding in direction '" + direction + "'");
  }
  return std::optional<Resharding>(std::move(found));
}

Status QdrantResharder::Change(const CallContext& call, const std::string& collection,
                               const Json& body, const std::string& doing) {
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  const Url target = api_.WithTimeout(call, CollectionUrl(url, collection) / "cluster");
  const Result<Json> done = api_.Change(call, HttpMethod::kPost, target, body);
  if (!done.ok()) return OfState(done.error()).While(doing);
  return WaitApplied(call, doing);
}

Status QdrantResharder::WaitApplied(const CallContext& call, const std::string& doing) {
  HF_TRY(const Url leader, directory_.LeaderUrl(call));
  HF_TRY(const Json told, api_.Get(call, leader / "cluster", Right::kManage));
  HF_TRY(const NodeView there, ReadNodeView(told));
  return directory_.AwaitEverywhere(
      call, doing, [&](const CallContext& inner, const Url& peer) -> Result<bool> {
        HF_TRY(const Json answer, api_.Get(inner, peer / "cluster", Right::kManage));
        HF_TRY(const NodeView here, ReadNodeView(answer));
        return here.commit >= there.commit && here.unapplied == 0;
      });
}

Result<bool> QdrantResharder::CanReshard(const CallContext& call) {
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  HF_TRY(const Json telemetry, api_.Get(call, (url / "telemetry").With("details_level", "1")));
  return json::Member(json::Member(telemetry, "cluster"), "resharding_enabled") == Json(true);
}

Result<std::optional<Resharding>> QdrantResharder::ReadResharding(const CallContext& call,
                                                                  const std::string& collection) {
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  HF_TRY(const Json view, api_.Get(call, CollectionUrl(url, collection) / "cluster"));
  return ReadReshardingOperations(view);
}

Status QdrantResharder::StartResharding(const CallContext& call, const std::string& collection,
                                        const Resharding& wanted) {
  Json start = {{"uuid", wanted.uuid},
                {"direction", ReshardDirectionName(wanted.direction)},
                {"peer_id", wanted.peer.value()}};
  if (wanted.key) start["shard_key"] = ShardKeyJson(*wanted.key);
  return Change(call, collection, Json{{"start_resharding", std::move(start)}},
                "start resharding '" + collection + "'");
}

Status QdrantResharder::MigratePoints(const CallContext& call, const ReplicaRef& from,
                                      const ReplicaRef& to) {
  const std::string doing = "migrate points from " + Describe(from) + " to " + Describe(to);
  // One that names a shard which is not there ends consensus on every peer, for good (transcript
  // 6).
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  HF_TRY(const Json view, api_.Get(call, CollectionUrl(url, from.collection) / "cluster"));
  HF_TRY(const PeerCollectionView there, ReadPeerCollectionView(view));
  for (const ShardId shard : {from.shard, to.shard}) {
    if (std::ranges::find(there.view.shards, shard, &ShardView::id) == there.view.shards.end()) {
      return Error(ErrorCode::kFailedPrecondition,
                   doing + ": there is no shard " + std::to_string(shard.value()));
    }
  }
  return Change(call, from.collection,
                Json{{"replicate_shard",
                      {{"shard_id", from.shard.value()},
                       {"to_shard_id", to.shard.value()},
                       {"from_peer_id", from.peer.value()},
                       {"to_peer_id", to.peer.value()},
                       {"method", "resharding_stream_records"}}}},
                doing);
}

Status QdrantResharder::FinishMigration(const CallContext& call, const ReplicaRef& replica) {
  const Status done =
      Change(call, replica.collection,
             Json{{"finish_migrating_points",
                   {{"shard_id", replica.shard.value()}, {"peer_id", replica.peer.value()}}}},
             "finish the migration into " + Describe(replica));
  // It says so when the replica is Active already.
  const bool was_done = !done.ok() && done.error().code() == ErrorCode::kFailedPrecondition &&
                        done.error().message().find("has state Some(Active)") != std::string::npos;
  return was_done ? Status() : done;
}

Status QdrantResharder::TakeStep(const CallContext& call, const std::string& collection,
                                 ReshardStep step) {
  const char* name = StepName(step);
  return Change(call, collection, Json{{name, Json::object()}},
                std::string(name) + " of '" + collection + "'");
}

Status QdrantResharder::CleanReplica(const CallContext& call, const ReplicaRef& replica) {
  const std::string doing = "clean " + Describe(replica);
  for (;;) {
    HF_TRY(const Url url, directory_.UrlOf(call, replica.peer));
    const Url target = (CollectionUrl(url, replica.collection) / "shards" /
                        std::to_string(replica.shard.value()) / "cleanup")
                           .With("wait", "true")
                           .With("timeout", std::to_string(kCleanWait.count()));
    // Asking again joins the cleaning that goes on, or finds it done (reference 5).
    HF_TRY(const Json result, api_.Change(call, HttpMethod::kPost, target, Json()));
    if (json::Member(result, "status") == "completed") return {};
    HF_RETURN_IF_ERROR(api_.clock().SleepFor(call, kPoll));
  }
}

}  // namespace holdfast::qdrant
