// Changes the cluster: collections, shard keys, replicas, aliases, points. Nothing is sent twice.
// For .cc files only.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "engine/qdrant/cluster_reader.h"
#include "engine/qdrant/node_api.h"
#include "engine/qdrant/peer_directory.h"

namespace holdfast::qdrant {

/// Every change goes through consensus. kDeadlineExceeded and kAborted mean that it may have been
/// applied, or be applied later (reference 1.2): the caller reads the state and decides again. What
/// is made or dropped is waited for on every peer that answers, so that the next call may go to any
/// of them. Thread-safe.
class QdrantClusterWriter {
 public:
  /// All must outlive the object.
  QdrantClusterWriter(const NodeApi& api, PeerDirectory& directory, QdrantClusterReader& reader)
      : api_(api), directory_(directory), reader_(reader) {}

  /// write_consistency_factor is lowered to the replication factor where it would be larger, since
  /// no write could succeed otherwise. While a peer is dead the server would wait the whole timeout
  /// for its replicas (measured 18): then it gets a short one, and what the other peers got is
  /// waited for here.
  Status CreateCollection(const CallContext& call, const std::string& name, const Collection& as,
                          std::uint32_t replication_factor);
  Status DropCollection(const CallContext& call, const std::string& name);
  Status CreateShardKey(const CallContext& call, const std::string& collection,
                        const ShardKeySpec& spec);
  Status DropShardKey(const CallContext& call, const std::string& collection, const ShardKey& key);
  Status CreateIndex(const CallContext& call, const std::string& collection,
                     const PayloadIndex& index);
  /// The server unpacks and loads before it answers; it is waited for as long as it says that it
  /// does, and a time by size that its hashing may take.
  Status SendShard(const CallContext& call, const ReplicaRef& to, ByteSource& tar,
                   std::uint64_t bytes, std::string_view sha256);
  Status DropReplica(const CallContext& call, const ReplicaRef& replica);
  Status DeletePoints(const CallContext& call, const std::string& collection,
                      const std::optional<ShardKey>& key, const std::vector<std::string>& ids);
  Status SwitchAliases(const CallContext& call, const std::vector<AliasMove>& moves);
  Status SetMetadata(const CallContext& call, const std::string& key,
                     const std::string& value_json);
  Status FinishCollection(const CallContext& call, const std::string& name, const Collection& as);

 private:
  Result<json::Json> Change(const CallContext& call, HttpMethod method, const Url& url,
                            const json::Json& body, const std::string& doing,
                            std::optional<Duration> at_most = std::nullopt);
  Status DisableForeignQuantization(const CallContext& call, const std::string& name,
                                    const json::Json& body);
  /// PUT of what makes shards. False when a peer is dead, so that the server was not given the time
  /// to wait for all replicas: whether it was made at all and is ready must be looked at.
  Result<bool> MakeShards(const CallContext& call, const Url& url, const json::Json& body,
                          const std::string& doing);
  /// It exists there, and the replicas there are Active.
  Result<bool> IsReady(const CallContext& call, const Url& url, const std::string& name);
  Result<bool> Exists(const CallContext& call, const Url& url, const std::string& name);
  Result<bool> HasKey(const CallContext& call, const Url& url, const std::string& name,
                      const ShardKey& key);

  const NodeApi& api_;
  PeerDirectory& directory_;
  QdrantClusterReader& reader_;
};

}  // namespace holdfast::qdrant
