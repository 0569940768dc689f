#include "engine/qdrant/points/point_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/qdrant/points/same_point.h"

namespace holdfast::qdrant {
namespace {

TEST(PointPages, PointsAreTheTextOfTheAnswer) {
  const auto page = PageFromAnswer(
      R"({"result":{"points":[{"id":18446744073709551615,"payload":{"f":1e-7,)"
      R"("b":18446744073709551615},)"
      R"("vector":[0.1,1.0],"shard_key":"a"},{"id":"936DA01F9ABD4D9D80C702AF85C822A8",)"
      R"("payload":null,"vector":{}},{"id":3}],"next_page_offset":4},"status":"ok","time":0.1})");
  ASSERT_TRUE(page.ok()) << page.error().ToString();
  EXPECT_FALSE(page->end);
  ASSERT_EQ(page->points.size(), 3U);
  EXPECT_EQ(page->points[0].id_json, "18446744073709551615");
  EXPECT_EQ(page->points[0].point_json,
            R"({"id":18446744073709551615,"vector":[0.1,1.0],"payload":{"f":1e-7,)"
            R"("b":18446744073709551615}})");
  EXPECT_EQ(page->points[1].point_json,
            R"({"id":"936da01f-9abd-4d9d-80c7-02af85c822a8","vector":{}})");
  EXPECT_EQ(page->points[2].point_json, R"({"id":3,"vector":{}})");
  EXPECT_EQ(
      UpsertBody(ShardKey(std::string("s\"1")), page->points.data() + 1, page->points.data() + 3),
      R"({"points":[{"id":"936da01f-9abd-4d9d-80c7-02af85c822a8","vector":{}},)"
      R"({"id":3,"vector":{}}],"shard_key":"s\"1"})");
}

TEST(PointPages, TheLastPageSaysSo) {
  const auto page = PageFromAnswer(R"({"result":{"points":[],"next_page_offset":null}})");
  ASSERT_TRUE(page.ok());
  EXPECT_TRUE(page->end);
  EXPECT_TRUE(page->points.empty());
}

TEST(PointPages, WhatIsNoPageIsRefused) {
  for (const char* text :
       {"", "[]", R"({"status":"ok"})", R"({"result":null})", R"({"result":{"points":null}})",
        R"({"result":{"points":[1]}})", R"({"result":{"points":[{"id":-1}]}})",
        R"({"result":{"points":[{"vector":[1]}]}})", R"({"result":{"points":[{"id":1}]})"}) {
    EXPECT_FALSE(PageFromAnswer(text).ok()) << text;
  }
}

class SamePoint : public ::testing::Test {
 protected:
  static bool Same(const std::string& vectors, const std::string& a, const std::string& b) {
    Collection collection;
    collection.create_json = R"({"vectors":)" + vectors + "}";
    const auto comparer = NewPointComparer(collection);
    EXPECT_TRUE(comparer.ok());
    return (*comparer)->Same(a, b);
  }
  static std::string Payload(const std::string& value) {
    return R"({"id":1,"vector":{},"payload":{"x":)" + value + "}}";
  }
  static std::string Vector(const std::string& value) {
    return R"({"id":1,"vector":)" + value + "}";
  }

  const std::string dot_ = R"({"size":2,"distance":"Dot"})";
  const std::string cosine_ = R"({"size":2,"distance":"Cosine"})";
};

TEST_F(SamePoint, NumbersOfAPayloadMayDifferInTheirLastBits) {
  EXPECT_TRUE(Same(dot_, Payload("0.1"), Payload("0.10000000000000002")));
  EXPECT_TRUE(Same(dot_, Payload("[1,{\"y\":0.3}]"), Payload("[1,{\"y\":0.30000000000000004}]")));
  EXPECT_FALSE(Same(dot_, Payload("0.1"), Payload("0.1000000000001")));
  EXPECT_FALSE(Same(dot_, Payload("18446744073709551615"), Payload("18446744073709551614")));
  EXPECT_FALSE(Same(dot_, Payload("1"), Payload("\"1\"")));
  EXPECT_FALSE(Same(dot_, Payload("1"), Payload("true")));
  EXPECT_FALSE(Same(dot_, Payload("[1,2]"), Payload("[1]")));
  EXPECT_FALSE(Same(dot_, Payload("{\"a\":1}"), Payload("{\"b\":1}")));
  EXPECT_FALSE(Same(dot_, Payload("null"), R"({"id":1,"vector":{},"payload":{}})"));
}

TEST_F(SamePoint, NoPayloadIsAnEmptyOneAndOrderIsFree) {
  EXPECT_TRUE(Same(dot_, R"({"id":1,"vector":{}})", R"({"payload":{},"id":1})"));
  EXPECT_TRUE(Same(dot_, R"({"id":1,"vector":{},"payload":{"a":1,"b":2}})",
                   R"({"id":1,"vector":{},"payload":{"b":2,"a":1}})"));
  EXPECT_FALSE(Same(dot_, R"({"id":1,"vector":{}})", R"({"id":2,"vector":{}})"));
  EXPECT_FALSE(Same(dot_, R"({"id":1)", R"({"id":1})"));
}

TEST_F(SamePoint, AVectorMayDifferOnlyWhereItIsNormalized) {
  EXPECT_TRUE(Same(dot_, Vector("[0.5,1.0]"), Vector("{\"\":[0.5,1]}")));
  EXPECT_FALSE(Same(dot_, Vector("[0.5,1.0]"), Vector("[0.5000001,1.0]")));
  EXPECT_FALSE(Same(dot_, Vector("[0.5,1.0]"), Vector("[0.5]")));
  EXPECT_FALSE(Same(dot_, Vector("[0.5,1.0]"), Vector("{}")));
  EXPECT_TRUE(Same(cosine_, Vector("[0.5,1.0]"), Vector("[0.5000001,1.0]")));
  EXPECT_FALSE(Same(cosine_, Vector("[0.5,1.0]"), Vector("[0.50001,1.0]")));
  const std::string half = R"({"size":2,"distance":"Cosine","datatype":"float16"})";
  EXPECT_TRUE(Same(half, Vector("[0.5,1.0]"), Vector("[0.5004,1.0]")));
  EXPECT_FALSE(Same(half, Vector("[0.5,1.0]"), Vector("[0.502,1.0]")));
}

TEST_F(SamePoint, NamedSparseAndMultivectorsAreCompared) {
  const std::string named = R"({"a":{"size":2,"distance":"Dot"},"b":{"size":2,"distance":"Dot"}})";
  const std::string sparse = R"("s":{"indices":[1,5],"values":[2.0,1.0]})";
  const std::string multi = R"("b":[[1.0,2.0],[3.0,4.0]])";
  EXPECT_TRUE(Same(named, Vector("{" + sparse + "," + multi + "}"),
                   Vector("{" + multi + "," + sparse + "}")));
  EXPECT_FALSE(Same(named, Vector("{" + sparse + "}"), Vector("{" + multi + "}")));
  EXPECT_FALSE(Same(named, Vector("{" + multi + "}"), Vector(R"({"b":[[1.0,2.0]]})")));
  EXPECT_FALSE(Same(named, Vector("{" + sparse + "}"),
                    Vector(R"({"s":{"indices":[1,6],"values":[2.0,1.0]}})")));
  EXPECT_FALSE(Same(named, Vector("{" + sparse + "}"),
                    Vector(R"({"s":{"indices":[1,5],"values":[2.0,1.1]}})")));
}

TEST_F(SamePoint, APayloadTooDeepToBeReadIsComparedAsText) {
  const std::string deep = std::string(100, '[') + std::string(100, ']');
  const std::string other = std::string(101, '[') + std::string(101, ']');
  EXPECT_TRUE(Same(dot_, Payload(deep), R"({"id":1,"payload":{"x":)" + deep + "}}"));
  EXPECT_FALSE(Same(dot_, Payload(deep), Payload(other)));
}

TEST(DependsOnShards, OnlyQueriesWithStatisticsOfTheShardDo) {
  Collection collection;
  collection.create_json =
      R"({"vectors":{},"sparse_vectors":{"bm25":{"modifier":"idf"},"splade":{}}})";
  const auto depends = [&](const std::string& request) {
    return DependsOnShards(collection, {.request_json = request, .ids = {}, .scores = {}});
  };
  EXPECT_TRUE(depends(R"({"using":"bm25"})"));
  EXPECT_FALSE(depends(R"({"using":"splade"})"));
  EXPECT_FALSE(depends(R"({"limit":1})"));
}

}  // namespace
}  // namespace holdfast::qdrant
