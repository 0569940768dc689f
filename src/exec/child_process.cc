#include "exec/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace holdfast {
namespace {

/// How often a wait looks whether the call has ended.
constexpr int kLookMs = 20;
constexpr Duration kEndPoll = std::chrono::milliseconds(5);

Error SystemError(const std::string& doing, int failed) {
  return Error(ErrorCode::kUnavailable, doing + ": " + std::strerror(failed));
}

/// Both ends of a pipe, closed unless taken.
class Pipe {
 public:
  static Result<Pipe> Make() {
    Pipe pipe;
    if (::pipe2(pipe.ends_.data(), O_CLOEXEC) != 0) return SystemError("make a pipe", errno);
    return pipe;
  }
  Pipe(Pipe&& other) noexcept : ends_(std::exchange(other.ends_, {-1, -1})) {}
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  Pipe& operator=(Pipe&&) = delete;
  ~Pipe() {
    for (const int end : ends_) {
      if (end >= 0) ::close(end);
    }
  }
  int reader() const { return ends_[0]; }
  int writer() const { return ends_[1]; }
  /// The end that stays ours; reads and writes of it never block.
  int TakeReader() { return Ours(ends_[0]); }
  int TakeWriter() { return Ours(ends_[1]); }

 private:
  Pipe() = default;
  static int Ours(int& end) {
    ::fcntl(end, F_SETFL, ::fcntl(end, F_GETFL) | O_NONBLOCK);
    return std::exchange(end, -1);
  }

  std::array<int, 2> ends_ = {-1, -1};
};

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  // posix_spawn does not write to them, whatever its signature says.
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::string DescribeEnd(int status) {
  if (WIFEXITED(status)) return "ended with status " + std::to_string(WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  const char* const name = ::sigdescr_np(signal);
  return "was ended by signal " + std::to_string(signal) +
         (name == nullptr ? std::string() : " (" + std::string(name) + ")");
}

}  // namespace

void GiveNothingOfOurs(posix_spawn_file_actions_t& actions, posix_spawnattr_t& attributes,
                       short flags) {
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  sigset_t all;
  sigfillset(&all);
  // posix_spawn skips the two that cannot be changed.
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(
      &attributes, static_cast<short>(flags | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
}

Result<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::vector<std::string>& command, const std::vector<std::string>& environment) {
  if (command.empty() || command.front().empty()) {
    return Error(ErrorCode::kInvalidArgument, "no program is named");
  }
  HF_TRY(Pipe input, Pipe::Make());
  HF_TRY(Pipe output, Pipe::Make());
  HF_TRY(Pipe errors, Pipe::Make());
  // A pipe whose reader has died must be an error to us, not a signal.
  ::signal(SIGPIPE, SIG_IGN);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, input.reader(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output.writer(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.writer(), STDERR_FILENO);
  GiveNothingOfOurs(actions, attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  std::vector<char*> arguments = Pointers(command);
  std::vector<char*> variables = Pointers(environment);
  pid_t pid = 0;
  const int failed = ::posix_spawnp(&pid, command.front().c_str(), &actions, &attributes,
                                    arguments.data(), variables.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed == ENOENT || failed == EACCES || failed == ENOTDIR) {
    return Error(ErrorCode::kNotFound,
                 "the program " + command.front() + " cannot be run: " + std::strerror(failed));
  }
  if (failed != 0) return SystemError("start " + command.front(), failed);
  std::unique_ptr<ChildProcess> child(new ChildProcess(pid));
  child->input_ = input.TakeWriter();
  child->output_ = output.TakeReader();
  child->errors_ = errors.TakeReader();
  return child;
}

ChildProcess::~ChildProcess() {
  if (ended_.empty()) {
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  CloseInput();
  if (output_ >= 0) ::close(output_);
  if (errors_ >= 0) ::close(errors_);
}

void ChildProcess::CloseInput() {
  if (input_ >= 0) ::close(input_);
  input_ = -1;
}

void ChildProcess::TakeErrors() {
  std::array<char, kErrorBytesKept> buffer{};
  for (;;) {
    const ssize_t got = errors_ < 0 ? 0 : ::read(errors_, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return;  // Nothing more at the moment.
    if (got == 0) {
      if (errors_ >= 0) ::close(errors_);
      errors_ = -1;
      return;
    }
    tail_.append(buffer.data(), static_cast<std::size_t>(got));
    if (tail_.size() > kErrorBytesKept) tail_.erase(0, tail_.size() - kErrorBytesKept);
  }
}

Result<ChildProcess::Ready> ChildProcess::AwaitReady(const CallContext& call, Clock& clock,
                                                     int file, short event) {
  for (;;) {
    HF_RETURN_IF_ERROR(clock.Check(call));
    std::array<pollfd, 2> waiting{pollfd{.fd = file, .events = event, .revents = 0},
                                  pollfd{.fd = errors_, .events = POLLIN, .revents = 0}};
    const int ready = ::poll(waiting.data(), waiting.size(), kLookMs);
    if (ready < 0 && errno != EINTR) return SystemError("wait for a child process", errno);
    if (ready <= 0) continue;
    if (waiting[1].revents != 0) TakeErrors();
    if ((waiting[0].revents & event) != 0) return Ready::kYes;
    if (waiting[0].revents != 0) return Ready::kEnd;
  }
}

Status ChildProcess::Write(const CallContext& call, Clock& clock, std::string_view text) {
  while (!text.empty()) {
    const Error gone(ErrorCode::kUnavailable, "the process does not read any more");
    if (input_ < 0) return gone;
    HF_TRY(const Ready ready, AwaitReady(call, clock, input_, POLLOUT));
    if (ready == Ready::kEnd) return gone;
    const ssize_t put = ::write(input_, text.data(), text.size());
    if (put < 0 && errno == EPIPE) return gone;
    if (put < 0 && errno != EINTR && errno != EAGAIN) {
      return SystemError("write to a child process", errno);
    }
    if (put > 0) text.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

Result<std::size_t> ChildProcess::Read(const CallContext& call, Clock& clock,
                                       std::span<char> into) {
  for (;;) {
    // At the end there is nothing to wait for, but what was written before it is still there.
    HF_RETURN_IF_ERROR(AwaitReady(call, clock, output_, POLLIN));
    const ssize_t got = ::read(output_, into.data(), into.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR && errno != EAGAIN) return SystemError("read from a child process", errno);
  }
}

const std::string& ChildProcess::End(Clock& clock, Duration patience) {
  if (!ended_.empty()) return ended_;
  CloseInput();
  const CallContext waiting = clock.Within({}, patience);
  for (;;) {
    TakeErrors();
    siginfo_t ended{};
    // Not reaped yet: as long as it is there, its group cannot be another one's.
    const int looked =
        ::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT);
    if (looked != 0 && errno != EINTR) break;
    if (looked == 0 && ended.si_pid == pid_) break;
    if (!clock.SleepFor(waiting, kEndPoll).ok()) break;
  }
  ::kill(-pid_, SIGKILL);  // With what it has started.
  int status = 0;
  ::waitpid(pid_, &status, 0);
  TakeErrors();
  ended_ = DescribeEnd(status);
  return ended_;
}

std::string ChildProcess::ErrorTail() const {
  std::string line = tail_;
  std::ranges::replace_if(line, [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
  const std::size_t begin = line.find_first_not_of(' ');
  if (begin == std::string::npos) return {};
  return line.substr(begin, line.find_last_not_of(' ') - begin + 1);
}

}  // namespace holdfast
