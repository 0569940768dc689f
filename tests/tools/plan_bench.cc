// Times plans over a large cluster, for ./dev bench: 100 peers, 1,000 collections, 10,000 shards of
// two replicas. Prints one JSON object a line: {"what","seconds":[...]}, the median to be taken.

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "model/group.h"
#include "model/topology.h"
#include "plan/backup_plan.h"
#include "plan/rebalance_plan.h"
#include "plan/restore_plan.h"

namespace holdfast {
namespace {

constexpr std::uint64_t kPeers = 100;
constexpr std::uint32_t kCollections = 1000;
constexpr std::uint32_t kShards = 10;
constexpr std::uint64_t kReplicas = 2;
constexpr std::uint64_t kShardBytes = 256U << 20U;

Topology Cluster(std::uint64_t peers) {
  Topology topology;
  topology.engine = "qdrant";
  for (std::uint64_t id = 1; id <= peers; ++id) {
    Peer peer;
    peer.id = PeerId(id);
    peer.url = "http://10.0.0.1:6333";
    peer.answers = true;
    peer.version = "1.18.3";
    peer.disk_bytes = 1ULL << 44U;
    topology.peers.push_back(std::move(peer));
  }
  return topology;
}

/// All collections on the first `used` peers, as they are after some have come.
Topology Filled(std::uint64_t used) {
  Topology topology = Cluster(kPeers);
  for (std::uint32_t c = 0; c < kCollections; ++c) {
    Collection collection;
    collection.name = "collection-" + std::to_string(10'000 + c);
    collection.uuid = collection.name;
    collection.create_json = R"({"vectors":{"size":256,"distance":"Cosine"},"shard_number":10})";
    collection.finish_json = "{}";
    collection.shard_number = kShards;
    collection.replication_factor = kReplicas;
    collection.points = 1'000'000;
    collection.bytes = kShardBytes * kShards;
    for (std::uint32_t s = 0; s < kShards; ++s) {
      Shard shard;
      shard.id = ShardId(s);
      for (std::uint64_t r = 0; r < kReplicas; ++r) {
        const std::uint64_t peer = 1 + (c * 7ULL + s * kReplicas + r) % used;
        shard.replicas.push_back({.peer = PeerId(peer), .state = ReplicaState::kActive});
      }
      std::ranges::sort(shard.replicas, {}, &Replica::peer);
      collection.shards.push_back(std::move(shard));
    }
    topology.collections.push_back(std::move(collection));
  }
  return topology;
}

/// A group of that cluster, without images' contents.
void MakeGroup(const Topology& topology, GroupManifest& manifest,
               std::map<std::string, CollectionRecord>& records) {
  manifest.id = GroupId("bench");
  manifest.topology = topology;
  for (const Collection& collection : topology.collections) {
    CollectionSummary summary;
    summary.name = collection.name;
    manifest.collections.push_back(std::move(summary));
    CollectionRecord record;
    record.collection = collection;
    for (const Shard& shard : collection.shards) {
      ShardImage image;
      image.shard = shard.id;
      image.tar_bytes = kShardBytes;
      record.shards.push_back(std::move(image));
    }
    records[collection.name] = std::move(record);
  }
}

void Measure(const char* what, int repetitions, const std::function<bool()>& work) {
  std::printf(R"({"what":"%s","seconds":[)", what);
  for (int i = 0; i < repetitions; ++i) {
    const MonotonicTime began = SystemClock().Monotonic();
    if (!work()) {
      std::fprintf(stderr, "plan_bench: %s failed\n", what);
      std::exit(1);
    }
    const Duration took = SystemClock().Monotonic() - began;
    std::printf("%s%.6f", i == 0 ? "" : ",", static_cast<double>(took.count()) / 1e6);
  }
  std::printf("]}\n");
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) {
  using namespace holdfast;  // NOLINT(google-build-using-namespace): this program's own.
  int repetitions = 5;
  const std::string_view told = argc > 1 ? argv[1] : "";
  if (std::from_chars(told.begin(), told.end(), repetitions).ptr != told.end()) {
    std::fprintf(stderr, "Usage: plan_bench [REPETITIONS]\n");
    return 2;
  }
  const Topology full = Filled(kPeers);
  const std::string text = TopologyToJson(full);
  GroupManifest manifest;
  std::map<std::string, CollectionRecord> records;
  MakeGroup(full, manifest, records);
  const Topology empty = Cluster(kPeers);
  const Topology fewer = Cluster(kPeers / 3);
  const Topology crowded = Filled(kPeers * 4 / 5);
  RestoreRequest crowd;
  crowd.allow_consolidation = true;

  Measure("read the topology's JSON", repetitions, [&] { return TopologyFromJson(text).ok(); });
  Measure("plan a restore onto as many peers", repetitions,
          [&] { return PlanRestore(manifest, records, empty, {}).ok(); });
  Measure("plan a restore onto a third of the peers", repetitions,
          [&] { return PlanRestore(manifest, records, fewer, crowd).ok(); });
  Measure("plan a rebalance of an even cluster", repetitions,
          [&] { return PlanRebalance(full, {}).ok(); });
  Measure("plan a rebalance onto a quarter more peers", repetitions,
          [&] { return PlanRebalance(crowded, {}).ok(); });
  return 0;
}
