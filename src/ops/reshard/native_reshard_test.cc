// Resharding in place over the simulated cluster: every call may fail or be the last one.

#include "ops/reshard/native_reshard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>

#include "testing/fake_clock.h"
#include "testing/ops/journal_steps.h"
#include "testing/scripted_engine.h"

namespace holdfast {
namespace {

using testing::CallFault;
using testing::EngineCall;
using ::testing::HasSubstr;
using testing::Journal;
using testing::JournalSteps;
using testing::ScriptedCollection;
using testing::ScriptedEngine;

constexpr std::uint64_t kPoints = 60;

/// A fence that a test can look at.
class CountingFence final : public Fence {
 public:
  Status Freeze(const CallContext&) override {
    ++freezes;
    return freeze;
  }
  Status Thaw(const CallContext&) override {
    ++thaws;
    return thaw;
  }
  int freezes = 0;
  int thaws = 0;
  Status freeze;
  Status thaw;
};

struct World {
  explicit World(std::uint32_t shards = 2, std::uint32_t replicas = 2,
                 std::vector<ShardKey> keys = {}) {
    ScriptedCollection docs;
    docs.shards = shards;
    docs.replication_factor = replicas;
    docs.keys = keys;
    engine.AddCollection("docs", docs);
    if (keys.empty()) engine.Fill("docs", 0, kPoints);
    for (const ShardKey& key : keys) engine.Fill("docs", 0, kPoints, key);
  }

  Result<NativeReshardOutcome> Run(std::uint32_t shards, Journal& journal,
                                   std::stop_source* stop = nullptr) {
    NativeReshardOptions options;
    options.request.collection = "docs";
    options.request.shards = shards;
    CallContext call;
    if (stop != nullptr) {
      call.stop = stop->get_token();
      options.user_stop = stop->get_token();
    }
    NativeReshard op({.engine = engine, .clock = clock, .random = random, .fence = fence},
                     std::move(options));
    JournalSteps steps(journal, call);
    auto outcome = op.Run(steps);
    warnings = steps.warnings;
    return outcome;
  }

  Result<NativeReshardOutcome> Run(std::uint32_t shards) {
    Journal journal;
    return Run(shards, journal);
  }

  /// As before, or as wanted: every replica Active, no point twice or lost, nothing under way.
  void ExpectWhole(std::set<std::size_t> shards, std::uint64_t points = kPoints,
                   const std::optional<ShardKey>& key = {}) {
    const Topology now = engine.Now();
    const Collection& docs = *now.FindCollection("docs");
    EXPECT_EQ(docs.resharding, "");
    std::size_t count = 0;
    std::set<std::string> seen;
    std::size_t sum = 0;
    for (const Shard& shard : docs.shards) {
      if (shard.key != key) continue;
      ++count;
      std::set<std::string> first;
      for (const Replica& replica : shard.replicas) {
        EXPECT_EQ(replica.state, ReplicaState::kActive);
        std::set<std::string> ids;
        for (const auto& [id, line] :
             engine.Content({.peer = replica.peer, .collection = "docs", .shard = shard.id})) {
          ids.insert(id);
          EXPECT_EQ(engine.ShardOf("docs", id, key), shard.id);
        }
        if (first.empty()) first = ids;
        EXPECT_EQ(ids, first);
      }
      sum += first.size();
      seen.insert(first.begin(), first.end());
    }
    EXPECT_TRUE(shards.contains(count)) << count;
    EXPECT_EQ(seen.size(), points);
    EXPECT_EQ(sum, points);
  }

  testing::FakeClock clock;
  Random random{7};
  ScriptedEngine engine{clock, {}};
  Fence* fence = nullptr;
  std::vector<std::string> warnings;
};

std::set<std::size_t> Between(std::size_t from, std::size_t to) {
  std::set<std::size_t> counts;
  for (std::size_t i = std::min(from, to); i <= std::max(from, to); ++i) counts.insert(i);
  return counts;
}

TEST(NativeReshardTest, UpAndDownKeepEveryPoint) {
  World world;
  const auto up = world.Run(4);
  ASSERT_TRUE(up.ok()) << up.error().ToString();
  EXPECT_EQ(up->shards, 4U);
  EXPECT_EQ(up->rounds, 2U);
  EXPECT_EQ(up->points, kPoints);
  world.ExpectWhole({4});
  const Topology now = world.engine.Now();
  for (const Shard& shard : now.FindCollection("docs")->shards) {
    EXPECT_EQ(shard.replicas.size(), 2U) << "shard " << shard.id.value();
  }
  const auto down = world.Run(1);
  ASSERT_TRUE(down.ok()) << down.error().ToString();
  EXPECT_EQ(down->shards, 1U);
  EXPECT_EQ(down->points, kPoints);
  world.ExpectWhole({1});
}

TEST(NativeReshardTest, NothingToDoIsDone) {
  World world;
  const auto done = world.Run(2);
  ASSERT_TRUE(done.ok()) << done.error().ToString();
  EXPECT_EQ(done->rounds, 0U);
  EXPECT_EQ(world.engine.calls(EngineCall::kStartResharding), 0U);
}

TEST(NativeReshardTest, SeveralShardKeysNeedAFence) {
  World world(1, 1, {ShardKey("a"), ShardKey("b")});
  const auto refused = world.Run(2);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().message(), HasSubstr("shard keys"));
  CountingFence fence;
  world.fence = &fence;
  const auto done = world.Run(2);
  ASSERT_TRUE(done.ok()) << done.error().ToString();
  EXPECT_EQ(fence.freezes, 2);
  EXPECT_EQ(fence.thaws, 2);
  world.ExpectWhole({2}, kPoints, ShardKey("a"));
  world.ExpectWhole({2}, kPoints, ShardKey("b"));
}

TEST(NativeReshardTest, AFenceThatOpensTooEarlyIsAnErrorWhereWritesMayBeLost) {
  World world(1, 1, {ShardKey("a"), ShardKey("b")});
  CountingFence fence;
  fence.thaw = Error(ErrorCode::kDeadlineExceeded, "the time limit");
  world.fence = &fence;
  const auto failed = world.Run(2);
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message(), HasSubstr("may be lost"));
  EXPECT_EQ(fence.thaws, 1);
}

TEST(NativeReshardTest, AFenceThatOpensTooEarlyIsAWarningElsewhere) {
  World world;
  CountingFence fence;
  fence.thaw = Error(ErrorCode::kDeadlineExceeded, "the time limit");
  world.fence = &fence;
  const auto done = world.Run(3);
  ASSERT_TRUE(done.ok()) << done.error().ToString();
  ASSERT_EQ(world.warnings.size(), 1U);
  EXPECT_THAT(world.warnings.front(), HasSubstr("released"));
}

TEST(NativeReshardTest, AThawThatFailsIsInTheResultAndLosesNothing) {
  World world(1, 1, {ShardKey("a"), ShardKey("b")});
  CountingFence fence;
  fence.thaw = Error(ErrorCode::kFailedPrecondition, "writers may still be frozen");
  world.fence = &fence;
  const auto done = world.Run(2);
  ASSERT_TRUE(done.ok()) << done.error().ToString();
  EXPECT_TRUE(done->unproven);
  EXPECT_THAT(done->warnings, ::testing::Contains(HasSubstr("may still be frozen")));
  EXPECT_THAT(world.warnings, ::testing::Not(::testing::Contains(HasSubstr("released"))));
}

/// What was counted before the switch says nothing then.
TEST(NativeReshardTest, WhatIsWrittenAfterAFenceThatOpensTooEarlyIsNoDamage) {
  World world;
  CountingFence fence;
  fence.thaw = Error(ErrorCode::kDeadlineExceeded, "the time limit");
  world.fence = &fence;
  for (std::uint64_t n = 1; n < 200; ++n) {
    world.engine.BeforeCall(n, [&world, n] { world.engine.Upsert("docs", std::to_string(n)); });
  }
  const auto done = world.Run(3);
  ASSERT_TRUE(done.ok()) << done.error().ToString();
  EXPECT_THAT(world.warnings, ::testing::Contains(HasSubstr("released")));
}

/// That the round could not be verified does not hide it.
TEST(NativeReshardTest, AFenceThatOpensTooEarlyIsToldBesideAnotherError) {
  World world(1, 1, {ShardKey("a"), ShardKey("b")});
  CountingFence fence;
  fence.thaw = Error(ErrorCode::kDeadlineExceeded, "the time limit");
  world.fence = &fence;
  bool finished = false;
  std::function<void()> watch = [&] {
    const Topology now = world.engine.Now();
    const Collection& docs = *now.FindCollection("docs");
    finished = docs.resharding.empty() && docs.shards.size() == 3;
    if (!finished) {
      world.engine.BeforeCall(world.engine.calls() + 1, watch);
      return;
    }
    CallFault fault;
    fault.call = EngineCall::kCountPoints;
    fault.error = Error(ErrorCode::kPermissionDenied, "no right (scripted)");
    world.engine.Add(fault);
  };
  world.engine.BeforeCall(1, watch);
  Journal journal;
  const auto failed = world.Run(2, journal);
  ASSERT_FALSE(failed.ok());
  EXPECT_TRUE(finished);
  EXPECT_THAT(failed.error().message(), HasSubstr("could not be verified"));
  EXPECT_THAT(failed.error().message(), HasSubstr("may be lost"));
  EXPECT_TRUE(journal.left_interrupted);
  fence.thaw = {};
  const auto resumed = world.Run(2, journal);
  ASSERT_TRUE(resumed.ok()) << resumed.error().ToString();
}

/// A client was told an error, and yet a part of its write is there.
TEST(NativeReshardTest, AWriteThatReachedOneOfTwoPlacesBeginsTheRoundAnew) {
  for (const std::size_t to : {3U, 1U}) {
    SCOPED_TRACE(to);
    World world(2, 1);
    CountingFence fence;
    world.fence = &fence;
    bool refused = false;
    std::set<std::string> half;
    std::function<void()> watch = [&] {
      const Topology now = world.engine.Now();
      const Collection& docs = *now.FindCollection("docs");
      const auto running = world.engine.ReadResharding({}, "docs");
      // When all points are in the new place, which dies for a moment.
      if (fence.freezes == 0 || !running.ok() || !*running) {
        world.engine.BeforeCall(world.engine.calls() + 1, watch);
        return;
      }
      for (const Shard& shard : docs.shards) {
        const bool target = ((*running)->shard == shard.id) == (to == 3);
        const PeerId peer = shard.replicas.front().peer;
        if (!target) {
          for (const auto& [id, line] :
               world.engine.Content({.peer = peer, .collection = "docs", .shard = shard.id})) {
            half.insert(id);
          }
          continue;
        }
        world.engine.KillPeer(peer);
        for (std::uint64_t i = 0; i < kPoints; ++i) {
          const bool taken = world.engine.Upsert("docs", std::to_string(i),
                                                 {.vector = {}, .payload = R"({"half":1})"});
          refused = refused || !taken;
        }
        world.engine.StartPeer(peer);
      }
    };
    world.engine.BeforeCall(1, watch);
    const auto done = world.Run(static_cast<std::uint32_t>(to));
    ASSERT_TRUE(done.ok()) << done.error().ToString();
    EXPECT_TRUE(refused);
    EXPECT_THAT(world.warnings, ::testing::Contains(HasSubstr("begins anew")));
    world.ExpectWhole({to});
    EXPECT_FALSE(half.empty());
    for (const std::string& id : half) {
      EXPECT_EQ(world.engine.Payload("docs", id), R"({"half":1})") << id;
    }
  }
}

TEST(NativeReshardTest, AFreezeThatFailsTakesTheRoundBack) {
  World world;
  CountingFence fence;
  fence.freeze = Error(ErrorCode::kUnavailable, "the hook failed");
  world.fence = &fence;
  Journal journal;
  const auto failed = world.Run(3, journal);
  ASSERT_FALSE(failed.ok());
  EXPECT_FALSE(journal.left_interrupted);
  world.ExpectWhole({2});
}

/// Writers whose freeze ended with its process may have written meanwhile.
TEST(NativeReshardTest, ADeathWithinARoundSaysWhatMayBeLostOnce) {
  std::uint64_t told = 0;
  for (std::uint64_t n = 0; n < 150; ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    World world(1, 1, {ShardKey("a"), ShardKey("b")});
    CountingFence fence;
    world.fence = &fence;
    Journal journal;
    world.engine.DieAt(n, false);
    static_cast<void>(world.Run(2, journal).ok());
    world.engine.ClearFaults();
    auto resumed = world.Run(2, journal);
    if (!resumed.ok()) {
      ++told;
      EXPECT_EQ(resumed.error().code(), ErrorCode::kFailedPrecondition);
      EXPECT_THAT(resumed.error().message(), HasSubstr("may be lost"));
      EXPECT_TRUE(journal.left_interrupted);
      resumed = world.Run(2, journal);
    }
    ASSERT_TRUE(resumed.ok()) << resumed.error().ToString();
    world.ExpectWhole({2}, kPoints, ShardKey("a"));
    world.ExpectWhole({2}, kPoints, ShardKey("b"));
  }
  EXPECT_GT(told, 4U);
}

TEST(NativeReshardTest, WritesBetweenADeathWithinARoundAndItsEndAreNoDamage) {
  for (std::uint64_t n = 0; n < 80; ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    World world;
    CountingFence fence;
    world.fence = &fence;
    Journal journal;
    world.engine.DieAt(n, true);
    static_cast<void>(world.Run(3, journal).ok());
    world.engine.ClearFaults();
    for (std::uint64_t i = 0; i < kPoints; ++i) {
      world.engine.Upsert("docs", std::to_string(i), {.vector = {}, .payload = R"({"late":1})"});
    }
    const auto resumed = world.Run(3, journal);
    ASSERT_TRUE(resumed.ok()) << resumed.error().ToString();
    world.ExpectWhole({3});
    for (std::uint64_t i = 0; i < kPoints; ++i) {
      EXPECT_EQ(world.engine.Payload("docs", std::to_string(i)), R"({"late":1})");
    }
  }
}

TEST(NativeReshardTest, RefusesWhatIsNotAtRest) {
  {
    World world;
    world.engine.SetReshardable(false);
    EXPECT_THAT(world.Run(3).error().message(), HasSubstr("does not allow"));
  }
  {
    World world;
    world.engine.SetResharding("docs", "resharding up, shard 2");
    EXPECT_THAT(world.Run(3).error().message(), HasSubstr("resharding up"));
  }
  {
    World world;
    world.engine.KillPeer(PeerId(101));
    EXPECT_THAT(world.Run(3).error().message(), HasSubstr("does not answer"));
  }
}

TEST(NativeReshardTest, SomebodyElsesReshardingIsLeftAlone) {
  World world;
  const Resharding theirs{.uuid = "11111111-2222-4333-8444-555555555555",
                          .direction = ReshardDirection::kUp,
                          .shard = {},
                          .peer = PeerId(101),
                          .key = {}};
  // Between the plan and the start.
  CallFault never;
  never.call = EngineCall::kStartResharding;
  never.error = Error(ErrorCode::kFailedPrecondition, "stop here");
  world.engine.Add(never);
  Journal journal;
  ASSERT_FALSE(world.Run(3, journal).ok());
  ASSERT_TRUE(world.engine.StartResharding({}, "docs", theirs).ok());
  const auto refused = world.Run(3, journal);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kBusy) << refused.error().ToString();
  const auto running = world.engine.ReadResharding({}, "docs");
  ASSERT_TRUE(running.ok() && *running);
  EXPECT_EQ((*running)->uuid, theirs.uuid);
}

TEST(NativeReshardTest, ACollectionOfTheSameNameIsNotTheSame) {
  World world;
  Journal journal;
  CallFault stop;
  stop.call = EngineCall::kStartResharding;
  stop.error = Error(ErrorCode::kFailedPrecondition, "stop here");
  world.engine.Add(stop);
  ASSERT_FALSE(world.Run(3, journal).ok());
  world.engine.Recreate("docs");
  const auto refused = world.Run(3, journal);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(), HasSubstr("another collection"));
}

/// Calls of a whole run, to sweep over.
std::uint64_t CallsOf(std::uint32_t from, std::uint32_t to) {
  World world(from);
  EXPECT_TRUE(world.Run(to).ok());
  return world.engine.calls();
}

struct Sweep {
  std::uint32_t from;
  std::uint32_t to;
};

class NativeReshardSweep : public ::testing::TestWithParam<Sweep> {};

/// A call that fails once, for a reason that passes, is no reason to fail.
TEST_P(NativeReshardSweep, OneFailedCallOrLostReplyIsOvercome) {
  const std::uint64_t calls = CallsOf(GetParam().from, GetParam().to);
  for (std::uint64_t n = 0; n < calls; ++n) {
    for (const ErrorCode code : {ErrorCode::kUnavailable, ErrorCode::kDeadlineExceeded}) {
      for (const bool after_effect : {false, true}) {
        SCOPED_TRACE("call " + std::to_string(n) + (after_effect ? " after" : " before"));
        World world(GetParam().from);
        CallFault fault;
        fault.skip = static_cast<int>(n);
        fault.error = Error(code, "lost (scripted)");
        fault.after_effect = after_effect;
        world.engine.Add(fault);
        const auto done = world.Run(GetParam().to);
        if (done.ok()) {
          world.ExpectWhole({GetParam().to});
        } else {
          // Before anything was begun, where nothing is tried twice.
          world.ExpectWhole({GetParam().from});
          EXPECT_LT(n, 4U) << done.error().ToString();
        }
      }
    }
  }
}

/// Also for a reason that no other try can help with: nothing of ours is left that nobody goes on
/// with.
TEST_P(NativeReshardSweep, AReshardingIsTakenBackOrLeftToResume) {
  const std::uint64_t calls = CallsOf(GetParam().from, GetParam().to);
  std::uint64_t resumed = 0;
  for (std::uint64_t n = 0; n < calls; ++n) {
    for (const ErrorCode code : {ErrorCode::kAborted, ErrorCode::kPermissionDenied}) {
      for (const bool after_effect : {false, true}) {
        SCOPED_TRACE("call " + std::to_string(n) + (after_effect ? " after" : " before"));
        World world(GetParam().from);
        // The abort fails too.
        CallFault fault;
        fault.skip = static_cast<int>(n);
        fault.times = 5;
        fault.error = Error(code, "lost (scripted)");
        fault.after_effect = after_effect;
        world.engine.Add(fault);
        Journal journal;
        const auto done = world.Run(GetParam().to, journal);
        world.engine.ClearFaults();
        if (!done.ok() && journal.left_interrupted) {
          ++resumed;
          const auto again = world.Run(GetParam().to, journal);
          ASSERT_TRUE(again.ok()) << done.error().ToString() << ", then "
                                  << again.error().ToString();
        }
        std::set<std::size_t> allowed;
        for (std::size_t i = std::min(GetParam().from, GetParam().to);
             i <= std::max(GetParam().from, GetParam().to); ++i) {
          allowed.insert(i);
        }
        world.ExpectWhole(allowed);
      }
    }
  }
  EXPECT_GT(resumed, 10U);
}

TEST_P(NativeReshardSweep, GoesOnAfterADeathAtAnyCall) {
  const std::uint64_t calls = CallsOf(GetParam().from, GetParam().to);
  for (std::uint64_t n = 0; n < calls; ++n) {
    for (const bool after_effect : {false, true}) {
      SCOPED_TRACE("call " + std::to_string(n) + (after_effect ? " after" : " before"));
      World world(GetParam().from);
      Journal journal;
      world.engine.DieAt(n, after_effect);
      EXPECT_FALSE(world.Run(GetParam().to, journal).ok());
      world.engine.ClearFaults();
      const auto done = world.Run(GetParam().to, journal);
      ASSERT_TRUE(done.ok()) << done.error().ToString();
      world.ExpectWhole({GetParam().to});
    }
  }
}

/// The first try was given up; what runs is of the second one.
TEST_P(NativeReshardSweep, GoesOnAfterADeathInALaterTry) {
  for (std::uint64_t n = 10; n < 80; ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    World world(GetParam().from);
    CallFault given_up;
    given_up.call = EngineCall::kFinishMigration;
    given_up.error = Error(ErrorCode::kAborted, "given up (scripted)");
    world.engine.Add(given_up);
    world.engine.DieAt(n, true);
    Journal journal;
    static_cast<void>(world.Run(GetParam().to, journal).ok());
    world.engine.ClearFaults();
    const auto resumed = world.Run(GetParam().to, journal);
    ASSERT_TRUE(resumed.ok()) << resumed.error().ToString();
    world.ExpectWhole({GetParam().to});
  }
}

TEST_P(NativeReshardSweep, CtrlCLeavesWholeRoundsOnly) {
  const std::uint64_t calls = CallsOf(GetParam().from, GetParam().to);
  for (std::uint64_t n = 1; n <= calls; ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    World world(GetParam().from);
    std::stop_source stop;
    world.engine.BeforeCall(n, [&stop] { stop.request_stop(); });
    Journal journal;
    const auto done = world.Run(GetParam().to, journal, &stop);
    if (!done.ok()) {
      EXPECT_EQ(done.error().code(), ErrorCode::kCancelled) << done.error().ToString();
    }
    world.ExpectWhole(Between(GetParam().from, GetParam().to));
  }
}

TEST_P(NativeReshardSweep, WritersGoOnMeanwhile) {
  const std::uint64_t calls = CallsOf(GetParam().from, GetParam().to);
  World world(GetParam().from);
  std::set<std::string> expected;
  for (std::uint64_t i = 0; i < kPoints; ++i) expected.insert(std::to_string(i));
  for (std::uint64_t n = 1; n <= calls * 2; ++n) {
    world.engine.BeforeCall(n, [&world, &expected, n] {
      const std::string fresh = std::to_string(1000 + n);
      const std::string gone = std::to_string(n % kPoints);
      EXPECT_TRUE(world.engine.Upsert("docs", fresh, {}));
      EXPECT_TRUE(world.engine.Delete("docs", gone));
      expected.insert(fresh);
      expected.erase(gone);
    });
  }
  const auto done = world.Run(GetParam().to);
  ASSERT_TRUE(done.ok()) << done.error().ToString();
  world.ExpectWhole({GetParam().to}, expected.size());
  const auto ids = world.engine.Ids("docs");
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()), expected);
}

/// It is made anew from another one, which may not have had its part of what moves.
TEST_P(NativeReshardSweep, AReplicaThatIsMadeAnewAtAnyMomentLosesNothing) {
  const std::uint64_t calls = CallsOf(GetParam().from, GetParam().to);
  std::uint64_t passed = 0;
  for (std::uint64_t n = 1; n <= calls; ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    World world(GetParam().from);
    world.engine.BeforeCall(n, [&] {
      const Topology now = world.engine.Now();
      for (const Shard& shard : now.FindCollection("docs")->shards) {
        const PeerId peer = shard.replicas[n % shard.replicas.size()].peer;
        world.engine.LoseReplica({.peer = peer, .collection = "docs", .shard = shard.id});
      }
    });
    for (std::uint64_t later = n + 1 + n % 7; later < n + 400; ++later) {
      world.engine.BeforeCall(later, [&] {
        for (const Peer& peer : world.engine.Now().peers) world.engine.RecoverReplicas(peer.id);
      });
    }
    const auto done = world.Run(GetParam().to);
    for (const Peer& peer : world.engine.Now().peers) world.engine.RecoverReplicas(peer.id);
    if (done.ok()) {
      world.ExpectWhole({GetParam().to});
      ++passed;
      continue;
    }
    // Refused before anything began, or taken back; rounds before stay.
    EXPECT_NE(done.error().code(), ErrorCode::kDataLoss) << done.error().ToString();
    world.ExpectWhole(Between(GetParam().from, GetParam().to));
  }
  EXPECT_GT(passed, calls / 2);
}

INSTANTIATE_TEST_SUITE_P(Ways, NativeReshardSweep,
                         ::testing::Values(Sweep{.from = 2, .to = 3}, Sweep{.from = 3, .to = 2},
                                           Sweep{.from = 1, .to = 3}, Sweep{.from = 3, .to = 1}),
                         [](const auto& sweep) {
                           return "From" + std::to_string(sweep.param.from) + "To" +
                                  std::to_string(sweep.param.to);
                         });

/// The transfer to the new shard's other replicas stays listed while its source is dead.
TEST(NativeReshardTest, APeerThatDiesWhileANewShardIsReplicatedEndsTheRound) {
  World world;
  std::function<void()> watch = [&] {
    const Topology now = world.engine.Now();
    const auto& transfers = now.FindCollection("docs")->transfers;
    if (transfers.empty()) {
      world.engine.BeforeCall(world.engine.calls() + 1, watch);
    } else {
      world.engine.KillPeer(transfers.front().from);
    }
  };
  world.engine.BeforeCall(1, watch);
  Journal journal;
  const auto failed = world.Run(3, journal);
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message(), HasSubstr("does not answer any more"));
}

TEST(NativeReshardTest, AResumedRunThatIsStoppedAtOnceStaysToBeResumed) {
  World world;
  Journal journal;
  world.engine.DieAt(14, true);
  static_cast<void>(world.Run(3, journal).ok());
  world.engine.ClearFaults();
  ASSERT_NE(world.engine.Now().FindCollection("docs")->resharding, "");
  std::stop_source stop;
  stop.request_stop();
  const auto stopped = world.Run(3, journal, &stop);
  ASSERT_FALSE(stopped.ok());
  if (world.engine.Now().FindCollection("docs")->resharding.empty()) {
    world.ExpectWhole({2});
  } else {
    EXPECT_TRUE(journal.left_interrupted);
    EXPECT_NE(stopped.error().code(), ErrorCode::kCancelled) << stopped.error().ToString();
  }
  ASSERT_TRUE(world.Run(3, journal).ok());
  world.ExpectWhole({3});
}

TEST(NativeReshardTest, APeerThatDiesIsToldAndNothingIsLeftHalf) {
  const std::uint64_t calls = CallsOf(2, 3);
  for (std::uint64_t n = 1; n <= calls; ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    World world;
    const PeerId victim(103);
    world.engine.BeforeCall(n, [&] { world.engine.KillPeer(victim); });
    Journal journal;
    const auto done = world.Run(3, journal);
    world.engine.StartPeer(victim);
    if (!done.ok()) {
      // What was past the point of no return goes on when the peer is back.
      const auto left = world.engine.ReadResharding({}, "docs");
      EXPECT_TRUE(left.ok() && (!left->has_value() || journal.left_interrupted));
      const auto again = world.Run(3, journal);
      if (!again.ok()) {
        SCOPED_TRACE(done.error().ToString() + ", then " + again.error().ToString());
        world.ExpectWhole({2});
        continue;
      }
    }
    world.ExpectWhole({3});
  }
}

}  // namespace
}  // namespace holdfast
