#include "plan/placement.h"

#include <algorithm>
#include <compare>
#include <functional>
#include <optional>
#include <tuple>
#include <utility>

#include "base/result.h"

namespace holdfast {
namespace {

/// Degrees of having no room.
constexpr int kFits = 0;
constexpr int kMayNotFit = 1;
constexpr int kDoesNotFit = 2;
/// Attempts to make room in one plan: a target that is far too small shall not cost minutes.
constexpr std::uint32_t kRepairsMax = 1000;

}  // namespace

std::string_view PlaceReasonName(PlaceReason reason) noexcept {
  switch (reason) {
    case PlaceReason::kHadIt:
      return "had it";
    case PlaceReason::kEven:
      return "least loaded";
    case PlaceReason::kZone:
      return "another zone";
    case PlaceReason::kRoom:
      return "has room";
  }
  return "least loaded";
}

PeerLimits LimitsOf(const std::map<PeerId, PeerLimits>& limits, PeerId peer) {
  const auto told = limits.find(peer);
  return told == limits.end() ? PeerLimits() : told->second;
}

PeerRoom RoomOf(const Peer& peer, const PeerLimits& limits, std::uint64_t held_bytes) {
  PeerRoom room{.peer = peer.id,
                .zone = limits.zone,
                .free_bytes = limits.disk_free,
                .estimated = false,
                .held_bytes = held_bytes};
  if (!room.free_bytes && peer.disk_bytes > 0) {
    room.free_bytes = peer.disk_bytes - std::min(peer.disk_bytes, held_bytes);
    room.estimated = true;
  }
  return room;
}

std::uint64_t ReplicaBytes(const Collection& collection) {
  return collection.shards.empty() ? 0 : collection.bytes / collection.shards.size();
}

/// The objectives as a rank, smallest first.
struct Placer::Choice {
  int overfill = 0;
  bool zone_used = false;
  bool above_share = false;
  bool moved = false;
  std::size_t held = 0;
  std::uint64_t load = 0;
  std::size_t peer = 0;
  friend auto operator<=>(const Choice&, const Choice&) = default;

  /// The part that even shares never stand against.
  std::tuple<int, bool, bool> Outranks() const { return {overfill, zone_used, above_share}; }
};

Placer::Placer(std::vector<PeerRoom> peers, std::uint32_t receives_at_once)
    : receives_at_once_(std::max(1U, receives_at_once)), held_(peers.size()) {
  std::ranges::sort(peers, {}, &PeerRoom::peer);
  for (PeerRoom& room : peers) {
    peers_.push_back({.room = std::move(room), .placed_bytes = 0, .sizes = {}});
  }
}

/// Bytes the disk of a peer must take at the worst moment, with an image of `more` bytes as well.
std::uint64_t Placer::Need(const State& state, std::uint64_t more) const {
  std::uint64_t need = state.placed_bytes + more;
  std::uint32_t twice = receives_at_once_;
  bool counted = more == 0;
  for (std::size_t i = 0; twice > 0; --twice) {
    const std::uint64_t next = i < state.sizes.size() ? state.sizes[i] : 0;
    if (!counted && more >= next) {
      need += more;
      counted = true;
    } else {
      need += next;
      ++i;
    }
  }
  return need;
}

int Placer::Overfill(const State& state, std::uint64_t more) const {
  if (!state.room.free_bytes || Need(state, more) <= *state.room.free_bytes) return kFits;
  return state.room.estimated ? kMayNotFit : kDoesNotFit;
}

bool Placer::Holds(const Placed& placed, std::size_t peer) const {
  return std::ranges::find(placed.slots, peer, &Slot::peer) != placed.slots.end();
}

bool Placer::ZoneUsed(const Placed& placed, std::size_t peer, std::size_t without) const {
  const std::string& zone = peers_[peer].room.zone;
  return !zone.empty() && std::ranges::any_of(placed.slots, [&](const Slot& slot) {
    return slot.peer != without && peers_[slot.peer].room.zone == zone;
  });
}

Placer::Choice Placer::Rank(const Placed& placed, std::size_t peer, std::size_t share) const {
  const State& state = peers_[peer];
  const auto& had = placed.shard.had;
  return {.overfill = Overfill(state, placed.shard.bytes),
          .zone_used = ZoneUsed(placed, peer, peer),
          .above_share = held_[peer] >= share,
          .moved = std::ranges::find(had, state.room.peer) == had.end(),
          .held = held_[peer],
          .load = state.room.held_bytes + state.placed_bytes,
          .peer = peer};
}

/// Whether `placed`, on its peers so far and one more, and the shards after it can still get their
/// peers without any peer going above its share. A shard is best completed by the peers with most
/// room; those after it then fit when all peers together take that many replicas, of which none
/// takes more than one of each shard (exactly so where all shards have the same number of
/// replicas).
bool Placer::LeavesShare(const Placed& placed, std::size_t peer, const Terms& terms) const {
  std::size_t takes = 0;
  std::vector<std::size_t> others;
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    const std::size_t held = held_[i] + (i == peer ? 1 : 0);
    const std::size_t left = terms.share - std::min(terms.share, held);
    if (i == peer || Holds(placed, i)) {
      takes += std::min(left, terms.later);
    } else {
      others.push_back(left);
    }
  }
  const std::size_t missing = placed.shard.replicas - placed.slots.size() - 1;
  std::ranges::sort(others, std::greater());
  for (std::size_t i = 0; i < missing; ++i) {
    if (others[i] == 0) return false;
    --others[i];
  }
  for (const std::size_t left : others) takes += std::min(left, terms.later);
  return takes >= terms.later_replicas;
}

Placer::Slot Placer::Choose(const Placed& placed, const Terms& terms) const {
  std::vector<Choice> choices;
  for (std::size_t peer = 0; peer < peers_.size(); ++peer) {
    if (!Holds(placed, peer)) choices.push_back(Rank(placed, peer, terms.share));
  }
  HF_ASSERT(!choices.empty());
  std::ranges::sort(choices);
  std::size_t best = 0;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].Outranks() != choices[0].Outranks()) break;
    if (!LeavesShare(placed, choices[i].peer, terms)) continue;
    best = i;
    break;
  }
  const Choice& chosen = choices[best];
  PlaceReason reason = chosen.moved ? PlaceReason::kEven : PlaceReason::kHadIt;
  // A peer that would come first, did room or zones not matter, tells why it was not this one.
  for (Choice other : choices) {
    if (!chosen.moved) break;
    if (other.overfill > chosen.overfill) {
      other.overfill = chosen.overfill;
      if (other < chosen) reason = PlaceReason::kRoom;
    } else if (other.zone_used && !chosen.zone_used && reason != PlaceReason::kRoom) {
      other.zone_used = false;
      if (other < chosen) reason = PlaceReason::kZone;
    }
  }
  return {.peer = chosen.peer, .reason = reason};
}

void Placer::Put(Placed& placed, Slot slot) {
  State& state = peers_[slot.peer];
  placed.slots.push_back(slot);
  state.placed_bytes += placed.shard.bytes;
  const auto at = std::ranges::lower_bound(state.sizes, placed.shard.bytes, std::greater<>());
  state.sizes.insert(at, placed.shard.bytes);
}

void Placer::Take(Placed& placed, std::size_t peer) {
  State& state = peers_[peer];
  state.placed_bytes -= placed.shard.bytes;
  const auto at = std::ranges::lower_bound(state.sizes, placed.shard.bytes, std::greater<>());
  state.sizes.erase(at);
  std::erase_if(placed.slots, [&](const Slot& slot) { return slot.peer == peer; });
}

/// Moves shards of earlier collections off `peer`, largest first, until `placed` fits there or
/// nothing more can go. They go only to peers that have room for them, so nothing gets worse.
bool Placer::MakeRoom(const Placed& placed, std::size_t peer) {
  if (repairs_ == kRepairsMax) return false;
  ++repairs_;
  std::vector<Placed*> here;
  for (std::vector<Placed>& collection : placed_) {
    for (Placed& other : collection) {
      if (other.shard.bytes > 0 && Holds(other, peer)) here.push_back(&other);
    }
  }
  std::ranges::stable_sort(here, std::greater<>(),
                           [](const Placed* other) { return other->shard.bytes; });
  for (Placed* const at : here) {
    if (Overfill(peers_[peer], placed.shard.bytes) == kFits) return true;
    Placed& other = *at;
    for (std::size_t to = 0; to < peers_.size(); ++to) {
      const bool taken = to == peer || Holds(other, to) || ZoneUsed(other, to, to);
      if (taken || Overfill(peers_[to], other.shard.bytes) != kFits) continue;
      Take(other, peer);
      Put(other, {.peer = to, .reason = PlaceReason::kRoom});
      break;
    }
  }
  return Overfill(peers_[peer], placed.shard.bytes) == kFits;
}

/// Takes one replica from a peer that is above its share to one that is below, from hand to hand
/// where it cannot go there at once: chosen shard by shard, shards that differ in their number of
/// replicas can end so. Room and zones stand above shares. False when there is no way.
bool Placer::Relieve(std::vector<Placed>& shards, std::size_t peer, std::size_t share) {
  struct Hand {
    std::size_t from = 0;
    Placed* shard = nullptr;
  };
  const auto may_take = [&](const Placed& placed, std::size_t from, std::size_t to) {
    return !Holds(placed, to) && !ZoneUsed(placed, to, from) &&
           Overfill(peers_[to], placed.shard.bytes) == kFits;
  };
  std::vector<std::optional<Hand>> reached(peers_.size());
  reached[peer] = Hand{};
  std::vector<std::size_t> next = {peer};
  for (std::size_t at = 0; at < next.size(); ++at) {
    const std::size_t from = next[at];
    for (Placed& placed : shards) {
      for (std::size_t to = 0; to < peers_.size() && Holds(placed, from); ++to) {
        if (reached[to] || !may_take(placed, from, to)) continue;
        reached[to] = Hand{.from = from, .shard = &placed};
        next.push_back(to);
        if (held_[to] >= share) continue;
        for (std::size_t last = to; last != peer; last = reached[last]->from) {
          const Hand& hand = *reached[last];
          Take(*hand.shard, hand.from);
          Put(*hand.shard, {.peer = last, .reason = PlaceReason::kEven});
        }
        --held_[peer];
        ++held_[to];
        return true;
      }
    }
  }
  return false;
}

std::size_t Placer::Add(const std::vector<ShardDemand>& shards, bool keep) {
  std::ranges::fill(held_, 0);
  Terms terms{.share = 0, .later = shards.size(), .later_replicas = 0};
  for (const ShardDemand& demand : shards) {
    HF_ASSERT(demand.replicas >= 1 && demand.replicas <= peers_.size());
    terms.later_replicas += demand.replicas;
  }
  terms.share = (terms.later_replicas + peers_.size() - 1) / peers_.size();
  std::vector<ShardDemand> order = shards;
  std::ranges::sort(order, [](const ShardDemand& a, const ShardDemand& b) {
    return std::pair(b.bytes, a.shard) < std::pair(a.bytes, b.shard);
  });
  std::vector<Placed> done;
  for (ShardDemand& demand : order) done.push_back({.shard = std::move(demand), .slots = {}});
  const auto put = [this](Placed& placed, Slot slot) {
    Put(placed, slot);
    ++held_[slot.peer];
  };
  // What stays, of all shards, before anything is chosen: the others go beside it.
  for (Placed& placed : done) {
    for (std::size_t peer = 0; keep && peer < peers_.size(); ++peer) {
      const auto& had = placed.shard.had;
      const bool here = std::ranges::find(had, peers_[peer].room.peer) != had.end();
      if (here && placed.slots.size() < placed.shard.replicas) {
        put(placed, {.peer = peer, .reason = PlaceReason::kHadIt});
        --terms.later_replicas;
      }
    }
  }
  for (Placed& placed : done) {
    --terms.later;
    terms.later_replicas -= placed.shard.replicas - placed.slots.size();
    while (placed.slots.size() < placed.shard.replicas) {
      Slot slot = Choose(placed, terms);
      if (Overfill(peers_[slot.peer], placed.shard.bytes) != kFits) {
        for (std::size_t peer = 0; peer < peers_.size(); ++peer) {
          if (Holds(placed, peer) || !MakeRoom(placed, peer)) continue;
          slot = {.peer = peer, .reason = PlaceReason::kRoom};
          break;
        }
      }
      put(placed, slot);
    }
  }
  for (std::size_t peer = 0; !keep && peer < peers_.size(); ++peer) {
    while (held_[peer] > terms.share && Relieve(done, peer, terms.share)) {
    }
  }
  placed_.push_back(std::move(done));
  return placed_.size() - 1;
}

std::vector<ShardPlacement> Placer::PlacementsOf(std::size_t collection) const {
  std::vector<ShardPlacement> placements;
  for (const Placed& placed : placed_.at(collection)) {
    std::vector<Slot> slots = placed.slots;
    std::ranges::sort(slots, {}, &Slot::peer);
    ShardPlacement placement{
        .shard = placed.shard.shard, .peers = {}, .reasons = {}, .revision = 0};
    for (const Slot& slot : slots) {
      placement.peers.push_back(peers_[slot.peer].room.peer);
      placement.reasons.push_back(slot.reason);
    }
    placements.push_back(std::move(placement));
  }
  std::ranges::sort(placements, {}, &ShardPlacement::shard);
  return placements;
}

std::vector<RoomLack> Placer::Lacks() const {
  std::vector<RoomLack> lacks;
  for (const State& state : peers_) {
    if (state.placed_bytes == 0 || Overfill(state, 0) == kFits) continue;
    lacks.push_back({.peer = state.room.peer,
                     .needed = Need(state, 0),
                     .free = *state.room.free_bytes,
                     .estimated = state.room.estimated});
  }
  return lacks;
}

}  // namespace holdfast
