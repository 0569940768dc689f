#include "engine/qdrant/collection_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "model/json.h"

namespace holdfast::qdrant {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// A collection of one unnamed vector, as a server shows it.
Collection Plain() {
  Collection collection;
  collection.name = "docs";
  collection.create_json = R"({
    "vectors": {"size": 16, "distance": "Cosine", "on_disk": true},
    "shard_number": 2, "replication_factor": 2, "write_consistency_factor": 2,
    "on_disk_payload": true,
    "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "payload_m": 8},
    "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
    "quantization_config": {"scalar": {"type": "int8", "quantile": 0.99}},
    "optimizers_config": {"deleted_threshold": 0.2, "max_optimization_threads": null},
    "metadata": {"model": "a", "owner": {"team": "x", "since": 7}}})";
  collection.finish_json = R"({"strict_mode_config": {"enabled": true, "max_query_limit": 100},
                               "params": {"read_fan_out_factor": 1}})";
  collection.shard_number = 2;
  collection.replication_factor = 2;
  return collection;
}

Collection Named() {
  Collection collection;
  collection.name = "docs";
  collection.create_json = R"({
    "vectors": {"text": {"size": 16, "distance": "Cosine"},
                "size": {"size": 8, "distance": "Euclid", "datatype": "float16",
                         "hnsw_config": {"m": 8},
                         "quantization_config": {"binary": {"always_ram": true}}},
                "many": {"size": 4, "distance": "Dot",
                         "multivector_config": {"comparator": "max_sim"}}},
    "sparse_vectors": {"words": {"modifier": "idf", "index": {"on_disk": false}}, "tags": {}},
    "shard_number": 1, "sharding_method": "custom", "replication_factor": 1,
    "quantization_config": null, "hnsw_config": {"m": 16}})";
  collection.finish_json = "{}";
  collection.shard_number = 1;
  collection.custom_sharding = true;
  return collection;
}

json::Json With(const Collection& collection, const std::string& settings) {
  const auto made = ReshardedCollection(collection, 3, settings);
  EXPECT_TRUE(made.ok()) << made.error().ToString();
  return made.ok() ? json::Json::parse(made->create_json) : json::Json();
}

std::string Refusal(const Collection& collection, const std::string& settings) {
  const auto made = ReshardedCollection(collection, 3, settings);
  EXPECT_FALSE(made.ok()) << made->create_json;
  if (made.ok()) return "";
  EXPECT_EQ(made.error().code(), ErrorCode::kInvalidArgument);
  return made.error().message() + " / " + made.error().hint();
}

TEST(CollectionSettings, WithoutAnyOnlyTheShardsChange) {
  const auto made = ReshardedCollection(Plain(), 3, "");
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made->shard_number, 3U);
  json::Json expected = json::Json::parse(Plain().create_json);
  expected["shard_number"] = 3;
  EXPECT_EQ(json::Json::parse(made->create_json), expected);
  EXPECT_EQ(made->finish_json, Plain().finish_json);
}

TEST(CollectionSettings, AnObjectIsMergedMemberByMemberAndNullRemoves) {
  const auto body = With(Plain(), R"({
    "hnsw_config": {"m": 32, "payload_m": null}, "optimizers_config": {"indexing_threshold": 1},
    "wal_config": null, "on_disk_payload": false,
    "vectors": {"on_disk": null, "hnsw_config": {"m": 4}},
    "metadata": {"model": "b", "owner": {"since": null}}})");
  EXPECT_EQ(body["hnsw_config"],
            json::Json::parse(R"({"m": 32, "ef_construct": 100, "full_scan_threshold": 10000})"));
  EXPECT_EQ(body["optimizers_config"]["indexing_threshold"], 1);
  EXPECT_EQ(body["optimizers_config"]["deleted_threshold"], 0.2);
  EXPECT_FALSE(body.contains("wal_config"));
  EXPECT_EQ(body["on_disk_payload"], false);
  EXPECT_EQ(body["vectors"],
            json::Json::parse(R"({"size": 16, "distance": "Cosine", "hnsw_config": {"m": 4}})"));
  EXPECT_EQ(body["metadata"], json::Json::parse(R"({"model": "b", "owner": {"team": "x"}})"));
  EXPECT_EQ(body["quantization_config"],
            json::Json::parse(Plain().create_json)["quantization_config"]);
}

TEST(CollectionSettings, AQuantizationReplacesTheOther) {
  const auto binary = With(Plain(), R"({"quantization_config": {"binary": {"always_ram": true}}})");
  EXPECT_EQ(binary["quantization_config"],
            json::Json::parse(R"({"binary": {"always_ram": true}})"));
  for (const char* none : {"null", R"("Disabled")"}) {
    const auto body = With(Plain(), R"({"quantization_config": )" + std::string(none) + "}");
    ASSERT_TRUE(body.contains("quantization_config"));
    EXPECT_TRUE(body["quantization_config"].is_null()) << "so that the server's own is disabled";
    const auto named = With(
        Named(), R"({"vectors": {"size": {"quantization_config": )" + std::string(none) + "}}}");
    EXPECT_FALSE(named["vectors"]["size"].contains("quantization_config"));
  }
  EXPECT_THAT(
      Refusal(Plain(), R"({"quantization_config": {"scalar": {"type": "int8"}, "turbo": {}}})"),
      HasSubstr("2 kinds"));
}

TEST(CollectionSettings, EveryFormThatServersKnowIsTaken) {
  const auto body = With(Plain(), R"({
    "params": {"replication_factor": 3, "read_fan_out_factor": null, "read_fan_out_delay_ms": 5},
    "vectors": {"": {"on_disk": false}}, "optimizer_config": {"max_segment_size_kb": 7},
    "quantization": {"scalar": {"type": "int8"}}, "uuid": "u",
    "hnsw_config": {"full_scan_threshold_kb": 20}})");
  EXPECT_EQ(body["replication_factor"], 3);
  EXPECT_EQ(body["vectors"]["on_disk"], false);
  EXPECT_EQ(body["optimizers_config"]["max_segment_size"], 7);
  EXPECT_EQ(body["quantization_config"], json::Json::parse(R"({"scalar": {"type": "int8"}})"));
  EXPECT_EQ(body["hnsw_config"]["full_scan_threshold"], 20);
  EXPECT_FALSE(body.contains("uuid"));
  const auto made = ReshardedCollection(
      Plain(), 3, R"({"params": {"read_fan_out_factor": null, "read_fan_out_delay_ms": 5},
                      "strict_mode_config": {"max_query_limit": null, "read_rate_limit": 9}})");
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(json::Json::parse(made->finish_json),
            json::Json::parse(R"({"strict_mode_config": {"enabled": true, "read_rate_limit": 9},
                                  "params": {"read_fan_out_delay_ms": 5}})"));
}

TEST(CollectionSettings, VectorsAreNamed) {
  const auto body = With(Named(), R"({
    "vectors": {"text": {"quantization_config": {"product": {"compression": "x16"}}},
                "size": {"hnsw_config": {"ef_construct": 50}, "on_disk": true}},
    "sparse_vectors": {"words": {"index": {"on_disk": true, "full_scan_threshold": 5}}}})");
  EXPECT_EQ(body["vectors"]["text"]["quantization_config"]["product"]["compression"], "x16");
  EXPECT_EQ(body["vectors"]["size"]["hnsw_config"],
            json::Json::parse(R"({"m": 8, "ef_construct": 50})"));
  EXPECT_EQ(body["vectors"]["size"]["datatype"], "float16");
  EXPECT_EQ(body["vectors"]["many"], json::Json::parse(Named().create_json)["vectors"]["many"]);
  EXPECT_EQ(body["sparse_vectors"], json::Json::parse(R"({"tags": {}, "words": {
      "modifier": "idf", "index": {"on_disk": true, "full_scan_threshold": 5}}})"));
}

TEST(CollectionSettings, WhatACopyMustKeepIsRefusedWithTheReasonAndAWayOut) {
  for (const auto& [settings, reason, way_out] :
       std::initializer_list<std::tuple<const char*, const char*, const char*>>{
           {R"({"vectors": {"size": 8}})", "'vectors.size' stays 16", "embedded anew"},
           {R"({"vectors": {"distance": "Dot"}})", "'vectors.distance' stays", "embedded anew"},
           {R"({"vectors": {"datatype": "uint8"}})", "'vectors.datatype' stays \"float32\"", ""},
           {R"({"vectors": {"multivector_config": {"comparator": "max_sim"}}})", "stays null", ""},
           {R"({"shard_number": 5})", "'shard_number' stays 2", "pass --shards N"},
           {R"({"params": {"shard_number": 5}})", "'shard_number' stays 2", "pass --shards N"},
           {R"({"sharding_method": "custom"})", "stays \"auto\"", "shard keys"}}) {
    EXPECT_THAT(Refusal(Plain(), settings), AllOf(HasSubstr(reason), HasSubstr(way_out)));
  }
  for (const auto& [settings, reason, way_out] :
       std::initializer_list<std::tuple<const char*, const char*, const char*>>{
           {R"({"vectors": {"new": {"size": 4, "distance": "Dot"}}})", "'vectors.new' is no vector",
            "PUT /collections/{c}/vectors/{name}"},
           {R"({"vectors": {"text": null}})", "cannot be removed", "DELETE"},
           {R"({"sparse_vectors": {"new": {}}})", "'sparse_vectors.new' is no vector", "PUT"},
           {R"({"sparse_vectors": {"words": null}})", "cannot be removed", "DELETE"},
           {R"({"sparse_vectors": {"words": {"modifier": null}}})", "stays \"idf\": the scores",
            "PATCH"},
           {R"({"sparse_vectors": {"tags": {"index": {"datatype": "uint8"}}}})",
            "index.datatype' stays \"float32\"", "PATCH"},
           {R"({"sharding_method": null})", "stays \"custom\"", ""},
           {R"({"vectors": {"many": {"multivector_config": null}}})", "'vectors.many.multi", ""}}) {
    EXPECT_THAT(Refusal(Named(), settings), AllOf(HasSubstr(reason), HasSubstr(way_out)));
  }
}

TEST(CollectionSettings, WhatIsAsItIsIsNoChange) {
  const auto same = With(Plain(), R"({
    "vectors": {"size": 16, "distance": "Cosine", "datatype": "float32"}, "shard_number": 2,
    "sharding_method": "auto", "write_consistency_factor": 2})");
  json::Json expected = json::Json::parse(Plain().create_json);
  expected["shard_number"] = 3;
  EXPECT_EQ(same, expected);
  EXPECT_EQ(With(Plain(), R"({"shard_number": 3})"), expected) << "told twice";
  const auto own = json::Json::parse(Named().create_json);
  json::Json copied = With(Named(), Named().create_json);
  copied["shard_number"] = 1;
  EXPECT_EQ(copied, own) << "the whole configuration may be given";
}

TEST(CollectionSettings, UnknownMembersNameTheNearestAndAllProblemsAreTold) {
  const std::string refusal = Refusal(Plain(), R"({"hsnw_config": {"m": 1},
    "hnsw_config": {"ef_constract": 5, "m": 5}, "vectors": {"on_disc": true, "size": 3},
    "strict_mode_config": {"enabld": true}, "quantization_config": {"scaler": {}}})");
  EXPECT_THAT(refusal, HasSubstr("no setting 'hsnw_config'"));
  EXPECT_THAT(refusal, HasSubstr("no setting 'hnsw_config.ef_constract'"));
  EXPECT_THAT(refusal, HasSubstr("no setting 'vectors.on_disc'"));
  EXPECT_THAT(refusal, HasSubstr("no setting 'strict_mode_config.enabld'"));
  EXPECT_THAT(refusal, HasSubstr("no setting 'quantization_config.scaler'"));
  EXPECT_THAT(refusal, HasSubstr("'vectors.size' stays 16"));
  EXPECT_THAT(Refusal(Plain(), R"({"hnsw_config": {"ef_constract": 5}})"),
              HasSubstr("did you mean 'hnsw_config.ef_construct'?"));
  EXPECT_THAT(Refusal(Plain(), R"({"hsnw_config": {"m": 1}})"), HasSubstr("'hnsw_config'?"));
  // What the server shows is known, however new it is.
  Collection newer = Plain();
  newer.create_json = R"({"vectors": {"size": 4, "distance": "Dot"}, "hnsw_config": {"news": 1}})";
  EXPECT_EQ(With(newer, R"({"hnsw_config": {"news": 2}})")["hnsw_config"]["news"], 2);
}

TEST(CollectionSettings, ReplicasThatMustAnswerAreNeverMoreThanThereAre) {
  EXPECT_THAT(Refusal(Plain(), R"({"write_consistency_factor": 3})"), HasSubstr("no write could"));
  const auto fewer = ReshardedCollection(Plain(), 2, R"({"replication_factor": 1})");
  ASSERT_TRUE(fewer.ok());
  EXPECT_EQ(fewer->replication_factor, 1U);
  EXPECT_EQ(json::Json::parse(fewer->create_json)["write_consistency_factor"], 1);
  EXPECT_THAT(Refusal(Plain(), R"({"replication_factor": 0})"), HasSubstr("from 1 on"));
  EXPECT_THAT(Refusal(Plain(), R"({"replication_factor": "2"})"), HasSubstr("from 1 on"));
}

TEST(CollectionSettings, WhatIsNoObjectIsRefused) {
  for (const char* settings : {"[]", "7", "null", "{", R"({"vectors": 7})", R"({"vectors": null})",
                               R"({"hnsw_config": []})", R"({"params": null})",
                               R"({"sparse_vectors": []})", R"({"quantization_config": 7})",
                               R"({"params": {"replication_factor": 1}, "replication_factor": 1})",
                               R"({"optimizers_config": {}, "optimizer_config": {}})"}) {
    EXPECT_FALSE(ReshardedCollection(Plain(), 2, settings).ok()) << settings;
  }
  EXPECT_THAT(Refusal(Plain(), R"({"hnsw_config": 5})"), Not(HasSubstr("  ")));
}

}  // namespace
}  // namespace holdfast::qdrant
