// A child process that is spoken to through pipes.

#pragma once

#include <spawn.h>
#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace holdfast {

/// Prepares a child process: none of our descriptors but 0, 1 and 2 as set by `actions` before, no
/// blocked and no ignored signal (ours are not its own; POSIX lets a shell trap none that it was
/// given ignored). Adds to `flags`.
void GiveNothingOfOurs(posix_spawn_file_actions_t& actions, posix_spawnattr_t& attributes,
                       short flags);

/// Runs from Start to destruction, when it and its children are killed and waited for. Its standard
/// error is read all the time, so that it never blocks on it; the last bytes of it are kept. It is
/// a process group of its own: Ctrl-C does not reach it, its end comes from us. For one thread at a
/// time.
class ChildProcess {
 public:
  /// Bytes of standard error that are kept.
  static constexpr std::size_t kErrorBytesKept = 4096;

  /// `command[0]` is a path, or a name that is looked for in PATH. `environment` ("NAME=value") is
  /// all it gets. kNotFound when there is no such program. SIGPIPE is ignored from then on.
  static Result<std::unique_ptr<ChildProcess>> Start(const std::vector<std::string>& command,
                                                     const std::vector<std::string>& environment);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// Writes all of it to the child's standard input. kUnavailable when the child does not read any
  /// more; kCancelled or kDeadlineExceeded when `call` ends first.
  Status Write(const CallContext& call, Clock& clock, std::string_view text);
  /// What the child has written to standard output, at least one byte; 0 at its end.
  Result<std::size_t> Read(const CallContext& call, Clock& clock, std::span<char> into);

  /// Closes its standard input and gives it `patience` to end by itself, then kills it. How it
  /// ended, for people: "ended with status 3", "was ended by signal 9 (Killed)". Idempotent.
  const std::string& End(Clock& clock, Duration patience);
  /// What it wrote last to standard error, in one line; empty when nothing.
  std::string ErrorTail() const;

  pid_t pid() const noexcept { return pid_; }

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  enum class Ready { kYes, kEnd };
  Result<Ready> AwaitReady(const CallContext& call, Clock& clock, int file, short event);
  void TakeErrors();
  void CloseInput();

  const pid_t pid_;
  int input_ = -1;
  int output_ = -1;
  int errors_ = -1;
  std::string tail_;
  std::string ended_;
};

}  // namespace holdfast
