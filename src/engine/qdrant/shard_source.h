// Takes shards: streams, and snapshots that nodes store. For .cc files only.

#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "engine/engine.h"
#include "engine/qdrant/cluster_reader.h"
#include "engine/qdrant/node_api.h"
#include "engine/qdrant/peer_directory.h"

namespace holdfast::qdrant {

/// Thread-safe.
class QdrantShardSource {
 public:
  /// All must outlive the object.
  QdrantShardSource(const NodeApi& api, PeerDirectory& directory, QdrantClusterReader& reader)
      : api_(api), directory_(directory), reader_(reader) {}

  Status StreamShard(const CallContext& call, const ReplicaRef& replica, const StreamLimits& limits,
                     ByteSink& sink, CaptureObserver& observer);
  Result<StoredSnapshot> CreateSnapshot(const CallContext& call, PeerId peer,
                                        const std::string& collection, std::optional<ShardId> shard,
                                        CaptureObserver& observer);
  Status DownloadSnapshot(const CallContext& call, const StoredSnapshot& snapshot,
                          const StreamLimits& limits, ByteSink& sink);
  Status DeleteSnapshot(const CallContext& call, const StoredSnapshot& snapshot);
  Result<std::vector<StoredSnapshot>> ListSnapshots(const CallContext& call, PeerId peer,
                                                    const std::string& collection);

 private:
  /// What names a snapshot but for the second it was made in.
  using Place = std::tuple<PeerId, std::string, std::optional<ShardId>>;

  Status WaitForNextSecond(const CallContext& call, const Place& place);

  const NodeApi& api_;
  PeerDirectory& directory_;
  QdrantClusterReader& reader_;
  std::mutex mutex_;
  /// When the last snapshot was made at a place; places of the last seconds only.
  std::map<Place, MonotonicTime> made_;
};

}  // namespace holdfast::qdrant
