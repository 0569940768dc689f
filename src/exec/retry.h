// Trying again: how often, how long between, and only where it can help.

#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"

namespace holdfast {

/// How patiently something is tried.
struct RetryPolicy {
  /// Calls in all, at least 1.
  int attempts_max = 5;
  /// Before the second call; doubles from call to call.
  Duration pause_first = std::chrono::milliseconds(200);
  Duration pause_max = std::chrono::seconds(20);
};

/// The pauses of one retried operation: exponential, each drawn from the upper half of its step, so
/// that many clients that failed together do not come back together. One thread.
class Backoff {
 public:
  Backoff(const RetryPolicy& policy, Random& random)
      : step_(policy.pause_first), pause_max_(policy.pause_max), random_(random) {}

  /// The pause before the next call. Never above the policy's pause_max.
  Duration Next();

 private:
  Duration step_;
  Duration pause_max_;
  Random& random_;
};

/// What Retry needs besides the call itself.
struct Retrier {
  Clock& clock;
  Random& random;
  RetryPolicy policy;
};

/// Calls `work(attempt)`, attempt counting from 1, until it succeeds, fails with an error that is
/// not IsRetryable, or was called policy.attempts_max times. `work` returns Result<T> and must be
/// safe to repeat. The last error comes back with "(after n attempts)" when there was more than
/// one; kCancelled or kDeadlineExceeded of `call` itself ends it at once.
template <class F>
auto Retry(const CallContext& call, const Retrier& retrier, F work)
    -> std::invoke_result_t<F&, int> {
  Backoff backoff(retrier.policy, retrier.random);
  for (int attempt = 1;; ++attempt) {
    HF_RETURN_IF_ERROR(retrier.clock.Check(call));
    auto result = work(attempt);
    if (result.ok() || !IsRetryable(result.error().code())) return result;
    // The last thing that went wrong tells more than "out of time".
    const bool last = attempt >= retrier.policy.attempts_max || !retrier.clock.Check(call).ok();
    if (last || !retrier.clock.SleepFor(call, backoff.Next()).ok()) {
      if (call.stop.stop_requested()) return Error(ErrorCode::kCancelled, "stopped");
      if (attempt == 1) return result;
      const Error& error = result.error();
      return Error(error.code(),
                   error.message() + " (after " + std::to_string(attempt) + " attempts)",
                   error.hint());
    }
  }
}

}  // namespace holdfast
