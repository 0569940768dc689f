// Keeps one lease renewed while a job runs, and tells the job in time when it no longer is.

#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "catalog/lease_table.h"
#include "job/job_machine.h"

namespace holdfast {

/// Two threads: one renews and may block in the catalog, the other one watches the clock, so that
/// the job is stopped before the expiry however long a renewal hangs. Both are started by the
/// constructor and joined by Stop() or the destructor. Thread-safe.
class LeaseKeeper {
 public:
  /// `stop` is called at most once, with kLeaseTaken or kLeaseExpired. `warn` gets what a person
  /// should know. Both are called from the keeper's threads and must not call the keeper.
  LeaseKeeper(LeaseTable& leases, Clock& clock, Lease lease, Duration term, MonotonicTime sent,
              std::function<void(StopCause)> stop, std::function<void(std::string_view)> warn);
  ~LeaseKeeper() { Stop(); }
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;

  const Lease& lease() const noexcept { return lease_; }

  /// Losing the lease no longer stops the job. Renewing goes on for as long as it is ours.
  void Outlive();
  /// A write on behalf of the lease was refused: somebody else has it.
  void Taken();
  /// Ends the threads; the lease is left as it is. Idempotent.
  void Stop();

 private:
  void Renew(const std::stop_token& stop);
  void Watch(const std::stop_token& stop);
  void Lose(StopCause cause);

  LeaseTable& leases_;
  Clock& clock_;
  const Lease lease_;
  const Duration term_;
  const std::function<void(StopCause)> stop_;
  const std::function<void(std::string_view)> warn_;
  std::mutex mutex_;
  LeaseTiming timing_;
  bool outlive_ = false;
  bool lost_ = false;
  std::jthread renewer_;
  std::jthread watcher_;
};

}  // namespace holdfast
