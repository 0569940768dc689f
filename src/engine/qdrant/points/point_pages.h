// Pages of whole points for a logical copy, and writing them. For .cc files only.

#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/qdrant/node_api.h"
#include "engine/qdrant/peer_directory.h"

namespace holdfast::qdrant {

/// Points go through it as the text that the server printed. Thread-safe.
class QdrantPointPages {
 public:
  /// Both must outlive the object.
  QdrantPointPages(const NodeApi& api, PeerDirectory& directory)
      : api_(api), directory_(directory) {}

  /// The server bounds a page by points alone, so it is asked for as many as should fit by what the
  /// shard's points were large before; what is too much is left for the next page.
  Result<PointPage> ReadPage(const CallContext& call, const ReplicaRef& replica,
                             const std::string& after, const PageLimits& limits);

  /// Through the peers that answer, in turn. Bodies stay below what a server takes (32 MiB,
  /// reference 0.1) unless a single point is larger.
  Status UpsertPoints(const CallContext& call, const std::string& collection,
                      const std::optional<ShardKey>& key, const std::vector<SourcePoint>& points);

 private:
  Result<std::string> Scroll(const CallContext& call, const ReplicaRef& replica,
                             const std::string& after, std::uint32_t& limit);
  std::uint32_t PointsToAskFor(const ReplicaRef& replica, const PageLimits& limits);
  Result<Url> NextUrl(const CallContext& call);

  const NodeApi& api_;
  PeerDirectory& directory_;
  std::atomic<std::size_t> turn_ = 0;
  std::mutex mutex_;
  /// Mean size of a point in the last page of a shard; of the last kSizesMax shards that were read.
  std::map<std::pair<std::string, ShardId>, std::uint64_t> sizes_;
};

/// The points of a scroll's answer: {"result":{"points":[...],"next_page_offset":...}}.
/// kUnavailable when it is no such text.
Result<PointPage> PageFromAnswer(std::string_view answer);

/// The body of an upsert.
std::string UpsertBody(const std::optional<ShardKey>& key, const SourcePoint* begin,
                       const SourcePoint* end);

}  // namespace holdfast::qdrant
