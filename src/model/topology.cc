#include "model/topology.h"

#include <algorithm>
#include <array>
#include <utility>

#include "model/json.h"
#include "model/topology_json.h"

namespace holdfast {
namespace {

// Names as Qdrant prints them (transcript 1).
constexpr std::array<std::pair<ReplicaState, std::string_view>, 12> kStates{{
    {ReplicaState::kActive, "Active"},
    {ReplicaState::kDead, "Dead"},
    {ReplicaState::kPartial, "Partial"},
    {ReplicaState::kInitializing, "Initializing"},
    {ReplicaState::kListener, "Listener"},
    {ReplicaState::kPartialSnapshot, "PartialSnapshot"},
    {ReplicaState::kRecovery, "Recovery"},
    {ReplicaState::kResharding, "Resharding"},
    {ReplicaState::kReshardingScaleDown, "ReshardingScaleDown"},
    {ReplicaState::kActiveRead, "ActiveRead"},
    {ReplicaState::kManualRecovery, "ManualRecovery"},
    {ReplicaState::kUnknown, "Unknown"},
}};

using json::Json;
using json::Reader;

Json PeerJson(const Peer& peer) {
  return {{"id", peer.id.value()},
          {"p2p_uri", peer.p2p_uri},
          {"url", peer.url},
          {"answers", peer.answers},
          {"version", peer.version},
          {"trouble", peer.trouble},
          {"disk_bytes", peer.disk_bytes},
          {"memory_bytes", peer.memory_bytes}};
}

Result<Peer> PeerFrom(const Json& document) {
  Reader in(document, "a peer");
  Peer peer{.id = PeerId(in.Number("id")),
            .p2p_uri = in.Text("p2p_uri"),
            .url = in.Text("url"),
            .answers = in.Flag("answers"),
            .version = in.Text("version"),
            .trouble = in.Text("trouble"),
            .disk_bytes = in.Has("disk_bytes") ? in.Number("disk_bytes") : 0,
            .memory_bytes = in.Has("memory_bytes") ? in.Number("memory_bytes") : 0};
  HF_RETURN_IF_ERROR(in.status());
  return peer;
}

Json ShardJson(const Shard& shard) {
  Json replicas = Json::array();
  for (const Replica& replica : shard.replicas) {
    replicas.push_back(
        {{"peer", replica.peer.value()}, {"state", ReplicaStateName(replica.state)}});
  }
  Json out = {{"id", shard.id.value()}, {"replicas", std::move(replicas)}};
  if (shard.key) out["key"] = ShardKeyJson(*shard.key);
  return out;
}

Result<Shard> ShardFrom(const Json& document) {
  Reader in(document, "a shard");
  Shard shard{.id = ShardId(in.Number32("id")), .key = std::nullopt, .replicas = {}};
  if (in.Has("key")) {
    HF_TRY(shard.key, ShardKeyFrom(in.At("key")));
  }
  for (const Json& item : in.Array("replicas")) {
    Reader replica(item, "a replica");
    shard.replicas.push_back({.peer = PeerId(replica.Number("peer")),
                              .state = ReplicaStateFromName(replica.Text("state"))});
    HF_RETURN_IF_ERROR(replica.status());
  }
  HF_RETURN_IF_ERROR(in.status());
  return shard;
}

Json TransferJson(const ShardTransfer& transfer) {
  Json out = {{"shard", transfer.shard.value()},
              {"from", transfer.from.value()},
              {"to", transfer.to.value()},
              {"method", transfer.method},
              {"comment", transfer.comment}};
  if (transfer.to_shard) out["to_shard"] = transfer.to_shard->value();
  return out;
}

Result<ShardTransfer> TransferFrom(const Json& document) {
  Reader in(document, "a shard transfer");
  ShardTransfer transfer{.shard = ShardId(in.Number32("shard")),
                         .to_shard = std::nullopt,
                         .from = PeerId(in.Number("from")),
                         .to = PeerId(in.Number("to")),
                         .method = in.Text("method"),
                         .comment = in.Text("comment")};
  if (in.Has("to_shard")) transfer.to_shard = ShardId(in.Number32("to_shard"));
  HF_RETURN_IF_ERROR(in.status());
  return transfer;
}

Status ReadCollectionLists(Reader& in, Collection& collection) {
  for (const Json& item : in.Array("shards")) {
    HF_TRY(Shard shard, ShardFrom(item));
    collection.shards.push_back(std::move(shard));
  }
  for (const Json& item : in.Array("indexes")) {
    Reader index(item, "a payload index");
    collection.indexes.push_back(
        {.field = index.Text("field"), .schema_json = index.At("schema").dump()});
    HF_RETURN_IF_ERROR(index.status());
  }
  for (const Json& item : in.Array("transfers")) {
    HF_TRY(ShardTransfer transfer, TransferFrom(item));
    collection.transfers.push_back(std::move(transfer));
  }
  for (const Json& item : in.Array("aliases")) {
    if (!item.is_string()) return Error(ErrorCode::kDataLoss, "an alias is not a text");
    collection.aliases.push_back(item.get<std::string>());
  }
  for (const Json& item : in.Array("shard_keys")) {
    HF_TRY(ShardKey key, ShardKeyFrom(item));
    collection.shard_keys.push_back(std::move(key));
  }
  return {};
}

template <class List, class Name>
auto FindBy(const List& list, const Name& wanted, Name List::value_type::* member) {
  const auto found = std::ranges::find(list, wanted, member);
  return found == list.end() ? nullptr : &*found;
}

}  // namespace

std::string_view ReplicaStateName(ReplicaState state) noexcept {
  return std::ranges::find(kStates, state, &std::pair<ReplicaState, std::string_view>::first)
      ->second;
}

ReplicaState ReplicaStateFromName(std::string_view name) noexcept {
  const auto found =
      std::ranges::find(kStates, name, &std::pair<ReplicaState, std::string_view>::second);
  return found == kStates.end() ? ReplicaState::kUnknown : found->first;
}

std::string FormatPeer(PeerId peer) { return "peer " + std::to_string(peer.value()); }

std::string FormatShardKey(const ShardKey& key) {
  if (const auto* number = std::get_if<std::uint64_t>(&key)) return std::to_string(*number);
  return "\"" + std::get<std::string>(key) + "\"";
}

json::Json ShardKeyJson(const ShardKey& key) {
  if (const auto* number = std::get_if<std::uint64_t>(&key)) return *number;
  return std::get<std::string>(key);
}

Result<ShardKey> ShardKeyFrom(const json::Json& document) {
  if (document.is_string()) return ShardKey(document.get<std::string>());
  if (document.is_number_unsigned()) return ShardKey(document.get<std::uint64_t>());
  return Error(ErrorCode::kDataLoss, "a shard key is neither a text nor a whole number");
}

json::Json CollectionJson(const Collection& collection) {
  Json out = {{"name", collection.name},
              {"uuid", collection.uuid},
              {"create", Json::parse(collection.create_json, nullptr, false)},
              {"finish", Json::parse(collection.finish_json, nullptr, false)},
              {"shard_number", collection.shard_number},
              {"replication_factor", collection.replication_factor},
              {"custom_sharding", collection.custom_sharding},
              {"aliases", collection.aliases},
              {"resharding", collection.resharding},
              {"points", collection.points},
              {"bytes", collection.bytes},
              {"shards", Json::array()},
              {"indexes", Json::array()},
              {"transfers", Json::array()},
              {"shard_keys", Json::array()}};
  for (const Shard& shard : collection.shards) out["shards"].push_back(ShardJson(shard));
  for (const PayloadIndex& index : collection.indexes) {
    out["indexes"].push_back(
        {{"field", index.field}, {"schema", Json::parse(index.schema_json, nullptr, false)}});
  }
  for (const ShardTransfer& transfer : collection.transfers) {
    out["transfers"].push_back(TransferJson(transfer));
  }
  for (const ShardKey& key : collection.shard_keys) out["shard_keys"].push_back(ShardKeyJson(key));
  return out;
}

Result<Collection> CollectionFrom(const json::Json& document) {
  Reader in(document, "a collection");
  Collection collection;
  collection.name = in.Text("name");
  collection.uuid = in.Text("uuid");
  collection.create_json = in.At("create").dump();
  collection.finish_json = in.At("finish").dump();
  collection.shard_number = in.Number32("shard_number");
  collection.replication_factor = in.Number32("replication_factor");
  collection.custom_sharding = in.Flag("custom_sharding");
  collection.resharding = in.Text("resharding");
  collection.points = in.Number("points");
  collection.bytes = in.Number("bytes");
  HF_RETURN_IF_ERROR(ReadCollectionLists(in, collection));
  HF_RETURN_IF_ERROR(in.status());
  return collection;
}

json::Json TopologyJson(const Topology& topology) {
  Json out = {{"engine", topology.engine},
              {"distributed", topology.distributed},
              {"observed_at", FormatTime(topology.observed_at)},
              {"peers", Json::array()},
              {"collections", Json::array()},
              {"metadata", Json::object()}};
  for (const Peer& peer : topology.peers) out["peers"].push_back(PeerJson(peer));
  for (const Collection& collection : topology.collections) {
    out["collections"].push_back(CollectionJson(collection));
  }
  for (const auto& [key, value] : topology.metadata) {
    out["metadata"][key] = Json::parse(value, nullptr, false);
  }
  return out;
}

Result<Topology> TopologyFrom(const json::Json& document) {
  Reader in(document, "a topology");
  Topology topology;
  topology.engine = in.Text("engine");
  topology.distributed = in.Flag("distributed");
  const std::string observed_at = in.Text("observed_at");
  HF_RETURN_IF_ERROR(in.status());
  HF_TRY(topology.observed_at, ParseTime(observed_at));
  for (const Json& item : in.Array("peers")) {
    HF_TRY(Peer peer, PeerFrom(item));
    topology.peers.push_back(std::move(peer));
  }
  for (const Json& item : in.Array("collections")) {
    HF_TRY(Collection collection, CollectionFrom(item));
    topology.collections.push_back(std::move(collection));
  }
  const Json& metadata = in.At("metadata");
  if (!metadata.is_object()) in.Fail("metadata", "object");
  HF_RETURN_IF_ERROR(in.status());
  for (const auto& [key, value] : metadata.items()) topology.metadata[key] = value.dump();
  return topology;
}

const Shard* Collection::FindShard(ShardId id) const {
  const auto found = std::ranges::find(shards, id, &Shard::id);
  return found == shards.end() ? nullptr : &*found;
}

std::optional<ReplicaState> Collection::StateOf(ShardId shard, PeerId peer) const {
  const Shard* const found = FindShard(shard);
  if (found == nullptr) return std::nullopt;
  const auto replica = std::ranges::find(found->replicas, peer, &Replica::peer);
  if (replica == found->replicas.end()) return std::nullopt;
  return replica->state;
}

const Peer* Topology::FindPeer(PeerId id) const { return FindBy(peers, id, &Peer::id); }

const Collection* Topology::FindCollection(std::string_view name) const {
  return FindBy(collections, std::string(name), &Collection::name);
}

std::string TopologyToJson(const Topology& topology) { return json::Dump(TopologyJson(topology)); }

Result<Topology> TopologyFromJson(std::string_view text) {
  HF_TRY(const Json document, json::Parse(text, "the topology"));
  return TopologyFrom(document);
}

}  // namespace holdfast
