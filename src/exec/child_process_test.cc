#include "exec/child_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill()

#include <array>
#include <chrono>
#include <fstream>
#include <string>

#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr Duration kPatience = std::chrono::seconds(30);
const std::vector<std::string> kEnvironment = {"PATH=/usr/bin:/bin"};

std::unique_ptr<ChildProcess> Shell(const std::string& script) {
  auto child = ChildProcess::Start({"sh", "-c", script}, kEnvironment);
  EXPECT_TRUE(child.ok()) << child.error().ToString();
  return *std::move(child);
}

CallContext Patiently() { return SystemClock().Within({}, kPatience); }

std::string ReadAll(ChildProcess& child) {
  std::string text;
  std::array<char, 1000> buffer{};
  for (;;) {
    const auto got = child.Read(Patiently(), SystemClock(), buffer);
    EXPECT_TRUE(got.ok()) << got.error().ToString();
    if (!got.ok() || *got == 0) return text;
    text.append(buffer.data(), *got);
  }
}

bool Lives(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("State:")) return line.find('Z') == std::string::npos;
  }
  return false;
}

void AwaitEnd(pid_t pid) {
  const MonotonicTime until = SystemClock().Monotonic() + kPatience;
  while (Lives(pid) && SystemClock().Monotonic() < until) {
    ASSERT_TRUE(SystemClock().SleepFor({}, std::chrono::milliseconds(10)).ok());
  }
  EXPECT_FALSE(Lives(pid));
}

TEST(ChildProcessTest, GivesBackWhatItWasFed) {
  const auto child = Shell("cat; echo over >&2; exit 3");
  const std::string large(1'000'000, 'x');
  // More than both pipes hold, so both directions must be served.
  const auto echo = ChildProcess::Start({"head", "-c", "1000"}, kEnvironment);
  ASSERT_TRUE(echo.ok());
  ASSERT_TRUE(child->Write(Patiently(), SystemClock(), "some text\n").ok());
  std::array<char, 100> buffer{};
  const auto got = child->Read(Patiently(), SystemClock(), buffer);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(std::string_view(buffer.data(), *got), "some text\n");
  EXPECT_EQ(child->End(SystemClock(), kPatience), "ended with status 3");
  EXPECT_EQ(child->ErrorTail(), "over");
  // Idempotent, and whoever writes is told.
  EXPECT_EQ(child->End(SystemClock(), kPatience), "ended with status 3");
  EXPECT_EQ(child->Write(Patiently(), SystemClock(), "x").error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ((*echo)->Write(Patiently(), SystemClock(), large).error().code(),
            ErrorCode::kUnavailable);
  EXPECT_EQ(ReadAll(**echo), std::string(1000, 'x'));
}

TEST(ChildProcessTest, SaysWhichProgramIsNotThere) {
  const auto child = ChildProcess::Start({"no-such-program-anywhere"}, kEnvironment);
  ASSERT_FALSE(child.ok());
  EXPECT_EQ(child.error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(child.error().message(), HasSubstr("no-such-program-anywhere"));
  EXPECT_EQ(ChildProcess::Start({}, {}).error().code(), ErrorCode::kInvalidArgument);
}

TEST(ChildProcessTest, GivesNothingButTheEnvironmentItIsToldTo) {
  ASSERT_EQ(::setenv("HOLDFAST_TEST_SECRET", "hunter2", 1), 0);
  const auto child = ChildProcess::Start({"env"}, {"PATH=/usr/bin:/bin", "ONE=1"});
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(ReadAll(**child), "PATH=/usr/bin:/bin\nONE=1\n");
}

TEST(ChildProcessTest, KeepsTheEndOfItsErrorsAndNeverBlocksOnThem) {
  const auto child = Shell(
      "i=0; while [ $i -lt 3000 ]; do echo 'line of an error that goes on and on' >&2; "
      "i=$((i+1)); done; echo done; printf 'last\\tword\\n\\n' >&2");
  EXPECT_EQ(ReadAll(*child), "done\n");
  EXPECT_EQ(child->End(SystemClock(), kPatience), "ended with status 0");
  EXPECT_THAT(child->ErrorTail(), EndsWith("last word"));
  EXPECT_LE(child->ErrorTail().size(), ChildProcess::kErrorBytesKept);
}

TEST(ChildProcessTest, ASilentChildEndsWithTheCallAndIsKilledWithAllItStarted) {
  const auto child = Shell("sleep 600 & echo $!; trap '' TERM; wait");
  std::array<char, 100> buffer{};
  const auto got = child->Read(Patiently(), SystemClock(), buffer);
  ASSERT_TRUE(got.ok());
  const pid_t grandchild = std::stoi(std::string(buffer.data(), *got));
  const CallContext soon = SystemClock().Within({}, std::chrono::milliseconds(50));
  EXPECT_EQ(child->Read(soon, SystemClock(), buffer).error().code(), ErrorCode::kDeadlineExceeded);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(
      child->Read({.stop = stop.get_token(), .deadline = {}}, SystemClock(), buffer).error().code(),
      ErrorCode::kCancelled);
  EXPECT_THAT(child->End(SystemClock(), std::chrono::milliseconds(20)),
              HasSubstr("was ended by signal 9"));
  AwaitEnd(grandchild);
}

TEST(ChildProcessTest, AChildThatDoesNotReadStopsNobodyForEver) {
  const auto child = Shell("sleep 600");
  const CallContext soon = SystemClock().Within({}, std::chrono::milliseconds(50));
  EXPECT_EQ(child->Write(soon, SystemClock(), std::string(1 << 20, 'x')).error().code(),
            ErrorCode::kDeadlineExceeded);
}

TEST(ChildProcessTest, ItsEndIsTheEndOfTheChild) {
  pid_t pid = 0;
  {
    const auto child = Shell("exec sleep 600");
    pid = child->pid();
    EXPECT_TRUE(Lives(pid));
  }
  AwaitEnd(pid);
}

}  // namespace
}  // namespace holdfast
