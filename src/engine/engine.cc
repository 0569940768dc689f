#include "engine/engine.h"

#include <utility>

namespace holdfast {

std::string Describe(const ReplicaRef& replica) {
  return "shard " + std::to_string(replica.shard.value()) + " of '" + replica.collection +
         "' on peer " + std::to_string(replica.peer.value());
}

std::string Describe(const TransferRef& transfer) {
  return "shard " + std::to_string(transfer.shard.value()) + " of '" + transfer.collection +
         "' from peer " + std::to_string(transfer.from.value()) + " to peer " +
         std::to_string(transfer.to.value());
}

bool IsTransfer(const ShardTransfer& listed, const TransferRef& transfer) {
  return listed.shard == transfer.shard && listed.from == transfer.from &&
         listed.to == transfer.to && (!listed.to_shard || *listed.to_shard == listed.shard);
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
