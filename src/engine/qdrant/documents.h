// What nodes say, as plain values: pure readers of the documents of Qdrant's REST API
// (reference 1.1, 2.4, 2.7; transcripts). Members that are not known are ignored: newer servers.
// For .cc files only.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/json.h"
#include "model/topology.h"

namespace holdfast::qdrant {

/// `GET /cluster`.
struct NodeView {
  /// False: stand-alone, and nothing else is filled in.
  bool distributed = false;
  PeerId peer;
  /// How far this node is in the cluster's log: the larger, the newer.
  std::uint64_t commit = 0;
  /// Entries of the log that this node has and has not applied yet.
  std::uint64_t unapplied = 0;
  /// Absent while there is none.
  std::optional<PeerId> leader;
  std::map<PeerId, std::string> p2p_uris;
};
Result<NodeView> ReadNodeView(const json::Json& result);

/// A replica as `/cluster/telemetry` shows it.
struct ReplicaView {
  PeerId peer;
  ReplicaState state = ReplicaState::kUnknown;
  /// Its peer answered the node that was asked and has the shard.
  bool is_local = false;
  /// "green", "yellow", "grey", "red"; empty when not told.
  std::string status{};
  std::uint64_t points = 0;
  std::uint64_t vectors = 0;
  std::uint64_t vectors_bytes = 0;
  std::uint64_t payloads_bytes = 0;
};

struct ShardView {
  ShardId id;
  std::optional<ShardKey> key;
  std::vector<ReplicaView> replicas;
};

/// Shards, transfers and resharding of one collection.
struct CollectionView {
  std::vector<ShardView> shards;
  std::vector<ShardTransfer> transfers;
  std::string resharding;
};

/// `GET /cluster/telemetry`, level 3.
struct ClusterTelemetry {
  std::map<std::string, CollectionView> collections;
  /// Peers that answered the node that was asked.
  std::map<PeerId, bool> responsive;
};
Result<ClusterTelemetry> ReadClusterTelemetry(const json::Json& result);

/// `GET /collections/{c}/cluster`: what one peer says. Its own replicas are `is_local`; sizes are
/// 0.
struct PeerCollectionView {
  PeerId peer;
  CollectionView view;
};
Result<PeerCollectionView> ReadPeerCollectionView(const json::Json& result);

/// The views of several peers as one. A peer's own word decides whether it has a replica: one that
/// others list and that its peer, being among `views`, does not have is kUnknown. Where two tell
/// different states, the one that is not Active counts. Transfers are united; how far one is, its
/// source knows best.
CollectionView MergeViews(const std::vector<PeerCollectionView>& views);

/// Configuration of collections by name out of `GET /telemetry`, level 2, with `uuid` in it.
Result<std::map<std::string, json::Json>> ReadConfigs(const json::Json& result);

/// What a node says about one replica of its own: `GET /telemetry`, level 4.
struct LocalShardView {
  /// "green", "yellow", "grey", "red".
  std::string status;
  std::uint64_t points = 0;
  std::uint64_t vectors = 0;
  std::uint64_t vectors_bytes = 0;
  std::uint64_t payloads_bytes = 0;
  std::uint32_t segments = 0;
  /// Absent when the server keeps no log of them.
  std::optional<std::uint32_t> optimizations_running;
  std::uint64_t update_queue_length = 0;
  std::optional<std::uint64_t> update_op_num;
  std::uint64_t points_deferred = 0;
  ReplicaState state = ReplicaState::kUnknown;
};

/// Own replicas of a node, and what it is doing with snapshots.
struct NodeTelemetry {
  std::map<std::pair<std::string, ShardId>, LocalShardView> shards;
  struct Snapshots {
    std::uint64_t creating = 0;
    std::uint64_t recovering = 0;
  };
  std::map<std::string, Snapshots> snapshots;
};
/// `self` names the node, whose own state is read; a stand-alone node lists none and is Active.
Result<NodeTelemetry> ReadNodeTelemetry(const json::Json& result, PeerId self);

/// `payload_schema` of `GET /collections/{c}`, ascending by field. The schema is the one that makes
/// an equal index again: `params` as they are, else the type's name (reference 2.6).
std::vector<PayloadIndex> ReadPayloadSchema(const json::Json& result);

/// `GET /aliases`: alias to collection.
Result<std::map<std::string, std::string>> ReadAliases(const json::Json& result);

/// Names out of `GET /collections`.
Result<std::vector<std::string>> ReadCollectionNames(const json::Json& result);

}  // namespace holdfast::qdrant
