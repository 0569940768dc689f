// Role 4 of an engine: writing, for restore.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "engine/replica_ref.h"
#include "model/topology.h"
#include "stream/byte_source.h"

namespace holdfast {

struct ShardKeySpec {
  ShardKey key;
  std::uint32_t shards = 1;
  std::uint32_t replication_factor = 1;
  /// Peers to place on; empty: the server's choice.
  std::vector<PeerId> placement;
};

struct AliasMove {
  std::string alias;
  /// Collection it shall point to; it is created or switched.
  std::string to;
};

/// Role 4: writing, for restore. Nothing is ever retried blindly after a timeout: the caller reads
/// the state again (reference 1.2).
class ClusterWriter {
 public:
  virtual ~ClusterWriter() = default;

  /// `create_json` with another name; auto sharding makes its shards at once, custom sharding none.
  /// `replication_factor` 0 keeps the recorded one. kAlreadyExists.
  virtual Status CreateCollection(const CallContext& call, const std::string& name,
                                  const Collection& as, std::uint32_t replication_factor) = 0;
  /// OK when it is gone.
  virtual Status DropCollection(const CallContext& call, const std::string& name) = 0;
  virtual Status CreateShardKey(const CallContext& call, const std::string& collection,
                                const ShardKeySpec& spec) = 0;
  virtual Status DropShardKey(const CallContext& call, const std::string& collection,
                              const ShardKey& key) = 0;
  virtual Status CreateIndex(const CallContext& call, const std::string& collection,
                             const PayloadIndex& index) = 0;
  /// Sends the shard tar to one peer (`priority=no_sync`, measured 11). A peer without a replica of
  /// the shard gets one (measured 12). `sha256` is required.
  virtual Status SendShard(const CallContext& call, const ReplicaRef& to, ByteSource& tar,
                           std::uint64_t bytes, std::string_view sha256) = 0;
  virtual Status DropReplica(const CallContext& call, const ReplicaRef& replica) = 0;
  /// Deletes points by id (JSON texts) through the collection, applied when it returns.
  virtual Status DeletePoints(const CallContext& call, const std::string& collection,
                              const std::optional<ShardKey>& key,
                              const std::vector<std::string>& ids) = 0;
  /// All in one call: readers see all of them or none (measured 19). When it returns OK every peer
  /// that answers has seen it.
  virtual Status SwitchAliases(const CallContext& call, const std::vector<AliasMove>& moves) = 0;
  /// Sets one key of the cluster's metadata; `value_json` is any JSON value. kFailedPrecondition on
  /// a stand-alone server, which has none.
  virtual Status SetMetadata(const CallContext& call, const std::string& key,
                             const std::string& value_json) = 0;
  /// Applies finish_json; a no-op for "{}".
  virtual Status FinishCollection(const CallContext& call, const std::string& name,
                                  const Collection& as) = 0;
};

}  // namespace holdfast
