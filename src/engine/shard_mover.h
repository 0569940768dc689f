// Role 5 of an engine: shards on their way from one peer to another, copied by the servers.

#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "model/topology.h"

namespace holdfast {

/// Names one transfer. A cluster has at most one of these at a time.
struct TransferRef {
  std::string collection;
  ShardId shard;
  PeerId from;
  PeerId to;

  friend bool operator==(const TransferRef&, const TransferRef&) = default;
};

/// "shard 3 of 'docs' from peer 1 to peer 2".
std::string Describe(const TransferRef& transfer);

/// True when `listed`, as a collection of that name shows it, is `transfer`. A transfer into
/// another shard (resharding) never is.
bool IsTransfer(const ShardTransfer& listed, const TransferRef& transfer);

/// What becomes of the source once the target is Active.
enum class TransferKind {
  /// It goes: the shard has moved.
  kMove,
  /// It stays: the shard has another replica.
  kReplicate,
};

/// How far the servers say that a transfer is; both 0 while they do not.
struct TransferProgress {
  std::uint64_t points_done = 0;
  std::uint64_t points_total = 0;
};

/// Role 5: transfers. Nothing is ever retried blindly after a timeout: the caller reads the state
/// again (reference 1.2).
///
/// A transfer is listed in Collection::transfers while it runs. It has succeeded when it is gone
/// and the target is Active; when it is gone and the target is not, it has failed, and the target
/// is Dead (kReplicate: the servers may try to recover it by themselves) or not there any more
/// (kMove).
class ShardMover {
 public:
  virtual ~ShardMover() = default;

  /// Starts a transfer; returns when the cluster has agreed on it, long before the data is there.
  /// The engine chooses the method, one that never brings deleted points back.
  /// kFailedPrecondition, and nothing is changed, when the target has a replica already, the source
  /// is not Active, or another transfer of the shard is under way at one of the two;
  /// kDeadlineExceeded and kAborted: it may have begun, or begin later.
  virtual Status StartTransfer(const CallContext& call, const TransferRef& transfer,
                               TransferKind kind) = 0;
  /// Ends a transfer without success; OK when it is gone, however that came.
  virtual Status AbortTransfer(const CallContext& call, const TransferRef& transfer) = 0;
  /// Read out of what the transfer says of itself; asks nobody.
  virtual TransferProgress ProgressOf(const ShardTransfer& transfer) const = 0;
};

}  // namespace holdfast
