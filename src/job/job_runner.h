// Runs any operation as a job: one lease, recorded steps, attempts, cancellation, progress, resume.
// The operation itself is a body; it knows nothing of leases and states.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "catalog/job_journal.h"
#include "catalog/lease_table.h"
#include "job/progress.h"

namespace holdfast {

/// What is told while a job runs; the command line prints it. Called from several threads, one call
/// at a time; must return soon and must not call the runner.
class JobObserver {
 public:
  virtual ~JobObserver() = default;
  /// Somebody else has the lease; said once for each new holder while waiting.
  virtual void OnWaiting(const LeaseView& /*holder*/) {}
  virtual void OnStarted(const JobId& /*id*/, std::uint32_t /*attempt*/) {}
  /// A step ended; `skipped` when an earlier attempt had done it.
  virtual void OnStep(std::string_view /*key*/, const Status& /*status*/, bool /*skipped*/) {}
  /// About twice a second.
  virtual void OnProgress(const ProgressSnapshot& /*progress*/) {}
  /// Something a person should know that ends nothing, e.g. that the catalog is out of reach.
  virtual void OnWarning(std::string_view /*text*/) {}
  /// How it goes, in a sentence for people.
  virtual void OnNote(std::string_view /*text*/) {}
  virtual void OnEnded(const JobId& /*id*/, JobState /*state*/) {}
};

/// What becomes of jobs of the same kind and lease that a dead process left behind.
enum class InterruptedJobs {
  /// They end as failed ("interrupted"); the new job starts anew. Backup: a capture is never
  /// resumed.
  kClose,
  /// They stay interrupted, for Resume() or Close(). Restore.
  kKeep,
};

struct JobSpec {
  /// "backup", "restore", "verify", ...
  std::string kind;
  std::string cluster;
  /// What it works on, when known beforehand (a group id).
  std::string subject;
  /// "cluster/prod/backup": one job at a time holds it.
  std::string lease_name;
  /// For the record and for Resume(); no secrets.
  std::string request_json;
  InterruptedJobs interrupted = InterruptedJobs::kClose;
  /// How long to wait for the lease (`--wait`); zero: kBusy at once.
  Duration wait{};
};

/// What a body gets. All methods are thread-safe: a body may run steps on several threads.
class StepContext {
 public:
  /// Does the step's work and returns its detail: JSON that a resumed job needs of it, or empty.
  using StepBody = std::function<Result<std::string>(const CallContext& call)>;

  virtual ~StepContext() = default;

  /// The body's own: its stop token fires when the caller stops and when the lease is lost. Every
  /// blocking call of the body takes this.
  virtual const CallContext& call() const = 0;
  virtual const JobId& job() const = 0;
  /// 1 in the first run, more after every resume.
  virtual std::uint32_t attempt() const = 0;
  /// As given to Run(), or recorded by the attempt before.
  virtual const std::string& request_json() const = 0;
  /// As saved by this or an earlier attempt; empty when none was.
  virtual const std::string& plan_json() const = 0;

  virtual Status SavePlan(std::string plan_json) = 0;
  virtual Status SetSubject(std::string subject) = 0;

  /// Runs `body` unless this job has done the step before, and records how it ended. Returns the
  /// step's detail, recorded or new. The work is done before it is recorded, so a crash in between
  /// makes it run again: a step must allow that. `key` is unique within the job; two threads asking
  /// for one key at the same time is a defect of the caller (kInternal).
  /// While the catalog is out of reach this waits for it as long as the lease lasts: what was done
  /// is not thrown away for one failed write.
  virtual Result<std::string> Step(std::string_view key, const StepBody& body) = 0;

  /// From here on the work is worth finishing without the lease: losing it no longer stops the
  /// body, and what cannot be recorded is left out. For a backup after its thaw: what remains needs
  /// only the repository, whose safety rests on no lock, so a captured cut is not lost to a catalog
  /// that is down. (Another worker may begin its own backup after the expiry: two groups, both
  /// whole.)
  virtual void OutliveCatalog() = 0;

  /// From here on a failure of the body does not end the job: it stays interrupted, and Resume()
  /// goes on with it. For work that is worth keeping until a person has helped. A caller's stop
  /// ends the job all the same.
  virtual void LeaveInterrupted() {}

  virtual Progress& progress() = 0;
  /// Both tell the observer.
  virtual void Warn(std::string_view text) = 0;
  virtual void Note(std::string_view /*text*/) {}
};

/// Returns the job's result as JSON, or why it failed.
using JobBody = std::function<Result<std::string>(StepContext& context)>;

struct JobReport {
  JobId id;
  std::uint32_t attempt = 0;
  /// What the body returned.
  std::string result_json;
  /// False when the catalog could not be told that the job is complete: it will show it as
  /// interrupted until the next job, Resume() or Close(). The work itself is done.
  bool recorded = true;
};

struct JobRunnerOptions {
  /// How long a lease lasts without renewal, so also how long a job that was killed on another
  /// machine blocks the next one. One of this machine whose process is provably gone
  /// (job/worker_mark.h) blocks nobody.
  Duration lease_term = std::chrono::seconds(30);
  /// How long to go on trying to record the end of a job when the catalog is out of reach.
  Duration record_patience = std::chrono::seconds(60);
  /// Between two tries to record something while the catalog is out of reach.
  Duration record_pause = std::chrono::seconds(1);
  /// Between two looks at a lease that somebody else has.
  Duration wait_poll = std::chrono::seconds(1);
  Duration progress_interval = std::chrono::milliseconds(500);
  /// Who runs the job. Empty: ThisWorker().
  std::string worker;
};

/// Thread-safe; several jobs may run at once. All references outlive the runner. The observer may
/// be absent.
class JobRunner {
 public:
  JobRunner(LeaseTable& leases, JobJournal& jobs, Clock& clock, Random& random,
            JobRunnerOptions options, JobObserver* observer = nullptr);

  /// Acquires the lease, records the job, runs `body` on the calling thread while the lease is kept
  /// renewed, records the end in every case, releases the lease. Fails with the body's error, or:
  /// kBusy (who has the lease and until when) and kUnavailable ("nothing was changed, try later")
  /// before the body has begun; kAborted when the loss of the lease stopped the body (somebody else
  /// took it, or the catalog was out of reach until it expired).
  Result<JobReport> Run(const CallContext& call, const JobSpec& spec, const JobBody& body);

  /// Goes on with an interrupted job, or begins a queued one: steps that are recorded as complete
  /// are skipped. Errors as for Run(); kNotFound; kFailedPrecondition when the job has ended; kBusy
  /// while it still runs or another one holds its lease (waits up to `wait`).
  Result<JobReport> Resume(const CallContext& call, const JobId& id, Duration wait,
                           const JobBody& body);

  /// Ends an interrupted or queued job as cancelled, saying why, for one that nobody will resume.
  /// Errors as for Resume().
  Status Close(const CallContext& call, const JobId& id, std::string_view reason);

 private:
  class Session;
  struct Grant {
    Lease lease;
    /// On our own clock, before the request that was granted was sent.
    MonotonicTime sent;
  };

  Result<Grant> AcquireLease(const CallContext& call, const std::string& name,
                             const std::string& owner, Duration wait);
  Result<JobReport> RunBody(const CallContext& call, Session& session, const JobBody& body);

  LeaseTable& leases_;
  JobJournal& jobs_;
  Clock& clock_;
  Random& random_;
  JobRunnerOptions options_;
  JobObserver* observer_;
};

/// A new id from the wall clock and 64 random bits.
JobId MakeJobId(WallTime now, std::uint64_t random);

/// {"code","message","hint"} as in job records and `--json` output.
std::string ErrorToJson(const Error& error);

}  // namespace holdfast
