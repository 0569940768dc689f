#include "model/topology.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

Topology Sample() {
  Topology topology;
  topology.engine = "qdrant";
  topology.observed_at = *ParseTime("2026-11-22T03:24:38.123Z");
  topology.peers = {{.id = PeerId(1897234352268713),
                     .p2p_uri = "http://127.0.0.1:21015/",
                     .url = "http://127.0.0.1:21013",
                     .answers = true,
                     .version = "1.18.3",
                     .trouble = ""},
                    {.id = PeerId(6106786298590253),
                     .p2p_uri = "http://127.0.0.1:21005/",
                     .url = "",
                     .answers = false,
                     .version = "",
                     .trouble = "connection refused"}};
  Collection collection;
  collection.name = "odd name \"ü\"";
  collection.uuid = "9fe2510e-6e5b-44a0-90c3-35d43e04f3a3";
  collection.create_json = R"({"shard_number":2,"vectors":{"size":4}})";
  collection.finish_json = "{}";
  collection.shard_number = 2;
  collection.replication_factor = 2;
  collection.custom_sharding = true;
  collection.shards = {
      {.id = ShardId(1),
       .key = ShardKey(std::string("1")),
       .replicas = {{.peer = PeerId(1897234352268713), .state = ReplicaState::kActive}}},
      {.id = ShardId(2),
       .key = ShardKey(std::uint64_t{1}),
       .replicas = {{.peer = PeerId(6106786298590253), .state = ReplicaState::kDead}}}};
  collection.indexes = {{.field = "pos", .schema_json = R"("keyword")"}};
  collection.aliases = {"a", "b"};
  collection.transfers = {{.shard = ShardId(1),
                           .to_shard = ShardId(3),
                           .from = PeerId(1),
                           .to = PeerId(2),
                           .method = "snapshot",
                           .comment = "half"}};
  collection.resharding = "up to shard 3";
  collection.shard_keys = {ShardKey(std::string("1")), ShardKey(std::uint64_t{1})};
  collection.points = 12;
  collection.bytes = 345;
  topology.collections = {collection};
  topology.metadata = {{"holdfast", R"({"a":1})"}};
  return topology;
}

TEST(TopologyTest, ComesBackFromItsJson) {
  const Topology before = Sample();
  const auto after = TopologyFromJson(TopologyToJson(before));
  ASSERT_TRUE(after.ok()) << after.error().ToString();
  EXPECT_EQ(after->peers, before.peers);
  EXPECT_EQ(after->collections, before.collections);
  EXPECT_EQ(after->metadata, before.metadata);
  EXPECT_EQ(after->observed_at, before.observed_at);
}

TEST(TopologyTest, IgnoresWhatANewerWriterAdds) {
  std::string text = TopologyToJson(Sample());
  text.insert(1, R"("later":{"x":[1,2]},)");
  EXPECT_TRUE(TopologyFromJson(text).ok());
}

TEST(TopologyTest, NamesTheMemberThatIsMissing) {
  std::string text = TopologyToJson(Sample());
  const std::size_t at = text.find("\"p2p_uri\"");
  text.replace(at, 9, "\"p2p_url\"");
  const auto read = TopologyFromJson(text);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code(), ErrorCode::kDataLoss);
  EXPECT_NE(read.error().message().find("p2p_uri"), std::string::npos) << read.error().message();
}

TEST(TopologyTest, RefusesDeepNesting) {
  const std::string deep = std::string(5000, '[') + std::string(5000, ']');
  EXPECT_FALSE(TopologyFromJson(deep).ok());
}

TEST(TopologyTest, AnUnknownReplicaStateIsNeverTakenForAKnownOne) {
  EXPECT_EQ(ReplicaStateFromName("SomethingNew"), ReplicaState::kUnknown);
  EXPECT_EQ(ReplicaStateFromName("Active"), ReplicaState::kActive);
  EXPECT_EQ(ReplicaStateName(ReplicaState::kReshardingScaleDown), "ReshardingScaleDown");
}

TEST(TopologyTest, ATextKeyAndANumberKeyDiffer) {
  EXPECT_NE(FormatShardKey(ShardKey(std::string("1"))), FormatShardKey(ShardKey(std::uint64_t{1})));
}

}  // namespace
}  // namespace holdfast
