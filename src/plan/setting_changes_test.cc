#include "plan/setting_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Collection Of(const char* create, const char* finish = "{}") {
  Collection collection;
  collection.create_json = create;
  collection.finish_json = finish;
  return collection;
}

std::vector<std::string> Described(const Collection& before, const Collection& after) {
  std::vector<std::string> texts;
  for (const SettingChange& change : SettingChanges(before, after)) {
    texts.push_back((change.at_end ? "at the end " : "") + DescribeChange(change));
  }
  return texts;
}

TEST(SettingChanges, AreNamedByTheMembersThatLeadToThem) {
  EXPECT_THAT(
      Described(Of(R"({"shard_number":2,"hnsw_config":{"m":16,"on_disk":false,"payload_m":null},
                       "quantization_config":{"scalar":{"type":"int8"}}})",
                   R"({"strict_mode_config":{"enabled":true}})"),
                Of(R"({"shard_number":5,"hnsw_config":{"m":32,"on_disk":false},
                       "quantization_config":null,"wal_config":{"wal_capacity_mb":1}})",
                   R"({"strict_mode_config":{"enabled":false}})")),
      ElementsAre("hnsw_config.m: 16 -> 32",
                  "quantization_config.scalar.type: \"int8\" -> the server's default",
                  "wal_config.wal_capacity_mb: the server's default -> 1",
                  "at the end strict_mode_config.enabled: true -> false"));
}

TEST(SettingChanges, NumbersThatAreTheSameAreNoChange) {
  EXPECT_THAT(Described(Of(R"({"a":1,"b":0.99,"c":"auto","d":null,"e":{}})"),
                        Of(R"({"a":1.0,"b":0.9900000095367432,"d":"auto"})")),
              IsEmpty());
  EXPECT_THAT(Described(Of(R"({"a":16777216})"), Of(R"({"a":16777217})")),
              ElementsAre("a: 16777216 -> 16777217"));
}

TEST(SettingChanges, WhatAServerDidNotTakeIsNamed) {
  const auto changes = SettingChanges(
      Of(R"({"a":{"x":1,"y":2},"quantization_config":{"scalar":{"type":"int8"}},"t":4,
             "vectors":{"v":{"quantization_config":{"binary":{"always_ram":true}}}}})"),
      Of(R"({"a":{"x":7,"z":0.5},"quantization_config":{"turbo":{"bits":"bits2"}},"t":"auto",
             "vectors":{"v":{}}})",
         R"({"strict_mode_config":{"enabled":true}})"));
  EXPECT_THAT(SettingsNotTaken(changes, Of(R"({"a":{"x":7,"y":3,"z":0.5},"vectors":{"v":{}},
                              "quantization_config":{"turbo":{"bits":"bits2"}},"t":null})"),
                               false),
              IsEmpty())
      << "y has the server's default";
  EXPECT_THAT(
      SettingsNotTaken(changes,
                       Of(R"({"a":{"x":1},"quantization_config":{"scalar":{"type":"int8"}},"t":4,
                 "vectors":{"v":{"quantization_config":{"binary":{"always_ram":true}}}}})"),
                       false),
      ElementsAre("'a.x' is 1 instead of 7", "'a.z' is not set instead of 0.5",
                  "'quantization_config.scalar.type' is \"int8\" instead of removed",
                  "'quantization_config.turbo.bits' is not set instead of \"bits2\"",
                  "'t' is 4 instead of \"auto\"",
                  "'vectors.v.quantization_config.binary.always_ram' is true instead of removed"));
  EXPECT_THAT(SettingsNotTaken(changes, Of("{}"), true),
              ElementsAre("'strict_mode_config.enabled' is not set instead of true"));
}

}  // namespace
}  // namespace holdfast
