// Reads points: from one replica alone, and questions to the whole collection. For .cc files only.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/qdrant/node_api.h"
#include "engine/qdrant/peer_directory.h"

namespace holdfast::qdrant {

/// Per-replica reads run on the node's own replica, whatever its state (reference 6.2).
/// Thread-safe.
class QdrantPointReader {
 public:
  /// Both must outlive the object.
  QdrantPointReader(const NodeApi& api, PeerDirectory& directory)
      : api_(api), directory_(directory) {}

  Result<PointCounts> CountPoints(const CallContext& call, const ReplicaRef& replica);
  Result<std::vector<std::string>> ListIds(const CallContext& call, const ReplicaRef& replica,
                                           const std::string& after, std::uint32_t limit);
  Result<std::vector<SampledPoint>> ReadPoints(const CallContext& call, const ReplicaRef& replica,
                                               const std::vector<std::string>& ids);
  Result<GoldenQuery> Ask(const CallContext& call, const std::string& name,
                          const GoldenQuery& query);

 private:
  Result<std::uint64_t> Count(const CallContext& call, const Url& shard_url,
                              const json::Json& body);
  Result<PointCounts> CountWithoutShardCalls(const CallContext& call, const Url& url,
                                             const ReplicaRef& replica, const Error& problem);
  Result<json::Json> Scroll(const CallContext& call, const Url& url, const ReplicaRef& replica,
                            json::Json body, std::uint32_t limit);

  const NodeApi& api_;
  PeerDirectory& directory_;
};

/// Questions made from `samples`: for each vector of the collection the ten nearest to the vector
/// of the first sample that has one, exact (reference 6.2). None when strict mode refuses exact
/// questions: answers by the index are not the same on a restored collection.
Result<std::vector<GoldenQuery>> MakeGoldenQueries(const Collection& collection,
                                                   const std::vector<SampledPoint>& samples);

}  // namespace holdfast::qdrant
