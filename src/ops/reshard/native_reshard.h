// Drives a cluster that reshards in place, shard by shard, until a collection has the wanted
// number: the server keeps the state of a resharding and does none of its steps by itself (measured
// 21).

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "engine/engine.h"
#include "exec/retry.h"
#include "job/job_runner.h"
#include "model/group.h"
#include "ops/fence.h"
#include "plan/native_reshard.h"

namespace holdfast {

struct NativeReshardParts {
  Engine& engine;
  Clock& clock;
  Random& random;
  /// Keeps writers away while a round ends; absent where the user has no hook.
  Fence* fence = nullptr;
};

struct NativeReshardOptions {
  NativeReshardRequest request;
  /// How often one round is begun: the server gives up a resharding whose replica dies.
  int tries_per_round = 3;
  /// The user's own wish to stop. What can be taken back is taken back then; when the operation is
  /// stopped for another reason somebody else may go on with it, so it stays as it is.
  std::stop_token user_stop;
};

struct NativeReshardOutcome {
  std::uint32_t shards = 0;
  std::uint32_t rounds = 0;
  /// Points that the collection's shards have by the hash ring, each counted once.
  std::uint64_t points = 0;
  /// Writers may still be kept away; `warnings` say so.
  bool unproven = false;
  std::vector<std::string> warnings;
};

/// One thread; made anew for each run.
class NativeReshard {
 public:
  NativeReshard(NativeReshardParts parts, NativeReshardOptions options);

  Result<NativeReshardPlan> Preview(const CallContext& call);

  /// The body of a job; safe to run again for one that was interrupted anywhere. Until reads are
  /// switched in a round, everything that fails or is stopped is taken back, and the collection is
  /// as it was before the round. From there on a round is brought to its end, also after Ctrl-C;
  /// where that fails the error says so, and running the job again ends it.
  ///
  /// A round is right when every replica of the collection is Active and has exactly the points
  /// that belong to its shard by the hash ring; under a fence also as many in all, and with the
  /// same content where sampled, as before.
  Result<NativeReshardOutcome> Run(StepContext& context);

 private:
  /// One try of one round.
  struct Try {
    const ReshardRound& round;
    /// Of the keys of the journal's steps.
    std::string prefix;
    std::string uuid;
    /// The shard that comes or goes.
    ShardId shard;
  };
  /// What a round must not change.
  struct Before {
    std::uint64_t points = 0;
    std::vector<SampledPoint> samples;
    /// Points of the shard that comes or goes, and what the others have of them.
    std::uint64_t in_moving = 0;
    std::uint64_t copied = 0;
  };

  /// Makes a call that may be made again after any error, as long as another try can help.
  template <class F>
  auto Again(const CallContext& call, F work) -> decltype(work()) {
    return Retry(call, {.clock = parts_.clock, .random = parts_.random, .policy = {}},
                 [&](int) { return work(); });
  }
  static std::uint32_t ShardsOf(const Collection& collection, const std::optional<ShardKey>& key);
  /// One that is Active, if there is one.
  static const Replica& Readable(const Shard& shard);
  std::string ResumeCommand() const { return "`holdfast reshard --resume " + job_ + "`"; }
  Result<NativeReshardOutcome> Work(StepContext& context);
  Result<std::string> UuidOf(StepContext& context, const std::string& prefix);
  Result<int> FirstTry(StepContext& context, const std::string& round);
  Status RunRound(StepContext& context, const ReshardRound& round, std::size_t number);
  Status RunTry(StepContext& context, Try& now);
  Status CarryOut(StepContext& context, Try& now);
  Status Start(StepContext& context, Try& now);
  Result<ShardId> StartOwn(const CallContext& call, const Try& now);
  Status MigrateUp(StepContext& context, const Try& now);
  Status MigrateDown(StepContext& context, const Try& now);
  Status Migrate(const CallContext& call, const Try& now, const ReplicaRef& from,
                 const ReplicaRef& to);
  Status AwaitTarget(const CallContext& call, const Try& now, const ReplicaRef& into);
  Status Replicate(const CallContext& call, const Try& now, PeerId to);
  Status CheckPeersAt(const CallContext& call, MonotonicTime& look);
  Status CheckPeers(const CallContext& call);
  Status Complete(StepContext& context, const Try& now);
  Status EndRound(StepContext& context, const CallContext& call, const Try& now,
                  const Collection& there);
  Status SwitchOver(const CallContext& call, const Try& now);
  Status CleanAll(const CallContext& call, const Try& now);
  Status TakeOwnStep(const CallContext& call, const Try& now, ReshardStep step);
  Result<Before> Look(const CallContext& call, const Try& now);
  Result<Before> AwaitMoved(const CallContext& call, const Try& now, Before before);
  Result<std::string> Different(const CallContext& call, const Try& now,
                                const std::vector<SampledPoint>& samples);
  Status Verify(const CallContext& call, const Try& now, const std::optional<Before>& before);
  Result<std::uint32_t> NoteSwitch(StepContext& context, const CallContext& call, const Try& now,
                                   std::optional<Before>& before);
  Status TellReleased(StepContext& context, const Try& now, const Collection& there,
                      const std::string& text);
  Status CountAll(const CallContext& call, const Collection& now);
  Error TakeBack(StepContext& context, const Try& now, Error error);
  Error Unsettled(StepContext& context, Error error) const;
  /// Ours runs; kAborted when the server has given it up, kFailedPrecondition for another one.
  Status CheckOwn(const CallContext& call, const Try& now);
  Result<Collection> Read(const CallContext& call);

  NativeReshardParts parts_;
  NativeReshardOptions options_;
  NativeReshardPlan plan_;
  NativeReshardOutcome outcome_;
  std::string job_;
  /// Readers may have been switched in the try that runs.
  bool past_return_ = false;
  /// A resharding that an interrupted run of the job had begun may be there still.
  bool unsettled_ = false;
};

}  // namespace holdfast
