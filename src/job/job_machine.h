// The life of a job and of its lease as pure decisions: no clock, no catalog, no threads.

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "catalog/records.h"

namespace holdfast {

enum class JobEvent {
  /// A worker takes a queued job.
  kStart,
  /// The worker is gone: its lease was released, taken or has expired.
  kLoseWorker,
  /// Another worker takes an interrupted job and goes on with it.
  kResume,
  kSucceed,
  kFail,
  kCancel,
};

/// The state after `event`, or kFailedPrecondition naming both when it cannot happen there:
///   queued       -start-> running, -cancel-> cancelled
///   running      -succeed-> complete, -fail-> failed, -cancel-> cancelled, -lose_worker->
///   interrupted interrupted  -resume-> running, -fail-> failed, -cancel-> cancelled complete,
///   failed, cancelled: nothing more
Result<JobState> Advance(JobState from, JobEvent event);

/// Why the body's stop token fired.
enum class StopCause {
  kNone,
  /// The caller stopped: Ctrl-C, SIGTERM, a deadline.
  kCaller,
  /// Somebody else has the lease.
  kLeaseTaken,
  /// The lease could not be renewed in time: the catalog was out of reach.
  kLeaseExpired,
};

/// How a job ends. `error` is what the user sees and what is recorded; nothing for kSucceed.
struct JobEnd {
  JobEvent event;
  std::optional<Error> error;
};

/// A body that came back with a result has succeeded, whatever stopped meanwhile. A body that was
/// stopped because its lease went away failed for that reason (kAborted), it was not "cancelled".
JobEnd Conclude(const Status& body, StopCause cause, std::string_view lease_name);

/// When to renew a lease and when to stop working, all on the holder's own monotonic clock. Counts
/// from before the request was sent, so it is never later than the database's own expiry.
class LeaseTiming {
 public:
  /// A lease of `term`, granted in answer to a request sent at `sent`.
  LeaseTiming(Duration term, MonotonicTime sent);

  /// A renewal sent at `sent` has succeeded.
  void Renewed(MonotonicTime sent);

  /// A third of the term after the last success: two more tries fit before the end.
  MonotonicTime renew_at() const noexcept { return base_ + term_ / 3; }
  /// After a failed try: one tenth of the term later.
  MonotonicTime retry_at(MonotonicTime now) const noexcept { return now + term_ / 10; }
  /// From here on the holder must not work: a tenth of the term before the expiry, so that what is
  /// under way can stop in time.
  MonotonicTime stop_at() const noexcept { return base_ + term_ - term_ / 10; }

 private:
  Duration term_;
  MonotonicTime base_;
};

}  // namespace holdfast
