// Restoring a group onto a cluster: the one it came from, what is left of it, or a fresh one.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"
#include "engine/point_source.h"
#include "job/job_runner.h"
#include "model/group.h"
#include "ops/points/point_copy.h"
#include "plan/restore_difference.h"
#include "plan/restore_plan.h"
#include "repo/image_reader.h"
#include "repo/intent.h"
#include "repo/repository.h"

namespace holdfast {

struct VerifiedCollection;

/// Points straight from images, for collections that get another number of shards.
struct ImageCopy {
  /// What is missing for it on this machine; asked before anything is made.
  std::function<Status(const CallContext& call)> check;
  /// The points of a collection's images without tombstones. `record` outlives the source.
  std::function<std::unique_ptr<PointSource>(const CollectionRecord& record)> open;
  CopyLimits limits;
  /// Points that are copied in a second; 0: as fast as it goes.
  std::uint64_t points_per_second = 0;
};

struct RestoreOptions {
  GroupId group;
  RestoreRequest request;
  /// Shards sent at once.
  std::size_t shards_at_once = 4;
  /// How often one shard's sending is tried.
  int tries_per_shard = 3;
  ImageReadOptions read;
  /// Required where the plan has collections that are copied.
  ImageCopy copy;
  /// The user's own wish to stop. What was made is removed then; when the operation is stopped for
  /// another reason (its lease is gone) somebody else may go on with it, so it stays.
  std::stop_token user_stop;
  /// Takes a backup of the named collections immediately before they are replaced, each on its own;
  /// required for `--in-place`. Returns the id of the safety backup's group.
  std::function<Result<GroupId>(const std::vector<std::string>& collections)> safety_backup;
};

struct RestoredCollection {
  std::string source;
  std::string target;
  std::uint64_t points = 0;
  std::uint32_t shards = 0;
  std::uint32_t replicas = 0;
  std::vector<std::string> aliases;
};

struct RestoreOutcome {
  GroupId group;
  std::vector<RestoredCollection> collections;
  /// Keys of the cluster's metadata that were written back, for the target lacked them.
  std::size_t metadata_keys = 0;
  std::vector<std::string> given_up;
  std::vector<std::string> warnings;
};

struct RestoreParts {
  Engine& engine;
  Repository& repository;
  Clock& clock;
};

/// What `--dry-run` shows.
struct RestorePreview {
  GroupManifest manifest;
  Topology target;
  RestorePlan plan;
  std::vector<RestoreDifference> differences;
};

/// Between two tries of one call.
inline constexpr Duration kRetryPause = std::chrono::seconds(1);
/// Cleaning up goes on after Ctrl-C, but not for ever.
inline constexpr Duration kCleanUpPatience = std::chrono::seconds(60);

/// One thread; made anew for each restore.
class RestoreOp {
 public:
  RestoreOp(RestoreParts parts, RestoreOptions options);

  /// Reads the group and the target and plans; changes nothing.
  Result<RestorePreview> Preview(const CallContext& call);

  /// The body of a restore job; safe to run again for a job that was interrupted anywhere. A
  /// collection is usable as soon as it is verified. When one fails, the live collections are as
  /// they were (but for --in-place), what was made for it is removed or named in the error, and
  /// those that were verified before stay.
  Result<RestoreOutcome> Run(StepContext& context);

 private:
  Result<RestoreOutcome> Restore(StepContext& context);
  Error WithLeftovers(const StepContext& context, Error error) const;
  Status ReadGroup(const CallContext& call, const Intent& intent);
  Result<Topology> ReadTarget(const CallContext& call);
  Status Plan(StepContext& context);
  Status Replace(StepContext& context, const CollectionPlan& plan);
  /// Makes a call that may be made again after any error, until it succeeds or it is no use.
  template <class F>
  auto Again(const CallContext& call, F work) -> decltype(work()) {
    for (int tries = 1;; ++tries) {
      auto result = work();
      const bool again = !result.ok() && IsRetryable(result.error().code()) &&
                         tries < options_.tries_per_shard && parts_.clock.Check(call).ok();
      if (!again || !parts_.clock.SleepFor(call, kRetryPause).ok()) return result;
    }
  }
  Result<RestoredCollection> RestoreCollection(StepContext& context, CollectionPlan& plan);
  Result<VerifiedCollection> BuildAndVerify(StepContext& context, CollectionPlan& plan,
                                            const CollectionRecord& record);
  Status SendAnew(StepContext& context, CollectionPlan& plan, const CollectionRecord& record);
  Result<bool> Revise(StepContext& context, CollectionPlan& plan);
  Status Build(StepContext& context, const CollectionPlan& plan, const CollectionRecord& record);
  Status Create(StepContext& context, const CallContext& call, const CollectionPlan& plan,
                const CollectionRecord& record);
  Status CreateEmpty(const CallContext& call, const CollectionPlan& plan,
                     const CollectionRecord& record);
  Status MakeRoom(StepContext& context, const CallContext& call, const CollectionPlan& plan);
  Status CreateKeys(const CallContext& call, const CollectionPlan& plan);
  Status CheckShards(const CallContext& call, const CollectionPlan& plan,
                     const CollectionRecord& record);
  Status CheckCopy(const CallContext& call) const;
  Status CheckNewShards(const CallContext& call, const CollectionPlan& plan);
  Status CopyImages(StepContext& context, const CollectionPlan& plan,
                    const CollectionRecord& record);
  Status CompareImages(StepContext& context, const CollectionPlan& plan,
                       const CollectionRecord& record);
  Status SendImages(StepContext& context, const CollectionPlan& plan,
                    const CollectionRecord& record);
  Result<std::string> CountSent(const CallContext& call, const CollectionPlan& plan,
                                const ShardPlacement& placement, const ShardImage& image);
  Status SendImage(const CallContext& call, const CollectionPlan& plan,
                   const ShardPlacement& placement, const ShardImage& image, Progress& progress);
  Result<Collection> AwaitActive(const CallContext& call, const CollectionPlan& plan);
  Status DropUnplanned(const CallContext& call, const CollectionPlan& plan);
  Result<std::map<ShardId, std::vector<std::string>>> Bury(const CallContext& call,
                                                           const CollectionPlan& plan,
                                                           const CollectionRecord& record);
  Status Switch(const CallContext& call, const CollectionPlan& plan);
  Status WriteMetadata(StepContext& context);
  Error CleanUp(const CollectionPlan& plan, Error error);

  RestoreParts parts_;
  RestoreOptions options_;
  GroupManifest manifest_;
  std::map<std::string, CollectionRecord> records_;
  RestorePlan plan_;
  /// Names of collections that are ours to drop: this restore made them and nobody reads them.
  std::set<std::string> made_;
  /// Points that were copied into a target.
  std::map<std::string, std::uint64_t> copied_;
  /// Targets that are whole, or gone, or named in the error.
  std::set<std::string> settled_;
  /// Points of a target's shards when they had been sent, where the group does not know them.
  std::map<std::string, std::map<ShardId, std::uint64_t>> sent_;
  std::mutex sent_mutex_;
  /// Names of live collections that this restore has dropped, or tried to.
  std::set<std::string> replaced_;
};

/// The members of the command line's result line without "event" and "state".
std::string RestoreOutcomeToJson(const RestoreOutcome& outcome, Duration took);

}  // namespace holdfast
