#include "ops/points/await_indexed.h"

#include <algorithm>
#include <chrono>

#include "base/size.h"
#include "ops/insist.h"

namespace holdfast {
namespace {

constexpr Duration kPollMin = std::chrono::milliseconds(500);
constexpr Duration kPollMax = std::chrono::seconds(10);
/// A server begins to optimize a moment after the write that asks for it.
constexpr int kIdleLooks = 2;

/// A replica whose optimizers are at work; empty: none.
Result<std::string> AtWork(const CallContext& call, Engine& engine, const std::string& collection) {
  HF_TRY(const Collection there, engine.ReadCollection(call, collection));
  for (const Shard& shard : there.shards) {
    for (const Replica& replica : shard.replicas) {
      const ReplicaRef ref{.peer = replica.peer, .collection = collection, .shard = shard.id};
      const auto health = engine.ReadHealth(call, ref);
      if (!health.ok() && !AnotherMayAnswer(health.error().code())) return health.error();
      if (health.ok() && !health->idle()) return Describe(ref);
    }
  }
  return std::string();
}

}  // namespace

Status AwaitIndexed(StepContext& context, Engine& engine, Clock& clock,
                    const std::string& collection, Duration patience) {
  if (patience <= Duration(0)) return {};
  const CallContext& call = context.call();
  context.progress().BeginPhase("indexes");
  const MonotonicTime until = clock.Monotonic() + patience;
  Duration pause = kPollMin;
  for (int idle = 0;;) {
    const Result<std::string> busy =
        Insist(call, clock, patience, [&] { return AtWork(call, engine, collection); });
    HF_RETURN_IF_ERROR(clock.Check(call));
    if (!busy.ok()) return busy.error();
    idle = busy->empty() ? idle + 1 : 0;
    if (idle == kIdleLooks) return {};
    if (idle == 0 && clock.Monotonic() >= until) {
      context.Warn("the indexes of '" + collection + "' are not built after " +
                   FormatDuration(patience) + " (" + *busy +
                   " is at work): searches in it may be slower until they are");
      return {};
    }
    HF_RETURN_IF_ERROR(clock.SleepFor(call, pause));
    pause = idle > 0 ? kPollMin : std::min(pause * 2, kPollMax);
  }
}

}  // namespace holdfast
