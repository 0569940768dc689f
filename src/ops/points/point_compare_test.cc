// Comparing whole sides and reading them: small sources, every way in which they can differ.

#include "ops/points/point_compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "ops/points/live_points.h"
#include "testing/fake_clock.h"
#include "testing/scripted_engine.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Shards in memory, read in pages of at most `page` points.
class ListedPoints final : public PointSource {
 public:
  void Add(std::uint32_t shard, const std::string& id, const std::string& payload = "{}",
           const std::optional<ShardKey>& key = {}) {
    auto& listed = shards_[ShardId(shard)];
    listed.key = key;
    listed.points.push_back(
        {.id_json = id,
         .point_json = R"({"id":)" + id + R"(,"vector":{},"payload":)" + payload + "}"});
    std::ranges::sort(listed.points, [](const SourcePoint& a, const SourcePoint& b) {
      return CompareIds(a.id_json, b.id_json) < 0;
    });
  }
  Result<std::vector<SourceShard>> Shards(const CallContext&) override {
    std::vector<SourceShard> shards;
    for (const auto& [shard, listed] : shards_) {
      shards.push_back({.shard = shard, .key = listed.key, .points = listed.points.size()});
    }
    return shards;
  }
  Result<PointPage> ReadPage(const CallContext&, ShardId shard, const std::string& after,
                             const PageLimits& limits) override {
    PointPage page;
    for (const SourcePoint& point : shards_.at(shard).points) {
      if (!after.empty() && CompareIds(point.id_json, after) <= 0) continue;
      if (page.points.size() == limits.points) return page;
      page.points.push_back(point);
    }
    page.end = true;
    return page;
  }

 private:
  struct Listed {
    std::optional<ShardKey> key;
    std::vector<SourcePoint> points;
  };
  std::map<ShardId, Listed> shards_;
};

class PointCompareTest : public ::testing::Test {
 protected:
  PassResult Compare(std::uint32_t page = 2) {
    Collection collection;
    collection.create_json = R"({"vectors":{}})";
    const auto comparer = engine_.NewComparer(collection);
    EXPECT_TRUE(comparer.ok());
    RateLimiter rate(clock_, 0, 1);
    Progress progress(clock_);
    const std::string name = "copy";
    const ComparePassParts parts{.source = source_,
                                 .target = target_,
                                 .comparer = **comparer,
                                 .engine = nullptr,
                                 .collection = name,
                                 .clock = clock_,
                                 .rate = rate,
                                 .progress = progress};
    CopyLimits limits;
    limits.page.points = page;
    const auto result = ComparePoints({}, parts, limits);
    EXPECT_TRUE(result.ok()) << result.error().ToString();
    return result.ok() ? *result : PassResult();
  }

  testing::FakeClock clock_;
  testing::ScriptedEngine engine_{clock_};
  ListedPoints source_;
  ListedPoints target_;
};

TEST_F(PointCompareTest, TheSamePointsInOtherShardsAreTheSame) {
  for (std::uint32_t i = 0; i < 100; ++i) {
    source_.Add(i % 2, std::to_string(i));
    target_.Add(i % 7, std::to_string(i));
  }
  const std::string largest = "18446744073709551615";
  const std::string uuid = R"("936da01f-9abd-4d9d-80c7-02af85c822a8")";
  source_.Add(0, largest);
  target_.Add(5, largest);
  source_.Add(1, uuid);
  target_.Add(0, uuid);
  for (const std::uint32_t page : {1U, 2U, 3U, 1000U}) {
    const PassResult found = Compare(page);
    EXPECT_EQ(found.differences(), 0U) << page;
    EXPECT_EQ(found.source_points, 102U);
    EXPECT_EQ(found.target_points, 102U);
  }
}

TEST_F(PointCompareTest, EveryDifferenceIsFoundAndNamed) {
  for (std::uint32_t i = 0; i < 50; ++i) {
    if (i != 7) source_.Add(i % 3, std::to_string(i));
    if (i != 20 && i != 0) target_.Add(i % 2, std::to_string(i), i == 30 ? R"({"a":1})" : "{}");
  }
  for (const std::uint32_t page : {1U, 4U, 1000U}) {
    const PassResult found = Compare(page);
    EXPECT_EQ(found.missing, 2U);
    EXPECT_EQ(found.changed, 1U);
    EXPECT_EQ(found.extra, 1U);
    EXPECT_THAT(found.some, ElementsAre("0", "7", "20", "30"));
    EXPECT_TRUE(found.ids_complete());
    EXPECT_EQ(DescribeDifferences(found), "2 new, 1 changed, 1 deleted");
  }
}

TEST_F(PointCompareTest, AnEmptySideDiffersInEverything) {
  for (std::uint32_t i = 0; i < 5; ++i) source_.Add(0, std::to_string(i));
  EXPECT_EQ(Compare().missing, 5U);
  std::swap(source_, target_);
  EXPECT_EQ(Compare().extra, 5U);
}

TEST_F(PointCompareTest, OneIdUnderTwoKeysIsTwoPoints) {
  const ShardKey a("a");
  const ShardKey b(std::uint64_t{1});
  source_.Add(1, "5", R"({"k":"a"})", a);
  source_.Add(2, "5", R"({"k":"b"})", b);
  target_.Add(1, "5", R"({"k":"a"})", a);
  target_.Add(2, "5", R"({"k":"a"})", b);
  const PassResult found = Compare();
  EXPECT_EQ(found.source_points, 2U);
  EXPECT_EQ(found.changed, 1U);
  ASSERT_EQ(found.ids.size(), 1U);
  EXPECT_EQ(found.ids[0].first, b);
}

TEST_F(PointCompareTest, OneIdInTwoShardsIsToldOf) {
  source_.Add(0, "5");
  source_.Add(1, "5", R"({"stray":true})");
  source_.Add(1, "6");
  target_.Add(0, "5");
  target_.Add(0, "6");
  const PassResult found = Compare();
  EXPECT_EQ(found.doubled, 1U);
  EXPECT_EQ(found.differences(), 0U);
}

// --- live points ---------------------------------------------------------------------------------

class LivePointsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::ScriptedCollection plain;
    plain.replication_factor = 2;
    engine_.AddCollection("docs", plain);
    engine_.Fill("docs", 0, 20);
    const Topology now = engine_.Now();
    for (const Replica& replica : now.FindCollection("docs")->shards[0].replicas) {
      peers_.push_back(replica.peer);
    }
  }

  testing::FakeClock clock_;
  testing::ScriptedEngine engine_{clock_};
  std::vector<PeerId> peers_;
  LivePoints points_{engine_, "docs"};
};

TEST_F(LivePointsTest, AnotherReplicaAnswersForOneThatDoesNot) {
  ASSERT_TRUE(points_.Shards({}).ok());
  engine_.KillPeer(peers_[0]);
  for (const char* after : {"", "9"}) {
    const auto page = points_.ReadPage({}, ShardId(0), after, {.points = 5});
    ASSERT_TRUE(page.ok()) << page.error().ToString();
    EXPECT_EQ(page->points.size(), 5U);
  }
  engine_.KillPeer(peers_[1]);
  const auto none = points_.ReadPage({}, ShardId(0), "", {.points = 5});
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code(), ErrorCode::kUnavailable);
}

TEST_F(LivePointsTest, AReplicaThatHasMissedWritesIsReadNoMore) {
  ASSERT_TRUE(points_.Shards({}).ok());
  engine_.KillPeer(peers_[0]);
  engine_.Upsert("docs", "100");
  engine_.StartPeer(peers_[0]);  // Dead, and without the point.
  ASSERT_TRUE(points_.Shards({}).ok());
  const auto page = points_.ReadPage({}, ShardId(0), "19", {});
  ASSERT_TRUE(page.ok()) << page.error().ToString();
  ASSERT_EQ(page->points.size(), 1U);
  EXPECT_EQ(page->points[0].id_json, "100");
}

TEST_F(LivePointsTest, OtherShardsThanBeforeAreRefused) {
  ASSERT_TRUE(points_.Shards({}).ok());
  ASSERT_TRUE(engine_.DropCollection({}, "docs").ok());
  testing::ScriptedCollection wider;
  wider.shards = 3;
  engine_.AddCollection("docs", wider);
  const auto shards = points_.Shards({});
  ASSERT_FALSE(shards.ok());
  EXPECT_THAT(shards.error().message(), HasSubstr("have changed"));
}

TEST(CompareIdsTest, NumbersComeBeforeUuidsAndByValue) {
  const std::string low = R"("00000000-0000-0000-0000-000000000001")";
  const std::string high = R"("fedcba98-7654-3210-0000-000000000000")";
  const std::vector<std::string> order = {
      "0", "9", "10", "99", "18446744073709551614", "18446744073709551615", low, high};
  for (std::size_t i = 0; i < order.size(); ++i) {
    for (std::size_t j = 0; j < order.size(); ++j) {
      EXPECT_EQ(CompareIds(order[i], order[j]) < 0, i < j) << order[i] << " " << order[j];
      EXPECT_EQ(CompareIds(order[i], order[j]) == 0, i == j);
    }
  }
}

}  // namespace
}  // namespace holdfast
