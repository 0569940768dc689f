// A program that a test runs beside itself.

#pragma once

#include <fcntl.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill()
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace holdfast::testing {

/// Runs from construction to destruction, when it is killed by its own pid and waited for. Dies
/// with the thread that started it, so that a test that crashes leaves nothing running.
class ChildProcess {
 public:
  /// `arguments[0]` is the path of the program. `environment` ("NAME=value") is all it gets but
  /// PATH. Its output goes to `log_path`.
  ChildProcess(const std::vector<std::string>& arguments,
               const std::vector<std::string>& environment, const std::string& log_path) {
    std::vector<char*> argv = Pointers(arguments);
    std::vector<std::string> all = environment;
    all.emplace_back("PATH=/usr/local/bin:/usr/bin:/bin");
    std::vector<char*> envp = Pointers(all);
    const int log = open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    HF_ASSERT(log >= 0 && nothing >= 0);
    pid_ = fork();
    HF_ASSERT(pid_ >= 0);
    if (pid_ == 0) {
      // Only what is safe between fork and exec in a program with threads.
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(nothing, STDIN_FILENO);
      dup2(log, STDOUT_FILENO);
      dup2(log, STDERR_FILENO);
      signal(SIGPIPE, SIG_DFL);
      execve(argv[0], argv.data(), envp.data());
      _exit(127);
    }
    close(log);
    close(nothing);
  }
  ~ChildProcess() {
    if (!running()) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const noexcept { return pid_; }

  bool running() {
    if (!ended_) ended_ = waitpid(pid_, nullptr, WNOHANG) != 0;
    return !ended_;
  }

 private:
  static std::vector<char*> Pointers(const std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    // execve does not write to them, whatever its signature says.
    for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
    pointers.push_back(nullptr);
    return pointers;
  }

  pid_t pid_ = -1;
  bool ended_ = false;
};

}  // namespace holdfast::testing
