// What chance does to a simulated cluster: how it is made, what happens to it, what fails.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "testing/faulty_object_store.h"
#include "testing/scripted_engine.h"

namespace holdfast::testing {

/// One to six peers, with slow or fast streams and states.
ScriptedOptions ClusterOptions(Random& random, std::uint64_t seed);

struct MadeCollection {
  std::string name;
  std::vector<ShardKey> keys;
  /// Points that writers write to, in each key.
  std::uint64_t ids = 0;
};

/// One to six collections: plain or with shard keys, of which some are dropped again, empty ones,
/// with aliases and indexes.
std::vector<MadeCollection> AddCollections(Random& random, ScriptedEngine& engine);

/// Something that happens in a cluster by itself: peers, replicas, optimizers, transfers. Says
/// what.
std::string MakeEvent(Random& random, ScriptedEngine& engine);

/// The cluster comes to rest: all peers answer, all replicas that were Active once are again.
void Heal(ScriptedEngine& engine);

/// Some call of the cluster, or one of those up to `last`, fails: before its effect or after it.
/// Says which.
std::string AddCallFault(Random& random, ScriptedEngine& engine, EngineCall last);

/// One fault of the cluster or of the store, somewhere in the run. Says which. Flipped bits only
/// where something is there to find them: a shard's stream has no checksum of its own.
std::string AddFault(Random& random, ScriptedEngine& engine, FaultyObjectStore& store);

}  // namespace holdfast::testing
