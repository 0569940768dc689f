#include "ops/late_change.h"

#include "ops/insist.h"

namespace holdfast {
namespace {

constexpr Duration kPoll = std::chrono::milliseconds(250);
/// A change whose call ran out of time or was broken off may still take effect for so long: the
/// servers agree on it without the client.
constexpr Duration kLateChangePatience = std::chrono::seconds(10);

/// True for an error after which the change may take effect later. Not for kUnavailable: what was
/// refused was not begun, and what lost its reply has happened.
bool MayHappenLater(ErrorCode code) {
  return code == ErrorCode::kDeadlineExceeded || code == ErrorCode::kAborted ||
         code == ErrorCode::kCancelled;
}

}  // namespace

Result<bool> WasCreated(const CallContext& call, Clock& clock, Engine& engine,
                        const std::string& name, const Error& created) {
  const Duration patience = MayHappenLater(created.code()) ? kLateChangePatience : Duration(0);
  const MonotonicTime until = clock.Monotonic() + patience;
  for (;;) {
    const Result<Collection> there =
        Insist(call, clock, kLateChangePatience, [&] { return engine.ReadCollection(call, name); });
    if (there.ok()) return there->points == 0;
    const bool missing = there.error().code() == ErrorCode::kNotFound;
    if (missing && clock.Monotonic() < until && clock.SleepFor(call, kPoll).ok()) continue;
    if (missing) return false;
    return Error(created.code(),
                 created.message() + "; whether '" + name +
                     "' was made could not be seen: " + there.error().message(),
                 "look with `holdfast topology`, and drop '" + name + "' if it is empty");
  }
}

}  // namespace holdfast
