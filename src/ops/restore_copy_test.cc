// Collections of a group that are restored with another number of shards: copied point by point.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/json.h"
#include "ops/points/live_points.h"
#include "ops/test_world.h"
#include "testing/ops/journal_steps.h"

namespace holdfast {
namespace {

using testing::CallFault;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Journal;
using testing::JournalSteps;
using testing::ScriptedCollection;

/// Points as they were in a collection; stands for what its images hold.
using Kept = std::map<ShardId, std::vector<SourcePoint>>;

class KeptPoints final : public PointSource {
 public:
  KeptPoints(const Kept& points, const CollectionRecord& record, int& failures)
      : points_(points), record_(record), failures_(failures) {}

  Result<std::vector<SourceShard>> Shards(const CallContext&) override {
    std::vector<SourceShard> shards;
    for (const ShardImage& image : record_.shards) {
      shards.push_back({.shard = image.shard, .key = image.key});
    }
    return shards;
  }
  Result<PointPage> ReadPage(const CallContext&, ShardId shard, const std::string& after,
                             const PageLimits& limits) override {
    if (failures_ > 0) {
      --failures_;
      return Error(ErrorCode::kUnavailable, "holdfast-engine was ended by signal 9");
    }
    PointPage page;
    for (const SourcePoint& point : points_.at(shard)) {
      if (!after.empty() && CompareIds(point.id_json, after) <= 0) continue;
      if (page.points.size() == limits.points) return page;
      page.points.push_back(point);
    }
    page.end = true;
    return page;
  }

 private:
  const Kept& points_;
  const CollectionRecord& record_;
  int& failures_;
};

/// A group of a plain collection with an index and an alias, and of one with shard keys.
class RestoreCopyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ScriptedCollection plain;
    plain.shards = 2;
    plain.replication_factor = 2;
    plain.indexes = {{.field = "n", .schema_json = R"({"type":"integer"})"}};
    world_.engine.AddCollection("docs", plain);
    world_.engine.Fill("docs", 0, 90);
    world_.engine.SetAlias("live", "docs");
    ScriptedCollection keyed;
    keyed.keys = {ShardKey("a"), ShardKey(std::uint64_t{7})};
    world_.engine.AddCollection("tenants", keyed);
    world_.engine.Fill("tenants", 0, 30, ShardKey("a"));
    world_.engine.Fill("tenants", 100, 120, ShardKey(std::uint64_t{7}));
    const auto outcome = world_.Backup();
    ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
    group_ = outcome->manifest.id;
    for (const Collection& there : world_.engine.Now().collections) {
      ids_[there.name] = world_.engine.Ids(there.name);
      LivePoints points(world_.engine, there.name);
      for (const Shard& shard : there.shards) {
        auto page = points.ReadPage({}, shard.id, "", {.points = 10'000});
        ASSERT_TRUE(page.ok()) << page.error().ToString();
        kept_[there.name][shard.id] = std::move(page->points);
      }
    }
    Clear();
    request_.shards_of_all = 5;
  }

  void Clear() {
    for (const Collection& there : world_.engine.Now().collections) {
      ASSERT_TRUE(world_.engine.DropCollection({}, there.name).ok());
    }
  }

  Result<RestoreOutcome> Run(Journal& journal) {
    RestoreOptions options;
    options.group = group_;
    options.request = request_;
    options.copy.check = [this](const CallContext&) { return missing_; };
    opened_ = 0;
    options.copy.open = [this](const CollectionRecord& record) {
      const Kept* const points =
          opened_++ == 0 && arrives_ != nullptr ? arrives_ : &kept_.at(record.collection.name);
      return std::make_unique<KeptPoints>(*points, record, failures_);
    };
    options.copy.limits.page.points = 8;
    options.copy.limits.points_per_step = 16;
    // One after the other, so that faults hit the same calls in every run.
    options.copy.limits.shards_at_once = 1;
    options.copy.limits.writers = 1;
    options.copy.limits.patience = std::chrono::seconds(5);
    RestoreOp restore(
        {.engine = world_.engine, .repository = *world_.repository, .clock = world_.clock},
        std::move(options));
    JournalSteps steps(journal);
    return restore.Run(steps);
  }

  void ExpectAll(std::uint32_t shards) {
    const Topology now = world_.engine.Now();
    for (const std::string name : {"docs", "tenants"}) {
      ASSERT_NE(now.FindCollection(name), nullptr);
      EXPECT_EQ(world_.engine.Ids(name), ids_[name]);
    }
    const Collection& docs = *now.FindCollection("docs");
    EXPECT_EQ(docs.shards.size(), shards);
    EXPECT_THAT(docs.aliases, ElementsAre("live"));
    EXPECT_EQ(docs.indexes.size(), 1U);
    for (const Shard& shard : docs.shards) EXPECT_EQ(shard.replicas.size(), 2U);
    const Collection& tenants = *now.FindCollection("tenants");
    EXPECT_EQ(tenants.shards.size(), 2 * shards);
    EXPECT_EQ(world_.engine.Ids("tenants", ShardKey("a")).size(), 30U);
    EXPECT_EQ(world_.engine.Ids("tenants", ShardKey(std::uint64_t{7})).size(), 20U);
  }
  void ExpectNothing() { EXPECT_TRUE(world_.engine.Now().collections.empty()); }

  OpsWorld world_;
  GroupId group_;
  RestoreRequest request_;
  std::map<std::string, std::vector<std::string>> ids_;
  std::map<std::string, Kept> kept_;
  Status missing_;
  int failures_ = 0;
  /// What the first look into the images finds instead, the copy's; absent: the same as later ones.
  const Kept* arrives_ = nullptr;
  int opened_ = 0;
};

TEST_F(RestoreCopyTest, AnyNumberOfShardsHoldsEveryPoint) {
  for (const std::uint32_t shards : {1U, 3U, 5U, 8U}) {
    SCOPED_TRACE(shards);
    request_.shards_of_all = shards;
    if (shards == 1) request_.shards["tenants"] = 4;
    Journal journal;
    const auto outcome = Run(journal);
    ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
    EXPECT_EQ(outcome->collections[0].points, 90U);
    EXPECT_EQ(outcome->collections[0].shards, shards);
    EXPECT_EQ(outcome->collections[0].replicas, 2 * shards);
    EXPECT_EQ(outcome->collections[1].points, 50U);
    if (shards == 1) {
      EXPECT_EQ(outcome->collections[1].shards, 8U);
    } else {
      ExpectAll(shards);
    }
    request_.shards.clear();
    Clear();
  }
}

TEST_F(RestoreCopyTest, ACollectionThatKeepsItsNumberGetsItsImages) {
  request_.shards_of_all = 0;
  request_.shards["tenants"] = 3;
  missing_ = Status();
  Journal journal;
  const auto outcome = Run(journal);
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(world_.engine.Now().FindCollection("docs")->shards.size(), 2U);
  EXPECT_EQ(world_.engine.Now().FindCollection("tenants")->shards.size(), 6U);
  EXPECT_TRUE(journal.steps.contains("send/docs/0"));
  EXPECT_TRUE(journal.steps.contains("copy/tenants/1/0"));
}

TEST_F(RestoreCopyTest, WhatIsMissingIsToldBeforeAnythingIsMade) {
  missing_ = Error(ErrorCode::kFailedPrecondition, "holdfast-engine is not there", "install it");
  Journal journal;
  const auto outcome = Run(journal);
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message(), HasSubstr("another number of shards"));
  EXPECT_EQ(outcome.error().hint(), "install it");
  ExpectNothing();
  // Without a copy nobody asks for it.
  request_.shards_of_all = 0;
  Journal plain;
  EXPECT_TRUE(Run(plain).ok());
}

TEST_F(RestoreCopyTest, OnFewerPeersTheWantedReplicasStayForARebalance) {
  ScriptedCollection wide;
  wide.keys = {ShardKey("a")};
  wide.replication_factor = 3;
  world_.engine.AddCollection("wide", wide);
  world_.engine.Fill("wide", 0, 30, ShardKey("a"));
  const auto outcome = world_.Backup();
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  group_ = outcome->manifest.id;
  LivePoints points(world_.engine, "wide");
  const Topology then = world_.engine.Now();
  const ShardId shard = then.FindCollection("wide")->shards.front().id;
  const auto page = points.ReadPage({}, shard, "", {.points = 100});
  ASSERT_TRUE(page.ok());
  kept_["wide"][shard] = page->points;
  Clear();
  world_.engine.KillPeer(then.peers.back().id);
  request_.collections = {"wide"};
  request_.allow_consolidation = true;
  for (const std::uint32_t shards : {0U, 4U}) {
    request_.shards_of_all = shards;
    Journal journal;
    const auto restored = Run(journal);
    ASSERT_TRUE(restored.ok()) << restored.error().ToString();
    const Topology now = world_.engine.Now();
    const Collection& there = *now.FindCollection("wide");
    EXPECT_EQ(there.shards.size(), std::max(shards, 1U));
    EXPECT_EQ(there.replication_factor, 3U) << "with another number of shards as without";
    EXPECT_EQ(there.shards.front().replicas.size(), 2U);
    Clear();
  }
}

TEST_F(RestoreCopyTest, GoesOnAfterADeathAtAnyCall) {
  std::uint64_t calls = world_.engine.calls();
  {
    Journal journal;
    ASSERT_TRUE(Run(journal).ok());
    calls = world_.engine.calls() - calls;
    Clear();
  }
  ASSERT_GT(calls, 40U);
  for (const bool after_effect : {false, true}) {
    for (std::uint64_t n = 0; n < calls; ++n) {
      SCOPED_TRACE("call " + std::to_string(n) + (after_effect ? ", after its effect" : ""));
      world_.engine.DieAt(n, after_effect);
      Journal journal;
      static_cast<void>(Run(journal).ok());
      world_.engine.ClearFaults();
      const auto resumed = Run(journal);
      ASSERT_TRUE(resumed.ok()) << resumed.error().ToString();
      EXPECT_EQ(resumed->collections[0].points, 90U);
      ExpectAll(5);
      Clear();
    }
  }
}

TEST_F(RestoreCopyTest, ASourceThatFailsForATimeIsAskedAgain) {
  failures_ = 3;
  Journal journal;
  const auto outcome = Run(journal);
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  ExpectAll(5);
}

TEST_F(RestoreCopyTest, ASourceThatNeverAnswersLeavesNothing) {
  failures_ = 1'000'000;
  Journal journal;
  const auto outcome = Run(journal);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(outcome.error().message(), HasSubstr("copy the points of 'docs'"));
  ExpectNothing();
}

TEST_F(RestoreCopyTest, FewerOrMorePointsThanTheGroupHasAreNoSuccess) {
  const Kept whole = kept_["docs"];
  SourcePoint lost = kept_["docs"].begin()->second.back();
  kept_["docs"].begin()->second.pop_back();
  Journal journal;
  auto outcome = Run(journal);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code(), ErrorCode::kDataLoss);
  EXPECT_THAT(outcome.error().message(), HasSubstr("it counts 89 points, the group 90"));
  ExpectNothing();

  kept_["docs"] = whole;
  kept_["docs"].begin()->second.push_back(
      {.id_json = "5000", .point_json = R"({"id":5000,"vector":[1,2,3,4],"payload":{}})"});
  Journal second;
  outcome = Run(second);
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message(), HasSubstr("it counts 91 points, the group 90"));
  ExpectNothing();
}

TEST_F(RestoreCopyTest, AnIdThatStandsInTwoImagesIsNoSuccess) {
  Kept& docs = kept_["docs"];
  SourcePoint twice = docs.begin()->second.front();
  std::vector<SourcePoint>& other = docs.rbegin()->second;
  const auto place = std::ranges::find_if(other, [&](const SourcePoint& point) {
    return CompareIds(point.id_json, twice.id_json) > 0;
  });
  other.insert(place, twice);
  Journal journal;
  const auto outcome = Run(journal);
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message(), HasSubstr("it counts 90 points, 91 were copied"));
  ExpectNothing();
}

TEST_F(RestoreCopyTest, AnotherVectorThanTheSampledOneIsNoSuccess) {
  for (auto& [shard, points] : kept_["docs"]) {
    for (SourcePoint& point : points) {
      point.point_json = R"({"id":)" + point.id_json + R"(,"vector":[9,9,9,9],"payload":{"n":)" +
                         point.id_json + "}}";
    }
  }
  Journal journal;
  const auto outcome = Run(journal);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code(), ErrorCode::kDataLoss);
  EXPECT_THAT(outcome.error().message(), HasSubstr("is not as it was"));
  ExpectNothing();
}

TEST_F(RestoreCopyTest, APointThatNoSampleNamesIsComparedToo) {
  request_.collections = {"docs"};
  int found_by_comparing = 0;
  for (const bool lost : {false, true}) {
    for (std::size_t n = 0; n < 45; n += 3) {
      SCOPED_TRACE(n);
      // What arrives is another point than the image has, and as many as it has.
      Kept arrives = kept_["docs"];
      std::vector<SourcePoint>& points = arrives.begin()->second;
      SourcePoint& point = points[n % points.size()];
      const std::string id = point.id_json;
      json::Json other = json::Json::parse(point.point_json);
      other["payload"]["n"] = -1;
      if (lost) other["id"] = 5000 + n;
      point = {.id_json = other["id"].dump(), .point_json = other.dump()};
      std::ranges::sort(points, [](const SourcePoint& a, const SourcePoint& b) {
        return CompareIds(a.id_json, b.id_json) < 0;
      });
      arrives_ = &arrives;
      Journal journal;
      const auto outcome = Run(journal);
      arrives_ = nullptr;
      ASSERT_FALSE(outcome.ok());
      EXPECT_EQ(outcome.error().code(), ErrorCode::kDataLoss);
      const std::string text = outcome.error().message();
      if (text.find("than in the images") != std::string::npos) {
        ++found_by_comparing;
        EXPECT_THAT(text, HasSubstr(lost ? "of 90 points 1 are missing and 0 others"
                                         : "of 90 points 0 are missing and 1 others"));
        EXPECT_THAT(text, HasSubstr("(among them " + id + ")"));
      }
      ExpectNothing();
    }
  }
  EXPECT_GT(found_by_comparing, 0) << "samples and queries named them all";
}

TEST_F(RestoreCopyTest, APeerThatDiesMeanwhileIsAFailureOrNoMatter) {
  const std::uint64_t before = world_.engine.calls();
  {
    Journal journal;
    ASSERT_TRUE(Run(journal).ok());
    Clear();
  }
  const std::uint64_t calls = world_.engine.calls() - before;
  for (std::uint64_t n = 5; n < calls; n += 7) {
    SCOPED_TRACE("call " + std::to_string(n));
    const PeerId peer = world_.engine.Now().peers.back().id;
    world_.engine.BeforeCall(world_.engine.calls() + n,
                             [&, peer] { world_.engine.KillPeer(peer); });
    Journal journal;
    const auto outcome = Run(journal);
    world_.engine.StartPeer(peer);
    const Topology now = world_.engine.Now();
    if (outcome.ok()) {
      EXPECT_EQ(world_.engine.Ids("docs"), ids_["docs"]);
    } else {
      // What was verified stays; nothing half-filled has a name that anybody reads.
      for (const Collection& there : now.collections) {
        EXPECT_EQ(world_.engine.Ids(there.name), ids_[there.name]) << there.name;
      }
    }
    Clear();
  }
}

/// Its replicas are empty until the servers have made them anew.
TEST_F(RestoreCopyTest, APeerThatReturnsWithoutItsDiskWhileItIsComparedIsNoMatter) {
  request_.collections = {"docs"};
  const std::uint64_t before = world_.engine.calls();
  {
    Journal journal;
    ASSERT_TRUE(Run(journal).ok());
  }
  const std::uint64_t calls = world_.engine.calls() - before;
  std::uint64_t compared = 0;
  for (std::uint64_t n = 1; n <= calls; ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    Clear();
    const std::uint64_t at = world_.engine.calls() + n;
    world_.engine.BeforeCall(at, [&] {
      // Once the copy is whole.
      if (opened_ < 2) return;
      ++compared;
      world_.engine.StartPeer(PeerId(102), /*lost_disk=*/true);
      for (std::uint64_t later = at + 4; later < at + 400; ++later) {
        world_.engine.BeforeCall(later, [&] { world_.engine.RecoverReplicas(PeerId(102)); });
      }
    });
    Journal journal;
    const auto done = Run(journal);
    ASSERT_TRUE(done.ok()) << done.error().ToString();
    EXPECT_EQ(world_.engine.Ids("docs"), ids_["docs"]);
  }
  EXPECT_GT(compared, 10U);
}

}  // namespace
}  // namespace holdfast
