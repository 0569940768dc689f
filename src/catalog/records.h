// What the catalog remembers, as plain values. The repository is the truth about groups; the
// catalog is the truth only about who works on what right now.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/ids.h"
#include "base/size.h"
#include "model/group.h"

namespace holdfast {

/// A job: "20261122T032438Z-9f8a7b6c5d4e3f2a", shaped like a group id. Sorts by time of creation.
using JobId = StrongId<struct JobTag, std::string>;

/// Every document (a member named `*_json`) is valid JSON in UTF-8, or empty for "none", and no
/// longer than this. TiDB takes no row above 6,291,456 bytes (measured: error 8025).
constexpr std::size_t kDocumentBytesMax = 4 * kMiB;
/// A plan grows with the cluster (10,000 shards), so it is stored in several rows and may be
/// longer.
constexpr std::size_t kPlanBytesMax = 32 * kMiB;
/// An error is listed with its job, so it stays short.
constexpr std::size_t kErrorJsonBytesMax = 64 * kKiB;
/// Longest id, cluster name, job kind or job subject, in bytes.
constexpr std::size_t kNameBytesMax = 255;
/// Longest lease name and longest lease owner, in bytes.
constexpr std::size_t kLeaseNameBytesMax = 512;
/// Longest step key in bytes: room for a collection name of 255 characters of 4 bytes each.
constexpr std::size_t kStepKeyBytesMax = 1536;
/// Longest repository URL in bytes.
constexpr std::size_t kUrlBytesMax = 2048;
/// Most rows one listing call returns.
constexpr std::size_t kPageRowsMax = 1000;

/// A repository this catalog has seen.
struct RepositoryRecord {
  /// The id in the repository's own configuration object.
  std::string repository_id;
  /// Where it was last seen, without user, password or signature: the caller strips them.
  std::string url;
  /// By the database's clock. Set by the catalog, ignored on the way in.
  WallTime first_seen_at{};
  WallTime last_seen_at{};

  friend bool operator==(const RepositoryRecord&, const RepositoryRecord&) = default;
};

/// A group is recorded after its manifest has landed, so there is no state before kComplete.
enum class GroupState { kComplete, kForgotten };

/// One backup group in one repository (a copy to a second repository is a second record).
struct GroupRecord {
  GroupId id;
  std::string repository_id;
  std::string cluster;
  WallTime begun_at{};
  /// The cut: the instant the group stands for.
  WallTime cut_at{};
  GroupState state = GroupState::kComplete;
  Consistency consistency = Consistency::kBestEffort;
  Duration skew{};
  std::uint64_t collections = 0;
  std::uint64_t shards = 0;
  std::uint64_t points = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_new = 0;
  std::uint64_t bytes_stored = 0;
  /// What `show` prints without opening the repository. Empty in listings.
  std::string summary_json;

  friend bool operator==(const GroupRecord&, const GroupRecord&) = default;
};

/// Which groups a listing gives; every member that is set narrows it.
struct GroupFilter {
  std::optional<std::string> repository_id;
  std::optional<std::string> cluster;
  /// Groups whose id starts with this (`restore PREFIX`).
  std::string id_prefix;
  /// Groups whose cut is not after this (`--at TIME`).
  std::optional<WallTime> cut_not_after;
  std::optional<GroupState> state;
};

/// The place in a listing of groups after which the next page starts.
struct GroupCursor {
  WallTime cut_at{};
  GroupId id;
  std::string repository_id;

  static GroupCursor After(const GroupRecord& last) {
    return {last.cut_at, last.id, last.repository_id};
  }
};

/// kInterrupted is never stored. It is what a reader sees of a job that was left "running" by a
/// process which lost its lease or let it expire, so that nothing says "running" and is not.
enum class JobState { kQueued, kRunning, kInterrupted, kComplete, kFailed, kCancelled };

/// "queued", "running", ...: in the database, in JSON and on the terminal.
std::string_view JobStateName(JobState state) noexcept;
constexpr bool IsFinal(JobState state) noexcept {
  return state == JobState::kComplete || state == JobState::kFailed ||
         state == JobState::kCancelled;
}

/// What a caller says about a new job.
struct NewJob {
  JobId id;
  /// "backup", "restore", "verify", ...
  std::string kind;
  std::string cluster;
  /// What it works on, usually a group id; may be empty and set later.
  std::string subject;
  /// The lease under which this job runs, and under which it may be taken over.
  std::string lease_name;
  std::string request_json;
};

/// A job as listed.
struct JobRecord {
  JobId id;
  std::string kind;
  std::string cluster;
  std::string subject;
  std::string lease_name;
  JobState state = JobState::kQueued;
  /// How often it was started: 0 while queued, 1 in its first run, more after every resume.
  std::uint32_t attempt = 0;
  /// Who runs or last ran it (the lease's owner); empty while queued.
  std::string owner;
  /// {"code","message","hint"} of a job that failed or was cancelled.
  std::string error_json;
  /// All by the database's clock.
  WallTime created_at{};
  std::optional<WallTime> started_at;
  std::optional<WallTime> finished_at;
};

/// The long documents of a job.
struct JobDocuments {
  std::string request_json;
  std::string plan_json;
  std::string result_json;
};

struct JobDetails {
  JobRecord record;
  JobDocuments documents;
};

/// Which jobs a listing gives; every member that is set narrows it.
struct JobFilter {
  std::optional<std::string> cluster;
  std::optional<std::string> kind;
  std::optional<std::string> lease_name;
  /// As shown, so kInterrupted works and kRunning means "running and holding its lease".
  std::optional<JobState> state;
};

/// What a running job learns about itself; a member that is not set stays as it is.
struct JobUpdate {
  std::optional<std::string> subject{};
  std::optional<std::string> plan_json{};
};

/// How a job ended.
struct JobOutcome {
  /// One of the final states.
  JobState state = JobState::kFailed;
  std::string result_json{};
  /// Required unless the state is kComplete.
  std::string error_json{};
};

enum class StepState { kComplete, kFailed };

/// A step that ended. A step that was under way when its process died has no record: it runs again.
struct StepRecord {
  /// Unique within the job, chosen by the operation: "send/<collection>/<shard>".
  std::string key;
  StepState state = StepState::kComplete;
  /// The attempt of the job in which it ended. Set by the catalog, ignored on the way in.
  std::uint32_t attempt = 0;
  /// Complete: what a resumed job needs of it. Failed: {"code","message","hint"}. Empty in
  /// listings.
  std::string detail_json{};
  /// By the database's clock. Set by the catalog, ignored on the way in.
  WallTime ended_at{};
};

/// A lease that was granted. Whoever holds one writes with it; the token tells it from every other
/// grant of the same name, before or after.
struct Lease {
  std::string name;
  std::string owner;
  /// The fencing token: grows by one with every grant of this name, never goes back.
  std::uint64_t token = 0;

  friend bool operator==(const Lease&, const Lease&) = default;
};

/// A lease as anybody can see it.
struct LeaseView {
  Lease lease;
  /// False once released or expired; then anybody may acquire it.
  bool held = false;
  /// Until expiry, by the database's clock; zero when not held.
  Duration expires_in{};
  /// When it ends or ended, by the database's clock.
  WallTime expires_at{};
};

}  // namespace holdfast
