// holdfast: backup, restore and disaster recovery of distributed vector databases.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "apps/holdfast/commands.h"
#include "service/hook_fence.h"

namespace holdfast {
namespace {

/// Turns SIGINT, SIGTERM and SIGHUP into a stop request; a second signal ends the process at once
/// (writers are released by the fence's watchdog even then). What was ignored when we started stays
/// ignored: `nohup`, and SIGINT of a script's background commands.
class SignalStop {
 public:
  SignalStop() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGUSR1);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
      struct sigaction now{};
      if (sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) continue;
      sigaddset(&signals_, signal);
    }
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    thread_ = std::jthread([this] { Wait(); });
  }
  ~SignalStop() {
    done_ = true;
    pthread_kill(thread_.native_handle(), SIGUSR1);
    thread_.join();
  }
  SignalStop(const SignalStop&) = delete;
  SignalStop& operator=(const SignalStop&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  /// 0, or the signal that stopped us.
  int signal() const { return signal_; }

 private:
  void Wait() {
    for (;;) {
      int got = 0;
      sigwait(&signals_, &got);
      if (done_) return;
      if (got == SIGUSR1) continue;
      if (signal_ != 0) std::_Exit(128 + got);
      signal_ = got;
      std::fputs("stopping; again to stop at once\n", stderr);
      source_.request_stop();
    }
  }

  sigset_t signals_{};
  std::stop_source source_;
  std::atomic<int> signal_{0};
  std::atomic<bool> done_{false};
  std::jthread thread_;
};

int Fail(Output& output, const Error& error, int signal) {
  if (signal != 0) {
    output.Failure(error, "cancelled");
    return 128 + signal;
  }
  const int status = ExitStatus(error.code());
  const bool try_later = status == ExitStatus(ErrorCode::kUnavailable);
  output.Failure(try_later ? Error(error).WithHint("Nothing was changed; try again later.") : error,
                 "failed");
  return status;
}

/// A command whose results could not be written is not done. A reader that has gone (`| head`) had
/// enough.
int Delivered(Output& output, int status) {
  const int lost = output.Flush();
  if (lost == 0 || lost == EPIPE) return status;
  std::fprintf(stderr, "holdfast: standard output could not be written: %s\n", std::strerror(lost));
  return status == kExitDone ? kExitFailed : status;
}

int RunCommand(const CommonOptions& options, const Command& chosen) {
  Output output(options.json);
  SignalStop stop;
  auto config =
      options.no_configuration
          ? Result<Config>(Config())
          : LoadConfig(options.config.empty() ? std::nullopt : std::optional(options.config),
                       ProcessEnvironment());
  if (!config.ok()) return Fail(output, config.error(), 0);
  Service service(*std::move(config),
                  {.cluster = options.cluster, .repository = options.repository}, &output);
  CommandContext context{.options = options,
                         .call = {.stop = stop.token(), .deadline = std::nullopt},
                         .output = output,
                         .service = service};
  const auto status = [&]() -> Result<int> {
    try {
      return chosen(context);
    } catch (const std::exception& error) {
      // Ours are results; this is memory, or a library that is used in an unforeseen way. What is
      // on the stack has been cleaned up, and --json still ends with a result.
      return Error(ErrorCode::kInternal, std::string("an exception: ") + error.what());
    }
  }();
  if (!status.ok()) return Delivered(output, Fail(output, status.error(), stop.signal()));
  return Delivered(output, *status);
}

/// Says what is wrong with the arguments. With --json among them the last line is a result, too.
int FailUsage(const CLI::App& app, const CLI::ParseError& error,
              const std::vector<std::string_view>& arguments) {
  const bool json = std::ranges::find(arguments, std::string_view("--json")) != arguments.end();
  Output output(json);
  std::string message = error.what();
  std::string hint = "holdfast --help lists the commands; each has --help with an example";
  // CLI11 says only that a command is missing when it does not know the one that is there.
  if (app.get_subcommands().empty() && !arguments.empty() && !arguments[0].starts_with("-")) {
    message = "there is no command '" + std::string(arguments[0]) + "'";
  } else if (!app.get_subcommands().empty()) {
    hint = "holdfast " + app.get_subcommands().front()->get_name() + " --help shows an example";
  }
  output.Failure(Error(ErrorCode::kInvalidArgument, std::move(message), std::move(hint)), "failed");
  return ExitStatus(ErrorCode::kInvalidArgument);
}

/// A closed descriptor 0, 1 or 2 would be given to the next file that is opened, and what we print
/// would be written into it: a pack, a socket.
void FillStandardDescriptors() {
  int file = 0;
  while (file >= 0 && file <= STDERR_FILENO) file = ::open("/dev/null", O_RDWR);
  if (file > STDERR_FILENO) ::close(file);
}

int Main(int argc, char** argv) {
  FillStandardDescriptors();
  const std::vector<std::string_view> arguments(argv + std::min(argc, 1), argv + argc);
  if (!arguments.empty() && arguments[0] == kWatchdogCommand) return RunWatchdog();
  if (!arguments.empty() && arguments[0] == "sandbox") {
    const Error error = RunSandbox({argv + 2, argv + argc});
    std::fprintf(stderr, "holdfast: %s\nhint: %s\n", error.message().c_str(), error.hint().c_str());
    return ExitStatus(error.code());
  }
  CLI::App app{"holdfast: backup, restore and disaster recovery of distributed vector databases"};
  CommonOptions options;
  Command chosen;
  AddCommands(app, options, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {
    return app.exit(asked);  // --help, --version
  } catch (const CLI::ParseError& error) {
    return FailUsage(app, error, arguments);
  }
  return RunCommand(options, chosen);
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) { return holdfast::Main(argc, argv); }
