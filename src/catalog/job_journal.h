// What was asked, who works on it, how far it is and how it ended.

#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "catalog/records.h"

namespace holdfast {

/// Thread-safe. A write that takes a `lease` is made only while that grant is the latest of its
/// name: the comparison and the write are one transaction that changes the lease's row, so that it
/// holds under snapshot isolation too. Such writes give kAborted when the lease was lost: stop
/// working at once. Every write may be made again after any error. Errors of all calls:
/// kUnavailable (the database cannot be reached), kInvalidArgument (a member is too long or not
/// JSON), and those of the call's own.
class JobJournal {
 public:
  virtual ~JobJournal() = default;

  /// Without a lease: the job is queued for whoever takes it. With the lease it names: it is
  /// running, in its first attempt. kAlreadyExists when there is a job with this id.
  virtual Status AddJob(const CallContext& call, const NewJob& job, const Lease* lease) = 0;

  /// A queued or interrupted job starts (again) under `lease`, which must have the job's lease
  /// name; its attempt grows by one. kNotFound; kFailedPrecondition in any other state.
  virtual Status StartJob(const CallContext& call, const Lease& lease, const JobId& id) = 0;

  /// kFailedPrecondition unless the job runs under this lease.
  virtual Status UpdateJob(const CallContext& call, const Lease& lease, const JobId& id,
                           const JobUpdate& update) = 0;

  /// Running or interrupted -> a final state, once: kFailedPrecondition when it ended before.
  virtual Status FinishJob(const CallContext& call, const Lease& lease, const JobId& id,
                           const JobOutcome& outcome) = 0;

  /// Ends as kFailed every job of this kind that was left running under an earlier grant of this
  /// lease. Returns how many.
  virtual Result<std::uint64_t> CloseInterrupted(const CallContext& call, const Lease& lease,
                                                 std::string_view kind,
                                                 std::string_view error_json) = 0;

  /// With its documents. Nothing when there is no such job.
  virtual Result<std::optional<JobDetails>> FindJob(const CallContext& call, const JobId& id) = 0;

  /// Newest first. `limit` is 1 to kPageRowsMax; `after` is the last id of the page before.
  virtual Result<std::vector<JobRecord>> ListJobs(const CallContext& call, const JobFilter& filter,
                                                  std::size_t limit,
                                                  const std::optional<JobId>& after) = 0;

  /// Records that a step ended, or replaces its record, with the job's attempt.
  /// kFailedPrecondition unless the job runs under this lease.
  virtual Status PutStep(const CallContext& call, const Lease& lease, const JobId& id,
                         const StepRecord& step) = 0;

  /// With its detail. Nothing when the step has not ended.
  virtual Result<std::optional<StepRecord>> FindStep(const CallContext& call, const JobId& id,
                                                     std::string_view key) = 0;

  /// By key, without details. `limit` is 1 to kPageRowsMax; `after` is the last key of the page
  /// before, empty for the first page.
  virtual Result<std::vector<StepRecord>> ListSteps(const CallContext& call, const JobId& id,
                                                    std::size_t limit, std::string_view after) = 0;
};

}  // namespace holdfast
