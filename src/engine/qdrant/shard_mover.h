// Moves and replicates shards through the servers' own transfers. For .cc files only.

#pragma once

#include "engine/engine.h"
#include "engine/qdrant/node_api.h"
#include "engine/qdrant/peer_directory.h"

namespace holdfast::qdrant {

/// The method is always `stream_records`: point by point, as readers see them. The other ones,
/// `snapshot` and `wal_delta`, which falls back to it, fetch the source's streamed shard snapshot
/// (C/shards/transfer/snapshot.rs), and one that is taken while the optimizer works brings
/// acknowledged deletes back (measured 7; run for a transfer as well). The price is that the target
/// builds its indexes anew. Thread-safe.
class QdrantShardMover {
 public:
  /// Both must outlive the object.
  QdrantShardMover(const NodeApi& api, PeerDirectory& directory)
      : api_(api), directory_(directory) {}

  Status StartTransfer(const CallContext& call, const TransferRef& transfer, TransferKind kind);
  Status AbortTransfer(const CallContext& call, const TransferRef& transfer);

 private:
  const NodeApi& api_;
  PeerDirectory& directory_;
};

/// Out of "transferring (0.08s) | Transferring records (5/7), ETA: 0.08s" (transcript 2).
TransferProgress ReadTransferComment(std::string_view comment);

}  // namespace holdfast::qdrant
