#include "service/hook_fence.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include "exec/child_process.h"
#include "model/json.h"
#include "service/script.h"

extern char** environ;

namespace holdfast {
namespace {

/// How long a thaw hook may take before the watchdog tries it again, and how often it tries.
constexpr Duration kThawPatience = std::chrono::seconds(30);
constexpr int kThawTries = 5;
constexpr Duration kThawPause = std::chrono::seconds(1);

/// How often a wait that may be stopped looks whether it is.
constexpr int kLookMs = 20;

/// What the two processes say to each other, one line each.
constexpr std::string_view kFreezeNow = "freeze";
constexpr std::string_view kFrozen = "frozen";
constexpr std::string_view kThawNow = "thaw";
constexpr std::string_view kThawed = "thawed";
constexpr std::string_view kThawedByLimit = "limit";

/// The next line of `file` without its end; nothing at the end of input, after `until`, or when
/// `stop` is requested.
struct Line {
  enum class Kind { kText, kEnd, kTimeout, kStopped } kind;
  std::string text;
};

Line ReadLine(Clock& clock, int file, std::optional<MonotonicTime> until,
              const std::stop_token& stop = {}) {
  std::string text;
  for (;;) {
    if (stop.stop_requested()) return {Line::Kind::kStopped, text};
    int wait_ms = -1;
    if (until) {
      const Duration left = *until - clock.Monotonic();
      wait_ms = static_cast<int>(
          std::clamp<std::int64_t>(left / std::chrono::milliseconds(1), 0, 3'600'000));
    }
    const bool look = stop.stop_possible() && (wait_ms < 0 || wait_ms > kLookMs);
    pollfd waiting{.fd = file, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&waiting, 1, look ? kLookMs : wait_ms);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0 && look) continue;
    if (ready == 0) return {Line::Kind::kTimeout, text};
    char c = 0;
    const ssize_t got = ::read(file, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return {Line::Kind::kEnd, text};
    if (c == '\n') return {Line::Kind::kText, text};
    text += c;
  }
}

bool WriteLine(int file, std::string_view text) {
  std::string line(text);
  std::ranges::replace(line, '\n', ' ');
  line += '\n';
  std::size_t done = 0;
  while (done < line.size()) {
    const ssize_t put = ::write(file, line.data() + done, line.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    done += static_cast<std::size_t>(put);
  }
  return true;
}

/// Runs the freeze hook until it ends, the limit has passed, or the other process lets go of the
/// pipe: then it is killed, so that it does not finish its work after the thaw.
Status FreezeWhileWanted(Clock& clock, const std::string& freeze, MonotonicTime until) {
  std::stop_source unwanted;
  const std::jthread watching([&](const std::stop_token& over) {
    // Nothing is ordered while the hook runs: what can be read is the end.
    pollfd waiting{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    while (!over.stop_requested()) {
      if (::poll(&waiting, 1, kLookMs) > 0) return static_cast<void>(unwanted.request_stop());
    }
  });
  return RunHook({.stop = unwanted.get_token(), .deadline = until}, clock, freeze);
}

Status ThawWithPatience(Clock& clock, const std::string& thaw) {
  Status last;
  for (int tries = 0; tries < kThawTries; ++tries) {
    last = RunHook(clock.Within({}, kThawPatience), clock, thaw);
    if (last.ok()) return last;
    static_cast<void>(clock.SleepFor({}, kThawPause).ok());
  }
  return last;
}

}  // namespace

/// The parent's side of the watchdog process.
class HookFence::Watchdog {
 public:
  static Result<std::unique_ptr<Watchdog>> Start(const HookFenceOptions& options, Clock& clock) {
    std::array<int, 2> orders{};
    std::array<int, 2> answers{};
    if (::pipe2(orders.data(), O_CLOEXEC) != 0) return Broken("make a pipe");
    if (::pipe2(answers.data(), O_CLOEXEC) != 0) {
      ::close(orders[0]);
      ::close(orders[1]);
      return Broken("make a pipe");
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, orders[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, answers[1], STDOUT_FILENO);
    GiveNothingOfOurs(actions, attributes, POSIX_SPAWN_SETSID);
    const std::string program = options.program.empty() ? "/proc/self/exe" : options.program;
    std::string mark = options.mark;
    std::array<char*, 4> arguments{const_cast<char*>("holdfast"),
                                   const_cast<char*>(kWatchdogCommand), mark.data(), nullptr};
    pid_t child = 0;
    const int failed =
        posix_spawn(&child, program.c_str(), &actions, &attributes, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    ::close(orders[0]);
    ::close(answers[1]);
    std::unique_ptr<Watchdog> watchdog(new Watchdog(child, orders[1], answers[0], clock));
    if (failed != 0) {
      watchdog->child_ = 0;
      return Error(ErrorCode::kUnavailable,
                   std::string("start the thaw watchdog: ") + std::strerror(failed));
    }
    const std::string spec =
        json::Dump({{"freeze", options.freeze},
                    {"thaw", options.thaw},
                    {"limit_ms", options.limit / std::chrono::milliseconds(1)}});
    const Line ready = !WriteLine(orders[1], spec)
                           ? Line{Line::Kind::kEnd, ""}
                           : ReadLine(clock, answers[0], clock.Monotonic() + kThawPatience);
    if (ready.kind != Line::Kind::kText || ready.text != "ready") {
      return Error(ErrorCode::kUnavailable, "the thaw watchdog did not start");
    }
    return watchdog;
  }

  ~Watchdog() {
    ::close(orders_);  // It thaws now unless it has.
    ::close(answers_);
    if (child_ > 0) ::waitpid(child_, nullptr, 0);
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  Status Freeze(const CallContext& call) {
    const bool told = WriteLine(orders_, kFreezeNow);
    const Line answer = ReadLine(clock_, answers_, call.deadline, call.stop);
    if (answer.kind == Line::Kind::kText && answer.text == kFrozen && told) return {};
    HF_RETURN_IF_ERROR(clock_.Check(call));
    return Error(ErrorCode::kFailedPrecondition,
                 answer.kind == Line::Kind::kText ? answer.text : "the watchdog has gone");
  }

  Status Thaw() {
    const bool told = WriteLine(orders_, kThawNow);
    const Line answer = ReadLine(clock_, answers_, std::nullopt);
    if (answer.kind == Line::Kind::kText && answer.text == kThawed && told) return {};
    if (answer.kind == Line::Kind::kText && answer.text == kThawedByLimit) {
      return Error(ErrorCode::kDeadlineExceeded, "writers were released by the fence's time limit",
                   "raise fence_limit in the cluster's section");
    }
    const std::string why =
        answer.kind == Line::Kind::kText ? answer.text : "the watchdog has gone";
    // Not "unavailable": something has changed, and a person must act.
    return Error(ErrorCode::kFailedPrecondition,
                 "writers may still be frozen, release them by hand: the thaw hook failed: " + why);
  }

 private:
  Watchdog(pid_t child, int orders, int answers, Clock& clock)
      : child_(child), orders_(orders), answers_(answers), clock_(clock) {}
  static Error Broken(const std::string& doing) {
    return Error(ErrorCode::kUnavailable, doing + ": " + std::strerror(errno));
  }

  pid_t child_;
  int orders_;
  int answers_;
  Clock& clock_;
};

HookFence::HookFence(HookFenceOptions options, Clock& clock)
    : options_(std::move(options)), clock_(clock) {}

HookFence::~HookFence() = default;

Status HookFence::Freeze(const CallContext& call) {
  // A pipe whose reader has died must be an error to us, not a signal.
  ::signal(SIGPIPE, SIG_IGN);
  HF_TRY(watchdog_, Watchdog::Start(options_, clock_));
  const Status frozen = watchdog_->Freeze(call);
  if (frozen.ok()) return {};
  if (const Status thawed = Thaw(call); !thawed.ok()) {
    return frozen.error().While("freeze").While(thawed.error().message());
  }
  return frozen.error().While("freeze").WithHint(
      "the thaw hook was run, in case it had frozen something");
}

Status HookFence::Thaw(const CallContext&) {
  if (!watchdog_) return {};
  const Status thawed = watchdog_->Thaw();
  watchdog_.reset();
  return thawed;
}

int RunWatchdog() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(signal, SIG_IGN);
  Clock& clock = SystemClock();
  const MonotonicTime began = clock.Monotonic();
  const Line spec = ReadLine(clock, STDIN_FILENO, std::nullopt);
  const auto document = json::Parse(spec.text, "the watchdog's order");
  if (spec.kind != Line::Kind::kText || !document.ok()) return 2;
  json::Reader in(*document, "the watchdog's order");
  const std::string freeze = in.Text("freeze");
  const std::string thaw = in.Text("thaw");
  const auto limit = std::chrono::milliseconds(in.Signed("limit_ms"));
  if (!in.status().ok() || !WriteLine(STDOUT_FILENO, "ready")) return 2;
  Line order = ReadLine(clock, STDIN_FILENO, began + limit);
  if (order.kind == Line::Kind::kText && order.text == kFreezeNow) {
    const Status frozen = FreezeWhileWanted(clock, freeze, began + limit);
    WriteLine(STDOUT_FILENO, frozen.ok() ? kFrozen : frozen.error().message());
    order = ReadLine(clock, STDIN_FILENO, began + limit);
  }
  const Status thawed = ThawWithPatience(clock, thaw);
  if (!thawed.ok()) {
    WriteLine(STDOUT_FILENO, thawed.error().message());
    return 1;
  }
  WriteLine(STDOUT_FILENO, order.kind == Line::Kind::kTimeout ? kThawedByLimit : kThawed);
  return 0;
}

}  // namespace holdfast
