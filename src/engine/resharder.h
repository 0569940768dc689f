// Role 6 of an engine: changing the number of shards of a collection where it is.

#pragma once

#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "engine/replica_ref.h"
#include "model/resharding.h"

namespace holdfast {

/// What ends a resharding, in this order (measured 21):
///  kCommitRead   reads are answered from the new layout. From here on there is no way back.
///  kCommitWrite  writes go to the new layout alone
///  kFinish       the resharding is over; kDown: the shard is gone
/// or
///  kAbort        everything is as before; only before kCommitRead
enum class ReshardStep { kCommitRead, kCommitWrite, kFinish, kAbort };

/// The server only keeps the state; what is to be done next is the caller's to say. After
/// kDeadlineExceeded or kAborted a call may have been applied, or be applied later: read the state,
/// then decide again. Replicas that die abort a resharding by themselves before kCommitRead.
class Resharder {
 public:
  virtual ~Resharder() = default;

  /// Whether this cluster reshards in place at all: a setting of the server (measured 21).
  virtual Result<bool> CanReshard(const CallContext& call) = 0;
  /// What runs now; absent when nothing does. kNotFound.
  virtual Result<std::optional<Resharding>> ReadResharding(const CallContext& call,
                                                           const std::string& collection) = 0;
  /// `wanted.shard` is not looked at. kFailedPrecondition when one runs already.
  virtual Status StartResharding(const CallContext& call, const std::string& collection,
                                 const Resharding& wanted) = 0;
  /// Begins to copy the points that belong to the other replica's shard; may be done again. It runs
  /// as a transfer of `from.shard` to `to.shard` and has ended when that is not listed any more;
  /// when it fails the server aborts the whole resharding.
  virtual Status MigratePoints(const CallContext& call, const ReplicaRef& from,
                               const ReplicaRef& to) = 0;
  /// Everything that belongs to this replica's shard has been copied into it. OK when that was said
  /// before.
  virtual Status FinishMigration(const CallContext& call, const ReplicaRef& replica) = 0;
  /// OK when kCommitRead and kCommitWrite were taken before; kFailedPrecondition out of order.
  virtual Status TakeStep(const CallContext& call, const std::string& collection,
                          ReshardStep step) = 0;
  /// Deletes from one replica what belongs to other shards by the hash ring; returns when that is
  /// done. Only after kCommitRead.
  virtual Status CleanReplica(const CallContext& call, const ReplicaRef& replica) = 0;
};

}  // namespace holdfast
