// Resharding by a copy over the simulated cluster: every point, whoever writes, fails or dies.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "model/json.h"
#include "ops/reshard/reshard_op.h"
#include "testing/fake_clock.h"
#include "testing/ops/journal_steps.h"
#include "testing/scripted_engine.h"

namespace holdfast {
namespace {

using testing::CallFault;
using ::testing::ElementsAre;
using testing::EngineCall;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Journal;
using testing::JournalSteps;
using ::testing::Not;
using testing::ScriptedCollection;

constexpr const char* kCopy = "docs_v1__deadbeef";

/// Shard key (as people read it) and id to the point.
using Points = std::map<std::pair<std::string, std::string>, json::Json>;

class FakeFence final : public Fence {
 public:
  Status Freeze(const CallContext&) override {
    ++freezes;
    frozen = freeze_result.ok();
    return freeze_result;
  }
  Status Thaw(const CallContext&) override {
    frozen = false;
    ++thaws;
    return thaw_result;
  }
  bool frozen = false;
  int freezes = 0;
  int thaws = 0;
  Status freeze_result;
  Status thaw_result;
};

class ReshardCopyTest : public ::testing::Test {
 protected:
  void SetUp() override { Make(); }

  void Make(std::uint32_t shards = 2, std::uint32_t replicas = 2, std::uint64_t points = 60) {
    ScriptedCollection plain;
    plain.shards = shards;
    plain.replication_factor = replicas;
    plain.indexes = {{.field = "n", .schema_json = R"("integer")"}};
    engine_.AddCollection("docs_v1", plain);
    engine_.Fill("docs_v1", 0, points);
    engine_.Upsert("docs_v1", "18446744073709551615", {.vector = {1, 0, 0, 0}, .payload = "{}"});
    engine_.Upsert("docs_v1", R"("936da01f-9abd-4d9d-80c7-02af85c822a8")");
    engine_.SetAlias("docs", "docs_v1");
  }

  void Clear() {
    for (const Collection& there : engine_.Now().collections) {
      ASSERT_TRUE(engine_.DropCollection({}, there.name).ok());
    }
  }

  Points Content(const std::string& name) {
    Points points;
    const Topology now = engine_.Now();
    const Collection* const collection = now.FindCollection(name);
    if (collection == nullptr) return points;
    for (const Shard& shard : collection->shards) {
      for (const Replica& replica : shard.replicas) {
        if (replica.state != ReplicaState::kActive) continue;
        const auto lines =
            engine_.Content({.peer = replica.peer, .collection = name, .shard = shard.id});
        for (const auto& [id, line] : lines) {
          points[{shard.key ? FormatShardKey(*shard.key) : "", id}] = json::Json::parse(line);
        }
        break;
      }
    }
    return points;
  }

  bool Exists(const std::string& name) { return engine_.Now().FindCollection(name) != nullptr; }
  /// The collection that the alias reads.
  std::string Live() {
    for (const Collection& collection : engine_.Now().collections) {
      for (const std::string& alias : collection.aliases) {
        if (alias == "docs") return collection.name;
      }
    }
    return "";
  }

  Result<ReshardOutcome> Run(Journal& journal, const CallContext& call = {}) {
    options_.user_stop = call.stop;
    ReshardOp op({.engine = engine_, .clock = clock_, .random = random_}, options_);
    JournalSteps steps(journal, call);
    auto outcome = op.Run(steps);
    warnings_ = steps.warnings;
    return outcome;
  }

  void ExpectResharded(const Result<ReshardOutcome>& outcome, const Points& want) {
    ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
    EXPECT_EQ(outcome->target, kCopy);
    EXPECT_EQ(Live(), kCopy);
    EXPECT_EQ(Content(kCopy), want);
    const Topology now = engine_.Now();
    EXPECT_EQ(now.FindCollection(kCopy)->indexes, now.FindCollection("docs_v1")->indexes);
  }

  /// Calls `action` before every `every`-th call from the next one on, for as long as it is true.
  void Every(std::uint64_t every, std::function<bool()> action) {
    engine_.BeforeCall(engine_.calls() + every, [this, every, action = std::move(action)] {
      if (action()) Every(every, action);
    });
  }

  /// How many calls an undisturbed run makes.
  std::uint64_t CallsOfOneRun() {
    const std::uint64_t before = engine_.calls();
    Journal journal;
    EXPECT_TRUE(Run(journal).ok());
    const std::uint64_t calls = engine_.calls() - before;
    Clear();
    Make();
    return calls;
  }

  /// Of the last run.
  std::vector<std::string> warnings_;
  testing::FakeClock clock_;
  Random random_{7};
  testing::ScriptedEngine engine_{clock_};
  ReshardOptions options_ = [] {
    ReshardOptions options;
    options.request = {.collection = "docs", .shards = 5, .method = ReshardMethod::kCopy, .as = {}};
    options.copy.page.points = 8;
    options.copy.points_per_step = 16;
    // One thread of each, so that the calls come in the same order in every run.
    options.copy.shards_at_once = 1;
    options.copy.writers = 1;
    return options;
  }();
};

TEST_F(ReshardCopyTest, MoreShardsGetEveryPointAndTheReaders) {
  const Points want = Content("docs_v1");
  ASSERT_EQ(want.size(), 62U);
  Journal journal;
  const auto outcome = Run(journal);
  ExpectResharded(outcome, want);
  EXPECT_EQ(outcome->points, 62U);
  EXPECT_EQ(outcome->passes, 1U);
  EXPECT_EQ(outcome->caught_up, 0U);
  EXPECT_FALSE(outcome->unproven);
  EXPECT_THAT(outcome->aliases, ElementsAre("docs"));
  EXPECT_EQ(engine_.Now().FindCollection(kCopy)->shards.size(), 5U);
  EXPECT_EQ(engine_.Now().FindCollection(kCopy)->replication_factor, 2U);
  EXPECT_EQ(Content("docs_v1"), want) << "the source is only read";
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(ReshardCopyTest, ManyThreadsCopyTheSame) {
  options_.copy.shards_at_once = 4;
  options_.copy.writers = 4;
  options_.copy.bytes_in_flight = 1;  // One batch at a time between them.
  const Points want = Content("docs_v1");
  Journal journal;
  ExpectResharded(Run(journal), want);
}

TEST_F(ReshardCopyTest, OneShardIsEnough) {
  options_.request.shards = 1;
  const Points want = Content("docs_v1");
  Journal journal;
  ExpectResharded(Run(journal), want);
}

TEST_F(ReshardCopyTest, AnEmptyCollectionIsReshardedToo) {
  Clear();
  Make(2, 1, 0);
  for (const auto& [id, point] : Content("docs_v1")) engine_.Delete("docs_v1", id.second);
  Journal journal;
  ExpectResharded(Run(journal), {});
}

TEST_F(ReshardCopyTest, PointsStayUnderTheirShardKey) {
  Clear();
  ScriptedCollection keyed;
  keyed.keys = {ShardKey("a"), ShardKey(std::uint64_t{7})};
  keyed.shards = 2;
  engine_.AddCollection("docs_v1", keyed);
  engine_.SetAlias("docs", "docs_v1");
  engine_.Fill("docs_v1", 0, 30, ShardKey("a"));
  engine_.Fill("docs_v1", 20, 40, ShardKey(std::uint64_t{7}));
  engine_.Upsert("docs_v1", "25", {.vector = {}, .payload = R"({"other":true})"},
                 ShardKey(std::uint64_t{7}));
  options_.request.shards = 3;
  const Points want = Content("docs_v1");
  ASSERT_EQ(want.size(), 50U);
  Journal journal;
  ExpectResharded(Run(journal), want);
  EXPECT_EQ(engine_.Now().FindCollection(kCopy)->shards.size(), 6U);
}

TEST_F(ReshardCopyTest, WithoutAnAliasItIsASecondCollection) {
  options_.request.collection = "docs_v1";
  options_.request.as = "wide";
  ASSERT_TRUE(engine_.DropCollection({}, "docs_v1").ok());
  ScriptedCollection plain;
  engine_.AddCollection("docs_v1", plain);
  engine_.Fill("docs_v1", 0, 20);
  const Points want = Content("docs_v1");
  Journal journal;
  const auto outcome = Run(journal);
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_THAT(outcome->aliases, IsEmpty());
  EXPECT_EQ(Content("wide"), want);
  EXPECT_EQ(engine_.calls(EngineCall::kSwitchAliases), 0U);
}

TEST_F(ReshardCopyTest, AReplicaThatDoesNotAnswerIsReadFromAnother) {
  const Points want = Content("docs_v1");
  const std::uint64_t calls = CallsOfOneRun();
  for (std::uint64_t n = 5; n < calls; n += 7) {
    SCOPED_TRACE("before call " + std::to_string(n));
    const PeerId victim = engine_.Now().FindCollection("docs_v1")->shards[0].replicas[0].peer;
    engine_.BeforeCall(engine_.calls() + n, [this, victim] { engine_.KillPeer(victim); });
    Journal journal;
    auto outcome = Run(journal);
    engine_.StartPeer(victim);
    if (!outcome.ok()) {
      // The new collection may have lost its only way to be whole; it is kept for later, and what
      // is live is untouched.
      EXPECT_EQ(Live(), "docs_v1");
      if (Exists(kCopy)) {
        EXPECT_THAT(outcome.error().ToString(), HasSubstr(kCopy));
      }
      if (journal.left_interrupted) {
        for (const char* name : {"docs_v1", kCopy}) {
          const Topology now = engine_.Now();
          if (now.FindCollection(name) == nullptr) continue;
          for (const Shard& shard : now.FindCollection(name)->shards) {
            for (const Replica& replica : shard.replicas) {
              engine_.RecoverReplica({.peer = replica.peer, .collection = name, .shard = shard.id});
            }
          }
        }
        outcome = Run(journal);
      }
    }
    if (outcome.ok()) ExpectResharded(outcome, want);
    Clear();
    Make();
  }
}

// --- settings ------------------------------------------------------------------------------------

TEST_F(ReshardCopyTest, OtherSettingsAreInTheCopyAndTheNumberOfShardsStays) {
  options_.request.shards = 0;
  options_.request.settings_json =
      R"({"hnsw_config":{"m":32},"replication_factor":1,"strict_mode_config":{"enabled":true}})";
  const Points want = Content("docs_v1");
  Journal journal;
  const auto outcome = Run(journal);
  ExpectResharded(outcome, want);
  EXPECT_FALSE(outcome->unproven);
  EXPECT_EQ(outcome->shards, 2U);
  const json::Json told = json::Json::parse(ReshardOutcomeToJson(*outcome, {}));
  EXPECT_EQ(told["settings"], json::Json::parse(R"({"hnsw_config.m":32,"replication_factor":1,
                                  "strict_mode_config.enabled":true})"));
  const Topology now = engine_.Now();
  const Collection& copy = *now.FindCollection(kCopy);
  EXPECT_EQ(json::Json::parse(copy.create_json)["hnsw_config"]["m"], 32);
  EXPECT_THAT(copy.finish_json, HasSubstr("enabled"));
  ASSERT_EQ(copy.shards.size(), 2U);
  EXPECT_EQ(copy.shards[0].replicas.size(), 1U);
}

TEST_F(ReshardCopyTest, ASettingThatTheServerIgnoresEndsItBeforeAPointIsCopied) {
  options_.request.settings_json = R"({"hnsw_config":{"m":32},"wal_config":{"wal_capacity_mb":1}})";
  engine_.IgnoreSetting("hnsw_config");
  Journal journal;
  const auto outcome = Run(journal);
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message(), HasSubstr("'hnsw_config.m' is not set instead of 32"));
  EXPECT_THAT(outcome.error().message(), Not(HasSubstr("wal_config")));
  EXPECT_FALSE(Exists(kCopy));
  EXPECT_EQ(Live(), "docs_v1");
  EXPECT_EQ(engine_.calls(EngineCall::kUpsertPoints), 0U);
}

/// Optimizers begin when the points are there, and end some time later.
TEST_F(ReshardCopyTest, ReadersAreSwitchedWhenTheIndexesAreBuilt) {
  const Points want = Content("docs_v1");
  for (const bool in_time : {true, false}) {
    SCOPED_TRACE(in_time);
    const ReplicaRef busy{.peer = PeerId(101), .collection = kCopy, .shard = ShardId(0)};
    std::optional<MonotonicTime> began;
    bool ended = false;
    Every(1, [&] {
      if (!began && Content(kCopy).size() == want.size()) {
        engine_.StartOptimization(busy);
        began = clock_.Monotonic();
      }
      // Scripted optimizers count as at work for as long as they have not ended.
      EXPECT_TRUE(ended || !in_time || Live() == "docs_v1");
      if (!began || clock_.Monotonic() < *began + std::chrono::minutes(20)) return true;
      engine_.FinishOptimization(busy);
      ended = true;
      return false;
    });
    options_.index_wait = std::chrono::minutes(in_time ? 60 : 10);
    Journal journal;
    ExpectResharded(Run(journal), want);
    EXPECT_EQ(ended, in_time);
    EXPECT_EQ(warnings_.size(), in_time ? 0U : 1U);
    if (!in_time) {
      EXPECT_THAT(warnings_, ::testing::ElementsAre(HasSubstr("are not all built")));
    }
    Clear();
    Make();
  }
}

TEST_F(ReshardCopyTest, ASettingOfTheEndThatTheServerIgnoresIsAWarning) {
  options_.request.settings_json = R"({"strict_mode_config":{"enabled":true}})";
  engine_.IgnoreSetting("strict_mode_config");
  const Points want = Content("docs_v1");
  Journal journal;
  const auto outcome = Run(journal);
  ExpectResharded(outcome, want);
  EXPECT_TRUE(outcome->unproven);
  EXPECT_THAT(outcome->warnings, ElementsAre(HasSubstr("'strict_mode_config.enabled' is not set")));
}

TEST_F(ReshardCopyTest, SettingsThatCannotBeTakenAreRefusedBeforeAnythingIsMade) {
  options_.request.settings_json = R"({"vectors":{"size":3}})";
  Journal journal;
  const auto outcome = Run(journal);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(outcome.error().message(), HasSubstr("'vectors.size' stays 4"));
  EXPECT_EQ(engine_.calls(EngineCall::kCreateCollection), 0U);
}

TEST_F(ReshardCopyTest, AResumedJobHasTheSettingsOfItsDay) {
  options_.request.settings_json = R"({"hnsw_config":{"m":32}})";
  const Points want = Content("docs_v1");
  const std::uint64_t calls = CallsOfOneRun();
  for (std::uint64_t n = 0; n < calls; n += 3) {
    SCOPED_TRACE("call " + std::to_string(n));
    Journal journal;
    engine_.DieAt(n, n % 2 == 0);
    static_cast<void>(Run(journal).ok());
    engine_.ClearFaults();
    const auto outcome = Run(journal);
    ExpectResharded(outcome, want);
    const Topology now = engine_.Now();
    EXPECT_EQ(json::Json::parse(now.FindCollection(kCopy)->create_json)["hnsw_config"]["m"], 32);
    EXPECT_EQ(outcome->changes.size(), 1U);
    Clear();
    Make();
  }
  const auto back = ReshardRequestFromJson(ReshardRequestToJson(options_.request));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->settings_json, options_.request.settings_json);
}

// --- writers -------------------------------------------------------------------------------------

TEST_F(ReshardCopyTest, WhatIsWrittenUnderTheOldNameAtAnyMomentIsThere) {
  const std::uint64_t calls = CallsOfOneRun();
  // The last look and what comes behind it are later than what is promised.
  constexpr std::uint64_t kBehindTheWatch = 8;
  for (std::uint64_t n = 1; n + kBehindTheWatch <= calls; n += 2) {
    SCOPED_TRACE("before call " + std::to_string(n));
    engine_.BeforeCall(engine_.calls() + n, [this] {
      engine_.Upsert("docs_v1", "1000", {.vector = {}, .payload = R"({"late":1})"});
      engine_.Upsert("docs_v1", "3", {.vector = {}, .payload = R"({"late":2})"});
      engine_.Delete("docs_v1", "5");
    });
    Journal journal;
    const auto outcome = Run(journal);
    ExpectResharded(outcome, Content("docs_v1"));
    EXPECT_EQ(Content(kCopy).size(), 62U);
    Clear();
    Make();
  }
}

TEST_F(ReshardCopyTest, WhatIsWrittenThroughTheAliasAtAnyMomentIsThere) {
  const std::uint64_t calls = CallsOfOneRun();
  for (std::uint64_t n = 1; n <= calls; n += 2) {
    SCOPED_TRACE("before call " + std::to_string(n));
    engine_.BeforeCall(engine_.calls() + n, [this] {
      engine_.Upsert(Live(), "1000", {.vector = {}, .payload = R"({"late":1})"});
      engine_.Delete(Live(), "5");
    });
    Journal journal;
    const auto outcome = Run(journal);
    ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
    EXPECT_EQ(Live(), kCopy);
    const Points now = Content(kCopy);
    EXPECT_TRUE(now.contains({"", "1000"}));
    EXPECT_FALSE(now.contains({"", "5"}));
    EXPECT_EQ(now.size(), 62U);
    Clear();
    Make();
  }
}

TEST_F(ReshardCopyTest, WritersThatGoOnAreToldAndTheCopyStays) {
  std::uint64_t id = 1000;
  bool writing = true;
  Every(4, [&] {
    if (writing) engine_.Upsert("docs_v1", std::to_string(id++));
    return writing;
  });
  Journal journal;
  const auto failed = Run(journal);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(failed.error().message(), HasSubstr("is being written to: the last of 5 passes"));
  EXPECT_THAT(failed.error().hint(), HasSubstr("freeze and thaw"));
  EXPECT_THAT(failed.error().hint(), HasSubstr("--resume"));
  EXPECT_TRUE(journal.left_interrupted);
  EXPECT_TRUE(Exists(kCopy));
  EXPECT_EQ(Live(), "docs_v1");

  writing = false;
  const std::uint64_t creations = engine_.calls(EngineCall::kCreateCollection);
  const auto resumed = Run(journal);
  ExpectResharded(resumed, Content("docs_v1"));
  EXPECT_EQ(engine_.calls(EngineCall::kCreateCollection), creations);
}

TEST_F(ReshardCopyTest, WritersThatGoOnAreKeptAwayByTheHooks) {
  FakeFence fence;
  options_.fence = &fence;
  std::uint64_t id = 1000;
  bool running = true;
  Every(4, [&] {
    if (!fence.frozen && Live() == "docs_v1") engine_.Upsert("docs_v1", std::to_string(id++));
    return running;
  });
  Journal journal;
  const auto outcome = Run(journal);
  running = false;
  ExpectResharded(outcome, Content("docs_v1"));
  EXPECT_TRUE(outcome->fenced);
  EXPECT_FALSE(outcome->unproven);
  EXPECT_GT(outcome->caught_up, 0U);
  EXPECT_EQ(fence.freezes, 1);
  EXPECT_EQ(fence.thaws, 1);
}

TEST_F(ReshardCopyTest, AFreezeThatFailsKeepsWhatWasCopied) {
  FakeFence fence;
  fence.freeze_result = Error(ErrorCode::kFailedPrecondition, "the hook ended with status 3");
  options_.fence = &fence;
  std::uint64_t writes = 0;
  Every(5, [&] {
    engine_.Upsert("docs_v1", std::to_string(writes++ % 60), {.vector = {}, .payload = "{}"});
    return fence.freezes == 0;
  });
  Journal journal;
  const auto failed = Run(journal);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(fence.freezes, 1);
  EXPECT_TRUE(journal.left_interrupted);
  EXPECT_TRUE(Exists(kCopy));
  EXPECT_THAT(failed.error().message(), HasSubstr(kCopy));
  fence.freeze_result = {};
  const auto resumed = Run(journal);
  ExpectResharded(resumed, Content("docs_v1"));
}

TEST_F(ReshardCopyTest, AFenceThatIsTooShortIsNotTried) {
  FakeFence fence;
  options_.fence = &fence;
  options_.fence_limit = std::chrono::milliseconds(10);
  std::uint64_t id = 1000;
  bool running = true;
  Every(4, [&] {
    if (running) engine_.Upsert("docs_v1", std::to_string(id++));
    return running;
  });
  Journal journal;
  const auto failed = Run(journal);
  running = false;
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().hint(), HasSubstr("raise the limit of the fence"));
  EXPECT_EQ(fence.freezes, 0);
  EXPECT_TRUE(journal.left_interrupted);
}

TEST_F(ReshardCopyTest, WhoeverWritesUnderTheFenceIsFoundOut) {
  FakeFence fence;
  options_.fence = &fence;
  std::uint64_t id = 1000;
  bool running = true;
  Every(4, [&] {
    if (running) engine_.Upsert("docs_v1", std::to_string(id++));
    return running;
  });
  Journal journal;
  const auto failed = Run(journal);
  running = false;
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(warnings_, ::testing::Contains(HasSubstr("although the freeze hook")));
  EXPECT_GT(fence.freezes, 0);
  EXPECT_EQ(fence.freezes, fence.thaws) << "writers are released whatever happens";
  EXPECT_EQ(Live(), "docs_v1");
}

/// What a pass has brought over is overwritten before it is looked at again: writers, no damage.
TEST_F(ReshardCopyTest, WhoeverOverwritesUnderTheFenceIsNoDamage) {
  for (std::uint64_t n = 40; n < 160; ++n) {
    SCOPED_TRACE("write before call " + std::to_string(n));
    FakeFence fence;
    options_.fence = &fence;
    for (const std::uint64_t at : {std::uint64_t{30}, n}) {
      engine_.BeforeCall(engine_.calls() + at, [this, at] {
        if (!Exists("docs_v1")) return;
        engine_.Upsert("docs_v1", "7",
                       {.vector = {}, .payload = R"({"at":)" + std::to_string(at) + "}"});
      });
    }
    Journal journal;
    const auto outcome = Run(journal);
    if (!outcome.ok()) {
      EXPECT_NE(outcome.error().code(), ErrorCode::kDataLoss) << outcome.error().ToString();
    }
    Clear();
    Make();
  }
}

TEST_F(ReshardCopyTest, WritersOnTheOldNameAreNamedAfterTheFence) {
  FakeFence fence;
  options_.fence = &fence;
  std::uint64_t id = 1000;
  bool running = true;
  Every(4, [&] {
    if (running && !fence.frozen) engine_.Upsert("docs_v1", std::to_string(id++));
    return running;
  });
  Journal journal;
  const auto outcome = Run(journal);
  running = false;
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_TRUE(outcome->unproven);
  EXPECT_THAT(outcome->warnings, ElementsAre(HasSubstr("under its own name")));
}

TEST_F(ReshardCopyTest, BothWrittenToAtTheSwitchIsForAPerson) {
  bool done = false;
  Every(1, [&] {
    if (Live() != kCopy) return !done;
    engine_.Upsert("docs_v1", "1000");
    engine_.Upsert(kCopy, "2000");
    done = true;
    return false;
  });
  Journal journal;
  const auto failed = Run(journal);
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message(), HasSubstr("were written to at the moment of the switch"));
  EXPECT_THAT(failed.error().message(), HasSubstr("2 points differ (among them 1000, 2000)"));
  EXPECT_FALSE(journal.left_interrupted);
  EXPECT_TRUE(Exists("docs_v1"));
  EXPECT_TRUE(Exists(kCopy));
  EXPECT_EQ(Live(), kCopy);
}

// --- what goes wrong -----------------------------------------------------------------------------

TEST_F(ReshardCopyTest, OneLostCallDoesNotMatterOrNothingIsLeftBehind) {
  const Points want = Content("docs_v1");
  const std::uint64_t calls = CallsOfOneRun();
  ASSERT_GT(calls, 40U);
  std::uint64_t passed = 0;
  for (const ErrorCode code : {ErrorCode::kUnavailable, ErrorCode::kDeadlineExceeded,
                               ErrorCode::kAborted, ErrorCode::kInvalidArgument}) {
    for (const bool after_effect : {false, true}) {
      const std::uint64_t stride = code == ErrorCode::kUnavailable ? 1 : 5;
      for (std::uint64_t n = 0; n < calls; n += stride) {
        SCOPED_TRACE(std::string(ErrorCodeName(code)) + " at call " + std::to_string(n) +
                     (after_effect ? ", after its effect" : ""));
        CallFault fault;
        fault.skip = static_cast<int>(n);
        fault.error = Error(code, "scripted");
        fault.after_effect = after_effect;
        engine_.Add(fault);
        Journal journal;
        auto outcome = Run(journal);
        engine_.ClearFaults();
        EXPECT_EQ(Content("docs_v1"), want);
        if (!outcome.ok() && journal.left_interrupted) {
          EXPECT_TRUE(Exists(kCopy) == false || Live() != kCopy);
          outcome = Run(journal);
          EXPECT_TRUE(outcome.ok()) << outcome.error().ToString();
        }
        if (outcome.ok()) {
          ExpectResharded(outcome, want);
          ++passed;
        } else if (Live() == kCopy) {
          EXPECT_EQ(Content(kCopy), want);
        } else {
          EXPECT_FALSE(Exists(kCopy)) << outcome.error().ToString();
        }
        Clear();
        Make();
      }
    }
  }
  EXPECT_GT(passed, 2 * calls);
}

TEST_F(ReshardCopyTest, GoesOnAfterADeathAtAnyCall) {
  const Points want = Content("docs_v1");
  const std::uint64_t calls = CallsOfOneRun();
  for (const bool after_effect : {false, true}) {
    for (std::uint64_t n = 0; n < calls; ++n) {
      SCOPED_TRACE("call " + std::to_string(n) + (after_effect ? ", after its effect" : ""));
      Journal journal;
      engine_.DieAt(n, after_effect);
      static_cast<void>(Run(journal).ok());
      engine_.ClearFaults();
      ExpectResharded(Run(journal), want);
      Clear();
      Make();
    }
  }
}

TEST_F(ReshardCopyTest, GoesOnAfterADeathBehindAnyRecordedStep) {
  const Points want = Content("docs_v1");
  std::size_t steps = 0;
  {
    Journal journal;
    ASSERT_TRUE(Run(journal).ok());
    steps = journal.steps.size();
    Clear();
    Make();
  }
  ASSERT_GT(steps, 4U);
  for (std::size_t n = 1; n <= steps; ++n) {
    SCOPED_TRACE("step " + std::to_string(n));
    Journal journal;
    journal.steps_left = static_cast<int>(n);
    journal.on_death = [this] { engine_.DieAt(0, false); };
    static_cast<void>(Run(journal).ok());
    ASSERT_TRUE(journal.dead);
    engine_.ClearFaults();
    journal.dead = false;
    journal.steps_left = -1;
    const std::uint64_t before = engine_.calls(EngineCall::kUpsertPoints);
    ExpectResharded(Run(journal), want);
    if (n > 3) {
      EXPECT_LT(engine_.calls(EngineCall::kUpsertPoints) - before, 8U) << "by position";
    }
    Clear();
    Make();
  }
}

TEST_F(ReshardCopyTest, WritesWhileTheJobWasDeadAreCaughtUpWith) {
  const std::uint64_t calls = CallsOfOneRun();
  for (std::uint64_t n = 0; n < calls; ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    Journal journal;
    engine_.DieAt(n, true);
    static_cast<void>(Run(journal).ok());
    engine_.ClearFaults();
    // The writers are where the readers are.
    const std::string live = Live();
    engine_.Upsert(live, "1000");
    engine_.Upsert(live, "3", {.vector = {}, .payload = R"({"late":2})"});
    engine_.Delete(live, "5");
    const Points want = Content(live);
    ExpectResharded(Run(journal), want);
    Clear();
    Make();
  }
}

TEST_F(ReshardCopyTest, StoppedByTheUserItLeavesNothing) {
  std::stop_source stop;
  engine_.BeforeCall(engine_.calls() + 30, [&] { stop.request_stop(); });
  Journal journal;
  const auto stopped = Run(journal, {.stop = stop.get_token(), .deadline = {}});
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code(), ErrorCode::kCancelled);
  EXPECT_FALSE(Exists(kCopy));
  EXPECT_EQ(Live(), "docs_v1");
  EXPECT_FALSE(journal.left_interrupted);
}

/// The servers agree on it without the client (reference 1.2).
TEST_F(ReshardCopyTest, ACreationThatComesLateIsNamedAndGoneOnWith) {
  CallFault fault;
  fault.call = EngineCall::kCreateCollection;
  fault.error = Error(ErrorCode::kDeadlineExceeded, "no answer in time");
  engine_.Add(fault);
  const Points want = Content("docs_v1");
  Every(1, [&] {
    if (engine_.calls(EngineCall::kCreateCollection) == 0) return true;
    engine_.BeforeCall(engine_.calls() + 5, [this] { engine_.AddCollection(kCopy); });
    return false;
  });
  Journal journal;
  const auto failed = Run(journal);
  ASSERT_FALSE(failed.ok());
  EXPECT_TRUE(Exists(kCopy));
  EXPECT_THAT(failed.error().message(), HasSubstr(kCopy));
  EXPECT_TRUE(journal.left_interrupted);
  ExpectResharded(Run(journal), want);
}

TEST_F(ReshardCopyTest, ACreationWhoseEffectCannotBeSeenIsNamed) {
  CallFault fault;
  fault.call = EngineCall::kCreateCollection;
  fault.error = Error(ErrorCode::kPermissionDenied, "no right any more");
  fault.after_effect = true;
  engine_.Add(fault);
  Every(1, [&] {
    if (engine_.calls(EngineCall::kCreateCollection) == 0) return true;
    fault.call = EngineCall::kReadCollection;
    engine_.Add(fault);
    return false;
  });
  Journal journal;
  const auto failed = Run(journal);
  ASSERT_FALSE(failed.ok());
  EXPECT_TRUE(Exists(kCopy));
  EXPECT_THAT(failed.error().message(), HasSubstr("whether '" + std::string(kCopy) + "' was made"));
}

/// Its replicas are empty until the servers have made them anew.
TEST_F(ReshardCopyTest, APeerThatReturnsWithoutItsDiskAtAnyMomentIsNoDamage) {
  const Points want = Content("docs_v1");
  const std::uint64_t calls = CallsOfOneRun();
  FakeFence fence;
  for (std::uint64_t n = 1; n <= calls; ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    options_.fence = n % 2 == 0 ? &fence : nullptr;
    const std::uint64_t at = engine_.calls() + n;
    engine_.BeforeCall(at, [&] { engine_.StartPeer(PeerId(102), /*lost_disk=*/true); });
    for (std::uint64_t later = at + 4; later < at + 400; ++later) {
      engine_.BeforeCall(later, [&] { engine_.RecoverReplicas(PeerId(102)); });
    }
    Journal journal;
    auto outcome = Run(journal);
    if (!outcome.ok()) {
      EXPECT_TRUE(journal.left_interrupted) << outcome.error().ToString();
      outcome = Run(journal);
    }
    ExpectResharded(outcome, want);
    Clear();
    Make();
  }
}

TEST_F(ReshardCopyTest, ACollectionMadeAnewMeanwhileIsNotTheSource) {
  engine_.BeforeCall(engine_.calls() + 30, [&] { engine_.Recreate("docs_v1"); });
  Journal journal;
  const auto failed = Run(journal);
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message(), HasSubstr("made anew"));
  EXPECT_FALSE(Exists(kCopy));
}

TEST_F(ReshardCopyTest, TheNamedRateIsKept) {
  options_.points_per_second = 10;
  const MonotonicTime began = clock_.Monotonic();
  Journal journal;
  ASSERT_TRUE(Run(journal).ok());
  // 62 points are read twice: for the copy, and to compare.
  EXPECT_GE(clock_.Monotonic() - began, std::chrono::seconds(11));
}

TEST_F(ReshardCopyTest, APlanThatIsRefusedChangesNothing) {
  options_.request.shards = 2;
  const auto before = engine_.calls(EngineCall::kCreateCollection);
  Journal journal;
  const auto refused = Run(journal);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(engine_.calls(EngineCall::kCreateCollection), before);
  EXPECT_THAT(journal.plan, IsEmpty());
}

/// Writers follow the alias at random moments, calls fail at random, the job is resumed where it
/// says so: whatever the aliases read in the end is what the writers were told.
TEST_F(ReshardCopyTest, WhateverHappensTheAliasReadsWhatWritersWereTold) {
  constexpr std::uint64_t kCalls = 250;
  std::uint64_t resharded = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random chance(seed);
    Clear();
    const auto shards = static_cast<std::uint32_t>(chance.Between(1, 4));
    Make(shards, static_cast<std::uint32_t>(chance.Between(1, 3)), chance.Between(0, 80));
    options_.request.shards = shards + static_cast<std::uint32_t>(chance.Between(1, 3));
    options_.copy.shards_at_once = chance.Between(1, 3);
    options_.copy.writers = chance.Between(1, 3);
    const std::uint64_t start = engine_.calls();
    std::mutex mutex;
    std::set<std::string> told;
    for (const auto& [id, point] : Content("docs_v1")) told.insert(id.second);
    for (std::uint64_t i = chance.Between(0, 6); i > 0; --i) {
      const std::string id = std::to_string(chance.Between(0, 120));
      const bool gone = chance.Between(0, 2) == 0;
      engine_.BeforeCall(start + chance.Between(1, kCalls), [&, id, gone] {
        const std::scoped_lock lock(mutex);
        if (gone) {
          engine_.Delete(Live(), id);
          told.erase(id);
        } else {
          engine_.Upsert(Live(), id);
          told.insert(id);
        }
      });
    }
    for (std::uint64_t i = chance.Between(0, 3); i > 0; --i) {
      CallFault fault;
      fault.skip = static_cast<int>(chance.Between(0, 200));
      fault.times = static_cast<int>(chance.Between(1, 4));
      fault.after_effect = chance.Between(0, 1) == 0;
      engine_.Add(fault);
    }
    Journal journal;
    auto outcome = Run(journal);
    engine_.ClearFaults();
    if (!outcome.ok() && journal.left_interrupted) outcome = Run(journal);
    // Writers that are late find the alias all the same.
    while (engine_.calls() <= start + kCalls) static_cast<void>(engine_.ReadTopology({}).ok());
    const std::scoped_lock lock(mutex);
    const bool for_a_person =
        !outcome.ok() &&
        outcome.error().message().find("at the moment of the switch") != std::string::npos;
    if (for_a_person) continue;
    std::set<std::string> now;
    for (const auto& [id, point] : Content(Live())) now.insert(id.second);
    EXPECT_EQ(now, told) << (outcome.ok() ? "resharded" : outcome.error().ToString());
    if (outcome.ok()) {
      EXPECT_EQ(Live(), outcome->target);
      ++resharded;
    } else {
      EXPECT_EQ(Live(), "docs_v1");
    }
  }
  EXPECT_GT(resharded, 150U);
}

TEST(ReshardJson, RequestsComeBack) {
  const ReshardRequest request{
      .collection = "größe", .shards = 7, .method = ReshardMethod::kNative, .as = "x"};
  const auto again = ReshardRequestFromJson(ReshardRequestToJson(request));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->collection, request.collection);
  EXPECT_EQ(again->shards, 7U);
  EXPECT_EQ(again->method, ReshardMethod::kNative);
  EXPECT_EQ(again->as, "x");
  EXPECT_FALSE(ReshardRequestFromJson("{}").ok());
}

}  // namespace
}  // namespace holdfast
