#include "service/hook_fence.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "service/script.h"
#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// Bit masks of /proc/<pid>/status by name (proc(5)): bit 0 is signal 1.
std::map<std::string, std::uint64_t> Masks(const std::filesystem::path& status) {
  std::map<std::string, std::uint64_t> masks;
  std::ifstream file(status);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("Sig")) continue;
    const std::size_t colon = line.find(':');
    masks[line.substr(0, colon)] = std::strtoull(line.c_str() + colon + 1, nullptr, 16);
  }
  return masks;
}

std::uint64_t Bit(int signal) { return std::uint64_t{1} << (signal - 1); }

/// As the program has them while it runs a hook.
class OurSignals {
 public:
  OurSignals() {
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &blocked, &before_);
    old_pipe_ = std::signal(SIGPIPE, SIG_IGN);
    old_hangup_ = std::signal(SIGHUP, SIG_IGN);
  }
  ~OurSignals() {
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    std::signal(SIGPIPE, old_pipe_);
    std::signal(SIGHUP, old_hangup_);
  }
  OurSignals(const OurSignals&) = delete;
  OurSignals& operator=(const OurSignals&) = delete;

 private:
  sigset_t before_{};
  void (*old_pipe_)(int) = SIG_DFL;
  void (*old_hangup_)(int) = SIG_DFL;
};

TEST(ScriptTest, AHookHasNeitherOurSignalsNorOurFiles) {
  const testing::TempFolder folder;
  const OurSignals signals;
  std::array<int, 2> open_pipe{};
  ASSERT_EQ(::pipe(open_pipe.data()), 0);
  const std::string seen = (folder.path() / "status").string();
  const Status ran = RunScript(
      {}, SystemClock(),
      "[ ! -e /proc/self/fd/" + std::to_string(open_pipe[0]) + " ] || exit 7\n" +
          "[ ! -e /proc/self/fd/" + std::to_string(open_pipe[1]) + " ] || exit 8\n" +
          // Without a child: some shells block all signals while they start one.
          "while read -r line; do echo \"$line\"; done < /proc/$$/status > '" + seen + "'");
  ::close(open_pipe[0]);
  ::close(open_pipe[1]);
  ASSERT_TRUE(ran.ok()) << ran.error().ToString();
  auto masks = Masks(seen);
  ASSERT_TRUE(masks.contains("SigBlk"));
  EXPECT_EQ(masks["SigBlk"] & Bit(SIGTERM), 0U);
  EXPECT_EQ(masks["SigIgn"] & (Bit(SIGPIPE) | Bit(SIGHUP)), 0U);
}

TEST(ScriptTest, AHookThatHangsIsKilledWithItsChildren) {
  const testing::TempFolder folder;
  const std::string pid = (folder.path() / "pid").string();
  const Status ran = RunScript(SystemClock().Within({}, std::chrono::milliseconds(500)),
                               SystemClock(), "sleep 1000 & echo $! > '" + pid + "'; wait");
  ASSERT_FALSE(ran.ok());
  EXPECT_EQ(ran.error().code(), ErrorCode::kDeadlineExceeded);
  int child = 0;
  std::ifstream(pid) >> child;
  ASSERT_GT(child, 0);
  // Whoever inherits it may take a moment to reap it.
  while (::kill(child, 0) == 0) {
    std::ifstream state("/proc/" + std::to_string(child) + "/stat");
    std::stringstream text;
    text << state.rdbuf();
    if (text.str().find(") Z") != std::string::npos) break;
    ASSERT_TRUE(SystemClock().SleepFor({}, std::chrono::milliseconds(10)).ok());
  }
}

class HookFenceTest : public ::testing::Test {
 protected:
  /// A fence whose watchdog gives these answers when it is told to freeze and to thaw.
  HookFence MakeFence(const std::string& frozen, const std::string& thawed) {
    const std::string program = (folder_.path() / "watchdog").string();
    std::ofstream(program) << "#!/bin/sh\nread spec\necho ready\nread order\necho '" << frozen
                           << "'\nread order\necho '" << thawed << "'\n";
    ::chmod(program.c_str(), 0700);
    return HookFence({.freeze = "true",
                      .thaw = "true",
                      .limit = std::chrono::seconds(60),
                      .program = program,
                      .mark = ""},
                     SystemClock());
  }

  testing::TempFolder folder_;
};

TEST_F(HookFenceTest, AFreezeAndAThaw) {
  HookFence fence = MakeFence("frozen", "thawed");
  EXPECT_TRUE(fence.Freeze({}).ok());
  EXPECT_TRUE(fence.Thaw({}).ok());
}

TEST_F(HookFenceTest, AThawThatFailsSaysThatWritersMayBeFrozenStill) {
  HookFence fence = MakeFence("frozen", "no such host");
  ASSERT_TRUE(fence.Freeze({}).ok());
  const Status thawed = fence.Thaw({});
  ASSERT_FALSE(thawed.ok());
  EXPECT_THAT(thawed.error().message(), HasSubstr("release them by hand"));
  EXPECT_THAT(thawed.error().message(), HasSubstr("no such host"));
  // "Unavailable" would end with "nothing was changed, try later".
  EXPECT_EQ(ExitStatus(thawed.error().code()), 1);
}

TEST_F(HookFenceTest, AFailedFreezeWhoseThawFailsTooSaysBoth) {
  HookFence fence = MakeFence("the hook ended with status 3", "no such host");
  const Status frozen = fence.Freeze({});
  ASSERT_FALSE(frozen.ok());
  EXPECT_THAT(frozen.error().message(), HasSubstr("status 3"));
  EXPECT_THAT(frozen.error().message(), HasSubstr("release them by hand"));
}

TEST_F(HookFenceTest, AFailedFreezeIsThawed) {
  HookFence fence = MakeFence("the hook ended with status 3", "thawed");
  const Status frozen = fence.Freeze({});
  ASSERT_FALSE(frozen.ok());
  EXPECT_THAT(frozen.error().hint(), HasSubstr("thaw hook was run"));
}

TEST(HookTest, TheAddressOfAHookIsItsOwnKeyAndIsNotTold) {
  // Port 1 answers nobody.
  for (const std::string hook : {"http://127.0.0.1:1/hooks/T0K3N", "http://127.0.0.1:1/?k=T0K3N",
                                 "https://bad host/T0K3N"}) {
    const Status answer = RunHook({}, SystemClock(), hook);
    ASSERT_FALSE(answer.ok());
    EXPECT_THAT(answer.error().ToString(), Not(HasSubstr("T0K3N")));
    EXPECT_THAT(answer.error().message(), HasSubstr("hook"));
  }
}

}  // namespace
}  // namespace holdfast
