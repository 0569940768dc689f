#include "plan/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace holdfast {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

PeerRoom Room(std::uint64_t id, std::optional<std::uint64_t> free = {}, std::string zone = "",
              bool estimated = false) {
  return {.peer = PeerId(id),
          .zone = std::move(zone),
          .free_bytes = free,
          .estimated = estimated,
          .held_bytes = 0};
}

ShardDemand Shard(std::uint32_t id, std::uint64_t bytes, std::vector<std::uint64_t> had = {}) {
  ShardDemand demand{.shard = ShardId(id), .bytes = bytes, .had = {}, .replicas = 1};
  for (const std::uint64_t peer : had) demand.had.push_back(PeerId(peer));
  return demand;
}

TEST(Placer, ShardsStayWhereTheyWereWhileThatIsEven) {
  Placer placer({Room(1), Room(2), Room(3)}, 1);
  placer.Add({Shard(0, 10, {3}), Shard(1, 10, {1}), Shard(2, 10, {2})}, false);
  const auto placed = placer.PlacementsOf(0);
  ASSERT_THAT(placed, SizeIs(3));
  EXPECT_THAT(placed[0].peers, ElementsAre(PeerId(3)));
  EXPECT_THAT(placed[1].peers, ElementsAre(PeerId(1)));
  EXPECT_THAT(placed[2].peers, ElementsAre(PeerId(2)));
  for (const auto& one : placed) EXPECT_THAT(one.reasons, Each(PlaceReason::kHadIt));
}

TEST(Placer, WhatWasUnevenBecomesEvenUnlessItIsKept) {
  for (const bool keep : {false, true}) {
    Placer placer({Room(1), Room(2)}, 1);
    placer.Add({Shard(0, 10, {1}), Shard(1, 10, {1}), Shard(2, 10, {1}), Shard(3, 10, {1})}, keep);
    std::size_t on_first = 0;
    for (const auto& one : placer.PlacementsOf(0)) on_first += one.peers.front() == PeerId(1);
    EXPECT_EQ(on_first, keep ? 4U : 2U);
  }
}

TEST(Placer, WhatHasLostItsPeerGoesBesideWhatStays) {
  // Peer 3 is gone. Shard 0 comes first, and shard 1 has been on peer 1 all the time.
  Placer placer({Room(1), Room(2)}, 1);
  placer.Add({Shard(0, 0, {3}), Shard(1, 0, {1})}, true);
  const auto placed = placer.PlacementsOf(0);
  EXPECT_THAT(placed[0].peers, ElementsAre(PeerId(2)));
  EXPECT_THAT(placed[1].peers, ElementsAre(PeerId(1)));
}

TEST(Placer, ReplicasGoToDifferentZones) {
  Placer placer({Room(1, {}, "a"), Room(2, {}, "a"), Room(3, {}, "a"), Room(4, {}, "b")}, 1);
  std::vector<ShardDemand> shards = {Shard(0, 10), Shard(1, 10), Shard(2, 10)};
  for (ShardDemand& shard : shards) shard.replicas = 2;
  placer.Add(shards, false);
  for (const auto& one : placer.PlacementsOf(0)) {
    EXPECT_THAT(one.peers, ::testing::Contains(PeerId(4)));
  }
}

TEST(Placer, APeerTooSmallGetsNothingThatDoesNotFit) {
  // An image of 40 needs 80 while it is received.
  Placer placer({Room(1, 79), Room(2, 1000)}, 1);
  placer.Add({Shard(0, 40, {1})}, false);
  const auto placed = placer.PlacementsOf(0);
  EXPECT_THAT(placed[0].peers, ElementsAre(PeerId(2)));
  EXPECT_THAT(placed[0].reasons, ElementsAre(PlaceReason::kRoom));
  EXPECT_THAT(placer.Lacks(), IsEmpty());

  Placer enough({Room(1, 80), Room(2, 1000)}, 1);
  enough.Add({Shard(0, 40, {1})}, false);
  EXPECT_THAT(enough.PlacementsOf(0)[0].peers, ElementsAre(PeerId(1)));
}

TEST(Placer, ThePeakIsThatOfTheLargestImagesReceivedAtOnce) {
  Placer placer({Room(1, 100)}, 2);
  placer.Add({Shard(0, 20), Shard(1, 10), Shard(2, 30)}, false);
  // 60 stay, and 30 + 20 are there a second time.
  const auto lacks = placer.Lacks();
  ASSERT_THAT(lacks, SizeIs(1));
  EXPECT_EQ(lacks[0].needed, 110U);
  EXPECT_EQ(lacks[0].free, 100U);
  EXPECT_FALSE(lacks[0].estimated);
}

TEST(Placer, SmallShardsMakeRoomForALaterLargeOne) {
  Placer placer({Room(1, 200), Room(2, 200)}, 1);
  placer.Add({Shard(0, 40, {1}), Shard(1, 40, {2})}, false);
  placer.Add({Shard(0, 90)}, false);
  EXPECT_THAT(placer.Lacks(), IsEmpty());
  const auto small = placer.PlacementsOf(0);
  EXPECT_EQ(small[0].peers, small[1].peers);
  EXPECT_NE(placer.PlacementsOf(1)[0].peers, small[0].peers);
}

TEST(Placer, AnEstimatedLackIsPreferredToAKnownOne) {
  Placer placer({Room(1, 10), Room(2, 10, "", /*estimated=*/true)}, 1);
  placer.Add({Shard(0, 40)}, false);
  EXPECT_THAT(placer.PlacementsOf(0)[0].peers, ElementsAre(PeerId(2)));
  ASSERT_THAT(placer.Lacks(), SizeIs(1));
  EXPECT_TRUE(placer.Lacks()[0].estimated);
}

/// A random request; the same seed makes the same one.
struct Case {
  std::vector<PeerRoom> peers;
  std::vector<std::vector<ShardDemand>> collections;
  std::vector<std::uint32_t> replicas;

  explicit Case(std::uint32_t seed) {
    std::mt19937 random(seed);
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    const std::uint32_t count = 1 + below(8);
    for (std::uint32_t i = 0; i < count; ++i) {
      std::optional<std::uint64_t> free;
      if (below(2) == 0) free = below(2000);
      peers.push_back(
          Room(i + 1, free, below(3) == 0 ? "z" + std::to_string(below(3)) : "", below(2) == 0));
    }
    for (std::uint32_t c = 0; c < 1 + below(4); ++c) {
      std::vector<ShardDemand> shards;
      for (std::uint32_t s = 0; s < 1 + below(12); ++s) {
        std::vector<std::uint64_t> had;
        for (std::uint32_t i = 0; i < below(4); ++i) had.push_back(1 + below(10));
        shards.push_back(Shard(s, below(300), had));
      }
      collections.push_back(std::move(shards));
      replicas.push_back(1 + below(count));
    }
  }

  Placer Place() const {
    Placer placer(peers, 2);
    for (std::size_t i = 0; i < collections.size(); ++i) {
      std::vector<ShardDemand> shards = collections[i];
      for (ShardDemand& shard : shards) shard.replicas = replicas[i];
      placer.Add(shards, false);
    }
    return placer;
  }
};

std::vector<std::vector<PeerId>> PeersOf(const Placer& placer, std::size_t collection) {
  std::vector<std::vector<PeerId>> peers;
  for (const auto& one : placer.PlacementsOf(collection)) peers.push_back(one.peers);
  return peers;
}

TEST(PlacerProperty, EveryShardIsPlacedOnDifferentPeersAndPlansAreDeterministic) {
  for (std::uint32_t seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Case one(seed);
    const Placer placer = one.Place();
    const Placer again = one.Place();
    for (std::size_t c = 0; c < one.collections.size(); ++c) {
      const auto placed = placer.PlacementsOf(c);
      ASSERT_EQ(placed.size(), one.collections[c].size());
      for (std::size_t s = 0; s < placed.size(); ++s) {
        ASSERT_EQ(placed[s].shard, ShardId(static_cast<std::uint32_t>(s)));
        const std::set<PeerId> distinct(placed[s].peers.begin(), placed[s].peers.end());
        ASSERT_EQ(distinct.size(), one.replicas[c]);
        ASSERT_EQ(placed[s].peers.size(), one.replicas[c]);
        ASSERT_EQ(placed[s].reasons.size(), one.replicas[c]);
      }
      ASSERT_EQ(PeersOf(placer, c), PeersOf(again, c));
    }
  }
}

TEST(PlacerProperty, WithoutLimitsNoPeerIsAboveItsEvenShareOfACollection) {
  for (std::uint32_t seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Case one(seed);
    for (PeerRoom& room : one.peers) {
      room.free_bytes.reset();
      room.zone.clear();
    }
    const Placer placer = one.Place();
    for (std::size_t c = 0; c < one.collections.size(); ++c) {
      std::map<PeerId, std::size_t> held;
      for (const auto& peers : PeersOf(placer, c)) {
        for (const PeerId peer : peers) ++held[peer];
      }
      const std::size_t all = one.collections[c].size() * one.replicas[c];
      const std::size_t share = (all + one.peers.size() - 1) / one.peers.size();
      for (const auto& [peer, count] : held) ASSERT_LE(count, share);
    }
  }
}

TEST(PlacerProperty, WhenAPeerIsLostTheOthersKeepTheirsAndNobodyHasToConsolidate) {
  for (std::uint32_t seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::vector<PeerRoom> peers;
    const std::uint64_t count = 2 + random() % 7;
    for (std::uint64_t id = 1; id <= count; ++id) peers.push_back(Room(id));
    const auto replicas = static_cast<std::uint32_t>(1 + random() % (count - 1));
    std::vector<ShardDemand> shards;
    const auto number = static_cast<std::uint32_t>(1 + random() % 12);
    for (std::uint32_t i = 0; i < number; ++i) {
      shards.push_back(Shard(i, random() % 3));
      shards.back().replicas = replicas;
    }
    Placer before(peers, 1);
    before.Add(shards, false);
    const auto was = PeersOf(before, 0);
    for (std::uint32_t i = 0; i < number; ++i) shards[i].had = was[i];
    const PeerId lost = peers[random() % count].peer;
    std::erase_if(peers, [&](const PeerRoom& room) { return room.peer == lost; });
    Placer after(peers, 1);
    after.Add(shards, true);
    const auto now = PeersOf(after, 0);
    std::map<PeerId, std::size_t> held;
    for (std::uint32_t i = 0; i < number; ++i) {
      for (const PeerId peer : was[i]) {
        if (peer == lost) continue;
        ASSERT_THAT(now[i], ::testing::Contains(peer));
      }
      ASSERT_EQ(now[i].size(), replicas);
      for (const PeerId peer : now[i]) ++held[peer];
    }
    const std::size_t share = (number * replicas + peers.size() - 1) / peers.size();
    // The peers that have room may be those that hold the other replicas of a shard.
    for (const auto& [peer, mine] : held) ASSERT_LE(mine, replicas == 1 ? share : share + 1);
    ASSERT_TRUE(held.size() > 1 || peers.size() == 1 || number == 1);
  }
}

TEST(PlacerProperty, APeerWithRoomIsNeverPassedOverForOneWithout) {
  for (std::uint32_t seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Case one(seed);
    // Half of the peers can take everything twice over, so nothing may lack room.
    std::uint64_t all = 0;
    for (const auto& shards : one.collections) {
      for (const ShardDemand& shard : shards) all += 3 * shard.bytes;
    }
    std::uint32_t roomy = 0;
    for (std::size_t i = 0; i < one.peers.size(); i += 2, ++roomy) one.peers[i].free_bytes = all;
    for (std::uint32_t& replicas : one.replicas) replicas = std::min(replicas, roomy);
    ASSERT_THAT(one.Place().Lacks(), IsEmpty());
  }
}

}  // namespace
}  // namespace holdfast
