// holdfast: backup, restore and disaster recovery of distributed vector databases.

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <stop_token>
#include <thread>

#include "apps/holdfast/commands.h"
#include "service/hook_fence.h"

namespace holdfast {
namespace {

/// Turns SIGINT and SIGTERM into a stop request; a second signal ends the process at once (writers
/// are released by the fence's watchdog even then).
class SignalStop {
 public:
  SignalStop() {
    sigemptyset(&signals_);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&signals_, signal);
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

int RunCommand(const CommonOptions& options, const Command& chosen) {
  Output output(options.json);
  SignalStop stop;
  auto config =
      LoadConfig(options.config.empty() ? std::nullopt : std::optional<std::string>(options.config),
                 ProcessEnvironment());
  if (!config.ok()) return Fail(output, config.error(), 0);
  Service service(*std::move(config),
                  {.cluster = options.cluster, .repository = options.repository}, &output);
  CommandContext context{.options = options,
                         .call = {.stop = stop.token(), .deadline = std::nullopt},
                         .output = output,
                         .service = service};
  const auto status = chosen(context);
  if (!status.ok()) return Fail(output, status.error(), stop.signal());
  return *status;
}

int Main(int argc, char** argv) {
  if (argc >= 2 && std::strcmp(argv[1], kWatchdogCommand) == 0) return RunWatchdog();
  if (argc >= 2 && std::strcmp(argv[1], "sandbox") == 0) {
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
  } catch (const CLI::ParseError& error) {
    // 0 for --help; everything else is usage.
    return app.exit(error) == 0 ? 0 : 2;
  }
  return RunCommand(options, chosen);
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) { return holdfast::Main(argc, argv); }
