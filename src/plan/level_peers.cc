#include "plan/level_peers.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "base/assert.h"
#include "base/size.h"
#include "plan/rebalance_plan.h"

namespace holdfast {
namespace {

/// What a shard costs a peer when it is empty: its write-ahead log and its files.
constexpr std::uint64_t kShardBytes = kMiB;
/// Moves of one plan, so that a strange cluster does not cost minutes.
constexpr std::size_t kMovesMax = 100'000;

class Leveller {
 public:
  Leveller(const std::vector<PeerRoom>& peers, std::uint32_t receives_at_once,
           std::vector<LevelledCollection>& collections)
      : receives_at_once_(std::max(1U, receives_at_once)), collections_(collections) {
    for (const PeerRoom& room : peers) peers_[room.peer] = {.room = &room, .load = room.held_bytes};
    held_.resize(collections.size());
    share_.resize(collections.size());
    for (std::size_t c = 0; c < collections.size(); ++c) {
      std::size_t replicas = 0;
      for (std::size_t s = 0; s < collections[c].shards.size(); ++s) {
        for (const PeerId peer : collections[c].shards[s].peers) {
          const auto found = peers_.find(peer);
          if (found == peers_.end()) continue;
          ++replicas;
          ++held_[c][peer];
          found->second.load += WeightOf(c);
          found->second.placed += collections[c].shard_bytes;
          found->second.shards.push_back({c, s});
        }
      }
      share_[c] = (replicas + peers_.size() - 1) / peers_.size();
    }
    // Largest first; equal ones in the order of the plan.
    for (auto& [id, peer] : peers_) {
      std::ranges::stable_sort(peer.shards, std::ranges::greater(),
                               [&](const Place& place) { return WeightOf(place.collection); });
    }
  }

  void Run() {
    std::uint64_t all = 0;
    for (const auto& [id, peer] : peers_) all += peer.load;
    const double most = kLevelSlack * static_cast<double>(all) /
                        static_cast<double>(std::max<std::size_t>(1, peers_.size()));
    for (std::size_t moves = 0; moves < kMovesMax; ++moves) {
      if (!MoveOne(most)) return;
    }
  }

 private:
  struct Place {
    std::size_t collection = 0;
    std::size_t shard = 0;
    friend bool operator==(const Place&, const Place&) = default;
  };
  struct State {
    const PeerRoom* room = nullptr;
    std::uint64_t load = 0;
    /// Bytes of what is placed here.
    std::uint64_t placed = 0;
    std::vector<Place> shards{};
  };

  std::uint64_t WeightOf(std::size_t collection) const {
    return collections_[collection].shard_bytes + kShardBytes;
  }

  /// From one of the peers that hold too much, the fullest first. False when none can be relieved.
  bool MoveOne(double most) {
    std::vector<PeerId> order;
    for (const auto& [id, peer] : peers_) order.push_back(id);
    std::ranges::stable_sort(order, {}, [&](PeerId id) { return peers_.at(id).load; });
    for (auto from = order.rbegin(); from != order.rend(); ++from) {
      if (static_cast<double>(peers_.at(*from).load) <= most) return false;
      for (const PeerId to : order) {
        if (to == *from) break;
        if (const auto place = Choose(*from, to)) {
          Move(*place, *from, to);
          return true;
        }
      }
    }
    return false;
  }

  /// The largest shard that takes no more than half of the difference, else the smallest that takes
  /// less than all of it.
  std::optional<Place> Choose(PeerId from, PeerId to) const {
    const std::uint64_t gap = peers_.at(from).load - peers_.at(to).load;
    std::optional<Place> larger;
    for (const Place& place : peers_.at(from).shards) {
      const std::uint64_t weight = WeightOf(place.collection);
      if (weight >= gap || !MayMove(place, from, to)) continue;
      if (weight <= gap / 2) return place;
      larger = place;
    }
    return larger;
  }

  bool MayMove(const Place& place, PeerId from, PeerId to) const {
    const auto& collection = collections_[place.collection];
    const ShardPlacement& shard = collection.shards[place.shard];
    const auto& held = held_[place.collection];
    const auto there = held.find(to);
    if (there != held.end() && there->second >= share_[place.collection]) return false;
    if (std::ranges::find(shard.peers, to) != shard.peers.end()) return false;
    const auto shares_zone = [&](PeerId with) {
      const std::string& zone = peers_.at(with).room->zone;
      return !zone.empty() && std::ranges::any_of(shard.peers, [&](PeerId other) {
        const auto found = peers_.find(other);
        return other != from && found != peers_.end() && found->second.room->zone == zone;
      });
    };
    if (shares_zone(to) && !shares_zone(from)) return false;
    const State& target = peers_.at(to);
    if (!target.room->free_bytes) return true;
    // While it receives it holds what it receives twice.
    const std::uint64_t need =
        target.placed + collection.shard_bytes * (1 + std::uint64_t{receives_at_once_});
    return need <= *target.room->free_bytes;
  }

  void Move(const Place& place, PeerId from, PeerId to) {
    LevelledCollection& collection = collections_[place.collection];
    std::vector<PeerId>& peers = collection.shards[place.shard].peers;
    *std::ranges::find(peers, from) = to;
    std::ranges::sort(peers);
    const std::uint64_t weight = WeightOf(place.collection);
    State& source = peers_.at(from);
    State& target = peers_.at(to);
    source.load -= weight;
    target.load += weight;
    source.placed -= collection.shard_bytes;
    target.placed += collection.shard_bytes;
    --held_[place.collection][from];
    ++held_[place.collection][to];
    std::erase(source.shards, place);
    const auto at =
        std::ranges::upper_bound(target.shards, weight, std::ranges::greater(),
                                 [&](const Place& other) { return WeightOf(other.collection); });
    target.shards.insert(at, place);
  }

  const std::uint32_t receives_at_once_;
  std::vector<LevelledCollection>& collections_;
  std::map<PeerId, State> peers_;
  /// Replicas of a collection by peer, and the most that a peer is to hold.
  std::vector<std::map<PeerId, std::size_t>> held_;
  std::vector<std::size_t> share_;
};

}  // namespace

void LevelPeers(const std::vector<PeerRoom>& peers, std::uint32_t receives_at_once,
                std::vector<LevelledCollection>& collections) {
  if (peers.size() < 2) return;
  Leveller(peers, receives_at_once, collections).Run();
}

}  // namespace holdfast
