#include "engine/qdrant/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace holdfast::qdrant {
namespace {

using ::testing::HasSubstr;

// segment.json of tests/data/shard-hybrid.tar, and the body that made the collection.
constexpr const char* kSegment =
    R"({"initial_version":null,"version":1,"config":{"vector_data":{
    "colbert":{"size":4,"distance":"Cosine","storage_type":"InRamChunkedMmap",
      "index":{"type":"plain","options":{}},"quantization_config":null,
      "multivector_config":{"comparator":"max_sim"}},
    "img":{"size":8,"distance":"Euclid","storage_type":"InRamChunkedMmap",
      "index":{"type":"plain","options":{}},"quantization_config":null,"datatype":"float16"},
    "text":{"size":16,"distance":"Cosine","storage_type":"ChunkedMmap",
      "index":{"type":"plain","options":{}},"quantization_config":null}},
    "sparse_vector_data":{"bm25":{"index":{"full_scan_threshold":null,"index_type":"MutableRam"},
      "storage_type":"mmap","modifier":"idf"}},"payload_storage_type":{"type":"mmap"}}})";
constexpr const char* kCollection =
    R"({"vectors":{"colbert":{"size":4,"distance":"Cosine",
      "multivector_config":{"comparator":"max_sim"}},
    "img":{"size":8,"distance":"Euclid","datatype":"float16"},
    "text":{"size":16,"distance":"Cosine","on_disk":true,"datatype":"float32"}},
    "sparse_vectors":{"bm25":{"modifier":"idf"}},"shard_number":2})";

Status Check(const std::string& segment, const std::string& collection) {
  HF_TRY(const std::string image, LayoutOfSegment(segment));
  HF_TRY(const std::string wanted, LayoutOfCollection(collection));
  return CheckLayout(image, wanted);
}

std::string Problem(const std::string& segment, const std::string& collection) {
  const Status checked = Check(segment, collection);
  if (checked.ok()) return "ok";
  EXPECT_EQ(checked.error().code(), ErrorCode::kFailedPrecondition);
  return checked.error().message();
}

std::string Segment(const std::string& vectors) {
  return R"({"config":{"vector_data":)" + vectors + "}}";
}

TEST(LayoutTest, NamedSparseAndMultivectorsOfARealShardFitTheirCollection) {
  EXPECT_EQ(Problem(kSegment, kCollection), "ok");
}

TEST(LayoutTest, TheUnnamedVectorStandsWithoutAMap) {
  const std::string segment = Segment(R"({"":{"size":64,"distance":"Cosine"}})");
  EXPECT_EQ(Problem(segment, R"({"vectors":{"size":64,"distance":"Cosine"}})"), "ok");
}

TEST(LayoutTest, AVectorThatIsCalledSizeIsAName) {
  const std::string segment = Segment(R"({"size":{"size":64,"distance":"Cosine"}})");
  EXPECT_EQ(Problem(segment, R"({"vectors":{"size":{"size":64,"distance":"Cosine"}}})"), "ok");
}

TEST(LayoutTest, CollectionsWithoutDenseVectorsHaveALayout) {
  EXPECT_EQ(Problem(R"({"config":{"vector_data":{},"sparse_vector_data":{"s":{}}}})",
                    R"({"vectors":{},"sparse_vectors":{"s":{}}})"),
            "ok");
}

TEST(LayoutTest, EveryDifferenceIsNamed) {
  const std::string problem =
      Problem(Segment(R"({"a":{"size":64,"distance":"Cosine"},"b":{"size":4,"distance":"Dot"}})"),
              R"({"vectors":{"a":{"size":32,"distance":"Dot","datatype":"uint8"},
          "c":{"size":4,"distance":"Dot"}},
          "sparse_vectors":{"s":{}}})");
  EXPECT_THAT(problem, HasSubstr("size of vector 'a' is 64 in the image and 32 in the collection"));
  EXPECT_THAT(problem, HasSubstr("distance of vector 'a' is \"Cosine\" in the image"));
  EXPECT_THAT(problem,
              HasSubstr("datatype of vector 'a' is \"float32\" in the image and \"uint8\""));
  EXPECT_THAT(problem, HasSubstr("the image has vector 'b', the collection does not"));
  EXPECT_THAT(problem, HasSubstr("the collection has vector 'c', the image does not"));
  EXPECT_THAT(problem, HasSubstr("the collection has sparse vector \"s\", the image does not"));
}

TEST(LayoutTest, AMultivectorIsNotAPlainVector) {
  EXPECT_THAT(Problem(Segment(R"({"":{"size":4,"distance":"Dot"}})"),
                      R"({"vectors":{"size":4,"distance":"Dot",
                          "multivector_config":{"comparator":"max_sim"}}})"),
              HasSubstr("multivector of the unnamed vector is null in the image"));
}

TEST(LayoutTest, WhatIsNoSegmentIsDamaged) {
  for (const std::string text :
       {"", "[]", "{}", R"({"config":7})", R"({"config":{"vector_data":[]}})",
        R"({"config":{"vector_data":{"a":{"size":"x"}}}})"}) {
    const Result<std::string> layout = LayoutOfSegment(text);
    ASSERT_FALSE(layout.ok()) << text;
    EXPECT_EQ(layout.error().code(), ErrorCode::kDataLoss) << text;
  }
}

TEST(LayoutTest, WhatIsNoLayoutIsRefused) {
  for (const std::string text : {"", "{}", "17", R"({"vectors":[],"sparse":[]})"}) {
    const Status checked = CheckLayout(text, text);
    ASSERT_FALSE(checked.ok()) << text;
    EXPECT_EQ(checked.error().code(), ErrorCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace holdfast::qdrant
