// Resharding in place, one call of the server at a time. For .cc files only.

#pragma once

#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "engine/qdrant/node_api.h"
#include "engine/qdrant/peer_directory.h"
#include "engine/resharder.h"

namespace holdfast::qdrant {

/// As holdfast::Resharder says. What a call changes has been applied by every peer that answers
/// when it returns: the next call may go to any of them, and cleaning a replica whose peer has not
/// heard of kCommitRead would delete points that it still answers with. Nothing is sent twice.
/// Thread-safe.
class QdrantResharder {
 public:
  /// Both must outlive the object.
  QdrantResharder(const NodeApi& api, PeerDirectory& directory)
      : api_(api), directory_(directory) {}

  Result<bool> CanReshard(const CallContext& call);
  Result<std::optional<Resharding>> ReadResharding(const CallContext& call,
                                                   const std::string& collection);
  Status StartResharding(const CallContext& call, const std::string& collection,
                         const Resharding& wanted);
  Status MigratePoints(const CallContext& call, const ReplicaRef& from, const ReplicaRef& to);
  Status FinishMigration(const CallContext& call, const ReplicaRef& replica);
  Status TakeStep(const CallContext& call, const std::string& collection, ReshardStep step);
  Status CleanReplica(const CallContext& call, const ReplicaRef& replica);

 private:
  /// One operation of `POST /collections/{c}/cluster` (reference 5).
  Status Change(const CallContext& call, const std::string& collection, const json::Json& body,
                const std::string& doing);
  /// Waits until the peers that answer have applied what the leader has.
  Status WaitApplied(const CallContext& call, const std::string& doing);

  const NodeApi& api_;
  PeerDirectory& directory_;
};

/// `resharding_operations` of `GET /collections/{c}/cluster`; the server has one at most.
Result<std::optional<Resharding>> ReadReshardingOperations(const json::Json& result);

}  // namespace holdfast::qdrant
