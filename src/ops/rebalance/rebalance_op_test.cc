#include "ops/rebalance/rebalance_op.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

#include "testing/fake_clock.h"
#include "testing/ops/journal_steps.h"
#include "testing/scripted_engine.h"

namespace holdfast {
namespace {

using testing::CallFault;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using testing::EngineCall;
using testing::FakeClock;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Journal;
using testing::JournalSteps;
using testing::ScriptedCollection;
using testing::ScriptedEngine;
using ::testing::SizeIs;

const PeerId kFirst{101};
const PeerId kSecond{102};
const PeerId kThird{103};

/// What every replica of every shard must hold.
using Content = std::map<std::pair<std::string, ShardId>, std::map<std::string, std::string>>;

class RebalanceOpTest : public ::testing::Test {
 protected:
  /// A collection on the first peer alone.
  void Crowd(const std::string& name, std::uint32_t shards, std::uint32_t replication = 1) {
    ScriptedCollection made;
    made.shards = shards;
    made.replication_factor = replication;
    made.placement = {kFirst};
    made.ballast_bytes = 1000;
    Add(name, made);
  }
  /// As the servers place it: even.
  void Even(const std::string& name, std::uint32_t shards, std::uint32_t replication) {
    ScriptedCollection made;
    made.shards = shards;
    made.replication_factor = replication;
    Add(name, made);
  }
  void Add(const std::string& name, const ScriptedCollection& made) {
    engine_.AddCollection(name, made);
    engine_.Fill(name, 0, 30);
    Learn();
  }
  void Learn() {
    content_.clear();
    engine_.WatchReplicas();
    began_.clear();
    for (const Collection& collection : engine_.Now().collections) {
      for (const Shard& shard : collection.shards) {
        const ReplicaRef first{
            .peer = shard.replicas.front().peer, .collection = collection.name, .shard = shard.id};
        content_[{collection.name, shard.id}] = engine_.Content(first);
        began_[{collection.name, shard.id}] = engine_.least_active(collection.name, shard.id);
      }
    }
  }

  Result<RebalanceOutcome> Run(RebalanceOptions options = {}) {
    Journal journal;
    return Run(journal, std::move(options));
  }
  Result<RebalanceOutcome> Run(Journal& journal, RebalanceOptions options = {},
                               const CallContext& call = {}) {
    JournalSteps steps(journal, call);
    auto outcome = RebalanceOp({.engine = engine_, .clock = clock_}, std::move(options)).Run(steps);
    warnings_ = steps.warnings;
    return outcome;
  }

  /// Replicas by peer.
  std::map<PeerId, std::size_t> Held(const std::string& name) {
    std::map<PeerId, std::size_t> held;
    const Topology now = engine_.Now();
    for (const Shard& shard : now.FindCollection(name)->shards) {
      for (const Replica& replica : shard.replicas) ++held[replica.peer];
    }
    return held;
  }

  /// Nothing is under way, every replica is Active and has what its shard had in the beginning, and
  /// no shard ever had fewer Active ones than it began with or has now. `lost`: replicas a shard
  /// may have lost to peers that died.
  void ExpectWhole(std::uint32_t lost = 0) {
    const Topology now = engine_.Now();
    for (const Collection& collection : now.collections) {
      EXPECT_THAT(collection.transfers, IsEmpty()) << collection.name;
      for (const Shard& shard : collection.shards) {
        const auto key = std::pair(collection.name, shard.id);
        for (const Replica& replica : shard.replicas) {
          const ReplicaRef ref{
              .peer = replica.peer, .collection = collection.name, .shard = shard.id};
          EXPECT_EQ(replica.state, ReplicaState::kActive) << Describe(ref);
          EXPECT_EQ(engine_.Content(ref), content_.at(key)) << Describe(ref);
        }
        const auto wanted =
            std::min(began_.at(key), static_cast<std::uint32_t>(shard.replicas.size()));
        EXPECT_GE(engine_.least_active(collection.name, shard.id) + lost, wanted)
            << collection.name << " " << shard.id.value();
      }
    }
  }

  /// A plan of what is there now has nothing to do.
  void ExpectWanted(const RebalanceRequest& request = {}) {
    const auto plan = PlanRebalance(engine_.Now(), request);
    ASSERT_TRUE(plan.ok()) << plan.error().ToString();
    EXPECT_THAT(plan->steps, IsEmpty());
    EXPECT_THAT(plan->left, IsEmpty());
  }

  FakeClock clock_;
  ScriptedEngine engine_{clock_};
  Content content_;
  std::map<std::pair<std::string, ShardId>, std::uint32_t> began_;
  std::vector<std::string> warnings_;
};

TEST_F(RebalanceOpTest, WhatWasConsolidatedSpreadsOverThePeersAgain) {
  Crowd("docs", 6);
  const auto outcome = Run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->moved, 4U);
  EXPECT_EQ(outcome->replicated, 0U);
  EXPECT_EQ(outcome->dropped, 0U);
  EXPECT_GT(outcome->bytes, 4000U);
  EXPECT_THAT(outcome->left, IsEmpty());
  EXPECT_EQ(Held("docs"), (std::map<PeerId, std::size_t>{{kFirst, 2}, {kSecond, 2}, {kThird, 2}}));
  ExpectWhole();
  ExpectWanted();
  EXPECT_THAT(RebalanceOutcomeToJson(*outcome, std::chrono::seconds(2)),
              HasSubstr(R"("moved":4,"removable":[],"replicated":0,"seconds":2.0)"));
}

TEST_F(RebalanceOpTest, ReplicasThatAreMissingAreMade) {
  Crowd("docs", 3, 2);
  const auto outcome = Run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->replicated, 3U);
  ExpectWhole();
  ExpectWanted();
  const Topology now = engine_.Now();
  for (const Shard& shard : now.FindCollection("docs")->shards) {
    EXPECT_THAT(shard.replicas, SizeIs(2));
  }
}

TEST_F(RebalanceOpTest, NothingToDoIsDone) {
  Even("docs", 3, 2);
  const auto outcome = Run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->moved + outcome->replicated + outcome->dropped, 0U);
  EXPECT_EQ(engine_.calls(EngineCall::kStartTransfer), 0U);
}

TEST_F(RebalanceOpTest, FewerPeersThanReplicasIsTold) {
  Even("docs", 2, 5);
  const auto outcome = Run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_THAT(outcome->left, ::testing::ElementsAre(HasSubstr("5 replicas")));
}

TEST_F(RebalanceOpTest, DrainedAndGivenUpPeersLoseWhatTheyHold) {
  Even("docs", 3, 2);
  RebalanceOptions options;
  options.request.limits[kFirst].draining = true;
  auto outcome = Run(options);
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_FALSE(Held("docs").contains(kFirst));
  EXPECT_THAT(outcome->removable, ElementsAre(EndsWith("DELETE /cluster/peer/101")));
  ExpectWhole();

  engine_.KillPeer(kThird);
  Learn();
  const auto refused = Run();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().hint(), HasSubstr("--without"));
  options = {};
  options.request.without = {kThird};
  outcome = Run(options);
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->dropped, 3U);
  EXPECT_THAT(outcome->removable, ElementsAre(EndsWith("DELETE /cluster/peer/103?force=true")));
  EXPECT_EQ(Held("docs"), (std::map<PeerId, std::size_t>{{kFirst, 3}, {kSecond, 3}}));
  ExpectWhole();
}

TEST_F(RebalanceOpTest, AWantedLayoutIsMadeExactly) {
  Even("docs", 2, 2);
  RebalanceOptions options;
  options.request.wanted = *WantedLayoutFromJson(
      R"({"collections":{"docs":[{"shard":0,"peers":[103]},{"shard":1,"peers":[101,102,103]}]}})");
  const auto outcome = Run(options);
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  const Topology now = engine_.Now();
  const auto& shards = now.FindCollection("docs")->shards;
  ASSERT_THAT(shards[0].replicas, SizeIs(1));
  EXPECT_EQ(shards[0].replicas[0].peer, kThird);
  EXPECT_THAT(shards[1].replicas, SizeIs(3));
}

TEST_F(RebalanceOpTest, TransfersAreBoundedInNumberAndByPeer) {
  Crowd("docs", 9);
  RebalanceOptions options;
  options.transfers_at_once = 3;
  ASSERT_TRUE(Run(options).ok());
  EXPECT_EQ(engine_.transfers_max(), 2U) << "one for each of the two that receive";
  EXPECT_EQ(engine_.transfers_max(kSecond), 1U);

  Crowd("more", 9);
  options.request.receives_at_once = 5;
  ASSERT_TRUE(Run(options).ok());
  EXPECT_EQ(engine_.transfers_max(), 3U);
}

TEST_F(RebalanceOpTest, StartsArePacedBySize) {
  Crowd("docs", 9);
  RebalanceOptions options;
  options.request.receives_at_once = 9;
  options.transfers_at_once = 9;
  const MonotonicTime before = clock_.Monotonic();
  const auto outcome = [&] {
    options.bytes_per_second = 100;
    return Run(options);
  }();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  ASSERT_EQ(outcome->moved, 6U);
  // The last one has not to be paid for before it starts.
  const auto paced = static_cast<std::int64_t>(outcome->bytes / 6 * 5 / 100);
  EXPECT_GE(clock_.Monotonic() - before, std::chrono::seconds(paced));
  ExpectWhole();
}

TEST_F(RebalanceOpTest, OthersTransfersAreWaitedForOnlyWhenAsked) {
  Crowd("docs", 3);
  Even("other", 1, 1);
  const ShardTransfer theirs{.shard = ShardId(0),
                             .to_shard = {},
                             .from = kFirst,
                             .to = kThird,
                             .method = "snapshot",
                             .comment = ""};
  engine_.ShowTransfer("other", theirs);
  const auto refused = Run();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kBusy);
  EXPECT_THAT(refused.error().message(), HasSubstr("'other' is being transferred"));
  EXPECT_THAT(engine_.Now().FindCollection("other")->transfers, SizeIs(1));

  RebalanceOptions options;
  options.request.collections = {"docs"};
  ASSERT_TRUE(Run(options).ok()) << "another collection's transfers are no matter";
  EXPECT_THAT(engine_.Now().FindCollection("other")->transfers, SizeIs(1));

  options = {};
  options.wait = std::chrono::minutes(10);
  engine_.BeforeCall(engine_.calls() + 20, [&] { engine_.FinishTransfers("other"); });
  const auto waited = Run(options);
  ASSERT_TRUE(waited.ok()) << waited.error().ToString();
}

TEST_F(RebalanceOpTest, ATransferOfOthersThatComesInTheMiddleIsLeftAlone) {
  Crowd("docs", 6);
  RebalanceOptions options;
  options.transfers_at_once = 1;
  bool shown = false;
  for (std::uint64_t n = 8; n < 200; n += 1) {
    engine_.BeforeCall(engine_.calls() + n, [&] {
      const Topology now = engine_.Now();
      const Shard& last = now.FindCollection("docs")->shards.front();
      // A shard that nobody moves yet.
      if (shown || last.replicas.size() != 1 || last.replicas[0].peer != kFirst) return;
      shown = true;
      engine_.ShowTransfer("docs", {.shard = last.id,
                                    .to_shard = {},
                                    .from = kFirst,
                                    .to = kThird,
                                    .method = "snapshot",
                                    .comment = ""});
    });
  }
  const auto outcome = Run(options);
  ASSERT_TRUE(shown);
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_THAT(outcome->left, ::testing::Contains(HasSubstr("is being transferred")));
  EXPECT_THAT(engine_.Now().FindCollection("docs")->transfers, SizeIs(1));
  EXPECT_GE(outcome->moved, 1U);
  engine_.FinishTransfers("docs");
  ASSERT_TRUE(Run().ok());
  ExpectWhole();
  ExpectWanted();
}

TEST_F(RebalanceOpTest, ATransferThatFailsIsTriedAgain) {
  for (const std::uint32_t replication : {1U, 2U}) {
    Crowd("docs" + std::to_string(replication), 3, replication);
    engine_.FailTransfers(2);
    const auto outcome = Run();
    ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
    EXPECT_THAT(outcome->left, IsEmpty());
    EXPECT_THAT(warnings_, SizeIs(2));
    ExpectWhole();
    ExpectWanted();
  }
}

TEST_F(RebalanceOpTest, WhatFailsAgainAndAgainIsLeftAndTheRestIsDone) {
  Crowd("bad", 1, 2);
  Crowd("docs", 3, 2);
  engine_.FailTransfers(1000, "bad");
  const auto outcome = Run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->replicated, 3U);
  EXPECT_THAT(outcome->left, ::testing::ElementsAre(HasSubstr("replicate shard 0 of 'bad'")));
  ExpectWhole();

  const auto nothing = Run();
  ASSERT_FALSE(nothing.ok());
  EXPECT_EQ(nothing.error().code(), ErrorCode::kAborted);
  EXPECT_THAT(nothing.error().message(), HasSubstr("replicate shard 0 of 'bad'"));
  ExpectWhole();
}

TEST_F(RebalanceOpTest, ACollectionThatIsDroppedInTheMiddleIsNoReasonToStop) {
  Crowd("docs", 3);
  Crowd("other", 3);
  engine_.BeforeCall(engine_.calls() + 12,
                     [&] { ASSERT_TRUE(engine_.DropCollection({}, "docs").ok()); });
  const auto outcome = Run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_THAT(outcome->left, IsEmpty());
  ExpectWhole();
  ExpectWanted();
}

TEST_F(RebalanceOpTest, MissingRightsAreFoundBeforeAnythingIsDone) {
  Crowd("docs", 3);
  engine_.SetForbidden(Purpose::kRestore, true);
  const auto refused = Run();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(engine_.calls(EngineCall::kStartTransfer), 0U);
}

TEST_F(RebalanceOpTest, WritesDuringAMoveAreInBothBeforeAndAfter) {
  Crowd("docs", 6);
  std::uint64_t written = 0;
  for (std::uint64_t n = 5; n < 40; n += 5) {
    engine_.BeforeCall(engine_.calls() + n, [&, n] {
      engine_.Fill("docs", 100 * n, 100 * n + 3);
      written += 3;
    });
  }
  ASSERT_TRUE(Run().ok());
  EXPECT_GT(written, 6U);
  EXPECT_EQ(engine_.Ids("docs").size(), 30 + written);
  ExpectWanted();
}

// --- faults, deaths, stops
// -------------------------------------------------------------------------

class RebalanceFaultTest : public RebalanceOpTest {
 protected:
  /// Moves, new replicas and, with the third peer draining, drops.
  void Make() {
    for (const Collection& there : engine_.Now().collections) {
      ASSERT_TRUE(engine_.DropCollection({}, there.name).ok());
    }
    ScriptedCollection three;
    three.shards = 2;
    three.replication_factor = 2;
    three.placement = {kFirst, kThird, kSecond};
    engine_.AddCollection("kept", three);
    ScriptedCollection crowded;
    crowded.shards = 2;
    crowded.replication_factor = 1;
    crowded.placement = {kFirst};
    engine_.AddCollection("crowded", crowded);
    ScriptedCollection thin = crowded;
    thin.replication_factor = 2;
    engine_.AddCollection("thin", thin);
    ScriptedCollection full;
    full.shards = 1;
    full.replication_factor = 2;
    full.placement = {kFirst, kSecond};
    engine_.AddCollection("full", full);
    // One more than is wanted.
    const TransferRef more{.collection = "full", .shard = ShardId(0), .from = kFirst, .to = kThird};
    ASSERT_TRUE(engine_.StartTransfer({}, more, TransferKind::kReplicate).ok());
    clock_.Advance(std::chrono::hours(1));
    ASSERT_EQ(engine_.Now().FindCollection("full")->StateOf(ShardId(0), kThird),
              ReplicaState::kActive);
    for (const char* name : {"kept", "crowded", "thin", "full"}) engine_.Fill(name, 0, 20);
    Learn();
  }
  RebalanceOptions Options() {
    RebalanceOptions options;
    options.request.limits[kThird].draining = true;
    options.transfers_at_once = 2;
    return options;
  }
  std::uint64_t CallsOfAWholeRun() {
    Make();
    const std::uint64_t before = engine_.calls();
    const auto outcome = Run(Options());
    EXPECT_TRUE(outcome.ok()) << outcome.error().ToString();
    EXPECT_GT(outcome->moved, 0U);
    EXPECT_GT(outcome->replicated, 0U);
    EXPECT_GT(outcome->dropped, 0U);
    ExpectReached();
    return engine_.calls() - before;
  }
  void ExpectReached() {
    ExpectWhole();
    const auto plan = PlanRebalance(engine_.Now(), Options().request);
    ASSERT_TRUE(plan.ok()) << plan.error().ToString();
    EXPECT_THAT(plan->steps, IsEmpty());
    for (const Collection& collection : engine_.Now().collections) {
      EXPECT_FALSE(Held(collection.name).contains(kThird)) << collection.name;
    }
  }
};

TEST_F(RebalanceFaultTest, OneFailedCallAnywhereIsOvercome) {
  const std::uint64_t calls = CallsOfAWholeRun();
  ASSERT_GT(calls, 40U);
  std::uint64_t refused = 0;
  for (const ErrorCode code : {ErrorCode::kUnavailable, ErrorCode::kDeadlineExceeded}) {
    for (const bool after_effect : {false, true}) {
      for (std::uint64_t n = 0; n < calls; ++n) {
        SCOPED_TRACE("call " + std::to_string(n) + (after_effect ? ", after its effect" : ""));
        Make();
        CallFault fault;
        fault.skip = static_cast<int>(n);
        fault.after_effect = after_effect;
        fault.error = Error(code, "scripted");
        engine_.Add(fault);
        const auto outcome = Run(Options());
        engine_.ClearFaults();
        if (!outcome.ok()) {
          // Before anything was done the error itself is told.
          ++refused;
          EXPECT_LE(n, 2U) << outcome.error().ToString();
          EXPECT_EQ(outcome.error().code(), code);
          continue;
        }
        ExpectReached();
      }
    }
  }
  EXPECT_GT(refused, 0U);
}

TEST_F(RebalanceFaultTest, GoesOnAfterADeathAtAnyCall) {
  const std::uint64_t calls = CallsOfAWholeRun();
  for (const bool after_effect : {false, true}) {
    for (std::uint64_t n = 0; n < calls; ++n) {
      SCOPED_TRACE("call " + std::to_string(n) + (after_effect ? ", after its effect" : ""));
      Make();
      engine_.DieAt(n, after_effect);
      Journal journal;
      static_cast<void>(Run(journal, Options()).ok());
      engine_.ClearFaults();
      // Resumed, or by a new run that takes over what the dead one had started.
      const auto left = RebalanceJournalFromJson(journal.plan);
      ASSERT_TRUE(left.ok());
      EXPECT_LE(left->own.size(), Options().transfers_at_once);
      Journal fresh;
      RebalanceJournal taken;
      taken.own = left->own;
      fresh.plan = RebalanceJournalToJson(taken);
      const auto outcome = Run(n % 2 == 0 ? journal : fresh, Options());
      ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
      ExpectReached();
    }
  }
}

TEST_F(RebalanceFaultTest, StoppedAnywhereItLeavesNoTransferAndTouchesNobodyElses) {
  const std::uint64_t calls = CallsOfAWholeRun();
  for (std::uint64_t n = 1; n <= calls; ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    Make();
    Even("theirs", 1, 1);
    engine_.ShowTransfer("theirs", {.shard = ShardId(0),
                                    .to_shard = {},
                                    .from = kFirst,
                                    .to = kSecond,
                                    .method = "snapshot",
                                    .comment = ""});
    RebalanceOptions options = Options();
    options.request.collections = {"kept", "crowded", "thin", "full"};
    std::stop_source stop;
    options.user_stop = stop.get_token();
    engine_.BeforeCall(engine_.calls() + n, [&] { stop.request_stop(); });
    Journal journal;
    const auto outcome =
        Run(journal, options, {.stop = stop.get_token(), .deadline = std::nullopt});
    EXPECT_THAT(engine_.Now().FindCollection("theirs")->transfers, SizeIs(1));
    engine_.FinishTransfers("theirs");
    if (!outcome.ok()) {
      EXPECT_EQ(outcome.error().code(), ErrorCode::kCancelled) << outcome.error().ToString();
    }
    ExpectWhole();
    ASSERT_TRUE(engine_.DropCollection({}, "theirs").ok());
  }
}

TEST_F(RebalanceFaultTest, WhenItsLeaseIsGoneTransfersRunOn) {
  Make();
  std::stop_source stop;
  bool moving = false;
  for (std::uint64_t n = 8; n < 60; ++n) {
    engine_.BeforeCall(engine_.calls() + n, [&] {
      for (const Collection& one : engine_.Now().collections) moving |= !one.transfers.empty();
      if (moving) stop.request_stop();
    });
  }
  Journal journal;
  const auto outcome =
      Run(journal, Options(), {.stop = stop.get_token(), .deadline = std::nullopt});
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code(), ErrorCode::kCancelled);
  bool still = false;
  for (const Collection& one : engine_.Now().collections) still |= !one.transfers.empty();
  EXPECT_TRUE(moving && still);
  const auto resumed = Run(journal, Options());
  ASSERT_TRUE(resumed.ok()) << resumed.error().ToString();
  ExpectReached();
}

TEST_F(RebalanceFaultTest, APeerThatDiesOnTheWayIsPlannedAround) {
  std::uint64_t left = 0;
  const std::uint64_t calls = CallsOfAWholeRun();
  for (const PeerId dying : {kFirst, kSecond, kThird}) {
    for (std::uint64_t n = 1; n < calls; ++n) {
      SCOPED_TRACE("peer " + std::to_string(dying.value()) + " at call " + std::to_string(n));
      Make();
      engine_.BeforeCall(engine_.calls() + n, [&] { engine_.KillPeer(dying); });
      const auto outcome = Run(Options());
      if (outcome.ok()) left += outcome->left.size() > 1 ? 1 : 0;
      for (const Collection& one : engine_.Now().collections) {
        EXPECT_THAT(one.transfers, IsEmpty()) << one.name;
      }
      engine_.StartPeer(dying);
      for (const Collection& one : engine_.Now().collections) {
        for (const Shard& shard : one.shards) {
          for (const Replica& replica : shard.replicas) {
            if (replica.state == ReplicaState::kActive) continue;
            engine_.RecoverReplica(
                {.peer = replica.peer, .collection = one.name, .shard = shard.id});
          }
        }
      }
      const auto again = Run(Options());
      ASSERT_TRUE(again.ok()) << again.error().ToString();
      // A peer that was dead has nothing Active.
      engine_.WatchReplicas();
      ExpectReached();
    }
  }
  EXPECT_GT(left, 10U);
}

TEST_F(RebalanceFaultTest, APeerThatIsStartedAgainOnTheWayGetsItsShare) {
  const std::uint64_t calls = CallsOfAWholeRun();
  for (std::uint64_t n = 1; n < calls; n += 2) {
    SCOPED_TRACE("call " + std::to_string(n));
    Make();
    // Its transfers are aborted by that (reference 5).
    engine_.BeforeCall(engine_.calls() + n, [&] {
      engine_.KillPeer(kSecond);
      engine_.StartPeer(kSecond);
      engine_.WatchReplicas();
    });
    const auto outcome = Run(Options());
    ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
    ExpectReached();
  }
}

TEST(RebalanceJournalTest, ComesBackAsItWas) {
  RebalanceJournal journal;
  journal.own.push_back(
      {.transfer = {.collection = "a/b", .shard = ShardId(3), .from = PeerId(1), .to = PeerId(2)},
       .kind = TransferKind::kReplicate,
       .bytes = 17});
  journal.moved = 1;
  journal.replicated = 2;
  journal.dropped = 3;
  journal.bytes = 4;
  const std::string text = RebalanceJournalToJson(journal);
  const auto read = RebalanceJournalFromJson(text);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(RebalanceJournalToJson(*read), text);
  EXPECT_EQ(read->own.front().transfer, journal.own.front().transfer);
  EXPECT_TRUE(RebalanceJournalFromJson("").ok());
  EXPECT_FALSE(RebalanceJournalFromJson("{}").ok());

  RebalanceAsked asked;
  asked.request.collections = {"docs"};
  asked.request.without = {PeerId(7)};
  asked.request.receives_at_once = 2;
  asked.transfers_at_once = 3;
  asked.bytes_per_second = 1'000'000;
  asked.request.wanted =
      *WantedLayoutFromJson(R"({"collections":{"docs":[{"shard":0,"peers":[3,1]}]}})");
  const std::string request = RebalanceAskedToJson(asked);
  const auto back = RebalanceAskedFromJson(request);
  ASSERT_TRUE(back.ok()) << back.error().ToString();
  EXPECT_EQ(RebalanceAskedToJson(*back), request);
  EXPECT_FALSE(RebalanceAskedFromJson("{}").ok());
}

}  // namespace
}  // namespace holdfast
