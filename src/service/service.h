// Everything holdfast does, over one configuration: opens what a command needs, when it needs it,
// and runs it as a job. The composition root: the only place that names concrete drivers.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "catalog/catalog.h"
#include "job/job_runner.h"
#include "model/group.h"
#include "ops/backup_op.h"
#include "ops/rebalance/rebalance_op.h"
#include "ops/reshard/reshard_op.h"
#include "ops/restore_op.h"
#include "repo/verify.h"
#include "service/config.h"
#include "store/probe.h"

namespace holdfast {

/// Which cluster and repository of the configuration; empty: the only one.
struct Choices {
  std::string cluster;
  std::string repository;
};

/// A group as listed and shown.
struct GroupLine {
  /// Without its lists where many groups are listed: thousands of groups of thousands of
  /// collections would not fit into memory.
  GroupManifest manifest;
  bool forgotten = false;
  std::size_t collections = 0;
};

/// A group whose manifest cannot be read: kDataLoss.
struct DamagedGroup {
  GroupId group;
  Error why;
};

struct GroupListing {
  /// Newest cut first.
  std::vector<GroupLine> groups;
  std::vector<DamagedGroup> damaged;
};

struct RebuildReport {
  /// Groups of the repository that the catalog knows now.
  std::uint64_t groups = 0;
  /// Records of groups that are not there any more, gone from the catalog.
  std::uint64_t removed = 0;
  std::vector<DamagedGroup> damaged;
};

/// What one part of `check` found.
struct CheckFinding {
  std::string what;
  bool ok = false;
  bool optional = false;
  std::string detail;
};

struct InitReport {
  std::string repository_id;
  std::string url;
  std::string encryption;
};

struct BackupCommand {
  BackupRequest request;
  CaptureSettings capture;
  std::optional<Duration> max_skew;
  Duration wait{};
  std::vector<AttachmentSource> attachments;
};

struct RestoreCommand {
  /// Id, unique prefix or "latest".
  std::string group;
  /// The last cut not after this; then `group` is empty.
  std::optional<WallTime> at;
  /// "latest" and `at`: among the groups of this cluster. Empty: there must be only one's.
  std::string from;
  RestoreRequest request;
  /// Of collections that are copied (`--shards`): points in a second; 0: as fast as it goes.
  std::uint64_t points_per_second = 0;
  Duration wait{};
  /// Goes on with this interrupted job; the rest is then taken from its record.
  std::string resume_job;
};

struct ReshardCommand {
  ReshardRequest request;
  /// 0: as fast as it goes.
  std::uint64_t points_per_second = 0;
  std::uint32_t passes = 5;
  /// Points of one read and one write.
  std::uint32_t batch = 256;
  /// How long the indexes of a copy may take before its readers are switched; 0: no time at all.
  Duration index_wait = std::chrono::hours(1);
  Duration wait{};
  /// Goes on with this interrupted job; the request is then taken from its record.
  std::string resume_job;
};

struct RebalanceCommand {
  RebalanceAsked asked;
  Duration wait{};
  /// Goes on with this interrupted job; `asked` is then taken from its record.
  std::string resume_job;
};

/// Not thread-safe: one command at a time. Blocking.
class Service {
 public:
  Service(Config config, Choices choices, JobObserver* observer = nullptr);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  Result<InitReport> Init(const CallContext& call, bool dry_run);
  /// Configuration, reachability, rights and the truth of the store; leaves nothing behind. An
  /// error is only what kept it from looking.
  Result<std::vector<CheckFinding>> Check(const CallContext& call);
  Result<Topology> ReadTopology(const CallContext& call);

  Result<BackupPreview> PreviewBackup(const CallContext& call, const BackupCommand& command);
  Result<BackupOutcome> Backup(const CallContext& call, const BackupCommand& command);

  Result<GroupListing> ListGroups(const CallContext& call, bool include_forgotten);
  /// An id, a unique prefix, "latest", or the last cut not after `at`; the last two among the
  /// groups of cluster `from` where it is given. kNotFound; kInvalidArgument when a prefix names
  /// several, or when "latest" could be of several clusters: a restore must not take another
  /// cluster's data by accident; kDataLoss when a damaged group may be the one that is meant.
  Result<GroupId> ResolveGroup(const CallContext& call, const std::string& text,
                               const std::optional<WallTime>& at, const std::string& from = {});
  Result<GroupLine> ReadGroup(const CallContext& call, const GroupId& group);
  Result<std::vector<CollectionRecord>> ReadRecords(const CallContext& call, const GroupId& group);
  /// Writes an attachment of a group to `out`.
  Status ReadAttachment(const CallContext& call, const GroupId& group, const std::string& name,
                        ByteSink& out);

  Result<RestorePreview> PreviewRestore(const CallContext& call, const RestoreCommand& command);
  Result<RestoreOutcome> Restore(const CallContext& call, const RestoreCommand& command);

  Result<ReshardPlan> PreviewReshard(const CallContext& call, const ReshardCommand& command);
  Result<ReshardOutcome> Reshard(const CallContext& call, const ReshardCommand& command);
  Result<RebalancePreview> PreviewRebalance(const CallContext& call,
                                            const RebalanceCommand& command);
  /// Under the lease that backups and restores of the cluster take, too: one of them at a time. A
  /// new one takes over the transfers of those that were interrupted, and closes them.
  Result<RebalanceOutcome> Rebalance(const CallContext& call, const RebalanceCommand& command);

  /// What was run, newest first, at most `limit`; of the chosen cluster, if one is named.
  Result<std::vector<JobRecord>> ListJobs(const CallContext& call, std::size_t limit);

  Status Forget(const CallContext& call, const GroupId& group, const std::string& reason);
  Result<VerifyReport> VerifyRepository(const CallContext& call, const VerifyOptions& options,
                                        VerifyObserver* observer);
  /// Writes the catalog's records of the repository's groups anew; `dry_run` only reads the
  /// repository.
  Result<RebuildReport> RebuildCatalog(const CallContext& call, bool dry_run);

 private:
  class Parts;
  Status RecordGroup(const CallContext& call, const GroupManifest& manifest, bool forgotten);
  Result<GroupId> NewestGroup(const CallContext& call, const std::optional<WallTime>& at,
                              const std::string& from);
  Result<BackupOptions> MakeBackupOptions(const BackupCommand& command);
  Result<GroupId> SafetyBackup(const CallContext& call, const std::vector<std::string>& names);
  Result<ImageCopy> MakeImageCopy(const CallContext& call, std::uint64_t points_per_second);
  Result<RestoreOptions> MakeRestoreOptions(const CallContext& call, const RestoreCommand& command);
  Result<ReshardOptions> MakeReshardOptions(const CallContext& call, const ReshardCommand& command);
  Result<RebalanceAsked> AskedOf(const CallContext& call, const RebalanceCommand& command);

  std::unique_ptr<Parts> parts_;
};

/// The program's version, e.g. "0.1.0".
std::string Version();

}  // namespace holdfast
