#include "engine/qdrant/cluster_writer.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "engine/qdrant/collection_config.h"
#include "engine/qdrant/point_id.h"
#include "model/topology_json.h"

namespace holdfast::qdrant {
namespace {

using json::Json;
using json::Member;

// Ids of one delete: well below the 32 MiB that a body may have (reference 0.1).
constexpr std::size_t kDeletesAtOnce = 1000;
// `?timeout=` of a creation that the server would wait for in vain. What became of it is looked at.
constexpr Duration kCreationWithDeadPeer = std::chrono::seconds(3);
constexpr Duration kSendSilence = std::chrono::seconds(60);
// What a node takes at least to hash what it was sent, before it says that it recovers.
constexpr Duration kHashTimeMin = std::chrono::minutes(2);
constexpr std::uint64_t kHashBytesPerSecond = 50 * kMiB;

// Lends a source to an exchange that wants to own one.
class LentSource final : public ByteSource {
 public:
  explicit LentSource(ByteSource& source) : source_(source) {}
  Result<std::size_t> Read(const CallContext& call, std::span<std::byte> into) override {
    return source_.Read(call, into);
  }

 private:
  ByteSource& source_;
};

class SendWatch final : public HttpObserver {
 public:
  using AskRecovering = std::function<bool()>;
  SendWatch(AskRecovering ask_recovering, Duration patience)
      : ask_recovering_(std::move(ask_recovering)), patience_(patience) {}

  bool OnSilence(Duration silence) override {
    if (ask_recovering_()) return true;
    patience_ -= silence;
    return patience_ > Duration(0);
  }

 private:
  const AskRecovering ask_recovering_;
  Duration patience_;
};

}  // namespace

Result<Json> QdrantClusterWriter::Change(const CallContext& call, HttpMethod method, const Url& url,
                                         const Json& body, const std::string& doing,
                                         std::optional<Duration> at_most) {
  Result<Json> result = api_.Change(call, method, api_.WithTimeout(call, url, at_most), body);
  if (!result.ok()) return std::move(result).error().While(doing);
  return result;
}

Result<bool> QdrantClusterWriter::Exists(const CallContext& call, const Url& url,
                                         const std::string& name) {
  HF_TRY(const Json result, api_.Get(call, CollectionUrl(url, name) / "exists", Right::kManage));
  return Member(result, "exists") == Json(true);
}

Result<bool> QdrantClusterWriter::IsReady(const CallContext& call, const Url& url,
                                          const std::string& name) {
  const auto result = api_.Get(call, CollectionUrl(url, name) / "cluster", Right::kManage);
  if (!result.ok() && result.error().code() == ErrorCode::kNotFound) return false;
  if (!result.ok()) return result.error();
  HF_TRY(const PeerCollectionView view, ReadPeerCollectionView(*result));
  return std::ranges::all_of(view.view.shards, [](const ShardView& shard) {
    return std::ranges::all_of(shard.replicas, [](const ReplicaView& replica) {
      return !replica.is_local || replica.state == ReplicaState::kActive;
    });
  });
}

Result<bool> QdrantClusterWriter::MakeShards(const CallContext& call, const Url& url,
                                             const Json& body, const std::string& doing) {
  HF_TRY(const LocatedCluster cluster, directory_.Located(call));
  const bool all_answer = std::ranges::all_of(
      cluster.peers, [](const LocatedPeer& peer) { return peer.url.has_value(); });
  const Result<Json> made = Change(call, HttpMethod::kPut, url, body, doing,
                                   all_answer ? std::optional<Duration>() : kCreationWithDeadPeer);
  const bool unknown =
      !all_answer && !made.ok() && made.error().code() == ErrorCode::kDeadlineExceeded;
  if (!made.ok() && !unknown) return made.error();
  return all_answer;
}

Result<bool> QdrantClusterWriter::HasKey(const CallContext& call, const Url& url,
                                         const std::string& name, const ShardKey& key) {
  HF_TRY(const Json result, api_.Get(call, CollectionUrl(url, name) / "cluster", Right::kManage));
  HF_TRY(const PeerCollectionView view, ReadPeerCollectionView(result));
  return std::ranges::any_of(view.view.shards,
                             [&](const ShardView& shard) { return shard.key == key; });
}

Status QdrantClusterWriter::CreateCollection(const CallContext& call, const std::string& name,
                                             const Collection& as,
                                             std::uint32_t replication_factor) {
  const std::string doing = "create collection '" + name + "'";
  HF_TRY(Json body, CreateBody(as.create_json, replication_factor));
  const Json& consistency = Member(body, "write_consistency_factor");
  const Json& replicas = Member(body, "replication_factor");
  if (consistency.is_number() && replicas.is_number() && consistency > replicas) {
    body["write_consistency_factor"] = replicas;
  }
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  // An alias of this name would be found by every later call instead.
  HF_TRY(const Json aliases, api_.Get(call, url / "aliases", Right::kManage));
  HF_TRY(const auto targets, ReadAliases(aliases));
  if (targets.contains(name)) {
    return Error(ErrorCode::kAlreadyExists, doing + ": there is an alias of this name");
  }
  HF_TRY(const bool waited, MakeShards(call, CollectionUrl(url, name), body, doing));
  HF_RETURN_IF_ERROR(
      directory_.AwaitEverywhere(call, doing, [&](const CallContext& inner, const Url& peer) {
        return waited ? Exists(inner, peer, name) : IsReady(inner, peer, name);
      }));
  return DisableForeignQuantization(call, name, body);
}

// A target may have a quantization of its own that new collections get unless they name one.
Status QdrantClusterWriter::DisableForeignQuantization(const CallContext& call,
                                                       const std::string& name, const Json& body) {
  if (!Member(body, "quantization_config").is_null()) return {};
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  HF_TRY(const Json telemetry,
         api_.Get(call, (url / "telemetry").With("details_level", "2"), Right::kManage));
  HF_TRY(const auto configs, ReadConfigs(telemetry));
  const auto config = configs.find(name);
  if (config == configs.end() || !QuantizationToDisable(config->second, body)) return {};
  HF_RETURN_IF_ERROR(Change(call, HttpMethod::kPatch, CollectionUrl(url, name),
                            Json{{"quantization_config", "Disabled"}},
                            "disable the quantization that the server gave '" + name + "'"));
  return {};
}

Status QdrantClusterWriter::DropCollection(const CallContext& call, const std::string& name) {
  const std::string doing = "drop collection '" + name + "'";
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  const Result<Json> dropped =
      Change(call, HttpMethod::kDelete, CollectionUrl(url, name), Json(), doing);
  if (!dropped.ok() && dropped.error().code() != ErrorCode::kNotFound) return dropped.error();
  return directory_.AwaitEverywhere(call, doing,
                                    [&](const CallContext& inner, const Url& peer) -> Result<bool> {
                                      HF_TRY(const bool exists, Exists(inner, peer, name));
                                      return !exists;
                                    });
}

Status QdrantClusterWriter::CreateShardKey(const CallContext& call, const std::string& collection,
                                           const ShardKeySpec& spec) {
  const std::string doing =
      "create shard key " + FormatShardKey(spec.key) + " of '" + collection + "'";
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  HF_TRY(const bool there, HasKey(call, url, collection, spec.key));
  if (there) return Error(ErrorCode::kAlreadyExists, doing + ": it exists already");
  Json body = {{"shard_key", ShardKeyJson(spec.key)},
               {"shards_number", spec.shards},
               {"replication_factor", spec.replication_factor}};
  if (!spec.placement.empty()) {
    Json placement = Json::array();
    for (const PeerId peer : spec.placement) placement.push_back(peer.value());
    body["placement"] = std::move(placement);
  }
  HF_TRY(const bool waited,
         MakeShards(call, CollectionUrl(url, collection) / "shards", body, doing));
  return directory_.AwaitEverywhere(
      call, doing, [&](const CallContext& inner, const Url& peer) -> Result<bool> {
        HF_TRY(const bool seen, HasKey(inner, peer, collection, spec.key));
        if (!seen || waited) return seen;
        return IsReady(inner, peer, collection);
      });
}

Status QdrantClusterWriter::DropShardKey(const CallContext& call, const std::string& collection,
                                         const ShardKey& key) {
  const std::string doing = "drop shard key " + FormatShardKey(key) + " of '" + collection + "'";
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  HF_TRY(const bool there, HasKey(call, url, collection, key));
  if (there) {
    HF_RETURN_IF_ERROR(Change(call, HttpMethod::kPost,
                              CollectionUrl(url, collection) / "shards" / "delete",
                              Json{{"shard_key", ShardKeyJson(key)}}, doing));
  }
  return directory_.AwaitEverywhere(
      call, doing, [&](const CallContext& inner, const Url& peer) -> Result<bool> {
        HF_TRY(const bool exists, HasKey(inner, peer, collection, key));
        return !exists;
      });
}

Status QdrantClusterWriter::CreateIndex(const CallContext& call, const std::string& collection,
                                        const PayloadIndex& index) {
  const std::string doing = "create the index on '" + index.field + "' of '" + collection + "'";
  Result<Json> schema = json::Parse(index.schema_json, "the recorded schema");
  if (!schema.ok()) {
    return std::move(schema).error().While(doing).As(ErrorCode::kInvalidArgument);
  }
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  HF_RETURN_IF_ERROR(Change(
      call, HttpMethod::kPut, (CollectionUrl(url, collection) / "index").With("wait", "true"),
      Json{{"field_name", index.field}, {"field_schema", *std::move(schema)}}, doing));
  return {};
}

Status QdrantClusterWriter::SendShard(const CallContext& call, const ReplicaRef& to,
                                      ByteSource& tar, std::uint64_t bytes,
                                      std::string_view sha256) {
  const std::string doing = "send " + Describe(to);
  if (sha256.size() != 64) {
    return Error(ErrorCode::kInvalidArgument, doing + ": a SHA-256 in hexadecimal is needed");
  }
  HF_TRY(const Url url, directory_.ProvenUrlOf(call, to.peer));
  const Url upload = (CollectionUrl(url, to.collection) / "shards" /
                      std::to_string(to.shard.value()) / "snapshots" / "upload")
                         .With("wait", "true")
                         .With("priority", "no_sync")
                         .With("checksum", sha256);
  HttpRequest request = api_.Request(HttpMethod::kPost, upload, Right::kManage);
  request.idempotent = false;
  request.expect_continue = true;
  request.timeouts.first_byte = kSendSilence;
  request.timeouts.between_bytes = kSendSilence;
  bool opened = false;
  UploadBody body;
  body.size = bytes;
  body.form = UploadBody::FormField{.name = "snapshot", .file_name = "shard.snapshot"};
  body.open = [&]() -> Result<std::unique_ptr<ByteSource>> {
    if (std::exchange(opened, true)) {
      return Error(ErrorCode::kAborted, "the image cannot be read a second time");
    }
    return std::unique_ptr<ByteSource>(std::make_unique<LentSource>(tar));
  };
  const auto recovering = [&] {
    const auto node = reader_.ReadNode(call, to.peer, url);
    if (!node.ok()) return false;
    const auto found = (*node)->snapshots.find(to.collection);
    return found != (*node)->snapshots.end() && found->second.recovering > 0;
  };
  SendWatch watch(recovering, kHashTimeMin + std::chrono::seconds(bytes / kHashBytesPerSecond));
  const Result<HttpResponse> answer = api_.http().Upload(call, request, body, &watch);
  if (!answer.ok()) return answer.error().While(doing);
  if (answer->ok()) return {};
  return ErrorOfAnswer(request, *answer, Effect::kChange).While(doing);
}

Status QdrantClusterWriter::DropReplica(const CallContext& call, const ReplicaRef& replica) {
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  HF_RETURN_IF_ERROR(
      Change(call, HttpMethod::kPost, CollectionUrl(url, replica.collection) / "cluster",
             Json{{"drop_replica",
                   {{"shard_id", replica.shard.value()}, {"peer_id", replica.peer.value()}}}},
             "drop " + Describe(replica)));
  return {};
}

Status QdrantClusterWriter::DeletePoints(const CallContext& call, const std::string& collection,
                                         const std::optional<ShardKey>& key,
                                         const std::vector<std::string>& ids) {
  const std::string doing = "delete points of '" + collection + "'";
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  const Url target = (CollectionUrl(url, collection) / "points" / "delete").With("wait", "true");
  for (std::size_t at = 0; at < ids.size(); at += kDeletesAtOnce) {
    Json points = Json::array();
    for (std::size_t i = at; i < std::min(ids.size(), at + kDeletesAtOnce); ++i) {
      HF_TRY(const PointId id, ParsePointId(ids[i]));
      HF_TRY(Json point, json::Parse(FormatPointId(id), "a point id"));
      points.push_back(std::move(point));
    }
    Json body = {{"points", std::move(points)}};
    if (key) body["shard_key"] = ShardKeyJson(*key);
    HF_TRY(const Json result, Change(call, HttpMethod::kPost, target, body, doing));
    if (Member(result, "status") != Json("completed")) {
      return Error(ErrorCode::kDeadlineExceeded,
                   doing + ": the server has accepted the deletes and not applied them in time");
    }
  }
  return {};
}

Status QdrantClusterWriter::SwitchAliases(const CallContext& call,
                                          const std::vector<AliasMove>& moves) {
  if (moves.empty()) return {};
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  // The server checks action by action and keeps those before a bad one: all are checked before.
  HF_TRY(const Json collections, api_.Get(call, url / "collections", Right::kManage));
  HF_TRY(const std::vector<std::string> names, ReadCollectionNames(collections));
  Json actions = Json::array();
  for (const AliasMove& move : moves) {
    if (!std::ranges::binary_search(names, move.to)) {
      return Error(ErrorCode::kNotFound,
                   "alias '" + move.alias + "': there is no collection '" + move.to + "'");
    }
    if (std::ranges::binary_search(names, move.alias)) {
      return Error(ErrorCode::kAlreadyExists,
                   "alias '" + move.alias + "': there is a collection of this name");
    }
    actions.push_back({{"delete_alias", {{"alias_name", move.alias}}}});
    actions.push_back(
        {{"create_alias", {{"collection_name", move.to}, {"alias_name", move.alias}}}});
  }
  HF_RETURN_IF_ERROR(Change(call, HttpMethod::kPost, url / "collections" / "aliases",
                            Json{{"actions", std::move(actions)}}, "switch aliases"));
  // A peer that has not heard of it serves the old collection still.
  return directory_.AwaitEverywhere(
      call, "switch aliases", [&](const CallContext& inner, const Url& peer) -> Result<bool> {
        HF_TRY(const Json there, api_.Get(inner, peer / "aliases", Right::kManage));
        HF_TRY(const auto targets, ReadAliases(there));
        return std::ranges::all_of(moves, [&](const AliasMove& move) {
          const auto found = targets.find(move.alias);
          return found != targets.end() && found->second == move.to;
        });
      });
}

Status QdrantClusterWriter::SetMetadata(const CallContext& call, const std::string& key,
                                        const std::string& value_json) {
  const std::string doing = "set the cluster's metadata key '" + key + "'";
  if (directory_.standalone()) {
    return Error(ErrorCode::kFailedPrecondition, doing + ": a stand-alone server has no metadata");
  }
  Result<Json> value = json::Parse(value_json, "the value");
  if (!value.ok()) return std::move(value).error().While(doing).As(ErrorCode::kInvalidArgument);
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  HF_RETURN_IF_ERROR(Change(call, HttpMethod::kPut,
                            (url / "cluster" / "metadata" / "keys" / key).With("wait", "true"),
                            *value, doing));
  return {};
}

Status QdrantClusterWriter::FinishCollection(const CallContext& call, const std::string& name,
                                             const Collection& as) {
  const std::string doing = "finish collection '" + name + "'";
  Result<Json> body = json::Parse(as.finish_json, "the recorded settings");
  if (!body.ok()) return std::move(body).error().While(doing).As(ErrorCode::kInvalidArgument);
  if (body->empty()) return {};
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  HF_RETURN_IF_ERROR(Change(call, HttpMethod::kPatch, CollectionUrl(url, name), *body, doing));
  return {};
}

}  // namespace holdfast::qdrant
