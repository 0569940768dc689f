#include "plan/reshard_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ReshardPlanTest : public ::testing::Test {
 protected:
  ReshardPlanTest() {
    for (const std::uint64_t id : {1, 2}) {
      Peer peer;
      peer.id = PeerId(id);
      peer.answers = true;
      cluster_.peers.push_back(peer);
    }
    Collection docs;
    docs.name = "docs_v1";
    docs.uuid = "u";
    docs.shard_number = 2;
    docs.aliases = {"docs"};
    docs.points = 7;
    for (std::uint32_t i = 0; i < 2; ++i) {
      docs.shards.push_back(
          {.id = ShardId(i),
           .key = {},
           .replicas = {{.peer = PeerId(1 + i), .state = ReplicaState::kActive}}});
    }
    cluster_.collections = {docs};
  }

  Collection& docs() { return cluster_.collections[0]; }
  Result<ReshardPlan> Plan(const ReshardRequest& request) const {
    return PlanReshard(cluster_, request, facts_);
  }
  std::string Refusal(const ReshardRequest& request) const {
    const auto plan = Plan(request);
    return plan.ok() ? "" : plan.error().ToString();
  }

  Topology cluster_;
  ReshardFacts facts_{.native_refusal = "", .suffix = "0a1b2c3d"};
  const ReshardRequest five_{.collection = "docs", .shards = 5};
  const ReshardRequest copy_{.collection = "docs", .shards = 5, .method = ReshardMethod::kCopy};
};

TEST_F(ReshardPlanTest, TheClusterDoesItItselfWhereItCan) {
  const auto plan = Plan(five_);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_EQ(plan->method, ReshardMethod::kNative);
  EXPECT_EQ(plan->source, "docs_v1") << "an alias names its collection";
  EXPECT_EQ(plan->target, "docs_v1");
  EXPECT_THAT(plan->aliases, IsEmpty());
  EXPECT_EQ(plan->shards_now, 2U);
}

TEST_F(ReshardPlanTest, ElseThePointsAreCopiedBesideAndTheAliasesSwitched) {
  facts_.native_refusal = "resharding is not enabled";
  const auto plan = Plan(five_);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_EQ(plan->method, ReshardMethod::kCopy);
  EXPECT_EQ(plan->why, "resharding is not enabled");
  EXPECT_EQ(plan->target, "docs_v1__0a1b2c3d");
  EXPECT_THAT(plan->aliases, ElementsAre("docs"));
}

TEST_F(ReshardPlanTest, TheSuffixOfAnEarlierReshardIsReplaced) {
  docs().name = "docs_v1__deadbeef";
  EXPECT_EQ(Plan(copy_)->target, "docs_v1__0a1b2c3d");
  docs().name = "docs_v1__nothexxx";
  EXPECT_EQ(Plan(copy_)->target, "docs_v1__nothexxx__0a1b2c3d");
}

TEST_F(ReshardPlanTest, WithoutAnAliasOnlyASecondCollectionCanBeMade) {
  docs().aliases.clear();
  ReshardRequest request = copy_;
  request.collection = "docs_v1";
  EXPECT_THAT(Refusal(request), HasSubstr("--as NAME"));
  request.as = "wide";
  const auto plan = Plan(request);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_EQ(plan->target, "wide");
  EXPECT_THAT(plan->aliases, IsEmpty());
  EXPECT_THAT(plan->notes.front(), HasSubstr("second collection"));
}

TEST_F(ReshardPlanTest, AnotherNameIsOnlyForACopy) {
  ReshardRequest request = five_;
  request.as = "wide";
  EXPECT_EQ(Plan(request)->method, ReshardMethod::kCopy);
  request.method = ReshardMethod::kNative;
  EXPECT_THAT(Refusal(request), HasSubstr("keeps the collection and its name"));
  for (const char* taken : {"docs", "docs_v1"}) {
    request = copy_;
    request.as = taken;
    EXPECT_THAT(Refusal(request), HasSubstr("already has")) << taken;
  }
  request.as = "a/b";
  EXPECT_THAT(Refusal(request), HasSubstr("no collection name"));
}

TEST_F(ReshardPlanTest, NativeIsRefusedWithTheClustersReason) {
  facts_.native_refusal = "resharding is not enabled";
  ReshardRequest request = five_;
  request.method = ReshardMethod::kNative;
  EXPECT_THAT(Refusal(request), HasSubstr("resharding is not enabled"));
  EXPECT_THAT(Refusal(request), HasSubstr("--method copy"));
}

TEST_F(ReshardPlanTest, EverythingInTheWayIsToldAtOnce) {
  docs().transfers.emplace_back();
  docs().resharding = "up to shard 2";
  docs().shards[1].replicas[0].state = ReplicaState::kDead;
  cluster_.peers[1].answers = false;
  const auto plan = Plan(copy_);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code(), ErrorCode::kFailedPrecondition);
  for (const char* problem :
       {"being resharded", "being transferred", "no active replica", "peer 2 does not answer"}) {
    EXPECT_THAT(plan.error().message(), HasSubstr(problem));
  }
}

TEST_F(ReshardPlanTest, AReshardingUnderWayIsToldAlsoWhereItShowsTheWantedNumber) {
  docs().resharding = "up to shard 2";
  ReshardRequest request = copy_;
  request.shards = static_cast<std::uint32_t>(docs().shards.size());
  EXPECT_THAT(Refusal(request), HasSubstr("is being resharded"));
}

TEST_F(ReshardPlanTest, AnActiveReplicaOnAPeerThatDoesNotAnswerIsNone) {
  cluster_.peers[0].answers = false;
  EXPECT_THAT(Refusal(copy_), HasSubstr("shard 0 of 'docs_v1' has no active replica"));
}

TEST_F(ReshardPlanTest, WhatMakesNoSenseIsRefused) {
  EXPECT_EQ(Plan({.collection = "docs", .shards = 0}).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Plan({.collection = "docs", .shards = 1001}).error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_THAT(Refusal({.collection = "docs", .shards = 2}), HasSubstr("has 2 shards already"));
  EXPECT_EQ(Plan({.collection = "none", .shards = 2}).error().code(), ErrorCode::kNotFound);
}

TEST_F(ReshardPlanTest, CustomShardingCountsTheShardsOfEachKey) {
  docs().custom_sharding = true;
  docs().shard_keys = {ShardKey(std::string("a")), ShardKey(std::uint64_t{7})};
  docs().shards[0].key = docs().shard_keys[0];
  docs().shards[1].key = docs().shard_keys[1];
  EXPECT_THAT(Refusal({.collection = "docs", .shards = 1, .method = ReshardMethod::kCopy}),
              HasSubstr("1 shards of every shard key"));
  const auto plan = Plan({.collection = "docs", .shards = 2, .method = ReshardMethod::kCopy});
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_EQ(plan->shards_now, 1U);
  EXPECT_EQ(plan->keys, docs().shard_keys);
  docs().shards.clear();
  EXPECT_THAT(Refusal(copy_), HasSubstr("no shard key yet"));
}

TEST_F(ReshardPlanTest, OtherSettingsTakeACopyAndNoOtherNumberOfShards) {
  facts_.changes = {{.name = "hnsw_config.m", .before = "16", .after = "32"}};
  const ReshardRequest settings{.collection = "docs",
                                .settings_json = R"({"hnsw_config":{"m":32}})"};
  const auto plan = Plan(settings);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_EQ(plan->method, ReshardMethod::kCopy) << "also where the cluster could reshard";
  EXPECT_THAT(plan->why, HasSubstr("other settings"));
  EXPECT_EQ(plan->shards, 2U);
  EXPECT_EQ(plan->changes, facts_.changes);
  EXPECT_EQ(plan->settings_json, settings.settings_json);
  EXPECT_THAT(plan->notes, ::testing::Contains(HasSubstr("PATCH /collections/docs_v1")));
  const auto again = ReshardPlanFromJson(ReshardPlanToJson(*plan));
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_EQ(again->changes, plan->changes);
  EXPECT_EQ(again->settings_json, plan->settings_json);

  ReshardRequest request = settings;
  request.shards = 5;
  EXPECT_EQ(Plan(request)->shards, 5U);
  EXPECT_THAT(Plan(request)->notes, ::testing::Each(::testing::Not(HasSubstr("PATCH"))));
  request.method = ReshardMethod::kNative;
  EXPECT_THAT(Refusal(request), HasSubstr("keeps the collection with its settings"));
  EXPECT_THAT(Refusal(request), HasSubstr("PATCH /collections/docs_v1"));
  facts_.changes.clear();
  EXPECT_THAT(Refusal(settings), HasSubstr("2 shards and these settings already"));
}

TEST_F(ReshardPlanTest, WhatNoPatchChangesIsNotSaidToBePatched) {
  const ReshardRequest settings{.collection = "docs", .settings_json = "{}"};
  facts_.changes = {{.name = "wal_config.wal_capacity_mb", .before = "32", .after = "64"}};
  EXPECT_THAT(Plan(settings)->notes, ::testing::Each(::testing::Not(HasSubstr("PATCH"))));
  facts_.changes = {{.name = "hnsw_config.payload_m", .before = "4", .after = ""}};
  EXPECT_THAT(Plan(settings)->notes, ::testing::Each(::testing::Not(HasSubstr("PATCH"))));
  facts_.changes = {{.name = "quantization_config.scalar.type", .before = "\"int8\"", .after = ""}};
  EXPECT_THAT(Plan(settings)->notes, ::testing::Contains(HasSubstr("PATCH")));
  facts_.changes = {{.name = "replication_factor", .before = "2", .after = "10"}};
  EXPECT_THAT(Plan(settings)->notes, ::testing::Contains(HasSubstr("a shard gets 2 replicas")));
}

TEST_F(ReshardPlanTest, KeysOfDifferentNumbersOfShardsNeedANumber) {
  docs().custom_sharding = true;
  docs().shard_keys = {ShardKey(std::string("a")), ShardKey(std::uint64_t{7})};
  docs().shards[0].key = docs().shard_keys[0];
  docs().shards[1].key = docs().shard_keys[1];
  facts_.changes = {{.name = "hnsw_config.m", .before = "16", .after = "32"}};
  ReshardRequest settings{.collection = "docs", .settings_json = "{}"};
  EXPECT_EQ(Plan(settings)->shards, 1U);
  docs().shards.push_back(docs().shards[1]);
  EXPECT_THAT(Refusal(settings), HasSubstr("different numbers of shards"));
  settings.shards = 2;
  EXPECT_EQ(Plan(settings)->shards, 2U);
}

TEST_F(ReshardPlanTest, APlanComesBackFromItsJson) {
  docs().custom_sharding = true;
  docs().shard_keys = {ShardKey(std::string("a")), ShardKey(std::uint64_t{7})};
  docs().shards[0].key = docs().shard_keys[0];
  docs().shards[1].key = docs().shard_keys[1];
  const auto plan = Plan(copy_);
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  const std::string text = ReshardPlanToJson(*plan);
  const auto again = ReshardPlanFromJson(text);
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_EQ(ReshardPlanToJson(*again), text);
  EXPECT_EQ(again->keys, plan->keys);
  for (const char* broken : {"", "{}", R"({"method":"sideways"})"}) {
    const auto refused = ReshardPlanFromJson(broken);
    ASSERT_FALSE(refused.ok()) << broken;
    EXPECT_EQ(refused.error().code(), ErrorCode::kDataLoss);
  }
}

TEST(ReshardMethodTest, NamesComeBack) {
  for (const ReshardMethod method :
       {ReshardMethod::kAuto, ReshardMethod::kNative, ReshardMethod::kCopy}) {
    EXPECT_EQ(*ReshardMethodFromName(ReshardMethodName(method)), method);
  }
  EXPECT_FALSE(ReshardMethodFromName("sideways").ok());
}

}  // namespace
}  // namespace holdfast
