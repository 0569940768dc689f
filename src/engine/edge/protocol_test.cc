#include "engine/edge/protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "model/json.h"

namespace holdfast::edge {
namespace {

using ::testing::HasSubstr;

TEST(EngineProtocolTest, RequestsAreOneLineEach) {
  EXPECT_EQ(HelloRequest(1), R"({"id":1,"op":"hello","protocol":1})"
                             "\n");
  const auto line = OpenRequest(2, "/tmp/a \"b\"\n/x.tar", "/tmp/f");
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const auto request = json::Parse(line, "request");
  ASSERT_TRUE(request.ok());
  EXPECT_EQ((*request)["tar"], "/tmp/a \"b\"\n/x.tar");
}

TEST(EngineProtocolTest, PositionsAreExactNumbersOrUuids) {
  const PageLimits limits{.points = 10, .bytes = 1000};
  const auto position = [&](const std::string& after) {
    const auto request = PageRequest(3, after, limits);
    EXPECT_TRUE(request.ok());
    return json::Dump((*json::Parse(*request, "request"))["after"]);
  };
  EXPECT_EQ(position(""), "null");
  EXPECT_EQ(position("18446744073709551615"), "18446744073709551615");
  EXPECT_EQ(position(R"("936DA01F9ABD4d9d80c702af85c822a8")"),
            R"("936da01f-9abd-4d9d-80c7-02af85c822a8")");
  EXPECT_EQ(PageRequest(3, "seven", limits).error().code(), ErrorCode::kInvalidArgument);
}

TEST(EngineProtocolTest, APointIsKeptAsItWasWritten) {
  const std::string line = R"({"id":18446744073709551615,"vector":[0.1,-1e-30,{"a":[1]}],)"
                           R"("payload":{"id":"x","n":[null,1.0]}})";
  const auto point = ReadPoint(line);
  ASSERT_TRUE(point.ok()) << point.error().ToString();
  EXPECT_EQ(point->id_json, "18446744073709551615");
  EXPECT_EQ(point->point_json, line);
  const auto uuid =
      ReadPoint(R"({"id":"936da01f-9abd-4d9d-80c7-02af85c822a8","vector":{},"payload":{}})");
  ASSERT_TRUE(uuid.ok()) << uuid.error().ToString();
  EXPECT_EQ(uuid->id_json, R"("936da01f-9abd-4d9d-80c7-02af85c822a8")");
}

class NoPointTest : public ::testing::TestWithParam<const char*> {};

TEST_P(NoPointTest, IsRefused) {
  const auto point = ReadPoint(GetParam());
  ASSERT_FALSE(point.ok());
  EXPECT_EQ(point.error().code(), ErrorCode::kDataLoss);
  EXPECT_LT(point.error().message().size(), 400U);
}

INSTANTIATE_TEST_SUITE_P(
    Lines, NoPointTest,
    ::testing::Values(
        "", "{}", "null", "[1]", "7", R"({"id":1})", R"({"id":1,"vector":[1]})",
        R"({"id":1,"vector":[1],"payload":{}} x)", R"({"id":1,"vector":[1],"payload":{})",
        R"({"id":-1,"vector":[1],"payload":{}})", R"({"id":1.5,"vector":[1],"payload":{}})",
        R"({"id":18446744073709551616,"vector":[1],"payload":{}})",
        R"({"id":"seven","vector":[1],"payload":{}})", R"({"id":null,"vector":[1],"payload":{}})",
        R"({"id":1,"vector":null,"payload":{}})", R"({"id":1,"vector":[NaN],"payload":{}})",
        R"({"id":1,"vector":[1],"payload":null})", R"({"id":1,"payload":{},"vector":[1]})",
        R"({"id":1,"vector":[1],"payload":{},"more":1})",
        R"({"id":1,"id":2,"vector":[1],"payload":{}})", R"([{"id":1,"vector":[1],"payload":{}}])",
        "{\"id\":1,\"vector\":[1],\"payload\":{\"a\":\"\xff\"}}"));

TEST(EngineProtocolTest, APayloadIsNestedAsDeepAsAServerTakesIt) {
  const auto nested = [](int depth) {
    const auto n = static_cast<std::size_t>(depth);
    return R"({"id":1,"vector":[],"payload":{"a":)" + std::string(n, '[') + std::string(n, ']') +
           "}}";
  };
  EXPECT_TRUE(ReadPoint(nested(128)).ok());
  EXPECT_FALSE(ReadPoint(nested(1'000'000)).ok());
}

TEST(EngineProtocolTest, AnswersGiveWhatWasAskedFor) {
  const auto hello = ReadHello(
      R"({"re":1,"ok":true,"protocol":1,"release":"0.9.0","segments":"0.6.0","new":1})", 1);
  ASSERT_TRUE(hello.ok()) << hello.error().ToString();
  EXPECT_EQ(hello->release, "0.9.0");
  EXPECT_EQ(hello->segments, "0.6.0");
  const auto open = ReadOpen(R"({"re":2,"ok":true,"points":7,"segments":["0.6.0","0.6.0"]})", 2);
  ASSERT_TRUE(open.ok()) << open.error().ToString();
  EXPECT_EQ(open->points, 7U);
  EXPECT_EQ(open->segments, 2U);
  const auto page = ReadPageEnd(R"({"re":3,"ok":true,"count":5,"last":9,"more":true})", 3);
  ASSERT_TRUE(page.ok()) << page.error().ToString();
  EXPECT_EQ(page->count, 5U);
  EXPECT_TRUE(page->more);
  EXPECT_TRUE(IsAnswer(R"({"re":3)"));
  EXPECT_FALSE(IsAnswer(R"({"id":3)"));
}

TEST(EngineProtocolTest, AnotherVersionOfTheProtocolIsRefused) {
  const auto hello =
      ReadHello(R"({"re":1,"ok":true,"protocol":2,"release":"9","segments":"9.0.0"})", 1);
  ASSERT_FALSE(hello.ok());
  EXPECT_EQ(hello.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(hello.error().message(), HasSubstr("version 2"));
  EXPECT_FALSE(hello.error().hint().empty());
}

class TheirErrorTest : public ::testing::TestWithParam<std::tuple<const char*, ErrorCode, bool>> {};

TEST_P(TheirErrorTest, HasACodeAndAHint) {
  const auto& [code, expected, hinted] = GetParam();
  const std::string line =
      R"({"re":2,"ok":false,"code":")" + std::string(code) + R"(","message":"it is so"})";
  const auto answer = ReadOpen(line, 2);
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code(), expected);
  EXPECT_THAT(answer.error().message(), HasSubstr("it is so"));
  EXPECT_EQ(!answer.error().hint().empty(), hinted);
}

INSTANTIATE_TEST_SUITE_P(
    Codes, TheirErrorTest,
    ::testing::Values(std::tuple("protocol", ErrorCode::kFailedPrecondition, true),
                      std::tuple("missing", ErrorCode::kFailedPrecondition, true),
                      std::tuple("newer", ErrorCode::kUnsupported, true),
                      std::tuple("damaged", ErrorCode::kDataLoss, false),
                      std::tuple("memory", ErrorCode::kFailedPrecondition, true),
                      std::tuple("room", ErrorCode::kResourceExhausted, true),
                      std::tuple("too_large", ErrorCode::kUnsupported, false),
                      std::tuple("request", ErrorCode::kInternal, false),
                      std::tuple("something new", ErrorCode::kInternal, false)));

TEST(EngineProtocolTest, AFailureThatHasNoNumberIsTheirs) {
  const auto answer = ReadHello(R"({"re":0,"ok":false,"code":"missing","message":"no numpy"})", 1);
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code(), ErrorCode::kFailedPrecondition);
}

class NoAnswerTest : public ::testing::TestWithParam<const char*> {};

TEST_P(NoAnswerTest, IsADefectThatIsQuotedWithBounds) {
  const std::string line = GetParam() + std::string(5000, ' ');
  for (const Error& error :
       {ReadHello(line, 1).error(), ReadOpen(line, 1).error(), ReadPageEnd(line, 1).error()}) {
    EXPECT_EQ(error.code(), ErrorCode::kInternal);
    EXPECT_LT(error.message().size(), 800U);
    EXPECT_EQ(error.message().find('\n'), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Lines, NoAnswerTest,
                         ::testing::Values("", "hello", "{}", R"({"re":1})", R"({"ok":true})",
                                           R"({"re":1,"ok":1})", R"({"re":1,"ok":false})",
                                           R"({"re":9,"ok":true,"points":1,"segments":[]})",
                                           R"({"re":1,"ok":true,"count":"1","points":-1})",
                                           "\xff\x00\n{"));

}  // namespace
}  // namespace holdfast::edge
