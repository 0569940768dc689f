#pragma once

// What every Engine that reshards promises (transcripts 4 and 6). Instantiate it as EngineContract.

#include <string>
#include <vector>

#include "testing/engine_contract.h"

namespace holdfast::testing {

class ReshardContract : public EngineContract {
 protected:
  static constexpr const char* kUuid = "0f5b1c52-9a55-4d0c-8a4e-5e6f1d3c2b1a";

  std::vector<PeerId> Peers() {
    std::vector<PeerId> ids;
    const auto topology = engine().ReadTopology(call_);
    EXPECT_TRUE(topology.ok()) << topology.error().ToString();
    for (const Peer& peer : topology->peers) ids.push_back(peer.id);
    return ids;
  }

  Resharding Start(const std::string& name, ReshardDirection direction, PeerId peer,
                   const std::optional<ShardKey>& key = {}) {
    const Resharding wanted{
        .uuid = kUuid, .direction = direction, .shard = {}, .peer = peer, .key = key};
    const Status started = engine().StartResharding(call_, name, wanted);
    EXPECT_TRUE(started.ok()) << started.error().ToString();
    const auto running = engine().ReadResharding(call_, name);
    EXPECT_TRUE(running.ok() && *running) << "nothing is resharding";
    if (!running.ok() || !*running) return wanted;
    EXPECT_EQ((*running)->uuid, kUuid);
    EXPECT_EQ((*running)->direction, direction);
    EXPECT_EQ((*running)->key, key);
    return **running;
  }

  /// From one replica of `from` to every replica of `to`.
  void Migrate(const Collection& collection, ShardId from, ShardId to, bool finish) {
    for (const Replica& target : ShardOf(collection, to).replicas) {
      const ReplicaRef source{.peer = ShardOf(collection, from).replicas.front().peer,
                              .collection = collection.name,
                              .shard = from};
      const ReplicaRef into{.peer = target.peer, .collection = collection.name, .shard = to};
      const Status began = engine().MigratePoints(call_, source, into);
      ASSERT_TRUE(began.ok()) << began.error().ToString();
      ReadUntil(collection.name, [](const Collection& now) { return now.transfers.empty(); });
      if (!finish) continue;
      for (int twice = 0; twice < 2; ++twice) {
        const Status finished = engine().FinishMigration(call_, into);
        ASSERT_TRUE(finished.ok()) << finished.error().ToString();
      }
    }
  }

  void Take(const std::string& name, ReshardStep step) {
    const Status taken = engine().TakeStep(call_, name, step);
    EXPECT_TRUE(taken.ok()) << taken.error().ToString();
  }

  void Refused(const Status& status) {
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code(), ErrorCode::kFailedPrecondition) << status.error().ToString();
  }

  static const Shard& ShardOf(const Collection& collection, ShardId id) {
    return *collection.FindShard(id);
  }

  /// Every replica has exactly what belongs to it; the sum over the shards.
  std::uint64_t CountClean(const std::string& name) {
    std::uint64_t sum = 0;
    for (const Shard& shard : ReadActive(name).shards) {
      std::uint64_t in_shard = 0;
      for (const Replica& replica : shard.replicas) {
        const PointCounts counts =
            Count({.peer = replica.peer, .collection = name, .shard = shard.id});
        EXPECT_EQ(counts.all, counts.in_ring) << "shard " << shard.id.value();
        in_shard = counts.all;
      }
      sum += in_shard;
    }
    return sum;
  }

  void Up(const std::string& name, PeerId peer, const std::optional<ShardKey>& key = {}) {
    const Collection before = ReadActive(name);
    const Resharding running = Start(name, ReshardDirection::kUp, peer, key);
    EXPECT_EQ(running.peer, peer);
    const Collection now = Read(name);
    EXPECT_THAT(now.resharding, ::testing::HasSubstr("up"));
    for (const Shard& shard : before.shards) {
      if (shard.key == key) Migrate(now, shard.id, running.shard, false);
    }
    const ReplicaRef fresh{.peer = peer, .collection = name, .shard = running.shard};
    ASSERT_TRUE(engine().FinishMigration(call_, fresh).ok());
    ASSERT_TRUE(engine().FinishMigration(call_, fresh).ok());
    Refused(engine().TakeStep(call_, name, ReshardStep::kCommitWrite));
    Refused(engine().TakeStep(call_, name, ReshardStep::kFinish));
    Take(name, ReshardStep::kCommitRead);
    Take(name, ReshardStep::kCommitRead);
    Refused(engine().TakeStep(call_, name, ReshardStep::kAbort));
    for (const Shard& shard : before.shards) {
      if (shard.key != key) continue;
      for (const Replica& replica : shard.replicas) {
        const Status cleaned = engine().CleanReplica(
            call_, {.peer = replica.peer, .collection = name, .shard = shard.id});
        ASSERT_TRUE(cleaned.ok()) << cleaned.error().ToString();
      }
    }
    Take(name, ReshardStep::kCommitWrite);
    Take(name, ReshardStep::kCommitWrite);
    Take(name, ReshardStep::kFinish);
    const auto over = engine().ReadResharding(call_, name);
    ASSERT_TRUE(over.ok()) << over.error().ToString();
    EXPECT_FALSE(over->has_value());
    EXPECT_EQ(ReadActive(name).shards.size(), before.shards.size() + 1);
  }

  void Down(const std::string& name, const std::optional<ShardKey>& key = {}) {
    const Collection before = ReadActive(name);
    const Shard* last = nullptr;
    for (const Shard& shard : before.shards) {
      if (shard.key == key) last = &shard;
    }
    const Resharding running =
        Start(name, ReshardDirection::kDown, last->replicas.front().peer, key);
    EXPECT_EQ(running.shard, last->id);
    for (const Shard& shard : before.shards) {
      if (shard.key == key && shard.id != last->id) Migrate(before, last->id, shard.id, true);
    }
    Take(name, ReshardStep::kCommitRead);
    Take(name, ReshardStep::kCommitWrite);
    Take(name, ReshardStep::kFinish);
    EXPECT_EQ(ReadActive(name).shards.size(), before.shards.size() - 1);
  }
};

TEST_P(ReshardContract, OneShardMoreAndOneLessKeepEveryPoint) {
  const auto can = engine().CanReshard(call_);
  ASSERT_TRUE(can.ok() && *can);
  const std::string name = Make(2, 1);
  harness_->Upsert(name, Points(0, 300), {});
  EXPECT_EQ(CountClean(name), 300U);
  Up(name, Peers().back());
  EXPECT_EQ(CountClean(name), 300U);
  EXPECT_EQ(Read(name).shard_number, 3U);
  harness_->Upsert(name, Points(300, 400), {});
  EXPECT_EQ(CountClean(name), 400U);
  Down(name);
  EXPECT_EQ(CountClean(name), 400U);
  EXPECT_EQ(Read(name).shard_number, 2U);
}

TEST_P(ReshardContract, EveryReplicaOfAShardGetsThePointsOfOneThatGoes) {
  const std::string name = Make(3, 2);
  harness_->Upsert(name, Points(0, 200), {});
  Down(name);
  EXPECT_EQ(CountClean(name), 200U);
}

TEST_P(ReshardContract, TheShardsOfOneKeyChangeAlone) {
  const std::string name = Make(1, 1, R"(,"sharding_method":"custom")");
  const ShardKey a{"a"};
  const ShardKey b{"b"};
  for (const ShardKey& key : {a, b}) {
    ASSERT_TRUE(
        engine()
            .CreateShardKey(call_, name,
                            {.key = key, .shards = 2, .replication_factor = 1, .placement = {}})
            .ok());
  }
  harness_->Upsert(name, Points(0, 200), a);
  harness_->Upsert(name, Points(200, 300), b);
  Up(name, Peers().front(), a);
  EXPECT_EQ(CountClean(name), 300U);
  Down(name, a);
  EXPECT_EQ(CountClean(name), 300U);
}

TEST_P(ReshardContract, AnAbortedOneLeavesEverythingAsItWas) {
  const std::string name = Make(2, 1);
  harness_->Upsert(name, Points(0, 200), {});
  const Collection before = ReadActive(name);
  for (const ReshardDirection direction : {ReshardDirection::kUp, ReshardDirection::kDown}) {
    const Resharding running =
        Start(name, direction, ShardOf(before, ShardId(1)).replicas.front().peer);
    Refused(engine().StartResharding(
        call_, name,
        {.uuid = kUuid, .direction = direction, .shard = {}, .peer = running.peer, .key = {}}));
    const Collection now = Read(name);
    if (direction == ReshardDirection::kUp) {
      Migrate(now, ShardId(0), running.shard, false);
    } else {
      Migrate(now, running.shard, ShardId(0), false);
    }
    Take(name, ReshardStep::kAbort);
    ReadUntil(name, [&](const Collection& after) { return after.shards == before.shards; });
    EXPECT_EQ(CountClean(name), 200U);
  }
}

/// On the real server the call itself would end consensus on every peer.
TEST_P(ReshardContract, NothingIsMigratedIntoAShardThatIsNotThere) {
  const std::string name = Make(2, 1);
  const Collection there = ReadActive(name);
  const PeerId peer = ShardOf(there, ShardId(0)).replicas.front().peer;
  Refused(engine().MigratePoints(call_, {.peer = peer, .collection = name, .shard = ShardId(0)},
                                 {.peer = peer, .collection = name, .shard = ShardId(7)}));
  harness_->Upsert(name, Points(0, 20), {});
  EXPECT_EQ(CountClean(name), 20U);
}

TEST_P(ReshardContract, TheLastShardDoesNotGo) {
  const std::string name = Make(1, 1);
  Refused(engine().StartResharding(call_, name,
                                   {.uuid = kUuid,
                                    .direction = ReshardDirection::kDown,
                                    .shard = {},
                                    .peer = Peers().front(),
                                    .key = {}}));
  const auto running = engine().ReadResharding(call_, name);
  ASSERT_TRUE(running.ok());
  EXPECT_FALSE(running->has_value());
}

}  // namespace holdfast::testing
