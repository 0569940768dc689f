#include "ops/points/await_indexed.h"

#include <algorithm>
#include <chrono>

#include "ops/insist.h"

namespace holdfast {
namespace {

constexpr Duration kPollMin = std::chrono::milliseconds(500);
constexpr Duration kPollMax = std::chrono::seconds(10);
/// Without anything at work for so long nothing will be.
constexpr Duration kStalled = std::chrono::seconds(30);
/// A server begins to optimize a moment after the write that asks for it.
constexpr int kDoneLooks = 2;

struct Look {
  /// A replica that is not done, with the reason; empty: none.
  std::string open;
  /// Something is being optimized.
  bool at_work = false;
};

Result<Look> LookAt(const CallContext& call, Engine& engine, const std::string& collection) {
  HF_TRY(const Collection there, engine.ReadCollection(call, collection));
  Look look;
  for (const Shard& shard : there.shards) {
    for (const Replica& replica : shard.replicas) {
      const ReplicaRef ref{.peer = replica.peer, .collection = collection, .shard = shard.id};
      const auto health = engine.ReadHealth(call, ref);
      if (!health.ok() && !AnotherMayAnswer(health.error().code())) return health.error();
      if (!health.ok()) {
        look.open = Describe(ref) + " does not answer";
        continue;
      }
      const bool works = !health->calm && health->optimizations_running > 0;
      look.at_work = look.at_work || works;
      if (health->optimized && health->optimizations_running == 0) continue;
      look.open = Describe(ref) + (works ? " is at work" : " waits");
    }
  }
  return look;
}

}  // namespace

Result<std::string> AwaitIndexed(StepContext& context, Engine& engine, Clock& clock,
                                 const std::string& collection, Duration patience) {
  if (patience <= Duration(0)) return std::string();
  const CallContext& call = context.call();
  context.progress().BeginPhase("indexes");
  const MonotonicTime until = clock.Monotonic() + patience;
  MonotonicTime worked = clock.Monotonic();
  Duration pause = kPollMin;
  for (int done = 0;;) {
    const Result<Look> look =
        Insist(call, clock, patience, [&] { return LookAt(call, engine, collection); });
    HF_RETURN_IF_ERROR(clock.Check(call));
    if (!look.ok()) return look.error();
    done = look->open.empty() ? done + 1 : 0;
    if (done == kDoneLooks) return std::string();
    const MonotonicTime now = clock.Monotonic();
    if (look->at_work) worked = now;
    const bool stalled = now >= worked + kStalled;
    if (done == 0 && (now >= until || stalled)) {
      return "the indexes of '" + collection + "' are not all built (" + look->open +
             (stalled ? ", and nothing is at work: optimizers are off, or go on with the next write"
                      : "") +
             "): searches in it may be slower until they are";
    }
    HF_RETURN_IF_ERROR(clock.SleepFor(call, pause));
    pause = done > 0 ? kPollMin : std::min(pause * 2, kPollMax);
  }
}

}  // namespace holdfast
