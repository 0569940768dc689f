// A fence made of the user's freeze and thaw hooks, with a watchdog process that thaws even when
// this process is killed.

#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "ops/fence.h"

namespace holdfast {

struct HookFenceOptions {
  std::string freeze;
  std::string thaw;
  /// Writers are released after this at the latest, counted from before the freeze.
  Duration limit = std::chrono::seconds(60);
  /// The program that is started as watchdog with the arguments kWatchdogCommand and `mark`; empty:
  /// this one.
  std::string program;
  /// ThisWorkerMark(): as long as the watchdog works, nobody takes over from this process, even
  /// when it has been killed: a late thaw would open the next one's fence.
  std::string mark;
};

/// Hidden command of the program: RunWatchdog().
inline constexpr const char* kWatchdogCommand = "__thaw-watchdog";

/// Both hooks run in one place only: the watchdog, in a session of its own so that Ctrl-C does not
/// reach it. It freezes when told to; it thaws when told to, when the limit has passed, or when its
/// pipe to this process closes (also after kill -9). A freeze hook that is under way then is killed
/// first: never does a freeze end after the thaw.
class HookFence final : public Fence {
 public:
  HookFence(HookFenceOptions options, Clock& clock);
  ~HookFence() override;
  HookFence(const HookFence&) = delete;
  HookFence& operator=(const HookFence&) = delete;

  Status Freeze(const CallContext& call) override;
  Status Thaw(const CallContext& call) override;

 private:
  class Watchdog;
  const HookFenceOptions options_;
  Clock& clock_;
  std::unique_ptr<Watchdog> watchdog_;
};

/// The watchdog's main: reads its orders from standard input, answers on standard output. Returns
/// the process's exit status.
int RunWatchdog();

}  // namespace holdfast
