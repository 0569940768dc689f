// The cluster as a backup needs to see it before it plans.

#pragma once

#include <map>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"
#include "model/topology.h"
#include "plan/backup_plan.h"

namespace holdfast {

/// Calls to peers at once while observing.
inline constexpr std::size_t kObserveAtOnce = 16;

/// Health of every Active replica whose peer answers, for `collections` (empty: all), and its exact
/// count where a shard has several of them. A replica that cannot be asked is left out, so that the
/// plan does not use it. Counts that differ are read again once: a writer may have been in between.
Result<std::map<ReplicaKey, ReplicaFacts>> ReadFacts(const CallContext& call, Engine& engine,
                                                     Clock& clock, const Topology& topology,
                                                     const std::set<std::string>& collections);

}  // namespace holdfast
