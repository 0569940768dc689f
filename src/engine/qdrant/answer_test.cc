#include "engine/qdrant/answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "testing/engine/transcripts.h"

namespace holdfast::qdrant {
namespace {

using json::Json;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Recorded;
using testing::RecordedResult;

HttpRequest Request() {
  HttpRequest request;
  request.url = *Url::Parse("http://10.0.0.1:6333/collections/docs");
  return request;
}

HttpResponse Answer(int status, std::string body) {
  HttpResponse answer;
  answer.status = status;
  answer.body = std::move(body);
  return answer;
}

ErrorCode CodeOf(int status, const std::string& body, Effect effect = Effect::kRead) {
  return ErrorOfAnswer(Request(), Answer(status, body), effect).code();
}

TEST(AnswerTest, RecordedErrorsMeanWhatTheySay) {
  struct Case {
    const char* transcript;
    const char* method;
    const char* path;
    int which;
    ErrorCode code;
  };
  const Case cases[] = {
      {"1-probe-create-snapshot.jsonl", "POST", "/collections/docs/shards/2/points/count", 0,
       ErrorCode::kNotFound},
      {"1-probe-create-snapshot.jsonl", "GET", "/collections/docs/shards/2/snapshot", 0,
       ErrorCode::kNotFound},
      {"1-probe-create-snapshot.jsonl", "GET", "/collections/nope", 0, ErrorCode::kNotFound},
      {"1-probe-create-snapshot.jsonl", "GET", "/collections/nope/shards/0/snapshot", 0,
       ErrorCode::kNotFound},
      {"3-fence-shardkeys-hybrid.jsonl", "POST", "/collections/fence/points/delete?wait=true", 1,
       ErrorCode::kResourceExhausted},
      {"5-dead-peer.jsonl", "POST", "/collections/big/points/count", 0, ErrorCode::kUnavailable},
  };
  for (const Case& expected : cases) {
    SCOPED_TRACE(expected.path);
    const Json exchange =
        Recorded(expected.transcript, expected.method, expected.path, expected.which);
    const Json& body = exchange["response"];
    const Error error =
        ErrorOfAnswer(Request(),
                      Answer(exchange["status"].get<int>(),
                             body.is_string() ? body.get<std::string>() : body.dump()),
                      Effect::kRead);
    EXPECT_EQ(error.code(), expected.code) << error.ToString();
    EXPECT_THAT(error.message(), HasSubstr("http://10.0.0.1:6333"));
  }
}

TEST(AnswerTest, WhatAnUploadIsRefusedForIsDamage) {
  for (const std::string text :
       {"Checksum mismatch: expected a, actual b", "Bad request: Invalid snapshot",
        "Service internal error: File IO error: Malformed tar archive, reached unknown entry"}) {
    const std::string body = Json{{"status", {{"error", text}}}}.dump();
    EXPECT_EQ(CodeOf(text.starts_with("Service") ? 500 : 400, body, Effect::kChange),
              ErrorCode::kDataLoss)
        << text;
  }
}

TEST(AnswerTest, AChangeThatMayHaveHappenedIsNotSimplyTriedAgain) {
  EXPECT_EQ(CodeOf(500, "", Effect::kChange), ErrorCode::kAborted);
  EXPECT_EQ(CodeOf(408, "", Effect::kChange), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(CodeOf(500,
                   R"({"status":{"error":"Service internal error: Waiting for consensus operation )"
                   R"(commit failed. Timeout set at: 10 seconds"}})",
                   Effect::kChange),
            ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(CodeOf(500, "", Effect::kRead), ErrorCode::kUnavailable);
  EXPECT_EQ(CodeOf(408, "", Effect::kRead), ErrorCode::kUnavailable);
  EXPECT_EQ(CodeOf(503, R"({"status":"already_in_progress","time":0.0})", Effect::kChange),
            ErrorCode::kUnavailable);
}

TEST(AnswerTest, StatusesMapToWhatTheCallerCanDo) {
  EXPECT_EQ(CodeOf(401, "Must provide an API key"), ErrorCode::kPermissionDenied);
  EXPECT_EQ(CodeOf(403, "Forbidden"), ErrorCode::kPermissionDenied);
  EXPECT_EQ(CodeOf(403, "Storage locked: x"), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(409, "Wrong input: Collection `a` already exists"), ErrorCode::kAlreadyExists);
  EXPECT_EQ(CodeOf(422, "Validation error"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(413, "too large"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(302, ""), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(507, ""), ErrorCode::kResourceExhausted);
  EXPECT_EQ(CodeOf(500, "No space left on device (os error 28)"), ErrorCode::kResourceExhausted);
  EXPECT_EQ(CodeOf(404, ""), ErrorCode::kUnsupported) << "a path that the server does not have";
}

TEST(AnswerTest, ARateLimitSaysHowLongToWait) {
  HttpResponse answer = Answer(429, "Rate limiting exceeded: x");
  answer.headers.Add("Retry-After", "7");
  EXPECT_EQ(RetryAfter(answer), std::chrono::seconds(7));
  const Error error = ErrorOfAnswer(Request(), answer, Effect::kRead);
  EXPECT_THAT(error.hint(), HasSubstr("7"));
  EXPECT_EQ(RetryAfter(Answer(429, "")), std::chrono::seconds(1));
}

TEST(AnswerTest, TheServersTextIsCutAndCleaned) {
  const std::string body = std::string("bad\x1b[31m\nthing") + std::string(5000, 'x');
  const std::string message = ErrorOfAnswer(Request(), Answer(400, body), Effect::kRead).message();
  EXPECT_LT(message.size(), 700U);
  EXPECT_THAT(message, Not(HasSubstr("\x1b")));
  EXPECT_THAT(message, Not(HasSubstr("\n")));
}

TEST(AnswerTest, TheResultComesOutOfTheEnvelope) {
  const auto result =
      ResultOfAnswer(Request(), Answer(200, R"({"result":{"a":1},"status":"ok"})"), Effect::kRead);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ((*result)["a"], 1);
  for (const std::string body : {"<html>hello</html>", "[]", ""}) {
    const auto other = ResultOfAnswer(Request(), Answer(200, body), Effect::kRead);
    ASSERT_FALSE(other.ok()) << body;
    EXPECT_EQ(other.error().code(), ErrorCode::kUnavailable);
  }
}

}  // namespace
}  // namespace holdfast::qdrant
