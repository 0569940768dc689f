#include "plan/restore_difference.h"

#include <algorithm>
#include <cstdint>
#include <set>

#include "base/size.h"

namespace holdfast {
namespace {

/// Replicas of one peer.
struct Share {
  std::uint64_t replicas = 0;
  std::uint64_t bytes = 0;

  void Add(std::uint64_t size) {
    ++replicas;
    bytes += size;
  }
  std::string Text() const {
    return std::to_string(replicas) + (replicas == 1 ? " replica, " : " replicas, ") +
           FormatSize(bytes);
  }
};

std::string Versions(const std::vector<Peer>& peers) {
  std::set<std::string> versions;
  for (const Peer& peer : peers) {
    if (!peer.version.empty()) versions.insert(peer.version);
  }
  std::string text;
  for (const std::string& version : versions) text += (text.empty() ? "" : ", ") + version;
  return text;
}

const Peer* Find(const std::vector<Peer>& peers, PeerId id) {
  const auto found = std::ranges::find(peers, id, &Peer::id);
  return found == peers.end() ? nullptr : &*found;
}

std::string CountOf(const Topology& topology) {
  const auto silent = std::ranges::count(topology.peers, false, &Peer::answers);
  std::string text = std::to_string(topology.peers.size());
  if (silent > 0) text += ", " + std::to_string(silent) + " of them silent";
  return text;
}

/// `copied`: collections whose shards the servers place themselves, so that nobody knows yet what
/// the peer gets of them.
std::string NowOf(const Peer* peer, const Share& gets, std::size_t copied, std::size_t all) {
  if (peer == nullptr) return "gone";
  if (!peer->answers) return "silent, gets nothing";
  if (copied == 0) return "gets " + gets.Text();
  if (copied == all) return "gets what the servers place on it";
  return "gets " + gets.Text() + ", and what the servers place on it";
}

}  // namespace

std::vector<RestoreDifference> CompareThenAndNow(
    const GroupManifest& manifest, const std::map<std::string, CollectionRecord>& records,
    const Topology& target, const RestorePlan& plan) {
  std::map<PeerId, Share> had;
  std::map<PeerId, Share> gets;
  std::vector<RestoreDifference> changes;
  std::size_t copied = 0;
  for (const CollectionPlan& item : plan.collections) {
    const CollectionRecord& record = records.at(item.source);
    for (const ShardPlacement& placement : item.shards) {
      const auto image = std::ranges::find(record.shards, placement.shard, &ShardImage::shard);
      for (const PeerId peer : placement.peers) gets[peer].Add(image->tar_bytes);
    }
    for (const ShardImage& image : record.shards) {
      const Shard* const shard = record.collection.FindShard(image.shard);
      if (shard == nullptr) continue;
      for (const Replica& replica : shard->replicas) had[replica.peer].Add(image.tar_bytes);
    }
    if (item.copy_shards != 0) {
      ++copied;
      const std::string each = record.collection.custom_sharding ? " of each shard key" : "";
      changes.push_back({.what = "shards of '" + item.source + "'",
                         .then = std::to_string(record.shards.size()),
                         .now = std::to_string(item.copy_shards) + each +
                                ", filled by a copy of the points; the servers place them"});
    }
    if (item.replication_factor != record.collection.replication_factor) {
      changes.push_back({.what = "replicas of '" + item.source + "'",
                         .then = std::to_string(record.collection.replication_factor),
                         .now = std::to_string(item.replication_factor)});
    }
  }
  std::vector<RestoreDifference> rows = {
      {.what = "peers", .then = CountOf(manifest.topology), .now = CountOf(target)},
      {.what = "version", .then = Versions(manifest.topology.peers), .now = Versions(target.peers)},
      {.what = "collections",
       .then = std::to_string(manifest.collections.size()),
       .now = std::to_string(plan.collections.size()) + " restored, " +
              std::to_string(target.collections.size()) + " there already"}};
  std::set<PeerId> peers;
  for (const Peer& peer : manifest.topology.peers) peers.insert(peer.id);
  for (const Peer& peer : target.peers) peers.insert(peer.id);
  for (const PeerId id : peers) {
    const bool was_there = Find(manifest.topology.peers, id) != nullptr;
    rows.push_back(
        {.what = FormatPeer(id),
         .then = was_there ? had[id].Text() : "not there",
         .now = NowOf(Find(target.peers, id), gets[id], copied, plan.collections.size())});
  }
  std::ranges::move(changes, std::back_inserter(rows));
  return rows;
}

}  // namespace holdfast
