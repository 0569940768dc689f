#include "job/job_runner.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>

#include "job/job_machine.h"
#include "job/job_session.h"
#include "job/worker_mark.h"

namespace holdfast {
namespace {

/// Longest message and longest hint of a recorded error: escaped, both still fit.
constexpr std::size_t kErrorTextBytesMax = 5000;
static_assert(2 * 6 * kErrorTextBytesMax < kErrorJsonBytesMax);

constexpr const char* kNothingChanged = "Nothing was changed, try later.";

std::string Owner(std::string_view kind, const JobId& id, std::string_view worker) {
  return fmt::format("{} job {} on {}", kind, id.value(), worker).substr(0, kLeaseNameBytesMax);
}

/// For what fails before the body has begun.
Error BeforeTheStart(Error error) {
  if (error.code() != ErrorCode::kUnavailable) return error;
  return std::move(error).While("the catalog is out of reach").WithHint(kNothingChanged);
}

const Error& Interrupted() {
  static const Error error(
      ErrorCode::kAborted,
      "interrupted: its process ended, or lost the catalog, before the job did",
      "A later job has started anew.");
  return error;
}

}  // namespace

JobRunner::JobRunner(LeaseTable& leases, JobJournal& jobs, Clock& clock, Random& random,
                     JobRunnerOptions options, JobObserver* observer)
    : leases_(leases),
      jobs_(jobs),
      clock_(clock),
      random_(random),
      options_(std::move(options)),
      observer_(observer) {
  if (options_.worker.empty()) options_.worker = ThisWorker();
}

Result<JobRunner::Grant> JobRunner::AcquireLease(const CallContext& call, const std::string& name,
                                                 const std::string& owner, Duration wait) {
  const MonotonicTime until = clock_.Monotonic() + wait;
  std::optional<Lease> told;
  while (true) {
    const MonotonicTime sent = clock_.Monotonic();
    auto lease = leases_.Acquire(call, name, owner, options_.lease_term);
    if (lease.ok()) return Grant{*std::move(lease), sent};
    if (lease.error().code() != ErrorCode::kBusy) return BeforeTheStart(std::move(lease).error());
    HF_TRY(const auto holder, leases_.FindLease(call, name));
    if (holder && holder->held && IsProvenGone(holder->lease.owner)) {
      // In its name, with its token: when somebody else was faster, this changes nothing.
      HF_RETURN_IF_ERROR(leases_.Release(call, holder->lease));
      continue;
    }
    if (clock_.Monotonic() >= until) return std::move(lease).error();
    if (observer_ != nullptr && holder && holder->held && told != holder->lease) {
      told = holder->lease;
      observer_->OnWaiting(*holder);
    }
    HF_RETURN_IF_ERROR(clock_.SleepFor(
        call, std::min(options_.wait_poll, until - clock_.Monotonic() + Duration(1))));
  }
}

Result<JobReport> JobRunner::Run(const CallContext& call, const JobSpec& spec,
                                 const JobBody& body) {
  const JobId id = MakeJobId(clock_.Wall(), random_.Next());
  HF_TRY(Grant grant,
         AcquireLease(call, spec.lease_name, Owner(spec.kind, id, options_.worker), spec.wait));
  Session session(call, {leases_, jobs_, clock_, options_, observer_}, id, std::move(grant.lease),
                  grant.sent);
  const auto begin = [&]() -> Status {
    if (spec.interrupted == InterruptedJobs::kClose) {
      HF_RETURN_IF_ERROR(jobs_.CloseInterrupted(session.call(), session.lease(), spec.kind,
                                                ErrorToJson(Interrupted())));
    }
    return jobs_.AddJob(session.call(),
                        {.id = id,
                         .kind = spec.kind,
                         .cluster = spec.cluster,
                         .subject = spec.subject,
                         .lease_name = spec.lease_name,
                         .request_json = spec.request_json},
                        &session.lease());
  };
  if (Status begun = begin(); !begun.ok()) {
    session.Close();
    return BeforeTheStart(std::move(begun).error());
  }
  session.Begin(1, {.request_json = spec.request_json, .plan_json = {}, .result_json = {}});
  return RunBody(call, session, body);
}

Result<JobReport> JobRunner::Resume(const CallContext& call, const JobId& id, Duration wait,
                                    const JobBody& body) {
  auto found = jobs_.FindJob(call, id);
  if (!found.ok()) return BeforeTheStart(std::move(found).error());
  if (!*found) return Error(ErrorCode::kNotFound, fmt::format("there is no job {}", id.value()));
  const JobRecord& record = (*found)->record;
  if (IsFinal(record.state)) {
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("job {} has ended: it is {}", id.value(), JobStateName(record.state)));
  }
  HF_TRY(Grant grant,
         AcquireLease(call, record.lease_name, Owner(record.kind, id, options_.worker), wait));
  Session session(call, {leases_, jobs_, clock_, options_, observer_}, id, std::move(grant.lease),
                  grant.sent);
  JobDetails job;
  const auto begin = [&]() -> Status {
    HF_RETURN_IF_ERROR(jobs_.StartJob(session.call(), session.lease(), id));
    // Again, because its last owner may have written between our look and our lease.
    HF_TRY(auto now, jobs_.FindJob(session.call(), id));
    if (!now) return Error(ErrorCode::kNotFound, fmt::format("job {} has vanished", id.value()));
    job = *std::move(now);
    return {};
  };
  if (Status begun = begin(); !begun.ok()) {
    session.Close();
    return BeforeTheStart(std::move(begun).error());
  }
  session.Begin(job.record.attempt, std::move(job.documents));
  return RunBody(call, session, body);
}

Result<JobReport> JobRunner::RunBody(const CallContext& call, Session& session,
                                     const JobBody& body) {
  Result<std::string> result = [&] {
    std::jthread ticker;
    if (observer_ != nullptr) {
      ticker = std::jthread([&](const std::stop_token& stop) {
        const CallContext ticking{.stop = stop, .deadline = {}};
        while (clock_.SleepFor(ticking, options_.progress_interval).ok()) {
          const ProgressSnapshot snapshot = session.progress().Snapshot();
          session.Tell([&](JobObserver& observer) { observer.OnProgress(snapshot); });
        }
      });
    }
    return body(session);
  }();
  const Status ended = result.ok() ? Status() : Status(result.error());
  const JobEnd end = Conclude(ended, session.cause(call), session.lease().name);
  JobReport report{.id = session.job(),
                   .attempt = session.attempt(),
                   .result_json = result.ok() ? *result : std::string(),
                   .recorded = true};
  if (end.event == JobEvent::kFail && session.left_interrupted()) {
    // A job that runs and has no lease is interrupted.
    session.Tell(
        [&](JobObserver& observer) { observer.OnEnded(session.job(), JobState::kInterrupted); });
  } else {
    report.recorded = session.RecordEnd(end, report.result_json);
  }
  session.Close();
  if (end.error) return *end.error;
  return report;
}

Status JobRunner::Close(const CallContext& call, const JobId& id, std::string_view reason) {
  auto found = jobs_.FindJob(call, id);
  if (!found.ok()) return BeforeTheStart(std::move(found).error());
  if (!*found) return Error(ErrorCode::kNotFound, fmt::format("there is no job {}", id.value()));
  const JobRecord& record = (*found)->record;
  HF_TRY(const Grant grant,
         AcquireLease(call, record.lease_name, Owner("closing of", id, options_.worker), {}));
  const Error closed(ErrorCode::kCancelled, fmt::format("closed: {}", reason));
  const Status finished = jobs_.FinishJob(
      call, grant.lease, id,
      {.state = JobState::kCancelled, .result_json = {}, .error_json = ErrorToJson(closed)});
  // A lease that cannot be given back expires by itself.
  (void)leases_.Release({}, grant.lease);
  return finished;
}

JobId MakeJobId(WallTime now, std::uint64_t random) {
  std::string id = FormatTime(now);  // 2026-11-22T03:24:38.123Z
  id = id.substr(0, 4) + id.substr(5, 2) + id.substr(8, 5) + id.substr(14, 2) + id.substr(17, 2);
  return JobId(fmt::format("{}Z-{:016x}", id, random));
}

std::string ErrorToJson(const Error& error) {
  const nlohmann::json json = {{"code", std::string(ErrorCodeName(error.code()))},
                               {"message", error.message().substr(0, kErrorTextBytesMax)},
                               {"hint", error.hint().substr(0, kErrorTextBytesMax)}};
  // Texts of other programs need not be UTF-8, and a cut may fall into a character.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace holdfast
