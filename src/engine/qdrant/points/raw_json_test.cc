#include "engine/qdrant/points/raw_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace holdfast::qdrant {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(RawJson, MembersAreCutOutAsTheyAreWritten) {
  const std::string text = R"( { "id" : 18446744073709551615 ,"f":1.0e-05,"s":"a\"},{b\\",)"
                           R"( "o":{"x":[1,{"y":"]"}]},"n":null} )";
  const auto members = RawMembers(text);
  ASSERT_TRUE(members.ok()) << members.error().ToString();
  EXPECT_THAT(*members, ElementsAre(Pair("id", "18446744073709551615"), Pair("f", "1.0e-05"),
                                    Pair("s", R"("a\"},{b\\")"),
                                    Pair("o", R"({"x":[1,{"y":"]"}]})"), Pair("n", "null")));
}

TEST(RawJson, ElementsAreCutOutAsTheyAreWritten) {
  const auto elements = RawElements(R"([1.50 , "a,b",{"c":[1,2]},[[3],[4]],true])");
  ASSERT_TRUE(elements.ok()) << elements.error().ToString();
  EXPECT_THAT(*elements, ElementsAre("1.50", R"("a,b")", R"({"c":[1,2]})", "[[3],[4]]", "true"));
  EXPECT_THAT(*RawElements("[]"), IsEmpty());
  EXPECT_THAT(*RawElements("[7]"), ElementsAre("7"));
  EXPECT_THAT(*RawMembers("{}"), IsEmpty());
}

TEST(RawJson, EveryTextThatBreaksOffIsRefused) {
  const std::string object = R"({"a":{"b":[1,"x\"y"]},"c":-1.5e3,"d":"z"})";
  for (std::size_t size = 0; size < object.size(); ++size) {
    const auto members = RawMembers(std::string_view(object).substr(0, size));
    ASSERT_FALSE(members.ok()) << object.substr(0, size);
    EXPECT_EQ(members.error().code(), ErrorCode::kUnavailable);
  }
  const std::string list = R"([{"a":1},"b",[2,3],4])";
  for (std::size_t size = 0; size < list.size(); ++size) {
    EXPECT_FALSE(RawElements(std::string_view(list).substr(0, size)).ok()) << list.substr(0, size);
  }
}

TEST(RawJson, WhatIsNoObjectOrListIsRefused) {
  for (const char* text : {"", "null", "[1]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1 \"b\":2}",
                           "{\"a\":1}}", "{,}", "{\"a\":1,}"}) {
    EXPECT_FALSE(RawMembers(text).ok()) << text;
  }
  for (const char* text : {"", "{}", "[1 2]", "[1]]", "[,1]", "[1,]", "[1}"}) {
    EXPECT_FALSE(RawElements(text).ok()) << text;
  }
}

}  // namespace
}  // namespace holdfast::qdrant
