#include "ops/observe.h"

#include <mutex>
#include <utility>
#include <vector>

#include "ops/parallel.h"

namespace holdfast {
namespace {

constexpr Duration kSecondLookAfter = std::chrono::milliseconds(500);

struct Candidate {
  ReplicaRef replica;
  /// Position of the shard, to compare its replicas.
  std::pair<std::string, ShardId> shard;
};

std::vector<Candidate> Candidates(const Topology& topology,
                                  const std::set<std::string>& collections) {
  std::vector<Candidate> out;
  for (const Collection& collection : topology.collections) {
    if (!collections.empty() && !collections.contains(collection.name)) continue;
    for (const Shard& shard : collection.shards) {
      for (const Replica& replica : shard.replicas) {
        const Peer* peer = topology.FindPeer(replica.peer);
        if (replica.state != ReplicaState::kActive || peer == nullptr || !peer->answers) continue;
        out.push_back(
            {.replica = {.peer = replica.peer, .collection = collection.name, .shard = shard.id},
             .shard = {collection.name, shard.id}});
      }
    }
  }
  return out;
}

/// True for a failure that says something about the replica rather than about this run.
bool SaysReplicaIsOut(const Error& error) {
  return error.code() != ErrorCode::kCancelled && error.code() != ErrorCode::kPermissionDenied;
}

}  // namespace

Result<std::map<ReplicaKey, ReplicaFacts>> ReadFacts(const CallContext& call, Engine& engine,
                                                     Clock& clock, const Topology& topology,
                                                     const std::set<std::string>& collections) {
  const std::vector<Candidate> candidates = Candidates(topology, collections);
  std::map<std::pair<std::string, ShardId>, std::size_t> replicas;
  for (const Candidate& candidate : candidates) ++replicas[candidate.shard];
  std::map<ReplicaKey, ReplicaFacts> facts;
  std::mutex mutex;
  const auto key_of = [](const ReplicaRef& replica) {
    return ReplicaKey{replica.collection, replica.shard, replica.peer};
  };
  HF_RETURN_IF_ERROR(ForEachIndex(
      call, candidates.size(), kObserveAtOnce,
      [&](const CallContext& inner, std::size_t i) -> Status {
        const ReplicaRef& replica = candidates[i].replica;
        const auto health = engine.ReadHealth(inner, replica);
        if (!health.ok()) {
          if (SaysReplicaIsOut(health.error())) return {};
          return health.error();
        }
        ReplicaFacts known{.idle = health->idle(), .points = std::nullopt, .bytes = health->bytes};
        if (replicas[candidates[i].shard] > 1) {
          if (const auto count = engine.CountPoints(inner, replica); count.ok()) {
            known.points = count->all;
          }
        }
        const std::scoped_lock lock(mutex);
        facts[key_of(replica)] = known;
        return {};
      }));
  // Replicas that disagree are counted again together: under writers two counts are two instants.
  std::map<std::pair<std::string, ShardId>, std::set<std::uint64_t>> counts;
  for (const auto& [key, known] : facts) {
    if (known.points) counts[{key.collection, key.shard}].insert(*known.points);
  }
  std::vector<std::size_t> again;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (counts[candidates[i].shard].size() > 1) again.push_back(i);
  }
  if (again.empty()) return facts;
  HF_RETURN_IF_ERROR(clock.SleepFor(call, kSecondLookAfter));
  HF_RETURN_IF_ERROR(ForEachIndex(call, again.size(), kObserveAtOnce,
                                  [&](const CallContext& inner, std::size_t i) -> Status {
                                    const ReplicaRef& replica = candidates[again[i]].replica;
                                    const auto count = engine.CountPoints(inner, replica);
                                    if (!count.ok()) return {};
                                    const std::scoped_lock lock(mutex);
                                    facts[key_of(replica)].points = count->all;
                                    return {};
                                  }));
  return facts;
}

}  // namespace holdfast
