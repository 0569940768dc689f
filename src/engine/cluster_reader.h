// Role 1 of an engine: what is there.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/replica_ref.h"
#include "model/topology.h"

namespace holdfast {

/// What one peer says of its own replica, at one instant.
struct ReplicaHealth {
  ReplicaState state = ReplicaState::kUnknown;
  /// Status of the shard is green or grey, or whatever this server shows for "not working on it".
  bool calm = false;
  /// Nothing waits to be optimized either (green): grey goes on only with the next write.
  bool optimized = false;
  /// Optimizations running on this replica's peer for this collection.
  std::uint32_t optimizations_running = 0;
  /// Operations accepted and not yet applied.
  std::uint64_t update_queue_length = 0;
  /// Number of the last operation; equal numbers on both sides prove that nothing was written.
  /// Absent when the server does not tell.
  std::optional<std::uint64_t> update_op_num;
  /// Points that were written and are not shown before they are optimized (reference 6.2).
  std::uint64_t points_deferred = 0;
  /// Predicted size of a shard tar in bytes, 0 when unknown.
  std::uint64_t bytes = 0;

  /// Deletes acknowledged now are in a snapshot taken now (measured 7).
  bool idle() const noexcept { return calm && optimizations_running == 0; }
};

/// What the operation needs; rights are checked for it.
enum class Purpose { kObserve, kBackup, kRestore };

/// Role 1: what is there.
class ClusterReader {
 public:
  virtual ~ClusterReader() = default;

  /// The whole cluster as it is now. kUnavailable when no configured URL answers;
  /// kFailedPrecondition when a load balancer stands in front (one URL, changing peer ids).
  virtual Result<Topology> ReadTopology(const CallContext& call) = 0;
  /// Fills in the sizes of the machines of `topology`'s peers, for plans that place data: one
  /// request a peer. Good for an estimate only, so what cannot be read stays 0.
  virtual void ReadSizes(const CallContext& /*call*/, Topology& /*topology*/) {}
  /// One collection's part of it, cheaper. kNotFound.
  virtual Result<Collection> ReadCollection(const CallContext& call, const std::string& name) = 0;
  /// From the replica's own peer. Optimizations count for the whole peer and collection.
  virtual Result<ReplicaHealth> ReadHealth(const CallContext& call, const ReplicaRef& replica) = 0;
  /// Of many replicas, for a plan: a whole cluster in one look where the engine can. In the order
  /// asked for; coarser than ReadHealth (update_op_num may be absent), and a replica that nothing
  /// is known of is kUnknown and not calm instead of an error. Never for the two sides of a cut.
  virtual Result<std::vector<ReplicaHealth>> ReadHealths(const CallContext& call,
                                                         const std::vector<ReplicaRef>& replicas);
  /// OK, or kPermissionDenied listing every right that is missing for `purpose` on `collections`.
  /// Changes nothing on the cluster.
  virtual Status CheckRights(const CallContext& call, Purpose purpose,
                             const std::vector<std::string>& collections) = 0;
};

}  // namespace holdfast
