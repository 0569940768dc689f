// Giving a collection another number of shards or other settings: the plan, and whichever method it
// names.

#pragma once

#include <cstdint>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "engine/engine.h"
#include "job/job_runner.h"
#include "ops/fence.h"
#include "ops/points/point_copy.h"
#include "plan/native_reshard.h"
#include "plan/reshard_plan.h"

namespace holdfast {

struct ReshardOutcome {
  ReshardMethod method = ReshardMethod::kCopy;
  std::string source;
  std::string target;
  std::uint32_t shards = 0;
  std::uint64_t points = 0;
  /// What it has otherwise than `source`.
  std::vector<SettingChange> changes;
  /// Aliases that read `target` now.
  std::vector<std::string> aliases;
  /// Of a copy: passes that compared all points, and differences they brought over.
  std::uint32_t passes = 0;
  std::uint64_t caught_up = 0;
  /// The last pass ran while the hooks kept writers away.
  bool fenced = false;
  /// Something that was promised could not be proven; `warnings` say what.
  bool unproven = false;
  std::vector<std::string> warnings;
};

struct ReshardOptions {
  ReshardRequest request;
  CopyLimits copy;
  /// Points read in a second, in all; 0: as fast as it goes.
  std::uint64_t points_per_second = 0;
  /// Most passes that compare all points before the copy gives up on writers that go on.
  std::uint32_t passes = 5;
  /// How long the servers may take to build the indexes of a copy before its readers are switched.
  Duration index_wait = std::chrono::hours(1);
  /// Keeps writers away for the last pass; absent: no hook is configured.
  Fence* fence = nullptr;
  /// How long the fence keeps them away at most.
  Duration fence_limit = std::chrono::seconds(60);
  /// The user's own wish to stop: what was made is removed then.
  std::stop_token user_stop;
  /// What the native method needs to know of peers.
  std::map<PeerId, PeerLimits> limits;
};

struct ReshardParts {
  Engine& engine;
  Clock& clock;
  Random& random;
};

/// One thread; made anew for each job.
class ReshardOp {
 public:
  ReshardOp(ReshardParts parts, ReshardOptions options)
      : parts_(parts), options_(std::move(options)) {}

  /// Looks and plans; changes nothing. `suffix` as in ReshardFacts.
  Result<ReshardPlan> Preview(const CallContext& call, const std::string& suffix);

  /// The body of a reshard job; safe to run again for one that was interrupted anywhere.
  Result<ReshardOutcome> Run(StepContext& context);

 private:
  Result<std::string> NativeRefusal(const CallContext& call, const Topology& cluster,
                                    NativeReshardPlan& plan);
  NativeReshardRequest NativeRequest(const std::string& collection) const;
  Result<ReshardOutcome> RunNative(StepContext& context, const ReshardPlan& plan);

  const ReshardParts parts_;
  const ReshardOptions options_;
};

/// What tells the new collection of a job from others: the end of its id.
std::string ReshardSuffix(const JobId& job);

/// The members of the command line's result line without "event" and "state".
std::string ReshardOutcomeToJson(const ReshardOutcome& outcome, Duration took);

/// What was asked for, for the job's journal, and back.
std::string ReshardRequestToJson(const ReshardRequest& request);
Result<ReshardRequest> ReshardRequestFromJson(std::string_view json);

}  // namespace holdfast
