// One run of one job: what its body sees, and what records for it. For this module's .cc files
// only.

#pragma once

#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "exec/linked_stop.h"
#include "job/job_machine.h"
#include "job/job_runner.h"
#include "job/lease_keeper.h"
#include "job/progress.h"

namespace holdfast {

/// What a session is made from; the references outlive it.
struct SessionParts {
  LeaseTable& leases;
  JobJournal& jobs;
  Clock& clock;
  const JobRunnerOptions& options;
  JobObserver* observer;
};

class JobRunner::Session final : public StepContext {
 public:
  /// Begins to keep the lease.
  Session(const CallContext& call, const SessionParts& parts, JobId id, Lease lease,
          MonotonicTime sent);

  const CallContext& call() const override { return call_; }
  const JobId& job() const override { return id_; }
  std::uint32_t attempt() const override { return attempt_; }
  const std::string& request_json() const override { return documents_.request_json; }
  const std::string& plan_json() const override { return documents_.plan_json; }
  Status SavePlan(std::string plan_json) override;
  Status SetSubject(std::string subject) override;
  Result<std::string> Step(std::string_view key, const StepBody& body) override;
  void OutliveCatalog() override;
  void LeaveInterrupted() override { leave_interrupted_ = true; }
  Progress& progress() override { return progress_; }
  void Warn(std::string_view text) override;
  void Note(std::string_view text) override {
    Tell([&](JobObserver& observer) { observer.OnNote(text); });
  }

  const Lease& lease() const noexcept { return keeper_.lease(); }
  /// Before the body begins.
  void Begin(std::uint32_t attempt, JobDocuments documents);
  /// Why the body was stopped; kCaller when `caller` has ended.
  StopCause cause(const CallContext& caller) const;
  bool left_interrupted() const noexcept { return leave_interrupted_; }
  /// Records how the job ended, for as long as the options say. False when that was not possible;
  /// the observer has been told why.
  bool RecordEnd(const JobEnd& end, std::string result_json);
  /// Gives the lease back and ends the threads. Idempotent.
  void Close();
  /// Tells the observer, one call at a time.
  template <class F>
  void Tell(F what) {
    if (parts_.observer == nullptr) return;
    const std::scoped_lock lock(observer_mutex_);
    what(*parts_.observer);
  }

 private:
  class Turn;

  /// Makes a write until it succeeds, fails for good, or the body is stopped. OK, with a warning,
  /// for one that failed after OutliveCatalog().
  template <class F>
  Status Insist(std::string_view what, F write);
  Result<std::optional<StepRecord>> Recorded(std::string_view key);
  void RecordFailure(std::string_view key, const Error& error);

  const SessionParts parts_;
  const JobId id_;
  std::mutex observer_mutex_;
  LinkedStop stop_;
  const CallContext call_;
  std::atomic<StopCause> cause_ = StopCause::kNone;
  std::atomic<bool> outlive_ = false;
  std::atomic<bool> leave_interrupted_ = false;
  Progress progress_;
  std::uint32_t attempt_ = 0;
  JobDocuments documents_;
  std::mutex mutex_;
  std::set<std::string, std::less<>> under_way_;
  std::set<std::string, std::less<>> done_;
  /// Last, so that its threads end before what they call.
  LeaseKeeper keeper_;
};

}  // namespace holdfast
