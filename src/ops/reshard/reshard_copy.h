// Resharding by a copy: the points go into a new collection, are compared until both are the same,
// and the aliases are switched. The source is only read.
//
// What is promised (docs/reshard.md): after a switch without warnings every write that any client
// was told of before it is in the new collection, and none arrived at the old one between the last
// comparison and a few seconds after the switch. Shown by operation numbers of the replicas
// (ops/reshard/write_mark.h), which are compared before the last pass, after it, and after the
// switch.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "exec/rate_limiter.h"
#include "ops/points/live_points.h"
#include "ops/points/point_compare.h"
#include "ops/reshard/reshard_op.h"
#include "ops/reshard/write_mark.h"

namespace holdfast {

/// How long it is watched after the switch whether the old collection is still written to: an
/// operation that a server was applying shows only when it is done.
inline constexpr Duration kLateWatch = std::chrono::seconds(3);
/// With a fence: up to so many differences are worth keeping writers away for the rest.
inline constexpr std::uint64_t kFewDifferences = 1000;

/// One thread; made anew for each run of the job.
class ReshardCopy {
 public:
  ReshardCopy(const ReshardParts& parts, const ReshardOptions& options, ReshardPlan plan);

  /// The source is untouched whatever happens. After an error the new collection is gone, or named
  /// in the error; one that is worth going on with stays, and the job can be resumed.
  Result<ReshardOutcome> Run(StepContext& context);

 private:
  /// What a look after the switch has found.
  enum class After { kQuiet, kSwitchedBack };
  /// Of one pass over everything.
  struct Compared {
    PassResult found;
    WriteMark before;
    WriteMark after;
    Duration took{};
    /// Nothing was written to the source meanwhile, as far as it tells.
    bool quiet = false;
  };
  class Frozen;

  Result<ReshardOutcome> Work(StepContext& context);
  Status CheckBelongs(const CallContext& call);
  Status Create(StepContext& context);
  Status MakeRoom(StepContext& context, const CallContext& call);
  Result<std::string> CreateEmpty(StepContext& context, const CallContext& call);
  Result<std::vector<std::string>> AwaitSettings(const CallContext& call, bool at_end);
  void Finish(StepContext& context);
  Status CatchUp(StepContext& context);
  Result<Compared> Compare(StepContext& context, const std::string& phase);
  Result<WriteMark> Drained(const CallContext& call);
  Result<bool> FencedEnd(StepContext& context, Duration last_pass);
  Status Recheck(const CallContext& call, const PassResult& found);
  Result<bool> End(StepContext& context, const Compared& last, bool fenced);
  Result<Collection> AwaitActive(const CallContext& call, MonotonicTime until);
  Status Verify(const CallContext& call, std::uint64_t points);
  Result<std::string> CountDifferences(const CallContext& call, const Collection& now,
                                       std::uint64_t points);
  Error NotWhatWasCopied(const std::string& differs) const;
  Status CompareQueries(const CallContext& call, StepContext& context);
  Result<After> LookAfterSwitch(StepContext& context, const WriteMark& source,
                                const WriteMark& target, Duration watch);
  Result<After> UndoSwitch(StepContext& context, const WriteMark& target);
  Status PointAliases(const std::string& to);
  Result<bool> FinishInterruptedSwitch(StepContext& context);
  void Unproven(StepContext& context, std::string text);
  Error CleanUp(StepContext& context, Error error);

  const ReshardParts parts_;
  const ReshardOptions& options_;
  ReshardPlan plan_;
  std::optional<Collection> source_;
  /// The source with the shards and settings that the new collection gets.
  Collection wanted_;
  LivePoints source_points_;
  LivePoints target_points_;
  RateLimiter rate_;
  ReshardOutcome outcome_;
  /// The new collection was made by this job, and nobody reads it.
  bool made_ = false;
  /// Readers are on it, or may be.
  bool switched_ = false;
  /// The error is about the state of things, not about the copy: it is worth resuming.
  bool worth_resuming_ = false;
  /// Fenced passes after which what they had brought over was not there.
  int rechecks_failed_ = 0;
};

}  // namespace holdfast
