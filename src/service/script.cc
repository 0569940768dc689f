#include "service/script.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "exec/child_process.h"
#include "http/client.h"

extern char** environ;

namespace holdfast {
namespace {

constexpr Duration kPoll = std::chrono::milliseconds(20);

Error SystemError(const std::string& doing) {
  return Error(ErrorCode::kUnavailable, doing + ": " + std::strerror(errno));
}

/// The read end of a pipe that holds `text`, which must fit its buffer.
Result<int> PipeOf(const std::string& text) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return SystemError("make a pipe");
  // A pipe takes 64 KiB before a write blocks (pipe(7)).
  const bool fits = text.size() <= 60'000;
  const ssize_t written = fits ? ::write(ends[1], text.data(), text.size()) : -1;
  ::close(ends[1]);
  if (written == static_cast<ssize_t>(text.size())) return ends[0];
  ::close(ends[0]);
  return Error(ErrorCode::kConfiguration, "the hook is longer than 60,000 characters");
}

Result<pid_t> Spawn(int input) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  // A process group of its own, so that all of it can be killed.
  GiveNothingOfOurs(actions, attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  std::array<char*, 3> arguments{const_cast<char*>("sh"), const_cast<char*>("-s"), nullptr};
  pid_t child = 0;
  const int failed =
      posix_spawn(&child, "/bin/sh", &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed == 0) return child;
  return Error(ErrorCode::kUnavailable, std::string("start /bin/sh: ") + std::strerror(failed));
}

/// The address of a hook is often its own key, so no more than the host is told of it.
Error WithoutPath(const Error& error, const HttpRequest& request) {
  std::string message = error.message();
  const std::string whole = request.url.ToString();
  for (const std::string& part : {request.Describe(), whole, request.url.path()}) {
    if (part.empty() || part == "/") continue;
    for (std::size_t at = 0; (at = message.find(part)) != std::string::npos;) {
      message.replace(at, part.size(), "the hook at " + request.url.host());
    }
  }
  return Error(error.code(), std::move(message), error.hint());
}

}  // namespace

Status RunScript(const CallContext& call, Clock& clock, const std::string& script) {
  HF_TRY(const int input, PipeOf(script + "\n"));
  const auto child = Spawn(input);
  ::close(input);
  if (!child.ok()) return child.error();
  for (;;) {
    int status = 0;
    const pid_t ended = ::waitpid(*child, &status, WNOHANG);
    if (ended == *child) {
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
      return Error(ErrorCode::kFailedPrecondition,
                   WIFEXITED(status)
                       ? "the hook ended with status " + std::to_string(WEXITSTATUS(status))
                       : "the hook was ended by signal " + std::to_string(WTERMSIG(status)));
    }
    if (ended < 0 && errno != EINTR) return SystemError("wait for the hook");
    if (const Status waited = clock.SleepFor(call, kPoll); !waited.ok()) {
      ::kill(-*child, SIGKILL);
      ::waitpid(*child, &status, 0);
      return waited.error().While("the hook was killed");
    }
  }
}

Status RunHook(const CallContext& call, Clock& clock, const std::string& hook) {
  if (!hook.starts_with("http://") && !hook.starts_with("https://")) {
    return RunScript(call, clock, hook);
  }
  HF_TRY(const auto client, HttpClient::Create(clock, {}));
  auto url = Url::Parse(hook);
  if (!url.ok()) return Error(ErrorCode::kConfiguration, "the address of the hook is no URL");
  HttpRequest request;
  request.method = HttpMethod::kPost;
  request.url = *std::move(url);
  const Result<HttpResponse> response = client->Send(call, request);
  if (!response.ok()) return WithoutPath(response.error(), request);
  if (response->status >= 200 && response->status < 300) return {};
  return Error(ErrorCode::kFailedPrecondition,
               "the hook answered with status " + std::to_string(response->status));
}

}  // namespace holdfast
