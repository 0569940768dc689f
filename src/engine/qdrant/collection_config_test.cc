#include "engine/qdrant/collection_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "testing/engine/transcripts.h"

namespace holdfast::qdrant {
namespace {

using json::Json;
using testing::Recorded;
using testing::RecordedResult;

Collection Taken(const Json& config) {
  Collection collection;
  collection.name = "c";
  const Status taken = TakeConfig(config, collection);
  EXPECT_TRUE(taken.ok()) << taken.error().ToString();
  return collection;
}

TEST(CollectionConfigTest, EveryValueOfARealCollectionIsNamed) {
  const Json config =
      RecordedResult("1-probe-create-snapshot.jsonl", "/collections/docs")["config"];
  const Collection collection = Taken(config);
  EXPECT_EQ(Json::parse(collection.create_json), Json::parse(R"({
      "vectors":{"size":64,"distance":"Cosine"},"shard_number":6,"replication_factor":2,
      "write_consistency_factor":1,"on_disk_payload":true,
      "hnsw_config":{"m":16,"ef_construct":64,"full_scan_threshold":10000,"max_indexing_threads":0,
        "on_disk":false},
      "optimizers_config":{"deleted_threshold":0.2,"vacuum_min_vector_number":1000,
        "default_segment_number":2,"max_segment_size":null,"memmap_threshold":null,
        "indexing_threshold":1000,"flush_interval_sec":5,"max_optimization_threads":null,
        "prevent_unoptimized":null},
      "wal_config":{"wal_capacity_mb":32,"wal_segments_ahead":0,"wal_retain_closed":1},
      "quantization_config":null,
      "metadata":{"owner":"search-team","criticality":"gold"}})"));
  EXPECT_EQ(collection.finish_json, "{}");
  EXPECT_EQ(collection.shard_number, 6U);
  EXPECT_EQ(collection.replication_factor, 2U);
  EXPECT_FALSE(collection.custom_sharding);
}

TEST(CollectionConfigTest, NamedSparseAndQuantizedComeAlong) {
  const Json config =
      RecordedResult("3-fence-shardkeys-hybrid.jsonl", "/collections/hybrid")["config"];
  const Json create = Json::parse(Taken(config).create_json);
  EXPECT_EQ(create["sparse_vectors"], Json::parse(R"({"bm25":{"modifier":"idf"}})"));
  EXPECT_EQ(create["quantization_config"],
            Json::parse(R"({"scalar":{"type":"int8","always_ram":true}})"));
  EXPECT_EQ(create["vectors"]["img"]["datatype"], "float16");
}

TEST(CollectionConfigTest, WhatCreationDoesNotTakeIsAppliedLast) {
  const Collection collection = Taken(Json::parse(R"({"params":{"vectors":{},"shard_number":2,
      "sharding_method":"custom","read_fan_out_factor":2,"read_fan_out_delay_ms":0},
      "strict_mode_config":{"enabled":true,"max_query_limit":100,"search_allow_exact":false},
      "uuid":"6a1980bc-a08c-4ce4-abdf-2b8dcd2bf98c"})"));
  EXPECT_EQ(collection.uuid, "6a1980bc-a08c-4ce4-abdf-2b8dcd2bf98c");
  EXPECT_TRUE(collection.custom_sharding);
  const Json create = Json::parse(collection.create_json);
  for (const char* name :
       {"uuid", "read_fan_out_factor", "read_fan_out_delay_ms", "strict_mode_config", "params"}) {
    EXPECT_FALSE(create.contains(name)) << name;
  }
  EXPECT_EQ(Json::parse(collection.finish_json), Json::parse(R"({
      "params":{"read_fan_out_factor":2,"read_fan_out_delay_ms":0},
      "strict_mode_config":{"enabled":true,"max_query_limit":100,"search_allow_exact":false}})"));
  EXPECT_FALSE(ReadLimitsOf(collection).exact_allowed);
  EXPECT_EQ(ReadLimitsOf(collection).query_limit, 100U);
}

TEST(CollectionConfigTest, AStrictModeThatIsOffLimitsNothing) {
  Collection collection;
  collection.finish_json =
      R"({"strict_mode_config":{"enabled":false,"max_query_limit":5,"search_allow_exact":false}})";
  EXPECT_TRUE(ReadLimitsOf(collection).exact_allowed);
  EXPECT_EQ(ReadLimitsOf(collection).query_limit, 0U);
}

TEST(CollectionConfigTest, TheReplicationFactorCanBeChanged) {
  const std::string create = R"({"vectors":{},"replication_factor":3})";
  EXPECT_EQ((*CreateBody(create, 0))["replication_factor"], 3);
  EXPECT_EQ((*CreateBody(create, 1))["replication_factor"], 1);
  for (const std::string text : {"", "[]", "{}"}) {
    const Result<Json> body = CreateBody(text, 1);
    ASSERT_FALSE(body.ok()) << text;
    EXPECT_EQ(body.error().code(), ErrorCode::kInvalidArgument);
  }
}

TEST(CollectionConfigTest, AForeignQuantizationIsFound) {
  const Json asked = Json::parse(R"({"quantization_config":null})");
  const Json given = Json::parse(R"({"quantization_config":{"scalar":{"type":"int8"}}})");
  EXPECT_TRUE(QuantizationToDisable(given, asked));
  EXPECT_FALSE(QuantizationToDisable(asked, asked));
  EXPECT_FALSE(QuantizationToDisable(given, given));
}

TEST(CollectionConfigTest, WhatIsNoConfigurationIsAnUnexpectedAnswer) {
  Collection collection;
  for (const Json& config : {Json(), Json(1), Json::object()}) {
    EXPECT_EQ(TakeConfig(config, collection).error().code(), ErrorCode::kUnavailable);
  }
}

}  // namespace
}  // namespace holdfast::qdrant
