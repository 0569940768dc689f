// A restore whose process dies at any call goes on in the next one, and touches nothing that
// somebody else has made meanwhile.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "ops/test_world.h"
#include "testing/ops/journal_steps.h"

namespace holdfast {
namespace {

using testing::CallFault;
using testing::EngineCall;
using ::testing::HasSubstr;
using testing::Journal;
using testing::JournalSteps;
using testing::ScriptedCollection;

/// A world with one group of a collection with shard keys and a gap before them, and of a plain
/// one.
class RestoreResumeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ScriptedCollection keyed;
    keyed.keys = {ShardKey("a"), ShardKey("b")};
    keyed.shards = 2;
    world_.engine.AddCollection("tenants", keyed);
    world_.engine.Fill("tenants", 0, 20, ShardKey("b"));
    ASSERT_TRUE(world_.engine.DropShardKey({}, "tenants", ShardKey("a")).ok());
    ScriptedCollection plain;
    plain.shards = 2;
    plain.replication_factor = 2;
    world_.engine.AddCollection("docs", plain);
    world_.engine.Fill("docs", 0, 40);
    world_.engine.SetAlias("live", "docs");
    const auto outcome = world_.Backup();
    ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
    group_ = outcome->manifest.id;
    Clear();
  }

  void Clear() {
    for (const Collection& there : world_.engine.Now().collections) {
      ASSERT_TRUE(world_.engine.DropCollection({}, there.name).ok());
    }
  }

  Result<RestoreOutcome> Run(Journal& journal, RestoreRequest request = {},
                             const CallContext& call = {}) {
    RestoreOptions options;
    options.user_stop = call.stop;
    options.group = group_;
    options.request = std::move(request);
    options.safety_backup = [this](const std::vector<std::string>& names) -> Result<GroupId> {
      for (const std::string& name : names) safe_[name] = world_.engine.Ids(name);
      if (on_safety_) on_safety_();
      return GroupId("safety");
    };
    RestoreOp restore(
        {.engine = world_.engine, .repository = *world_.repository, .clock = world_.clock},
        std::move(options));
    JournalSteps steps(journal, call);
    return restore.Run(steps);
  }

  void ExpectAll() {
    EXPECT_EQ(world_.engine.Ids("docs").size(), 40U);
    EXPECT_EQ(world_.engine.Ids("tenants", ShardKey("b")).size(), 20U);
    const Topology now = world_.engine.Now();
    EXPECT_THAT(now.FindCollection("docs")->aliases, ::testing::ElementsAre("live"));
    EXPECT_EQ(now.FindCollection("tenants")->shards.front().id, ShardId(3));
  }

  OpsWorld world_;
  GroupId group_;
  std::map<std::string, std::vector<std::string>> safe_;
  std::function<void()> on_safety_;
};

TEST_F(RestoreResumeTest, GoesOnAfterADeathAtAnyCall) {
  std::uint64_t calls = world_.engine.calls();
  {
    Journal journal;
    ASSERT_TRUE(Run(journal).ok());
    ExpectAll();
    calls = world_.engine.calls() - calls;
    Clear();
  }
  ASSERT_GT(calls, 30U);
  for (const bool after_effect : {false, true}) {
    for (std::uint64_t n = 0; n < calls; ++n) {
      SCOPED_TRACE("call " + std::to_string(n) + (after_effect ? ", after its effect" : ""));
      Journal journal;
      world_.engine.DieAt(n, after_effect);
      static_cast<void>(Run(journal).ok());
      world_.engine.ClearFaults();
      const auto resumed = Run(journal);
      ASSERT_TRUE(resumed.ok()) << resumed.error().ToString();
      ExpectAll();
      Clear();
    }
  }
}

TEST_F(RestoreResumeTest, StoppedWhileResumingItNamesWhatIsLeft) {
  std::uint64_t left = 0;
  for (std::uint64_t n = 0; n < 60; n += 3) {
    SCOPED_TRACE("call " + std::to_string(n));
    Journal journal;
    world_.engine.DieAt(n, true);
    static_cast<void>(Run(journal).ok());
    world_.engine.ClearFaults();
    std::stop_source stop;
    stop.request_stop();
    const auto stopped = Run(journal, {}, {.stop = stop.get_token(), .deadline = {}});
    ASSERT_FALSE(stopped.ok());
    for (const Collection& there : world_.engine.Now().collections) {
      ++left;
      EXPECT_THAT(stopped.error().message(), HasSubstr("'" + there.name + "'"));
    }
    Clear();
  }
  EXPECT_GT(left, 10U);
}

/// The servers agree on it without the client (reference 1.2).
TEST_F(RestoreResumeTest, ACreationThatComesLateIsRemoved) {
  CallFault fault;
  fault.call = EngineCall::kCreateCollection;
  fault.error = Error(ErrorCode::kDeadlineExceeded, "no answer in time");
  world_.engine.Add(fault);
  std::function<void()> late = [&] {
    if (world_.engine.calls(EngineCall::kCreateCollection) == 0) {
      world_.engine.BeforeCall(world_.engine.calls() + 1, late);
      return;
    }
    world_.engine.BeforeCall(world_.engine.calls() + 5, [&] {
      for (const char* name : {"docs", "tenants"}) {
        if (world_.engine.Now().FindCollection(name) == nullptr) world_.engine.AddCollection(name);
      }
    });
  };
  world_.engine.BeforeCall(world_.engine.calls() + 1, late);
  RestoreRequest request;
  request.collections = {"docs"};
  Journal journal;
  const auto failed = Run(journal, request);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(world_.engine.Now().FindCollection("docs"), nullptr) << failed.error().ToString();
}

TEST_F(RestoreResumeTest, InPlaceNothingIsLostThatIsInNoSafetyBackup) {
  RestoreRequest request;
  request.in_place = true;
  const auto live = [this] {
    ScriptedCollection plain;
    plain.shards = 1;
    for (const char* name : {"docs", "tenants"}) {
      world_.engine.AddCollection(name, plain);
      world_.engine.Fill(name, 0, 7);
    }
  };
  live();
  std::uint64_t calls = world_.engine.calls();
  {
    Journal journal;
    ASSERT_TRUE(Run(journal, request).ok());
    calls = world_.engine.calls() - calls;
    Clear();
  }
  for (std::uint64_t n = 0; n < calls; n += 3) {
    SCOPED_TRACE("call " + std::to_string(n));
    live();
    safe_.clear();
    Journal journal;
    world_.engine.DieAt(n, n % 2 == 0);
    static_cast<void>(Run(journal, request).ok());
    world_.engine.ClearFaults();
    for (const char* name : {"docs", "tenants"}) {
      const bool untouched = world_.engine.Now().FindCollection(name) != nullptr &&
                             world_.engine.Ids(name).size() == 7;
      EXPECT_TRUE(untouched || safe_[name].size() == 7U) << name;
      // Between the two runs somebody writes to what is still the old one.
      if (untouched && !safe_.contains(name)) world_.engine.Fill(name, 7, 9);
    }
    const auto resumed = Run(journal, request);
    ASSERT_TRUE(resumed.ok()) << resumed.error().ToString();
    EXPECT_EQ(world_.engine.Ids("docs").size(), 40U);
    EXPECT_GE(safe_["docs"].size(), 7U);
    Clear();
  }
}

TEST_F(RestoreResumeTest, WritesDuringTheSafetyBackupKeepTheLiveCollection) {
  ScriptedCollection plain;
  world_.engine.AddCollection("docs", plain);
  world_.engine.Fill("docs", 0, 7);
  on_safety_ = [this] { world_.engine.Fill("docs", 7, 8); };
  RestoreRequest request;
  request.in_place = true;
  request.collections = {"docs"};
  Journal journal;
  const auto refused = Run(journal, request);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(), HasSubstr("takes writes"));
  EXPECT_EQ(world_.engine.Ids("docs").size(), 8U);
}

TEST_F(RestoreResumeTest, NeverSendsIntoACollectionThatAnotherHasMade) {
  std::uint64_t refused = 0;
  for (std::uint64_t n = 5; n < 60; n += 5) {
    SCOPED_TRACE("call " + std::to_string(n));
    Journal journal;
    world_.engine.DieAt(n, false);
    static_cast<void>(Run(journal).ok());
    world_.engine.ClearFaults();
    Clear();
    ScriptedCollection plain;
    plain.shards = 2;
    plain.replication_factor = 2;
    world_.engine.AddCollection("docs", plain);
    world_.engine.Fill("docs", 1000, 1003);
    const auto resumed = Run(journal);
    // A collection that was restored and verified before the death is somebody else's business now.
    refused += resumed.ok() ? 0 : 1;
    EXPECT_EQ(world_.engine.Ids("docs").size(), 3U);
    Clear();
  }
  EXPECT_GT(refused, 5U);
}

/// While it works, somebody makes a collection of a name that was free when it was planned.
TEST_F(RestoreResumeTest, NeverDropsACollectionThatAnotherHasMade) {
  std::uint64_t others = 0;
  for (std::uint64_t n = 1; n < 80; ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    bool made = false;
    const std::uint64_t at = world_.engine.calls() + n;
    world_.engine.BeforeCall(at, [&] {
      if (world_.engine.Now().FindCollection("tenants") != nullptr) return;
      world_.engine.AddCollection("tenants");
      world_.engine.Fill("tenants", 0, 3);
      made = true;
    });
    CallFault fault;
    fault.skip = static_cast<int>(n % 7 + n);
    world_.engine.Add(fault);
    Journal journal;
    const auto restored = Run(journal);
    world_.engine.ClearFaults();
    if (made) {
      ++others;
      EXPECT_FALSE(restored.ok());
      ASSERT_NE(world_.engine.Now().FindCollection("tenants"), nullptr);
      EXPECT_EQ(world_.engine.Ids("tenants").size(), 3U);
    }
    Clear();
  }
  EXPECT_GT(others, 10U);
}

}  // namespace
}  // namespace holdfast
