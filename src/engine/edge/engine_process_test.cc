#include "engine/edge/engine_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill()

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <tuple>

#include "testing/paths.h"
#include "testing/temp_folder.h"

namespace holdfast::edge {
namespace {

using ::testing::HasSubstr;

constexpr const char* kHello =
    R"(read -r line; echo '{"re":1,"ok":true,"protocol":1,"release":"x","segments":"0.6.0"}'; )";
constexpr const char* kOpen =
    R"(read -r line; echo '{"re":2,"ok":true,"points":3,"segments":[]}'; )";
constexpr const char* kPoint = R"(echo '{"id":1,"vector":[1],"payload":{}}'; )";

/// The interpreter of the tests' Python environment; empty where there is none.
std::string Python() {
  const char* const given = std::getenv("HOLDFAST_PYTHON");
  if (given != nullptr && std::filesystem::exists(given)) return given;
  const char* const home = std::getenv("HOME");
  const std::string usual =
      std::string(home == nullptr ? "" : home) + "/.cache/holdfast/venv/bin/python";
  return std::filesystem::exists(usual) ? usual : std::string();
}

class EngineProcessTest : public ::testing::Test {
 protected:
  EngineProcessTest() { settings_.environment = {"PATH=/usr/bin:/bin"}; }

  /// A process that says what a shell script prints.
  Result<std::unique_ptr<EngineProcess>> Say(const std::string& script) {
    settings_.command = {"sh", "-c", script, "sh"};
    return Start();
  }
  Result<std::unique_ptr<EngineProcess>> Start(const CallContext& call = {}) {
    return EngineProcess::Start(call, SystemClock(), settings_, folder_.path().string());
  }
  /// The real one; nothing where this machine has no Python environment.
  std::unique_ptr<EngineProcess> Real() {
    if (Python().empty()) return nullptr;
    settings_.command = {Python(),
                         (holdfast::testing::SourceDir() / "engine/holdfast-engine").string()};
    auto started = Start();
    EXPECT_TRUE(started.ok()) << started.error().ToString();
    return started.ok() ? *std::move(started) : nullptr;
  }
  std::string Image(const std::string& name) {
    return (holdfast::testing::SourceDir() / "tests/data" / name).string();
  }
  std::string Shard() { return (folder_.path() / "shard").string(); }

  holdfast::testing::TempFolder folder_;
  EngineSettings settings_;
};

#define NEED_REAL(process)     \
  const auto process = Real(); \
  if (!process) GTEST_SKIP() << "there is no Python environment; ./dev setup python"

TEST_F(EngineProcessTest, GivesAllPointsOfAnImageInPagesFromAnyPosition) {
  NEED_REAL(process);
  EXPECT_EQ(process->hello().segments, "0.6.0");
  const auto opened = process->Open({}, Image("shard-hybrid.tar"), Shard());
  ASSERT_TRUE(opened.ok()) << opened.error().ToString();
  EXPECT_EQ(opened->points, 265U);
  EXPECT_EQ(opened->segments, 2U);
  std::vector<std::string> ids;
  std::string after;
  for (bool end = false; !end;) {
    const auto page = process->Page({}, after, {.points = 100, .bytes = 20'000});
    ASSERT_TRUE(page.ok()) << page.error().ToString();
    ASSERT_LE(page->points.size(), 100U);
    for (const SourcePoint& point : page->points) ids.push_back(point.id_json);
    if (!page->points.empty()) after = ids.back();
    end = page->end;
  }
  EXPECT_EQ(ids.size(), 265U);
  for (std::size_t i = 1; i < ids.size(); ++i) EXPECT_TRUE(CompareIds(ids[i - 1], ids[i]) < 0);
  const auto again = process->Page({}, ids[40], {.points = 1, .bytes = 1});
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  ASSERT_EQ(again->points.size(), 1U);
  EXPECT_EQ(again->points[0].id_json, ids[41]);
  EXPECT_FALSE(again->end);
  const auto behind = process->Page({}, ids.back(), {.points = 1, .bytes = 1});
  ASSERT_TRUE(behind.ok()) << behind.error().ToString();
  EXPECT_TRUE(behind->points.empty());
  EXPECT_TRUE(behind->end);
}

TEST_F(EngineProcessTest, WhatItRefusesToOpenDoesNotEndIt) {
  NEED_REAL(process);
  const auto missing = process->Open({}, "/nowhere.tar", Shard());
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message(), HasSubstr("/nowhere.tar"));
  EXPECT_EQ(process->Page({}, "", {}).error().code(), ErrorCode::kUnavailable);  // It was told off.
}

TEST_F(EngineProcessTest, ADamagedImageIsDataLoss) {
  NEED_REAL(process);
  const std::string tar = (folder_.path() / "cut.tar").string();
  std::filesystem::copy_file(Image("shard-hybrid.tar"), tar);
  std::filesystem::resize_file(tar, 100'000);
  const auto opened = process->Open({}, tar, Shard());
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code(), ErrorCode::kDataLoss) << opened.error().ToString();
}

TEST_F(EngineProcessTest, OneThatIsKilledIsUnavailable) {
  NEED_REAL(process);
  ASSERT_TRUE(process->Open({}, Image("shard-stream.tar"), Shard()).ok());
  ASSERT_EQ(::kill(process->pid(), SIGKILL), 0);
  const auto page = process->Page({}, "", {});
  ASSERT_FALSE(page.ok());
  EXPECT_EQ(page.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(page.error().message(), HasSubstr("signal 9"));
}

TEST_F(EngineProcessTest, OneThatPassesItsMemoryLimitSaysWhatToRaise) {
  if (Python().empty()) GTEST_SKIP() << "there is no Python environment; ./dev setup python";
  settings_.memory_bytes = 40 * kMiB;
  settings_.command = {Python(),
                       (holdfast::testing::SourceDir() / "engine/holdfast-engine").string()};
  auto started = Start();
  // Where it fails depends on the machine; that it does, and how it is told, does not.
  Result<OpenImage> opened = OpenImage();
  if (started.ok()) opened = (*started)->Open({}, Image("shard-stream.tar"), Shard());
  ASSERT_FALSE(started.ok() && opened.ok());
  const Error& error = started.ok() ? opened.error() : started.error();
  EXPECT_EQ(error.code(), ErrorCode::kFailedPrecondition) << error.ToString();
  EXPECT_THAT(error.hint(), HasSubstr("memory_bytes"));
}

TEST_F(EngineProcessTest, WhereItIsNotInstalledTheErrorSaysWhatToDo) {
  settings_.command = {"holdfast-engine-that-is-not-there"};
  auto started = Start();
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(started.error().hint(), HasSubstr("pip install"));
  // A Python without the package.
  started = Say("echo 'No module named holdfast_engine' >&2; exit 1");
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(started.error().message(), HasSubstr("No module named holdfast_engine"));
  EXPECT_THAT(started.error().message(), HasSubstr("status 1"));
  EXPECT_THAT(started.error().hint(), HasSubstr("pip install"));
}

TEST_F(EngineProcessTest, OneThatIsKilledAtItsStartMayBeStartedAgain) {
  const auto started = Say("kill -9 $$");
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().code(), ErrorCode::kUnavailable) << started.error().ToString();
}

TEST_F(EngineProcessTest, ItGetsLimitsAndNoEnvironmentButWhatItIsGiven) {
  ASSERT_EQ(::setenv("AWS_SECRET_ACCESS_KEY", "hunter2", 1), 0);
  settings_.memory_bytes = 123;
  settings_.line_bytes = 4567;
  const auto started =
      Say(R"([ "$1 $3 $4 $5 $6" = "--scratch --memory-bytes 123 --line-bytes 4567" ] && )"
          R"([ -d "$2" ] && )"
          R"([ -z "$AWS_SECRET_ACCESS_KEY" ] || exit 9; )" +
          std::string(kHello));
  EXPECT_TRUE(started.ok()) << started.error().ToString();
}

/// A name, what the process does when it is asked for a page, the code and a part of the error.
using Misbehaviour = std::tuple<const char*, const char*, ErrorCode, const char*>;
class MisbehavingTest : public EngineProcessTest,
                        public ::testing::WithParamInterface<Misbehaviour> {};

TEST_P(MisbehavingTest, IsAnErrorAndTheEndOfIt) {
  const auto& [name, does, code, part] = GetParam();
  settings_.silence_max = std::chrono::milliseconds(300);
  settings_.line_bytes = 100'000;
  const auto process = Say(std::string(kHello) + kOpen + "read -r line; " + does);
  ASSERT_TRUE(process.ok()) << process.error().ToString();
  ASSERT_TRUE((*process)->Open({}, "a.tar", "b").ok());
  const auto page = (*process)->Page({}, "", {.points = 3, .bytes = 200});
  ASSERT_FALSE(page.ok()) << name;
  EXPECT_EQ(page.error().code(), code) << page.error().ToString();
  EXPECT_THAT(page.error().message(), HasSubstr(part));
  EXPECT_LT(page.error().message().size(), 6000U);
  // Nothing more comes of it, and nothing of it lives.
  EXPECT_EQ((*process)->Page({}, "", {}).error().code(), ErrorCode::kUnavailable);
  EXPECT_NE(::kill((*process)->pid(), 0), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Ways, MisbehavingTest,
    ::testing::Values(
        Misbehaviour("silent", "sleep 600", ErrorCode::kUnavailable, "not answered"),
        Misbehaviour("silent amid points",
                     R"(echo '{"id":1,"vector":[1],"payload":{}}'; sleep 600)",
                     ErrorCode::kUnavailable, "not answered"),
        Misbehaviour("dies", "echo 'panic: so it is' >&2; exit 3", ErrorCode::kUnavailable,
                     "ended with status 3; its last words: panic: so it is"),
        Misbehaviour("is killed", "kill -9 $$", ErrorCode::kUnavailable, "signal 9"),
        Misbehaviour("dies within a line", R"(printf '{"id":1,"vec'; exit 0)",
                     ErrorCode::kUnavailable, "without an answer"),
        Misbehaviour("closes its output", "exec >&-; sleep 600", ErrorCode::kUnavailable,
                     "without an answer"),
        Misbehaviour("out of memory",
                     "echo 'memory allocation of 4096 bytes failed' >&2; kill -6 $$",
                     ErrorCode::kFailedPrecondition, "memory limit"),
        Misbehaviour("a line without end", "tr '\\0' x < /dev/zero", ErrorCode::kInternal,
                     "wrote a line of more than"),
        Misbehaviour("prints something", "echo hello there", ErrorCode::kDataLoss, "hello there"),
        Misbehaviour("binary", "head -c 3000 /dev/zero; echo", ErrorCode::kDataLoss, "no point"),
        Misbehaviour("answers another request",
                     R"(echo '{"re":9,"ok":true,"count":0,"more":false}')", ErrorCode::kInternal,
                     "request 3"),
        Misbehaviour("miscounts", R"(echo '{"re":3,"ok":true,"count":1,"more":false}')",
                     ErrorCode::kDataLoss, "says 1"),
        Misbehaviour("more behind nothing", R"(echo '{"re":3,"ok":true,"count":0,"more":true}')",
                     ErrorCode::kDataLoss, "gave 0"),
        Misbehaviour("gives points twice",
                     R"(for i in 1 1; do echo '{"id":1,"vector":[1],"payload":{}}'; done)",
                     ErrorCode::kDataLoss, "point 1 behind point 1"),
        Misbehaviour(
            "gives more than a page",
            R"(for i in 1 2 3 4; do echo "{\"id\":$i,\"vector\":[1],\"payload\":{}}"; done)",
            ErrorCode::kInternal, "more than a page"),
        Misbehaviour("fails", R"(echo '{"re":3,"ok":false,"code":"damaged","message":"bad"}')",
                     ErrorCode::kDataLoss, "bad")),
    [](const auto& test) {
      std::string name = std::get<0>(test.param);
      std::ranges::replace(name, ' ', '_');
      return name;
    });

TEST_F(EngineProcessTest, APageMayEndWithFewerPointsThanAsked) {
  const auto process = Say(std::string(kHello) + kOpen + "read -r line; " + kPoint +
                           R"(echo '{"re":3,"ok":true,"count":1,"more":false}'; read -r line)");
  ASSERT_TRUE(process.ok()) << process.error().ToString();
  ASSERT_TRUE((*process)->Open({}, "a.tar", "b").ok());
  const auto page = (*process)->Page({}, "", {.points = 3, .bytes = 200});
  ASSERT_TRUE(page.ok()) << page.error().ToString();
  EXPECT_EQ(page->points.size(), 1U);
  EXPECT_TRUE(page->end);
}

TEST_F(EngineProcessTest, AStopEndsAWaitAndTheProcess) {
  const auto process = Say(std::string(kHello) + "sleep 600");
  ASSERT_TRUE(process.ok()) << process.error().ToString();
  std::stop_source stop;
  const std::jthread stopping([&] {
    static_cast<void>(SystemClock().SleepFor({}, std::chrono::milliseconds(50)).ok());
    stop.request_stop();
  });
  const auto opened = (*process)->Open({.stop = stop.get_token(), .deadline = {}}, "a", "b");
  EXPECT_EQ(opened.error().code(), ErrorCode::kCancelled);
  EXPECT_NE(::kill((*process)->pid(), 0), 0);
}

}  // namespace
}  // namespace holdfast::edge
