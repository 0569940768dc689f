// Calls that may be made twice without harm, through a time in which the cluster is not itself.

#pragma once

#include <algorithm>
#include <chrono>

#include "base/clock.h"
#include "base/result.h"

namespace holdfast {

/// Between two tries: the first pause, doubled from try to try up to the last.
inline constexpr Duration kInsistPauseFirst = std::chrono::milliseconds(250);
inline constexpr Duration kInsistPauseMax = std::chrono::seconds(10);

/// True for an error that another try may be without. Beyond IsRetryable: a change that failed with
/// an unknown effect, and a server that has no room or asks to wait.
inline bool MayPass(ErrorCode code) {
  return IsRetryable(code) || code == ErrorCode::kAborted || code == ErrorCode::kResourceExhausted;
}

/// True for an error that says something about the replica that was asked, not about the question:
/// another replica of its shard may answer.
inline bool AnotherMayAnswer(ErrorCode code) {
  return IsRetryable(code) || code == ErrorCode::kNotFound || code == ErrorCode::kAborted;
}

/// Makes `work()` until it succeeds, fails for good, or has failed for `patience`. It must be safe
/// to repeat.
template <class F>
auto Insist(const CallContext& call, Clock& clock, Duration patience, F work) -> decltype(work()) {
  const MonotonicTime until = clock.Monotonic() + patience;
  for (Duration pause = kInsistPauseFirst;; pause = std::min(2 * pause, kInsistPauseMax)) {
    auto result = work();
    if (result.ok() || !MayPass(result.error().code()) || clock.Monotonic() >= until ||
        !clock.Check(call).ok() || !clock.SleepFor(call, pause).ok()) {
      return result;
    }
  }
}

}  // namespace holdfast
