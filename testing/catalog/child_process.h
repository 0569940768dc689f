// A child of a test: a server, or the test binary itself with another filter.

#pragma once

#include <string>
#include <vector>

#include "base/clock.h"

namespace holdfast::testing {

/// Killed (SIGKILL) and reaped when it dies; the kernel kills it when the test dies first. One
/// thread.
class ChildProcess {
 public:
  ChildProcess() = default;
  /// Starts `arguments` (the first is the program's path) with `environment` ("NAME=value") added;
  /// standard output and error go to `log`, or to /dev/null when it is empty.
  ChildProcess(const std::vector<std::string>& arguments,
               const std::vector<std::string>& environment, const std::string& log);
  ~ChildProcess() { Kill(); }
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;

  bool running() noexcept;
  int pid() const noexcept { return pid_; }
  /// SIGKILL, and waits until it is gone. Idempotent.
  void Kill() noexcept;
  void Signal(int number) noexcept;
  /// Waits for its end: its exit status, or minus the signal that ended it.
  int Wait() noexcept;

 private:
  int pid_ = -1;
  int status_ = 0;
  bool ended_ = true;
};

/// This test binary again, running the one test `filter` (also a disabled one).
ChildProcess RunTestInChild(const std::string& filter, const std::vector<std::string>& environment);

}  // namespace holdfast::testing
