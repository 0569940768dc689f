#include "engine/qdrant/point_id.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace holdfast::qdrant {
namespace {

TEST(PointIdTest, TextsOfTheServerComeBackAsTheyWere) {
  for (const std::string text :
       {"0", "17", "18446744073709551615", "\"00000000-0000-0000-0000-00003b9adc48\"",
        "\"936da01f-9abd-4d9d-80c7-02af85c822a8\""}) {
    const Result<PointId> id = ParsePointId(text);
    ASSERT_TRUE(id.ok()) << text;
    EXPECT_EQ(FormatPointId(*id), text);
  }
}

TEST(PointIdTest, UuidsAreReadInEveryWriting) {
  const PointId id = *ParsePointId("\"936da01f-9abd-4d9d-80c7-02af85c822a8\"");
  EXPECT_EQ(*ParsePointId("\"936DA01F-9ABD-4D9D-80C7-02AF85C822A8\""), id);
  EXPECT_EQ(*ParsePointId("\"936da01f9abd4d9d80c702af85c822a8\""), id);
}

TEST(PointIdTest, WhatIsNoIdIsRefused) {
  for (const std::string text :
       {"", "-1", "1.5", "18446744073709551616", "abc", "\"", "\"\"", "\"17\"", "17 ",
        "\"936da01f\"", "\"936da01fx9abd-4d9d-80c7-02af85c822a8\"",
        "\"g36da01f-9abd-4d9d-80c7-02af85c822a8\""}) {
    const Result<PointId> id = ParsePointId(text);
    ASSERT_FALSE(id.ok()) << text;
    EXPECT_EQ(id.error().code(), ErrorCode::kInvalidArgument);
  }
}

TEST(PointIdTest, NumbersComeBeforeUuidsAndUuidsByTheirBytes) {
  std::vector<PointId> ids;
  for (const std::string text :
       {"\"10000000-0000-0000-0000-000000000000\"", "10",
        "\"0fffffff-0000-0000-0000-000000000000\"", "9", "18446744073709551615"}) {
    ids.push_back(*ParsePointId(text));
  }
  std::ranges::sort(ids);
  std::vector<std::string> texts;
  for (const PointId& id : ids) texts.push_back(FormatPointId(id));
  EXPECT_THAT(texts, ::testing::ElementsAre("9", "10", "18446744073709551615",
                                            "\"0fffffff-0000-0000-0000-000000000000\"",
                                            "\"10000000-0000-0000-0000-000000000000\""));
}

TEST(PointIdTest, TheNextIdIsTheLeastLargerOne) {
  const auto next = [](const std::string& text) {
    const std::optional<PointId> id = NextPointId(*ParsePointId(text));
    return id ? FormatPointId(*id) : "none";
  };
  EXPECT_EQ(next("0"), "1");
  EXPECT_EQ(next("18446744073709551615"), "\"00000000-0000-0000-0000-000000000000\"");
  EXPECT_EQ(next("\"00000000-0000-0000-0000-0000000000ff\""),
            "\"00000000-0000-0000-0000-000000000100\"");
  EXPECT_EQ(next("\"ffffffff-ffff-ffff-ffff-ffffffffffff\""), "none");
}

}  // namespace
}  // namespace holdfast::qdrant
