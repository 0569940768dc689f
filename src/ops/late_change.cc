#include "ops/late_change.h"

#include "ops/insist.h"

namespace holdfast {
namespace {

constexpr Duration kPoll = std::chrono::milliseconds(250);

}  // namespace

Result<Collection> LookForCreated(const CallContext& call, Clock& clock, Engine& engine,
                                  const std::string& name, const Error& created) {
  const Duration patience = MayHappenLater(created.code()) ? kLateChangePatience : Duration(0);
  const MonotonicTime until = clock.Monotonic() + patience;
  for (;;) {
    Result<Collection> there =
        Insist(call, clock, kLateChangePatience, [&] { return engine.ReadCollection(call, name); });
    const bool missing = !there.ok() && there.error().code() == ErrorCode::kNotFound;
    if (!missing || clock.Monotonic() >= until || !clock.SleepFor(call, kPoll).ok()) return there;
  }
}

}  // namespace holdfast
