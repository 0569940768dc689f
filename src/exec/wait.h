// Waiting for a condition under a lock, bound by a CallContext, on any Clock.

#pragma once

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "base/clock.h"
#include "base/result.h"

namespace holdfast {

/// How often a wait with a deadline looks at the clock again. The condition itself and a stop wake
/// the waiter at once; only a clock that does not run at machine speed (in tests) needs the look.
constexpr Duration kDeadlinePoll = std::chrono::milliseconds(20);

/// Waits on `changed` until `ready()` is true. Returns kCancelled or kDeadlineExceeded as soon as
/// `call` ends first; a condition that is already true wins over both. `lock` is held on return.
template <class Ready>
Status WaitUntil(const CallContext& call, Clock& clock, std::condition_variable_any& changed,
                 std::unique_lock<std::mutex>& lock, Ready ready) {
  while (!ready()) {
    HF_RETURN_IF_ERROR(clock.Check(call));
    if (!call.deadline) {
      changed.wait(lock, call.stop, ready);
      continue;
    }
    const Duration left = *call.deadline - clock.Monotonic();
    changed.wait_for(lock, call.stop, std::clamp(left, Duration(1), kDeadlinePoll), ready);
  }
  return {};
}

}  // namespace holdfast
