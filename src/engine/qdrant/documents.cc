#include "engine/qdrant/documents.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <tuple>
#include <utility>

#include "model/topology_json.h"

namespace holdfast::qdrant {
namespace {

using json::Json;
using json::Member;
using json::Reader;

// The state that a stand-alone server's only replica is in, since it names no states.
constexpr ReplicaState kStandaloneState = ReplicaState::kActive;

std::uint64_t NumberOr(const Json& value, std::uint64_t fallback) {
  return value.is_number_unsigned() ? value.get<std::uint64_t>() : fallback;
}

std::string TextOr(const Json& value, std::string_view fallback) {
  return value.is_string() ? value.get<std::string>() : std::string(fallback);
}

// Peer ids are numbers as values and texts as names of members.
Result<PeerId> PeerIdFrom(const std::string& text) {
  std::uint64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || end != text.data() + text.size()) {
    return Error(ErrorCode::kUnavailable, "'" + text + "' is not a peer id");
  }
  return PeerId(number);
}

// A member that must be there is missing: this is not the API, or one that we do not know.
Error Malformed(const Error& error) {
  return Error(ErrorCode::kUnavailable, "unexpected answer: " + error.message(),
               "check that the address is that of a Qdrant server of version 1.17 or newer");
}

Result<std::optional<ShardKey>> KeyFrom(const Json& value) {
  if (value.is_null()) return std::optional<ShardKey>();
  HF_TRY(ShardKey key, ShardKeyFrom(value));
  return std::optional<ShardKey>(std::move(key));
}

Result<std::vector<ShardTransfer>> TransfersFrom(const Json& list) {
  std::vector<ShardTransfer> transfers;
  if (!list.is_array()) return transfers;
  for (const Json& item : list) {
    Reader in(item, "a shard transfer");
    ShardTransfer transfer;
    transfer.shard = ShardId(in.Number32("shard_id"));
    transfer.from = PeerId(in.Number("from"));
    transfer.to = PeerId(in.Number("to"));
    transfer.method = TextOr(in.At("method"), "");
    transfer.comment = TextOr(in.At("comment"), "");
    if (in.Has("to_shard_id")) transfer.to_shard = ShardId(in.Number32("to_shard_id"));
    if (const Status status = in.status(); !status.ok()) return Malformed(status.error());
    transfers.push_back(std::move(transfer));
  }
  return transfers;
}

std::string ReshardingFrom(const Json& list) {
  if (!list.is_array() || list.empty()) return {};
  const Json& first = list.front();
  std::string text = "resharding " + TextOr(Member(first, "direction"), "in some direction");
  if (const Json& shard = Member(first, "shard_id"); shard.is_number_unsigned()) {
    text += ", shard " + json::Dump(shard);
  }
  if (const Json& peer = Member(first, "peer_id"); peer.is_number_unsigned()) {
    text += " on peer " + json::Dump(peer);
  }
  if (const Json& key = Member(first, "shard_key"); !key.is_null()) {
    text += ", shard key " + json::Dump(key);
  }
  return text;
}

Result<ShardView> ShardFrom(const Json& item) {
  Reader in(item, "a shard");
  ShardView shard;
  shard.id = ShardId(in.Number32("id"));
  HF_TRY(shard.key, KeyFrom(in.At("key")));
  for (const Json& entry : in.Array("replicas")) {
    Reader replica(entry, "a replica");
    ReplicaView view;
    view.peer = PeerId(replica.Number("peer_id"));
    view.state = ReplicaStateFromName(replica.Text("state"));
    // Only its own peer tells these (measured 18).
    view.is_local = replica.Has("status") || replica.Has("num_points");
    view.status = TextOr(replica.At("status"), "");
    view.points = NumberOr(replica.At("num_points"), 0);
    view.vectors = NumberOr(replica.At("num_vectors"), 0);
    view.vectors_bytes = NumberOr(replica.At("vectors_size_bytes"), 0);
    view.payloads_bytes = NumberOr(replica.At("payloads_size_bytes"), 0);
    if (const Status status = replica.status(); !status.ok()) return Malformed(status.error());
    shard.replicas.push_back(std::move(view));
  }
  if (const Status status = in.status(); !status.ok()) return Malformed(status.error());
  std::ranges::sort(shard.replicas, {}, &ReplicaView::peer);
  return shard;
}

std::optional<std::uint32_t> RunningIn(const Json& optimizations) {
  std::uint32_t running = 0;
  const Json& log = Member(optimizations, "log");
  if (!log.is_array()) return std::nullopt;
  for (const Json& entry : log) {
    // Ended ones are "done", {"cancelled": ...} or {"error": ...}.
    if (TextOr(Member(entry, "status"), "") == "optimizing") ++running;
  }
  return running;
}

LocalShardView LocalFrom(const Json& shard, const Json& local, PeerId self) {
  LocalShardView view;
  view.status = TextOr(Member(local, "status"), "");
  view.points = NumberOr(Member(local, "num_points"), 0);
  view.vectors = NumberOr(Member(local, "num_vectors"), 0);
  view.vectors_bytes = NumberOr(Member(local, "vectors_size_bytes"), 0);
  view.payloads_bytes = NumberOr(Member(local, "payloads_size_bytes"), 0);
  const Json& segments = Member(local, "segments");
  view.segments = segments.is_array() ? static_cast<std::uint32_t>(segments.size()) : 0;
  view.optimizations_running = RunningIn(Member(local, "optimizations"));
  const Json& queue = Member(local, "update_queue");
  view.update_queue_length = NumberOr(Member(queue, "length"), 0);
  view.points_deferred = NumberOr(Member(queue, "deferred_points"), 0);
  if (const Json& op_num = Member(queue, "op_num"); op_num.is_number_unsigned()) {
    view.update_op_num = op_num.get<std::uint64_t>();
  }
  const Json& states = Member(shard, "replicate_states");
  const Json& state = Member(states, std::to_string(self.value()).c_str());
  if (state.is_string()) {
    view.state = ReplicaStateFromName(state.get<std::string>());
  } else if (!states.is_object() || states.size() <= 1) {
    view.state = states.is_object() && states.size() == 1 && states.begin()->is_string()
                     ? ReplicaStateFromName(states.begin()->get<std::string>())
                     : kStandaloneState;
  }
  return view;
}

// The less healthy of two words about one replica.
ReplicaState Worse(ReplicaState a, ReplicaState b) { return a == ReplicaState::kActive ? b : a; }

}  // namespace

Result<NodeView> ReadNodeView(const Json& result) {
  NodeView view;
  const std::string status = TextOr(Member(result, "status"), "");
  if (status == "disabled") return view;
  Reader in(result, "the cluster's state");
  view.distributed = true;
  view.peer = PeerId(in.Number("peer_id"));
  const Json& raft = in.At("raft_info");
  view.commit = NumberOr(Member(raft, "commit"), 0);
  view.unapplied = NumberOr(Member(raft, "pending_operations"), 0);
  if (const Json& leader = Member(raft, "leader"); leader.is_number_unsigned()) {
    view.leader = PeerId(leader.get<std::uint64_t>());
  }
  if (const Status read = in.status(); !read.ok()) return Malformed(read.error());
  for (const auto& [id, peer] : in.At("peers").items()) {
    HF_TRY(const PeerId parsed, PeerIdFrom(id));
    view.p2p_uris[parsed] = TextOr(Member(peer, "uri"), "");
  }
  // A node that joins may not list itself yet.
  view.p2p_uris.try_emplace(view.peer);
  return view;
}

Result<ClusterTelemetry> ReadClusterTelemetry(const Json& result) {
  ClusterTelemetry telemetry;
  Reader in(result, "the cluster's telemetry");
  for (const auto& [name, item] : in.At("collections").items()) {
    CollectionView& view = telemetry.collections[name];
    for (const Json& entry : Member(item, "shards")) {
      HF_TRY(ShardView shard, ShardFrom(entry));
      view.shards.push_back(std::move(shard));
    }
    std::ranges::sort(view.shards, {}, &ShardView::id);
    HF_TRY(view.transfers, TransfersFrom(Member(item, "shard_transfers")));
    view.resharding = ReshardingFrom(Member(item, "reshardings"));
  }
  for (const auto& [id, peer] : Member(in.At("cluster"), "peers").items()) {
    HF_TRY(const PeerId parsed, PeerIdFrom(id));
    telemetry.responsive[parsed] = Member(peer, "responsive") == Json(true);
  }
  if (const Status status = in.status(); !status.ok()) return Malformed(status.error());
  return telemetry;
}

Result<PeerCollectionView> ReadPeerCollectionView(const Json& result) {
  Reader in(result, "the collection's shards");
  PeerCollectionView view;
  view.peer = PeerId(in.Number("peer_id"));
  std::map<ShardId, ShardView> shards;
  const auto add = [&](const Json& item, bool local) -> Status {
    Reader replica(item, "a replica");
    const ShardId id(replica.Number32("shard_id"));
    const PeerId peer = local ? view.peer : PeerId(replica.Number("peer_id"));
    const ReplicaState state = ReplicaStateFromName(replica.Text("state"));
    if (const Status status = replica.status(); !status.ok()) return Malformed(status.error());
    ShardView& shard = shards[id];
    shard.id = id;
    HF_TRY(shard.key, KeyFrom(replica.At("shard_key")));
    ReplicaView seen;
    seen.peer = peer;
    seen.state = state;
    seen.is_local = local;
    shard.replicas.push_back(std::move(seen));
    return {};
  };
  for (const Json& item : in.Array("local_shards")) HF_RETURN_IF_ERROR(add(item, true));
  for (const Json& item : in.Array("remote_shards")) HF_RETURN_IF_ERROR(add(item, false));
  if (const Status status = in.status(); !status.ok()) return Malformed(status.error());
  for (auto& [id, shard] : shards) {
    std::ranges::sort(shard.replicas, {}, &ReplicaView::peer);
    view.view.shards.push_back(std::move(shard));
  }
  HF_TRY(view.view.transfers, TransfersFrom(in.At("shard_transfers")));
  view.view.resharding = ReshardingFrom(in.At("resharding_operations"));
  return view;
}

CollectionView MergeViews(const std::vector<PeerCollectionView>& views) {
  std::set<PeerId> asked;
  for (const PeerCollectionView& view : views) asked.insert(view.peer);
  CollectionView merged;
  std::map<ShardId, std::pair<std::optional<ShardKey>, std::map<PeerId, ReplicaView>>> shards;
  std::map<std::tuple<ShardId, PeerId, PeerId, std::optional<ShardId>>, std::size_t> transfers;
  for (const PeerCollectionView& view : views) {
    for (const ShardView& shard : view.view.shards) {
      auto& [key, replicas] = shards[shard.id];
      if (!key) key = shard.key;
      for (const ReplicaView& replica : shard.replicas) {
        const auto [known, is_new] = replicas.try_emplace(replica.peer, replica);
        if (is_new) continue;
        known->second.state = Worse(known->second.state, replica.state);
        known->second.is_local |= replica.is_local;
      }
    }
    for (const ShardTransfer& transfer : view.view.transfers) {
      const auto [known, is_new] = transfers.try_emplace(
          {transfer.shard, transfer.from, transfer.to, transfer.to_shard}, merged.transfers.size());
      if (is_new) {
        merged.transfers.push_back(transfer);
      } else if (!transfer.comment.empty() &&
                 (view.peer == transfer.from || merged.transfers[known->second].comment.empty())) {
        merged.transfers[known->second].comment = transfer.comment;
      }
    }
    if (merged.resharding.empty()) merged.resharding = view.view.resharding;
  }
  for (auto& [id, found] : shards) {
    ShardView shard{.id = id, .key = std::move(found.first), .replicas = {}};
    for (auto& [peer, replica] : found.second) {
      if (!replica.is_local && asked.contains(peer)) replica.state = ReplicaState::kUnknown;
      shard.replicas.push_back(replica);
    }
    merged.shards.push_back(std::move(shard));
  }
  return merged;
}

Result<std::map<std::string, Json>> ReadConfigs(const Json& result) {
  std::map<std::string, Json> configs;
  for (const Json& item : Member(Member(result, "collections"), "collections")) {
    const std::string name = TextOr(Member(item, "id"), "");
    if (!name.empty() && Member(item, "config").is_object()) configs[name] = item["config"];
  }
  return configs;
}

Result<NodeTelemetry> ReadNodeTelemetry(const Json& result, PeerId self) {
  NodeTelemetry telemetry;
  const Json& collections = Member(result, "collections");
  for (const Json& item : Member(collections, "collections")) {
    const std::string name = TextOr(Member(item, "id"), "");
    for (const Json& shard : Member(item, "shards")) {
      const Json& local = Member(shard, "local");
      const Json& id = Member(shard, "id");
      if (!local.is_object() || !id.is_number_unsigned()) continue;
      telemetry.shards[{name, ShardId(id.get<std::uint32_t>())}] = LocalFrom(shard, local, self);
    }
  }
  for (const Json& item : Member(collections, "snapshots")) {
    telemetry.snapshots[TextOr(Member(item, "id"), "")] = {
        .creating = NumberOr(Member(item, "running_snapshots"), 0),
        .recovering = NumberOr(Member(item, "running_snapshot_recovery"), 0)};
  }
  return telemetry;
}

std::vector<PayloadIndex> ReadPayloadSchema(const Json& result) {
  std::vector<PayloadIndex> indexes;
  for (const auto& [field, schema] : Member(result, "payload_schema").items()) {
    const Json& params = Member(schema, "params");
    const Json& body = params.is_object() ? params : Member(schema, "data_type");
    if (!body.is_null()) indexes.push_back({.field = field, .schema_json = json::Dump(body)});
  }
  std::ranges::sort(indexes, {}, &PayloadIndex::field);
  return indexes;
}

Result<std::map<std::string, std::string>> ReadAliases(const Json& result) {
  std::map<std::string, std::string> aliases;
  Reader in(result, "the aliases");
  for (const Json& item : in.Array("aliases")) {
    Reader alias(item, "an alias");
    aliases[alias.Text("alias_name")] = alias.Text("collection_name");
    if (const Status status = alias.status(); !status.ok()) return Malformed(status.error());
  }
  if (const Status status = in.status(); !status.ok()) return Malformed(status.error());
  return aliases;
}

Result<std::vector<std::string>> ReadCollectionNames(const Json& result) {
  std::vector<std::string> names;
  Reader in(result, "the collections");
  for (const Json& item : in.Array("collections")) {
    names.push_back(TextOr(Member(item, "name"), ""));
  }
  if (const Status status = in.status(); !status.ok()) return Malformed(status.error());
  std::ranges::sort(names);
  return names;
}

}  // namespace holdfast::qdrant
