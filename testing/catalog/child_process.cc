#include "testing/catalog/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/assert.h"

extern char** environ;

namespace holdfast::testing {
namespace {

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

int StatusOf(int raw) { return WIFSIGNALED(raw) ? -WTERMSIG(raw) : WEXITSTATUS(raw); }

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments,
                           const std::vector<std::string>& environment, const std::string& log) {
  // Everything is made before fork(): a child of a threaded process may not allocate.
  std::vector<std::string> argument_texts = arguments;
  std::vector<std::string> environment_texts = environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment_texts.emplace_back(*entry);
  std::vector<char*> argv = Pointers(argument_texts);
  std::vector<char*> envp = Pointers(environment_texts);
  const int out = ::open(log.empty() ? "/dev/null" : log.c_str(),
                         O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  HF_ASSERT(out >= 0);
  const int parent = ::getpid();
  pid_ = ::fork();
  HF_ASSERT(pid_ >= 0);
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  ::close(out);
  ended_ = false;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      status_(other.status_),
      ended_(std::exchange(other.ended_, true)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this == &other) return *this;
  Kill();
  pid_ = std::exchange(other.pid_, -1);
  status_ = other.status_;
  ended_ = std::exchange(other.ended_, true);
  return *this;
}

bool ChildProcess::running() noexcept {
  if (ended_) return false;
  int raw = 0;
  if (::waitpid(pid_, &raw, WNOHANG) != pid_) return true;
  status_ = StatusOf(raw);
  ended_ = true;
  return false;
}

void ChildProcess::Signal(int number) noexcept {
  if (!ended_) ::kill(pid_, number);
}

void ChildProcess::Kill() noexcept {
  Signal(SIGKILL);
  Wait();
}

int ChildProcess::Wait() noexcept {
  while (!ended_) {
    int raw = 0;
    const int got = ::waitpid(pid_, &raw, 0);
    if (got < 0 && errno == EINTR) continue;
    HF_ASSERT(got == pid_);
    status_ = StatusOf(raw);
    ended_ = true;
  }
  return status_;
}

ChildProcess RunTestInChild(const std::string& filter,
                            const std::vector<std::string>& environment) {
  char path[4096];
  const ssize_t size = ::readlink("/proc/self/exe", path, sizeof(path));
  HF_ASSERT(size > 0 && size < static_cast<ssize_t>(sizeof(path)));
  std::vector<std::string> variables = environment;
  // Not the report of the parent.
  variables.emplace_back("GTEST_OUTPUT=");
  return ChildProcess({std::string(path, static_cast<std::size_t>(size)),
                       "--gtest_filter=" + filter, "--gtest_also_run_disabled_tests"},
                      variables, "");
}

}  // namespace holdfast::testing
