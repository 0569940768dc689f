// Reads what is there: topology, collections, health of replicas. For .cc files only.

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/qdrant/documents.h"
#include "engine/qdrant/node_api.h"
#include "engine/qdrant/peer_directory.h"
#include "engine/qdrant/shared_read.h"

namespace holdfast::qdrant {

/// Requests of one ReadTopology: about two a peer, one a collection, and five more. Thread-safe.
class QdrantClusterReader {
 public:
  /// Both must outlive the object.
  QdrantClusterReader(const NodeApi& api, PeerDirectory& directory)
      : api_(api), directory_(directory), configs_(api.clock()) {}

  Result<Topology> ReadTopology(const CallContext& call);
  void ReadSizes(const CallContext& call, Topology& topology);
  Result<Collection> ReadCollection(const CallContext& call, const std::string& name);
  Result<ReplicaHealth> ReadHealth(const CallContext& call, const ReplicaRef& replica);
  Result<std::vector<ReplicaHealth>> ReadHealths(const CallContext& call,
                                                 const std::vector<ReplicaRef>& replicas);
  Status CheckRights(const CallContext& call, Purpose purpose,
                     const std::vector<std::string>& collections);

  /// What a node says of its own replicas, read after the call began.
  Result<std::shared_ptr<const NodeTelemetry>> ReadNode(const CallContext& call, PeerId peer,
                                                        const Url& url);

 private:
  using Configs = std::map<std::string, json::Json>;
  /// The parts of a topology that are read once for all collections.
  struct Parts {
    Configs configs;
    std::map<std::string, std::string> aliases;
    std::map<std::string, std::string> metadata;
    /// Absent when the server has no such call.
    std::optional<ClusterTelemetry> telemetry;
  };

  Status ReadVersions(const CallContext& call, const LocatedCluster& located,
                      std::vector<Peer>& peers);
  Result<Parts> ReadParts(const CallContext& call, const Url& url, bool distributed);
  Result<std::optional<ClusterTelemetry>> ReadClusterWide(const CallContext& call, const Url& url);
  Result<std::map<std::string, std::string>> ReadMetadata(const CallContext& call, const Url& url);
  Result<Configs> ReadAllConfigs(const CallContext& call, const Url& url);
  /// Shards as each of the peers sees them. kNotFound when none knows the collection.
  Result<CollectionView> AskPeers(const CallContext& call, const std::string& name,
                                  const std::vector<LocatedPeer>& peers, bool distributed);
  /// Fills in shards from `view`, and indexes and points from the collection's own document.
  Status Describe(const CallContext& call, const Url& url, const CollectionView& view,
                  const std::map<PeerId, bool>& answering, Collection& collection);
  Result<ReplicaHealth> HealthFrom(const CallContext& call, const Url& url,
                                   const ReplicaRef& replica, const LocalShardView& shard);
  Status CheckRight(const CallContext& call, HttpRequest request, const std::string& what,
                    std::vector<std::string>& missing);

  const NodeApi& api_;
  PeerDirectory& directory_;
  SharedRead<Configs> configs_;
  std::mutex mutex_;
  std::map<PeerId, std::unique_ptr<SharedRead<NodeTelemetry>>> nodes_;
};

/// Bytes that a shard tar will probably have: more often too many than too few.
std::uint64_t PredictTarBytes(const LocalShardView& shard);

}  // namespace holdfast::qdrant
