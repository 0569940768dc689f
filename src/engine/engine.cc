#include "engine/engine.h"

#include <utility>

namespace holdfast {

std::string Describe(const ReplicaRef& replica) {
  return "shard " + std::to_string(replica.shard.value()) + " of '" + replica.collection +
         "' on peer " + std::to_string(replica.peer.value());
}

Result<std::vector<ReplicaHealth>> ClusterReader::ReadHealths(
    const CallContext& call, const std::vector<ReplicaRef>& replicas) {
  std::vector<ReplicaHealth> healths;
  healths.reserve(replicas.size());
  for (const ReplicaRef& replica : replicas) {
    Result<ReplicaHealth> health = ReadHealth(call, replica);
    if (!health.ok() && (health.error().code() == ErrorCode::kCancelled ||
                         health.error().code() == ErrorCode::kDeadlineExceeded ||
                         health.error().code() == ErrorCode::kPermissionDenied)) {
      return std::move(health).error();
    }
    healths.push_back(health.ok() ? *std::move(health) : ReplicaHealth());
  }
  return healths;
}

}  // namespace holdfast
