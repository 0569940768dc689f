#include "engine/qdrant/cluster_reader.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "base/size.h"
#include "engine/qdrant/at_once.h"
#include "engine/qdrant/collection_config.h"

namespace holdfast::qdrant {
namespace {

using json::Json;
using json::Member;

constexpr std::string_view kEngineName = "qdrant";
// Levels of telemetry (reference 1.1): configuration; shards of all peers; shards with their
// segments and the optimizer's log.
constexpr const char* kConfigLevel = "2";
constexpr const char* kSystemLevel = "1";
constexpr const char* kShardLevel = "3";
constexpr const char* kOptimizerLevel = "4";
// A node that gathers from all peers must give up on silent ones before we give up on it.
constexpr const char* kGatherSeconds = "10";
// Where their number is not told: what the server aims at on a few cores.
constexpr std::uint32_t kSegmentsGuess = 4;
constexpr std::uint32_t kNoSuchShard = std::numeric_limits<std::uint32_t>::max();

constexpr std::string_view kGreen = "green";
bool IsCalm(const std::string& status) { return status == kGreen || status == "grey"; }

bool IsOurEnd(Clock& clock, const CallContext& call) { return !clock.Check(call).ok(); }

}  // namespace

std::uint64_t PredictTarBytes(const LocalShardView& shard) {
  // Vectors are stored as they are, quantized once more, and linked by an index of about 150 bytes
  // each; payload is stored in blocks and indexed; ids, versions and maps take about 64 bytes a
  // point; a segment has some hundred kilobytes of small files.
  constexpr std::uint64_t kBytesPerSegment = 512 * 1024;
  constexpr std::uint64_t kBytesMin = 1024 * 1024;
  return kBytesMin + shard.vectors_bytes * 5 / 4 + shard.payloads_bytes * 2 + shard.vectors * 192 +
         shard.points * 64 + shard.segments * kBytesPerSegment;
}

// --- topology ------------------------------------------------------------------------------------

Result<Topology> QdrantClusterReader::ReadTopology(const CallContext& call) {
  HF_TRY(const LocatedCluster located, directory_.Locate(call));
  Topology topology;
  topology.engine = kEngineName;
  topology.distributed = located.distributed;
  topology.observed_at = api_.clock().Wall();
  HF_RETURN_IF_ERROR(ReadVersions(call, located, topology.peers));

  std::map<PeerId, bool> answering;
  std::vector<Url> urls;
  for (const LocatedPeer& peer : located.peers) {
    answering[peer.id] = peer.url.has_value();
    if (peer.url) urls.push_back(*peer.url);
  }
  HF_TRY(Parts parts, ReadParts(call, urls.front(), located.distributed));
  topology.metadata = std::move(parts.metadata);

  std::vector<Collection> collections;
  for (const auto& [name, config] : parts.configs) {
    Collection collection;
    collection.name = name;
    HF_RETURN_IF_ERROR(TakeConfig(config, collection));
    for (const auto& [alias, target] : parts.aliases) {
      if (target == name) collection.aliases.push_back(alias);
    }
    collections.push_back(std::move(collection));
  }
  std::vector<char> gone(collections.size());
  HF_RETURN_IF_ERROR(
      ForEach(call, collections.size(), [&](const CallContext& inner, std::size_t i) -> Status {
        Collection& collection = collections[i];
        CollectionView view;
        Status read;
        if (parts.telemetry) {
          view = parts.telemetry->collections[collection.name];
        } else {
          Result<CollectionView> asked =
              AskPeers(inner, collection.name, located.peers, located.distributed);
          if (asked.ok()) {
            view = *std::move(asked);
          } else {
            read = std::move(asked).error();
          }
        }
        if (read.ok()) {
          read = Describe(inner, urls[i % urls.size()], view, answering, collection);
        }
        // Dropped since the list was read.
        gone[i] = !read.ok() && read.error().code() == ErrorCode::kNotFound;
        return gone[i] ? Status() : read;
      }));
  for (std::size_t i = 0; i < collections.size(); ++i) {
    if (!gone[i]) topology.collections.push_back(std::move(collections[i]));
  }
  return topology;
}

Status QdrantClusterReader::ReadVersions(const CallContext& call, const LocatedCluster& located,
                                         std::vector<Peer>& peers) {
  peers.resize(located.peers.size());
  return ForEach(call, peers.size(), [&](const CallContext& inner, std::size_t i) -> Status {
    const LocatedPeer& from = located.peers[i];
    peers[i] = {.id = from.id,
                .p2p_uri = from.p2p_uri,
                .url = from.url ? from.url->Redacted() : "",
                .answers = from.url.has_value(),
                .version = {},
                .trouble = from.trouble,
                .disk_bytes = 0,
                .memory_bytes = 0};
    if (!from.url) return {};
    const HttpRequest request = api_.Request(HttpMethod::kGet, *from.url, Right::kRead);
    const Result<HttpResponse> answer = api_.http().Send(inner, request);
    if (!answer.ok()) {
      if (IsOurEnd(api_.clock(), inner)) return answer.error();
      peers[i].answers = false;
      peers[i].trouble = answer.error().message();
      return {};
    }
    const Result<Json> document = json::Parse(answer->body, "the version");
    if (document.ok() && Member(*document, "version").is_string()) {
      peers[i].version = Member(*document, "version").get<std::string>();
    }
    return {};
  });
}

// As the servers see their machines, in KiB (transcript 1, recorded exchange 5).
void QdrantClusterReader::ReadSizes(const CallContext& call, Topology& topology) {
  const auto read = [&](const CallContext& inner, std::size_t i) -> Status {
    Peer& peer = topology.peers[i];
    if (!peer.answers) return {};
    const auto url = directory_.UrlOf(inner, peer.id);
    if (!url.ok()) return {};
    const auto about = api_.Get(inner, (*url / "telemetry").With("details_level", kSystemLevel));
    if (!about.ok()) return {};
    const Json& system = Member(Member(*about, "app"), "system");
    const auto size = [&](const char* name) -> std::uint64_t {
      const Json& value = Member(system, name);
      return value.is_number_unsigned() ? value.get<std::uint64_t>() * kKiB : 0;
    };
    peer.disk_bytes = size("disk_size");
    peer.memory_bytes = size("ram_size");
    return {};
  };
  static_cast<void>(ForEach(call, topology.peers.size(), read).ok());
}

Result<QdrantClusterReader::Parts> QdrantClusterReader::ReadParts(const CallContext& call,
                                                                  const Url& url,
                                                                  bool distributed) {
  Parts parts;
  const std::vector<std::function<Status(const CallContext&)>> reads = {
      [&](const CallContext& inner) -> Status {
        HF_TRY(parts.configs, ReadAllConfigs(inner, url));
        return {};
      },
      [&](const CallContext& inner) -> Status {
        HF_TRY(const Json aliases, api_.Get(inner, url / "aliases"));
        HF_TRY(parts.aliases, ReadAliases(aliases));
        return {};
      },
      [&](const CallContext& inner) -> Status {
        if (!distributed) return {};
        HF_TRY(parts.metadata, ReadMetadata(inner, url));
        return {};
      },
      [&](const CallContext& inner) -> Status {
        if (!distributed) return {};
        HF_TRY(parts.telemetry, ReadClusterWide(inner, url));
        return {};
      }};
  HF_RETURN_IF_ERROR(ForEach(call, reads.size(), [&](const CallContext& inner, std::size_t i) {
    return reads[i](inner);
  }));
  return parts;
}

Result<QdrantClusterReader::Configs> QdrantClusterReader::ReadAllConfigs(const CallContext& call,
                                                                         const Url& url) {
  HF_TRY(const Json result,
         api_.Get(call, (url / "telemetry").With("details_level", kConfigLevel)));
  return ReadConfigs(result);
}

Result<std::optional<ClusterTelemetry>> QdrantClusterReader::ReadClusterWide(
    const CallContext& call, const Url& url) {
  const Result<Json> result = api_.Get(call, (url / "cluster" / "telemetry")
                                                 .With("details_level", kShardLevel)
                                                 .With("timeout", kGatherSeconds));
  // Servers before 1.17 do not have it.
  if (!result.ok() && result.error().code() == ErrorCode::kUnsupported) {
    return std::optional<ClusterTelemetry>();
  }
  if (!result.ok()) return result.error();
  HF_TRY(ClusterTelemetry telemetry, ReadClusterTelemetry(*result));
  return std::optional<ClusterTelemetry>(std::move(telemetry));
}

Result<std::map<std::string, std::string>> QdrantClusterReader::ReadMetadata(
    const CallContext& call, const Url& url) {
  const Url keys_url = url / "cluster" / "metadata" / "keys";
  HF_TRY(const Json keys, api_.Get(call, keys_url));
  std::map<std::string, std::string> metadata;
  if (!keys.is_array()) return metadata;
  for (const Json& key : keys) {
    if (!key.is_string()) continue;
    HF_TRY(const Json value, api_.Get(call, keys_url / key.get<std::string>()));
    metadata[key.get<std::string>()] = json::Dump(value);
  }
  return metadata;
}

Result<CollectionView> QdrantClusterReader::AskPeers(const CallContext& call,
                                                     const std::string& name,
                                                     const std::vector<LocatedPeer>& peers,
                                                     bool distributed) {
  std::vector<std::optional<PeerCollectionView>> views(peers.size());
  std::vector<std::optional<Error>> errors(peers.size());
  HF_RETURN_IF_ERROR(
      ForEach(call, peers.size(), [&](const CallContext& inner, std::size_t i) -> Status {
        if (!peers[i].url) return {};
        const Result<Json> result = api_.Get(inner, CollectionUrl(*peers[i].url, name) / "cluster");
        if (!result.ok()) {
          if (IsOurEnd(api_.clock(), inner)) return result.error();
          errors[i] = result.error();
          // A peer that does not know the collection (yet) has none of its replicas.
          if (result.error().code() == ErrorCode::kNotFound) {
            views[i] = PeerCollectionView{.peer = peers[i].id, .view = {}};
          }
          return {};
        }
        HF_TRY(views[i], ReadPeerCollectionView(*result));
        if (distributed) return {};
        views[i]->peer = kStandalonePeer;
        for (ShardView& shard : views[i]->view.shards) {
          for (ReplicaView& replica : shard.replicas) replica.peer = kStandalonePeer;
        }
        return {};
      }));
  std::vector<PeerCollectionView> told;
  bool known = false;
  std::optional<Error> problem;
  for (std::size_t i = 0; i < peers.size(); ++i) {
    known |= views[i].has_value() && !errors[i];
    if (views[i]) told.push_back(*std::move(views[i]));
    if (errors[i] && (!problem || errors[i]->code() != ErrorCode::kNotFound)) problem = errors[i];
  }
  if (known) return MergeViews(told);
  if (problem) return *problem;
  return Error(ErrorCode::kUnavailable, "no peer answers that knows '" + name + "'");
}

Status QdrantClusterReader::Describe(const CallContext& call, const Url& url,
                                     const CollectionView& view,
                                     const std::map<PeerId, bool>& answering,
                                     Collection& collection) {
  collection.transfers = view.transfers;
  collection.resharding = view.resharding;
  bool readable = true;
  for (const ShardView& from : view.shards) {
    Shard shard{.id = from.id, .key = from.key, .replicas = {}};
    std::uint64_t bytes = 0;
    bool any = false;
    for (const ReplicaView& replica : from.replicas) {
      const auto peer = answering.find(replica.peer);
      const bool answers = peer != answering.end() && peer->second;
      // Listed, but its own peer, which answers, does not have it: not applied there yet, or lost.
      const ReplicaState state =
          answers && !replica.is_local ? ReplicaState::kUnknown : replica.state;
      shard.replicas.push_back({.peer = replica.peer, .state = state});
      bytes = std::max(bytes, replica.vectors_bytes + replica.payloads_bytes);
      any |= answers && state == ReplicaState::kActive;
    }
    readable &= any;
    collection.bytes += bytes;
    if (shard.key &&
        std::ranges::find(collection.shard_keys, *shard.key) == collection.shard_keys.end()) {
      collection.shard_keys.push_back(*shard.key);
    }
    collection.shards.push_back(std::move(shard));
  }

  const Url info = CollectionUrl(url, collection.name);
  const Result<Json> result =
      view.shards.empty() ? api_.Get(call, info) : api_.GetKnown(call, info);
  if (!result.ok()) {
    // It needs a readable replica of every shard (reference 2.4). Where there is none, the rest is
    // told all the same: the plan refuses the collection for a reason that it can name.
    const bool excused = !readable && result.error().code() == ErrorCode::kUnavailable;
    return excused && !IsOurEnd(api_.clock(), call) ? Status() : Status(result.error());
  }
  collection.indexes = ReadPayloadSchema(*result);
  const Json& points = Member(*result, "points_count");
  if (points.is_number_unsigned()) collection.points = points.get<std::uint64_t>();
  return {};
}

Result<Collection> QdrantClusterReader::ReadCollection(const CallContext& call,
                                                       const std::string& name) {
  HF_TRY(const LocatedCluster located, directory_.Located(call));
  HF_TRY(const Url url, directory_.AnyUrl(call));
  HF_TRY(const CollectionView view, AskPeers(call, name, located.peers, located.distributed));
  HF_TRY(const std::shared_ptr<const Configs> configs,
         configs_.Get(call, [&](const CallContext& inner) { return ReadAllConfigs(inner, url); }));
  const auto config = configs->find(name);
  if (config == configs->end()) {
    return Error(ErrorCode::kNotFound, "there is no collection '" + name + "'",
                 "an alias is not a collection");
  }
  Collection collection;
  collection.name = name;
  HF_RETURN_IF_ERROR(TakeConfig(config->second, collection));
  HF_TRY(const Json aliases, api_.Get(call, url / "aliases"));
  HF_TRY(const auto targets, ReadAliases(aliases));
  for (const auto& [alias, target] : targets) {
    if (target == name) collection.aliases.push_back(alias);
  }
  std::map<PeerId, bool> answering;
  for (const LocatedPeer& peer : located.peers) answering[peer.id] = peer.url.has_value();
  HF_RETURN_IF_ERROR(Describe(call, url, view, answering, collection));
  return collection;
}

// --- health --------------------------------------------------------------------------------------

Result<std::shared_ptr<const NodeTelemetry>> QdrantClusterReader::ReadNode(const CallContext& call,
                                                                           PeerId peer,
                                                                           const Url& url) {
  SharedRead<NodeTelemetry>* node = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    auto& slot = nodes_[peer];
    if (slot == nullptr) slot = std::make_unique<SharedRead<NodeTelemetry>>(api_.clock());
    node = slot.get();
  }
  return node->Get(call, [&](const CallContext& inner) -> Result<NodeTelemetry> {
    HF_TRY(const Json result, api_.Get(inner, (url / "telemetry")
                                                  .With("details_level", kOptimizerLevel)
                                                  .With("timeout", kGatherSeconds)));
    return ReadNodeTelemetry(result, peer);
  });
}

Result<ReplicaHealth> QdrantClusterReader::ReadHealth(const CallContext& call,
                                                      const ReplicaRef& replica) {
  HF_TRY(const Url url, directory_.UrlOf(call, replica.peer));
  HF_TRY(const auto node, ReadNode(call, replica.peer, url));
  const auto found = node->shards.find({replica.collection, replica.shard});
  if (found == node->shards.end()) {
    return Error(ErrorCode::kNotFound, holdfast::Describe(replica) + " is not there");
  }
  return HealthFrom(call, url, replica, found->second);
}

Result<ReplicaHealth> QdrantClusterReader::HealthFrom(const CallContext& call, const Url& url,
                                                      const ReplicaRef& replica,
                                                      const LocalShardView& shard) {
  ReplicaHealth health;
  health.state = shard.state;
  health.calm = IsCalm(shard.status);
  health.optimized = shard.status == kGreen;
  health.update_queue_length = shard.update_queue_length;
  health.update_op_num = shard.update_op_num;
  health.points_deferred = shard.points_deferred;
  health.bytes = PredictTarBytes(shard);
  if (shard.optimizations_running) {
    health.optimizations_running = *shard.optimizations_running;
    return health;
  }
  // Without a log: those of the whole collection, which are more rather than fewer. The server asks
  // all peers for them and fails while a replica is on a dead one that no write has found out: then
  // it is not proven that nothing runs here.
  const Result<Json> result =
      api_.Get(call, CollectionUrl(url, replica.collection) / "optimizations");
  if (!result.ok() && result.error().code() != ErrorCode::kUnavailable) return result.error();
  HF_RETURN_IF_ERROR(api_.clock().Check(call));
  health.optimizations_running =
      result.ok() ? static_cast<std::uint32_t>(Member(*result, "running").size()) : 1;
  return health;
}

Result<std::vector<ReplicaHealth>> QdrantClusterReader::ReadHealths(
    const CallContext& call, const std::vector<ReplicaRef>& replicas) {
  HF_TRY(const LocatedCluster located, directory_.Located(call));
  HF_TRY(const Url url, directory_.AnyUrl(call));
  std::map<std::pair<std::string, ShardId>, std::map<PeerId, ReplicaHealth>> known;
  std::optional<ClusterTelemetry> telemetry;
  if (located.distributed) {
    HF_TRY(telemetry, ReadClusterWide(call, url));
  }
  if (telemetry) {
    for (const auto& [name, view] : telemetry->collections) {
      for (const ShardView& shard : view.shards) {
        for (const ReplicaView& replica : shard.replicas) {
          if (!replica.is_local) continue;
          LocalShardView local;
          local.points = replica.points;
          local.vectors = replica.vectors;
          local.vectors_bytes = replica.vectors_bytes;
          local.payloads_bytes = replica.payloads_bytes;
          local.segments = kSegmentsGuess;
          ReplicaHealth& health = known[{name, shard.id}][replica.peer];
          health.state = replica.state;
          // An optimization that runs shows as yellow (reference 6.2).
          health.calm = IsCalm(replica.status);
          health.optimized = replica.status == kGreen;
          health.bytes = PredictTarBytes(local);
        }
      }
    }
  } else {
    for (const LocatedPeer& peer : located.peers) {
      if (!peer.url) continue;
      HF_TRY(const auto node, ReadNode(call, peer.id, *peer.url));
      for (const auto& [shard, local] : node->shards) {
        HF_TRY(
            known[shard][peer.id],
            HealthFrom(call, *peer.url,
                       {.peer = peer.id, .collection = shard.first, .shard = shard.second}, local));
      }
    }
  }
  std::vector<ReplicaHealth> healths;
  healths.reserve(replicas.size());
  for (const ReplicaRef& replica : replicas) {
    healths.push_back(known[{replica.collection, replica.shard}][replica.peer]);
  }
  return healths;
}

// --- rights --------------------------------------------------------------------------------------

Status QdrantClusterReader::CheckRight(const CallContext& call, HttpRequest request,
                                       const std::string& what, std::vector<std::string>& missing) {
  HF_TRY(const HttpResponse answer, api_.http().Send(call, request));
  if (answer.status == 401 || answer.status == 403) {
    missing.push_back(what + " (" + ErrorOfAnswer(request, answer, Effect::kRead).message() + ")");
  }
  return {};
}

Status QdrantClusterReader::CheckRights(const CallContext& call, Purpose purpose,
                                        const std::vector<std::string>& collections) {
  HF_TRY(const Url url, directory_.AnyUrl(call));
  std::vector<std::string> missing;
  // Global r: topology, telemetry, aliases. Harmless as it is.
  HF_RETURN_IF_ERROR(CheckRight(call,
                                api_.Request(HttpMethod::kGet, url / "telemetry", Right::kRead),
                                "read the cluster", missing));
  for (const std::string& name : collections) {
    if (purpose == Purpose::kRestore) break;
    HF_RETURN_IF_ERROR(CheckRight(
        call, api_.Request(HttpMethod::kGet, CollectionUrl(url, name) / "cluster", Right::kRead),
        "read collection '" + name + "'", missing));
    if (purpose != Purpose::kBackup) continue;
    // rw on the collection: a stream of a shard that cannot exist. The server looks at the rights
    // first and answers 404 then (run on 1.18.3); nothing is snapshot.
    const Url stream =
        CollectionUrl(url, name) / "shards" / std::to_string(kNoSuchShard) / "snapshot";
    HF_RETURN_IF_ERROR(CheckRight(call, api_.Request(HttpMethod::kGet, stream, Right::kCapture),
                                  "take snapshots of collection '" + name + "'", missing));
  }
  if (purpose == Purpose::kRestore) {
    // Global m: an upload without a form, which the server refuses with 415 after it has looked at
    // the rights (run on 1.18.3; older servers may refuse it before, and then this cannot tell).
    const Url upload = CollectionUrl(url, "holdfast-rights-probe") / "shards" /
                       std::to_string(kNoSuchShard) / "snapshots" / "upload";
    HttpRequest request = api_.Request(HttpMethod::kPost, upload, Right::kManage);
    request.headers.Add("content-type", "application/json");
    HF_RETURN_IF_ERROR(CheckRight(call, std::move(request),
                                  "manage the cluster (create collections, send shards)", missing));
  }
  if (missing.empty()) return {};
  std::string message = "the key has no right to ";
  for (const std::string& what : missing) message += (&what == missing.data() ? "" : "; ") + what;
  return Error(ErrorCode::kPermissionDenied, std::move(message),
               "observing needs read_key (global r), backup key (rw on the collections), restore "
               "manage_key (global m)");
}

}  // namespace holdfast::qdrant
