// Which peers get what of a restore. Pure; for this module.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/group.h"
#include "model/topology.h"
#include "plan/placement.h"
#include "plan/plan_findings.h"
#include "plan/restore_plan.h"

namespace holdfast {

class RestorePlacer {
 public:
  RestorePlacer(const std::map<std::string, CollectionRecord>& records, const Topology& target,
                const RestoreRequest& request, PlanFindings& findings)
      : records_(records), target_(target), request_(request), findings_(findings) {}

  /// Finds the peers that may be used. `begun`: the restore is under way, so the target has what it
  /// has made. kInvalidArgument, kFailedPrecondition for a layout that names no usable peer.
  Status FindPeers(bool begun);
  bool Uses(PeerId peer) const;
  std::size_t peers() const noexcept { return usable_.size(); }

  /// Sets replication, shards (or place_on) and bytes of the plans, and says what is given up. With
  /// `stay` the shards stay on the peers their plans gave them, as far as those may be used.
  void Place(std::vector<CollectionPlan>& plans, bool stay);

 private:
  Status Consolidate(bool begun);
  std::vector<ShardDemand> Demands(const CollectionRecord& record, const CollectionPlan& plan,
                                   bool stay) const;
  static std::vector<ShardDemand> NewShards(const CollectionPlan& plan);
  void CheckConsolidation(const CollectionRecord& record, const CollectionPlan& plan);
  void CheckRoom(const Placer& placer, const std::vector<CollectionPlan>& plans);
  void CheckMemory(const std::vector<CollectionPlan>& plans);

  const std::map<std::string, CollectionRecord>& records_;
  const Topology& target_;
  const RestoreRequest& request_;
  PlanFindings& findings_;
  /// Ascending by peer.
  std::vector<PeerRoom> usable_;
};

}  // namespace holdfast
