#include "job/worker_mark.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

namespace holdfast {
namespace {

/// A child that waits to be killed, and its owner text as it would write it itself.
class Child {
 public:
  Child() {
    std::array<int, 2> said{};
    EXPECT_EQ(::pipe(said.data()), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      const std::string owner = "backup job x on " + ThisWorker();
      if (::write(said[1], owner.data(), owner.size()) < 0) ::_exit(1);
      ::close(said[1]);
      for (;;) ::pause();
    }
    ::close(said[1]);
    std::array<char, 512> buffer{};
    for (ssize_t got = 0; (got = ::read(said[0], buffer.data(), buffer.size())) > 0;) {
      owner_.append(buffer.data(), static_cast<std::size_t>(got));
    }
    ::close(said[0]);
  }
  ~Child() { Kill(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  const std::string& owner() const { return owner_; }
  pid_t pid() const { return pid_; }
  std::string mark() const {
    const std::size_t open = owner_.rfind('[');
    return owner_.substr(open + 1, owner_.size() - open - 2);
  }
  /// Leaves a corpse when `collect` is false.
  void Kill(bool collect = true) {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | (collect ? 0 : WNOWAIT));
    if (collect) pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  std::string owner_;
};

TEST(WorkerMark, AProcessThatLivesIsNotGone) {
  EXPECT_FALSE(ThisWorkerMark().empty());
  EXPECT_EQ(ThisWorkerMark().find(' '), std::string::npos);
  EXPECT_FALSE(IsProvenGone("restore job y on " + ThisWorker()));
  const Child child;
  EXPECT_FALSE(IsProvenGone(child.owner()));
}

TEST(WorkerMark, AProcessThatWasKilledIsGone) {
  Child child;
  child.Kill();
  EXPECT_TRUE(IsProvenGone(child.owner()));
}

TEST(WorkerMark, ACorpseIsGoneBeforeItsParentCollectsIt) {
  Child child;
  child.Kill(/*collect=*/false);
  EXPECT_TRUE(IsProvenGone(child.owner()));
}

TEST(WorkerMark, ANumberWithANewOwnerIsGone) {
  std::string owner = ThisWorker();
  owner.insert(owner.size() - 1, "9");  // Another start of the same process id.
  EXPECT_TRUE(IsProvenGone(owner));
}

TEST(WorkerMark, AHelperThatStillWorksForItKeepsItAlive) {
  Child child;
  const std::string mark = child.mark();
  std::array<int, 2> silent{};
  ASSERT_EQ(::pipe(silent.data()), 0);
  const pid_t helper = ::fork();
  if (helper == 0) {
    ::dup2(silent[0], STDIN_FILENO);
    ::close(silent[1]);
    // Waits in the shell itself: a child of it would have the mark too until it has called exec.
    ::execl("/bin/sh", "sh", "-c", "read -r line", "watchdog", mark.c_str(), nullptr);
    ::_exit(127);
  }
  child.Kill();
  // The helper's arguments are those of this program until it has called exec.
  bool seen = false;
  for (int i = 0; i < 1000 && !seen; ++i) {
    seen = !IsProvenGone(child.owner());
    if (!seen) ::usleep(10'000);
  }
  EXPECT_TRUE(seen);
  ::kill(helper, SIGKILL);
  ::waitpid(helper, nullptr, 0);
  ::close(silent[0]);
  ::close(silent[1]);
  EXPECT_TRUE(IsProvenGone(child.owner()));
}

TEST(WorkerMark, WhatCannotBeProvenIsNotGone) {
  Child child;
  child.Kill();
  const std::string gone = child.owner();
  ASSERT_TRUE(IsProvenGone(gone));
  EXPECT_FALSE(IsProvenGone(""));
  EXPECT_FALSE(IsProvenGone("[]"));
  EXPECT_FALSE(IsProvenGone("backup job x on db1 pid 4711"));
  EXPECT_FALSE(IsProvenGone(gone + " "));
  std::string elsewhere = gone;  // Another start of the machine.
  char& digit = elsewhere[elsewhere.rfind('[') + 1];
  digit = digit == '0' ? '1' : '0';
  EXPECT_FALSE(IsProvenGone(elsewhere));
  const std::string mark = child.mark();
  EXPECT_FALSE(IsProvenGone("[" + mark.substr(0, mark.rfind('/')) + "]"));
  EXPECT_FALSE(IsProvenGone("[" + mark + "/1]"));
}

}  // namespace
}  // namespace holdfast
