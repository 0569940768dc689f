// A cluster when a group was taken and now, side by side. Pure.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/group.h"
#include "model/topology.h"
#include "plan/restore_plan.h"

namespace holdfast {

/// One line of the comparison, for people.
struct RestoreDifference {
  std::string what;
  std::string then;
  std::string now;
};

/// Peers, versions, then every peer with the replicas and bytes it had and gets, then every
/// collection whose number of shards or replication changes. `now` is what holds once `plan` is
/// carried out. Of collections that are copied the servers place the shards: no figures then.
std::vector<RestoreDifference> CompareThenAndNow(
    const GroupManifest& manifest, const std::map<std::string, CollectionRecord>& records,
    const Topology& target, const RestorePlan& plan);

}  // namespace holdfast
