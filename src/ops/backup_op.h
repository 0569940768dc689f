// One backup of a whole cluster as one logical operation.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "catalog/job_journal.h"
#include "engine/engine.h"
#include "exec/cpu_pool.h"
#include "job/job_runner.h"
#include "model/group.h"
#include "ops/capture.h"
#include "ops/fence.h"
#include "ops/wave.h"
#include "plan/backup_plan.h"
#include "repo/intent.h"
#include "repo/repository.h"

namespace holdfast {

/// A file that goes into the group as it is.
struct AttachmentSource {
  /// "access-policy", "source-map", …: letters, digits, '-', '_' and '.'.
  std::string name;
  std::string path;
};

struct BackupOptions {
  /// Name of the cluster in the configuration; kept with the group.
  std::string cluster;
  /// GroupManifest::purpose.
  std::string purpose;
  std::string holdfast_version;
  BackupRequest request;
  CaptureSettings capture;
  GroupWriterOptions writer;
  /// Skew above which a wave is taken again, at most kWaveAttempts times. Absent: any skew.
  std::optional<Duration> max_skew;
  /// How long to wait for transfers and resharding to end before refusing.
  Duration wait{};
  /// Absent: no fence.
  Fence* fence = nullptr;
  std::vector<AttachmentSource> attachments;
};

/// Waves are taken again when a collection changed meanwhile, the skew was too large or the fence
/// did not hold.
inline constexpr int kWaveAttempts = 3;
/// Groups and broken attempts that blocks are looked for in.
inline constexpr std::size_t kParentsMax = 3;

struct BackupOutcome {
  GroupManifest manifest;
  /// The cut as instants of this machine's CLOCK_MONOTONIC: the first request and the last first
  /// byte. For whoever has a journal of writes on the same clock.
  MonotonicTime first_request{};
  MonotonicTime last_first_byte{};
  /// Less than was asked: collections were skipped on request, a fence did not hold, ….
  bool below_asked = false;
};

/// Parts that a backup works with. All outlive it; all thread-safe.
struct BackupParts {
  Engine& engine;
  Repository& repository;
  /// To find what an interrupted run left on the nodes.
  JobJournal& jobs;
  CpuPool& pool;
  Clock& clock;
  Random& random;
};

/// What `--dry-run` shows.
struct BackupPreview {
  Topology topology;
  BackupPlan plan;
};

/// One thread; made anew for each backup.
class BackupOp {
 public:
  BackupOp(BackupParts parts, BackupOptions options);

  /// Observes and plans; changes nothing anywhere.
  Result<BackupPreview> Preview(const CallContext& call);

  /// The body of a backup job. Either a complete group exists afterwards, or an error says why not
  /// and nothing is listed; writers are released and node-side files removed in both cases.
  Result<BackupOutcome> Run(StepContext& context);

 private:
  struct Attempt;

  Result<BackupPreview> ObserveAndPlan(const CallContext& call, const BackupRequest& request);
  Result<BackupOutcome> Take(StepContext& context, Attempt& attempt);
  Status ReadParents(const CallContext& call);
  Status RemoveLeftovers(StepContext& context);
  Status StoreAttachments(const CallContext& call, Attempt& attempt);
  Status TakeWave(StepContext& context, Attempt& attempt, std::uint32_t wave);
  Result<WaveRequest> PrepareWave(const CallContext& call, Attempt& attempt, std::uint32_t wave,
                                  bool again);
  static bool QuietSince(const WaveRequest& request, const WaveResult& result,
                         const std::string& collection, MonotonicTime since);
  std::string Shortfall(const Attempt& attempt, const WaveResult& result, bool& fatal) const;
  Status KeepWave(const CallContext& call, Attempt& attempt, const WaveRequest& request,
                  WaveResult result);
  Status WriteRecords(const CallContext& call, Attempt& attempt);
  GroupManifest MakeManifest(Attempt& attempt);

  BackupParts parts_;
  BackupOptions options_;
  std::map<ParentKey, ParentImage> parents_;
  std::vector<GroupId> parent_groups_;
};

/// Result of a backup as one JSON object: the members of the command line's result line without
/// "event" and "state".
std::string BackupOutcomeToJson(const BackupOutcome& outcome, Duration took);

}  // namespace holdfast
