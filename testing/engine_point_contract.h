#pragma once

// What every Engine promises of reading and writing whole points, for a logical copy. A part of the
// suite of testing/engine_contract.h: include it in the same test file.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "testing/engine_contract.h"

namespace holdfast::testing {

TEST_P(EngineContract, ACopyCanHaveOtherSettings) {
  const std::string name = Make(1, 1);
  const Collection source = ReadActive(name);
  const std::string settings = R"({
      "hnsw_config": {"m": 24}, "vectors": {"on_disk": true}, "wal_config": {"wal_capacity_mb": 1},
      "quantization_config": {"scalar": {"type": "int8", "quantile": 0.98}},
      "optimizers_config": {"flush_interval_sec": 7}})";
  const auto other = engine().Resharded(source, 2, settings);
  ASSERT_TRUE(other.ok()) << other.error().ToString();
  const std::string copy = NewName();
  ASSERT_TRUE(engine().CreateCollection(call_, copy, *other, 0).ok());
  const std::string there = ReadActive(copy).create_json;
  for (const char* setting :
       {R"("m":24)", R"("on_disk":true)", R"("wal_capacity_mb":1)", R"("quantile":0.98)",
        R"("flush_interval_sec":7)", R"("shard_number":2)"}) {
    EXPECT_THAT(there, ::testing::HasSubstr(setting));
    EXPECT_THAT(source.create_json, ::testing::Not(::testing::HasSubstr(setting)));
  }
  const auto refused = engine().Resharded(source, 2, R"({"vectors": {"distance": "Manhattan"}})");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument);
}

TEST_P(EngineContract, PagesOfWholePointsCanBeWrittenToAnotherCollection) {
  const std::string name = Make(1, 1);
  std::vector<TestPoint> points = Points(0, 40);
  points.push_back(
      {.id = "18446744073709551615", .vector = {1, 0, 0, 0}, .payload = R"({"x":1.5})"});
  points.push_back({.id = R"("936da01f-9abd-4d9d-80c7-02af85c822a8")",
                    .vector = {0.1F, 1e-30F, -3.4e38F, 0},
                    .payload = R"({"d":{"e":[null,18446744073709551615,0.1]},"u":"é\"\\"})"});
  harness_->Upsert(name, points, {});
  const Collection source = ReadActive(name);
  const ReplicaRef replica = Replicas(source).front();
  const auto wider = engine().Resharded(source, 3, {});
  ASSERT_TRUE(wider.ok()) << wider.error().ToString();
  EXPECT_EQ(wider->shard_number, 3U);
  const std::string copy = NewName();
  ASSERT_TRUE(engine().CreateCollection(call_, copy, *wider, 0).ok());

  std::map<std::string, std::string> texts;
  std::string after;
  for (bool end = false; !end;) {
    const auto page = engine().ReadPage(call_, replica, after, {.points = 7});
    ASSERT_TRUE(page.ok()) << page.error().ToString();
    end = page->end || page->points.empty();
    EXPECT_LE(page->points.size(), 7U);
    for (const SourcePoint& point : page->points) {
      EXPECT_TRUE(after.empty() || CompareIds(after, point.id_json) < 0) << point.id_json;
      after = point.id_json;
      texts[point.id_json] = point.point_json;
    }
    const Status written = engine().UpsertPoints(call_, copy, {}, page->points);
    ASSERT_TRUE(written.ok()) << written.error().ToString();
  }
  EXPECT_EQ(texts.size(), points.size());
  const Collection there = ReadActive(copy);
  ASSERT_EQ(there.shards.size(), 3U);
  const auto comparer = engine().NewComparer(there);
  ASSERT_TRUE(comparer.ok());
  std::size_t found = 0;
  for (const ReplicaRef& target : Replicas(there)) {
    const PointCounts counts = Count(target);
    EXPECT_EQ(counts.all, counts.in_ring);
    const auto page = engine().ReadPage(call_, target, "", {.points = 1000});
    ASSERT_TRUE(page.ok()) << page.error().ToString();
    // A server may say only with an empty page that nothing comes behind.
    for (const SourcePoint& point : page->points) {
      ++found;
      EXPECT_TRUE((*comparer)->Same(texts[point.id_json], point.point_json))
          << texts[point.id_json] << " " << point.point_json;
    }
  }
  EXPECT_EQ(found, points.size());
}

TEST_P(EngineContract, APageIsBoundedInBytes) {
  const std::string name = Make(1, 1);
  std::vector<TestPoint> points = Points(0, 20);
  for (TestPoint& point : points) point.payload = R"({"t":")" + std::string(2000, 'x') + R"("})";
  harness_->Upsert(name, points, {});
  const ReplicaRef replica = Replicas(ReadActive(name)).front();
  std::string after;
  std::size_t found = 0;
  for (;;) {
    const auto page = engine().ReadPage(call_, replica, after, {.points = 100, .bytes = 5000});
    ASSERT_TRUE(page.ok()) << page.error().ToString();
    if (page->points.empty()) break;
    EXPECT_LE(page->points.size(), 3U);
    found += page->points.size();
    after = page->points.back().id_json;
    EXPECT_EQ(page->end, found == 20) << found;
    if (page->end) break;
  }
  EXPECT_EQ(found, 20U);
}

TEST_P(EngineContract, PointsAreWrittenUnderTheirShardKey) {
  const std::string name = Make(2, 1, R"(,"sharding_method":"custom")");
  const ShardKey text = std::string("süd / 100%");
  const ShardKey number = std::uint64_t{7};
  for (const ShardKey& key : {text, number}) {
    ASSERT_TRUE(
        engine().CreateShardKey(call_, name, {.key = key, .shards = 2, .placement = {}}).ok());
  }
  ReadActive(name);
  const std::vector<SourcePoint> points = {
      {.id_json = "1", .point_json = R"({"id":1,"vector":[1.0,0.0,0.0,0.0],"payload":{}})"},
      {.id_json = "2", .point_json = R"({"id":2,"vector":[1.0,0.0,0.0,0.0]})"}};
  ASSERT_FALSE(engine().UpsertPoints(call_, name, {}, points).ok()) << "the key is missing";
  const Status written = engine().UpsertPoints(call_, name, text, points);
  ASSERT_TRUE(written.ok()) << written.error().ToString();
  ASSERT_TRUE(engine().UpsertPoints(call_, name, number, {points[1]}).ok());
  std::map<std::string, std::vector<std::string>> ids;
  const Collection now = ReadActive(name);
  for (const ReplicaRef& replica : Replicas(now)) {
    const auto shard = std::ranges::find(now.shards, replica.shard, &Shard::id);
    const auto page = engine().ReadPage(call_, replica, "", {});
    ASSERT_TRUE(page.ok()) << page.error().ToString();
    for (const SourcePoint& point : page->points) {
      ids[FormatShardKey(*shard->key)].push_back(point.id_json);
    }
  }
  EXPECT_THAT(ids[FormatShardKey(text)], ::testing::UnorderedElementsAre("1", "2"));
  EXPECT_THAT(ids[FormatShardKey(number)], ::testing::ElementsAre("2"));
}

TEST_P(VectorsContract, VectorsOfAllKindsAreCopiedAsTheyAre) {
  const std::string name = NewName();
  Collection wanted;
  wanted.create_json =
      R"({"vectors":{"a":{"size":2,"distance":"Cosine"},"f":{"size":2,"distance":"Euclid",)"
      R"("datatype":"float16"},"m":{"size":2,"distance":"Dot","multivector_config":)"
      R"({"comparator":"max_sim"}}},"sparse_vectors":{"s":{}},"shard_number":2})";
  ASSERT_TRUE(engine().CreateCollection(call_, name, wanted, 0).ok());
  harness_->Upsert(
      name,
      {{.id = "1",
        .vector = {},
        .vectors_json = R"({"a":[0.3,0.7],"f":[0.1,0.2],"m":[[1.5,2],[3,4]],)"
                        R"("s":{"indices":[7,3],"values":[0.5,0.25]}})"},
       {.id = "2", .vector = {}, .vectors_json = R"({"a":[1,1]})"},
       {.id = "3", .vector = {}, .vectors_json = R"({"s":{"indices":[1],"values":[2]}})"},
       {.id = "4", .vector = {}, .vectors_json = "{}"}},
      {});
  const Collection source = ReadActive(name);
  const std::string copy = NewName();
  const auto narrow = engine().Resharded(source, 1, {});
  ASSERT_TRUE(narrow.ok());
  ASSERT_TRUE(engine().CreateCollection(call_, copy, *narrow, 0).ok());
  std::map<std::string, std::string> texts;
  for (const ReplicaRef& replica : Replicas(source)) {
    const auto page = engine().ReadPage(call_, replica, "", {});
    ASSERT_TRUE(page.ok()) << page.error().ToString();
    for (const SourcePoint& point : page->points) texts[point.id_json] = point.point_json;
    const Status written = engine().UpsertPoints(call_, copy, {}, page->points);
    ASSERT_TRUE(written.ok()) << written.error().ToString();
  }
  ASSERT_EQ(texts.size(), 4U);
  const Collection there = ReadActive(copy);
  const auto comparer = engine().NewComparer(there);
  ASSERT_TRUE(comparer.ok());
  const auto page = engine().ReadPage(call_, Replicas(there).front(), "", {});
  ASSERT_TRUE(page.ok()) << page.error().ToString();
  ASSERT_EQ(page->points.size(), 4U);
  for (const SourcePoint& point : page->points) {
    EXPECT_TRUE((*comparer)->Same(texts[point.id_json], point.point_json))
        << texts[point.id_json] << " " << point.point_json;
    for (const auto& [id, other] : texts) {
      if (id == point.id_json) continue;
      EXPECT_FALSE((*comparer)->Same(other, point.point_json));
    }
  }
}

}  // namespace holdfast::testing
