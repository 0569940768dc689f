#include "job/job_session.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

namespace holdfast {
namespace {

/// How long giving a lease back may take; it expires by itself anyway.
constexpr Duration kReleaseWaitMax = std::chrono::seconds(5);

}  // namespace

/// A key that a thread is at work on.
class JobRunner::Session::Turn {
 public:
  Turn(Session& session, std::string_view key) : session_(session), key_(key) {
    const std::scoped_lock lock(session_.mutex_);
    mine_ = session_.under_way_.insert(key_).second;
  }
  ~Turn() {
    if (!mine_) return;
    const std::scoped_lock lock(session_.mutex_);
    session_.under_way_.erase(key_);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  bool mine() const noexcept { return mine_; }

 private:
  Session& session_;
  const std::string key_;
  bool mine_ = false;
};

JobRunner::Session::Session(const CallContext& call, const SessionParts& parts, JobId id,
                            Lease lease, MonotonicTime sent)
    : parts_(parts),
      id_(std::move(id)),
      stop_(call.stop),
      call_(stop_.Bind(call)),
      progress_(parts.clock),
      keeper_(
          parts.leases, parts.clock, std::move(lease), parts.options.lease_term, sent,
          [this](StopCause cause) {
            cause_ = cause;
            stop_.Stop();
          },
          [this](std::string_view text) { Warn(text); }) {}

void JobRunner::Session::Begin(std::uint32_t attempt, JobDocuments documents) {
  attempt_ = attempt;
  documents_ = std::move(documents);
  Tell([&](JobObserver& observer) { observer.OnStarted(id_, attempt_); });
}

StopCause JobRunner::Session::cause(const CallContext& caller) const {
  // The caller's own wish comes first: it stands above ours.
  if (!parts_.clock.Check(caller).ok()) return StopCause::kCaller;
  return cause_;
}

template <class F>
Status JobRunner::Session::Insist(std::string_view what, F write) {
  while (true) {
    Status written = write();
    if (written.ok()) return written;
    const ErrorCode code = written.error().code();
    if (outlive_ && (code == ErrorCode::kUnavailable || code == ErrorCode::kAborted ||
                     code == ErrorCode::kFailedPrecondition)) {
      Warn(fmt::format("Not recorded in the catalog, which loses nothing but the record: {}: {}",
                       what, written.error().ToString()));
      return {};
    }
    if (code == ErrorCode::kAborted) keeper_.Taken();
    if (code != ErrorCode::kUnavailable) return std::move(written).error().While(what);
    // The keeper stops the body when the lease is about to expire.
    if (!parts_.clock.SleepFor(call_, parts_.options.record_pause).ok()) {
      return std::move(written).error().While(what);
    }
  }
}

Status JobRunner::Session::SavePlan(std::string plan_json) {
  documents_.plan_json = std::move(plan_json);
  return Insist("record the plan", [&] {
    return parts_.jobs.UpdateJob(call_, lease(), id_,
                                 {.subject = {}, .plan_json = documents_.plan_json});
  });
}

Status JobRunner::Session::SetSubject(std::string subject) {
  return Insist("record the job's subject", [&] {
    return parts_.jobs.UpdateJob(call_, lease(), id_, {.subject = subject, .plan_json = {}});
  });
}

Result<std::optional<StepRecord>> JobRunner::Session::Recorded(std::string_view key) {
  {
    const std::scoped_lock lock(mutex_);
    if (attempt_ <= 1 && !done_.contains(key)) return std::optional<StepRecord>();
  }
  std::optional<StepRecord> record;
  Status found = Insist("look up a step", [&]() -> Status {
    HF_TRY(record, parts_.jobs.FindStep(call_, id_, key));
    return {};
  });
  if (!found.ok()) return std::move(found).error();
  if (record && record->state != StepState::kComplete) record.reset();
  return record;
}

Result<std::string> JobRunner::Session::Step(std::string_view key, const StepBody& body) {
  const Turn turn(*this, key);
  if (!turn.mine()) {
    return Error(ErrorCode::kInternal, fmt::format("the step {} is under way already", key));
  }
  HF_RETURN_IF_ERROR(parts_.clock.Check(call_));
  HF_TRY(auto record, Recorded(key));
  if (record) {
    Tell([&](JobObserver& observer) { observer.OnStep(key, Status(), /*skipped=*/true); });
    return std::move(record->detail_json);
  }
  Result<std::string> detail = body(call_);
  Status ended;
  if (!detail.ok()) {
    ended = detail.error();
    RecordFailure(key, detail.error());
  } else {
    ended = Insist(fmt::format("record the step {}", key), [&] {
      return parts_.jobs.PutStep(call_, lease(), id_,
                                 {.key = std::string(key), .detail_json = *detail});
    });
    const std::scoped_lock lock(mutex_);
    if (ended.ok()) done_.emplace(key);
  }
  Tell([&](JobObserver& observer) { observer.OnStep(key, ended, /*skipped=*/false); });
  if (!ended.ok()) return std::move(ended).error();
  return detail;
}

void JobRunner::Session::RecordFailure(std::string_view key, const Error& error) {
  // For people who look at the job later; the job's own error is recorded in any case, so this is
  // tried once, and not for steps that were merely stopped.
  if (stop_.stopped()) return;
  const Status recorded = parts_.jobs.PutStep(
      call_, lease(), id_,
      {.key = std::string(key), .state = StepState::kFailed, .detail_json = ErrorToJson(error)});
  if (!recorded.ok()) {
    Warn(fmt::format("That the step {} failed is not recorded: {}", key,
                     recorded.error().ToString()));
  }
}

void JobRunner::Session::OutliveCatalog() {
  outlive_ = true;
  keeper_.Outlive();
}

void JobRunner::Session::Warn(std::string_view text) {
  Tell([&](JobObserver& observer) { observer.OnWarning(text); });
}

bool JobRunner::Session::RecordEnd(const JobEnd& end, std::string result_json) {
  JobOutcome outcome;
  // The lease says which of the two it is; both end in the same way.
  const auto state = Advance(JobState::kRunning, end.event);
  HF_ASSERT(state.ok());
  outcome.state = *state;
  outcome.result_json = std::move(result_json);
  if (end.error) outcome.error_json = ErrorToJson(*end.error);
  // Not the caller's call: a job that was cancelled is recorded as cancelled.
  const CallContext call = parts_.clock.Within({}, parts_.options.record_patience);
  // An attempt whose reply was lost may have recorded it.
  const auto is_recorded = [&] {
    const auto job = parts_.jobs.FindJob(call, id_);
    return job.ok() && *job && (*job)->record.state == outcome.state;
  };
  for (bool lost = false;; lost = true) {
    const Status recorded = parts_.jobs.FinishJob(call, lease(), id_, outcome);
    if (recorded.ok() || (lost && is_recorded())) break;
    if (recorded.error().code() == ErrorCode::kInvalidArgument && !outcome.result_json.empty()) {
      Warn(fmt::format("The job's result is not recorded: {}", recorded.error().ToString()));
      outcome.result_json.clear();
      continue;
    }
    if (recorded.error().code() == ErrorCode::kUnavailable &&
        parts_.clock.SleepFor(call, parts_.options.record_pause).ok()) {
      continue;
    }
    Warn(fmt::format("The catalog does not know that job {} is {}: {}", id_.value(),
                     JobStateName(outcome.state), recorded.error().ToString()));
    return false;
  }
  Tell([&](JobObserver& observer) { observer.OnEnded(id_, outcome.state); });
  return true;
}

void JobRunner::Session::Close() {
  keeper_.Stop();
  const Status released = parts_.leases.Release(parts_.clock.Within({}, kReleaseWaitMax), lease());
  if (!released.ok()) {
    Warn(fmt::format("The lease {} was not given back and expires by itself: {}", lease().name,
                     released.error().ToString()));
  }
}

}  // namespace holdfast
