#include "job/lease_keeper.h"

#include <fmt/format.h>

#include <utility>

namespace holdfast {

LeaseKeeper::LeaseKeeper(LeaseTable& leases, Clock& clock, Lease lease, Duration term,
                         MonotonicTime sent, std::function<void(StopCause)> stop,
                         std::function<void(std::string_view)> warn)
    : leases_(leases),
      clock_(clock),
      lease_(std::move(lease)),
      term_(term),
      stop_(std::move(stop)),
      warn_(std::move(warn)),
      timing_(term, sent),
      renewer_([this](const std::stop_token& token) { Renew(token); }),
      watcher_([this](const std::stop_token& token) { Watch(token); }) {}

void LeaseKeeper::Outlive() {
  const std::scoped_lock lock(mutex_);
  outlive_ = true;
}

void LeaseKeeper::Taken() { Lose(StopCause::kLeaseTaken); }

void LeaseKeeper::Stop() {
  renewer_.request_stop();
  watcher_.request_stop();
  if (renewer_.joinable()) renewer_.join();
  if (watcher_.joinable()) watcher_.join();
}

void LeaseKeeper::Renew(const std::stop_token& stop) {
  const CallContext call{.stop = stop, .deadline = {}};
  bool failing = false;
  MonotonicTime next;
  {
    const std::scoped_lock lock(mutex_);
    next = timing_.renew_at();
  }
  while (true) {
    const MonotonicTime now = clock_.Monotonic();
    if (next > now && !clock_.SleepFor(call, next - now).ok()) return;
    const MonotonicTime sent = clock_.Monotonic();
    // A renewal that hangs must not keep the next one from being tried on another connection.
    const Status renewed = leases_.Renew(clock_.Within(call, term_ / 3), lease_, term_);
    if (stop.stop_requested()) return;
    if (renewed.ok()) {
      if (failing) warn_("The catalog can be reached again.");
      failing = false;
      const std::scoped_lock lock(mutex_);
      timing_.Renewed(sent);
      next = timing_.renew_at();
      continue;
    }
    if (renewed.error().code() == ErrorCode::kAborted) return Lose(StopCause::kLeaseTaken);
    if (!failing) {
      warn_(fmt::format("The lease {} cannot be renewed at the moment: {}", lease_.name,
                        renewed.error().ToString()));
    }
    failing = true;
    const std::scoped_lock lock(mutex_);
    next = timing_.retry_at(clock_.Monotonic());
  }
}

void LeaseKeeper::Watch(const std::stop_token& stop) {
  const CallContext call{.stop = stop, .deadline = {}};
  while (true) {
    MonotonicTime until;
    {
      const std::scoped_lock lock(mutex_);
      if (outlive_ || lost_) return;
      until = timing_.stop_at();
    }
    const MonotonicTime now = clock_.Monotonic();
    if (now >= until) return Lose(StopCause::kLeaseExpired);
    if (!clock_.SleepFor(call, until - now).ok()) return;
  }
}

void LeaseKeeper::Lose(StopCause cause) {
  {
    const std::scoped_lock lock(mutex_);
    if (std::exchange(lost_, true) || outlive_) return;
  }
  stop_(cause);
}

}  // namespace holdfast
