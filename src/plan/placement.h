// Which peers get which shards. Pure: no I/O, no clock, no chance.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "model/topology.h"

namespace holdfast {

/// What is known of a peer that may be used.
struct PeerRoom {
  PeerId peer;
  /// Failure domain; empty when none was given.
  std::string zone;
  /// Bytes its disk can take; absent when nobody knows.
  std::optional<std::uint64_t> free_bytes;
  /// `free_bytes` was estimated, not told: a lack of it warns instead of refusing.
  bool estimated = false;
  /// Bytes of replicas it holds already.
  std::uint64_t held_bytes = 0;
};

/// What the operator says of a peer: the servers do not tell it.
struct PeerLimits {
  /// Failure domain: replicas of a shard go to different zones where that is possible.
  std::string zone;
  /// Bytes that restored data may take; known, so a lack refuses the restore.
  std::optional<std::uint64_t> disk_free;
  /// Bytes of memory that restored data may take; a lack warns, as the need is an estimate.
  std::optional<std::uint64_t> memory_free;
  /// It is being emptied and gets nothing.
  bool draining = false;
};

/// Of `peer`, or what holds where nothing was said of it.
PeerLimits LimitsOf(const std::map<PeerId, PeerLimits>& limits, PeerId peer);

/// What is known of a peer that holds `held_bytes`: what the operator told, else an estimate from
/// the size of its disk.
PeerRoom RoomOf(const Peer& peer, const PeerLimits& limits, std::uint64_t held_bytes);

/// About the bytes of one replica of one shard.
std::uint64_t ReplicaBytes(const Collection& collection);

/// Why a peer was chosen for a shard.
///  kHadIt   it had a replica of it when the group was taken
///  kEven    of those possible it holds least
///  kZone    emptier peers share a zone with another replica
///  kRoom    peers that would come first have no room
enum class PlaceReason { kHadIt, kEven, kZone, kRoom };
std::string_view PlaceReasonName(PlaceReason reason) noexcept;

/// One shard and the peers that get its image; never empty, no peer twice.
struct ShardPlacement {
  ShardId shard;
  /// Ascending.
  std::vector<PeerId> peers;
  /// One for each of `peers`; empty in plans of versions that did not record it.
  std::vector<PlaceReason> reasons = {};
  /// How often a restore under way had to place it anew.
  std::uint32_t revision = 0;
};

/// A shard that needs peers.
struct ShardDemand {
  ShardId shard;
  std::uint64_t bytes = 0;
  /// Peers that had it.
  std::vector<PeerId> had;
  /// Peers it needs, 1 to the number there are.
  std::uint32_t replicas = 1;
};

/// A peer that cannot take what was placed on it.
struct RoomLack {
  PeerId peer;
  std::uint64_t needed = 0;
  std::uint64_t free = 0;
  bool estimated = false;
};

/// Places collection after collection. Objectives, in this order: every shard is placed; no peer
/// gets more than it has room for; replicas of a shard on different peers, and zones; no peer above
/// its even share of a collection; shards stay where they were; even load. Deterministic.
class Placer {
 public:
  /// `receives_at_once`: images a peer may be receiving at a time. While it takes one it holds it
  /// twice, as uploaded and as unpacked (reference 3.5).
  Placer(std::vector<PeerRoom> peers, std::uint32_t receives_at_once);

  std::size_t peers() const noexcept { return peers_.size(); }
  /// Places one collection and returns its number, counted from 0. `keep`: every shard goes where
  /// it was, even if that is uneven, as far as those peers are here.
  std::size_t Add(const std::vector<ShardDemand>& shards, bool keep);

  /// Ascending by shard. Later collections may have moved shards of earlier ones to make room, so
  /// ask at the end.
  std::vector<ShardPlacement> PlacementsOf(std::size_t collection) const;
  /// Peers without room for what they got, ascending; empty when all fits as far as is known.
  std::vector<RoomLack> Lacks() const;

 private:
  struct State {
    PeerRoom room;
    std::uint64_t placed_bytes = 0;
    /// Sizes of what was placed, largest first.
    std::vector<std::uint64_t> sizes;
  };
  struct Slot {
    std::size_t peer = 0;
    PlaceReason reason = PlaceReason::kEven;
  };
  struct Placed {
    ShardDemand shard;
    std::vector<Slot> slots;
  };
  struct Choice;
  /// Of the collection that is being placed: an even share, and what is to come.
  struct Terms {
    std::size_t share = 0;
    /// Shards after the one at hand, and the replicas they need.
    std::size_t later = 0;
    std::size_t later_replicas = 0;
  };

  std::uint64_t Need(const State& state, std::uint64_t more) const;
  int Overfill(const State& state, std::uint64_t more) const;
  bool Holds(const Placed& placed, std::size_t peer) const;
  /// A replica lies in the zone of `peer`, that on `without` not counted.
  bool ZoneUsed(const Placed& placed, std::size_t peer, std::size_t without) const;
  Choice Rank(const Placed& placed, std::size_t peer, std::size_t share) const;
  bool LeavesShare(const Placed& placed, std::size_t peer, const Terms& terms) const;
  Slot Choose(const Placed& placed, const Terms& terms) const;
  void Put(Placed& placed, Slot slot);
  void Take(Placed& placed, std::size_t peer);
  bool MakeRoom(const Placed& placed, std::size_t peer);
  bool Relieve(std::vector<Placed>& shards, std::size_t peer, std::size_t share);

  std::vector<State> peers_;
  std::uint32_t receives_at_once_;
  /// By collection.
  std::vector<std::vector<Placed>> placed_;
  std::uint32_t repairs_ = 0;
  /// Shards of the collection that is being placed, by peer.
  std::vector<std::size_t> held_;
};

}  // namespace holdfast
