#include "job/job_machine.h"

#include <fmt/format.h>

#include "base/assert.h"

namespace holdfast {
namespace {

std::string_view EventName(JobEvent event) {
  switch (event) {
    case JobEvent::kStart:
      return "start";
    case JobEvent::kLoseWorker:
      return "lose its worker";
    case JobEvent::kResume:
      return "resume";
    case JobEvent::kSucceed:
      return "succeed";
    case JobEvent::kFail:
      return "fail";
    case JobEvent::kCancel:
      return "be cancelled";
  }
  HF_ASSERT(false);
}

/// What a body reports when it was stopped from outside; anything else is an error of its own.
bool IsStop(ErrorCode code) {
  return code == ErrorCode::kCancelled || code == ErrorCode::kDeadlineExceeded ||
         code == ErrorCode::kAborted || code == ErrorCode::kUnavailable;
}

}  // namespace

Result<JobState> Advance(JobState from, JobEvent event) {
  if (from == JobState::kQueued) {
    if (event == JobEvent::kStart) return JobState::kRunning;
    if (event == JobEvent::kCancel) return JobState::kCancelled;
  }
  if (from == JobState::kRunning) {
    if (event == JobEvent::kLoseWorker) return JobState::kInterrupted;
    if (event == JobEvent::kSucceed) return JobState::kComplete;
  }
  if (from == JobState::kInterrupted && event == JobEvent::kResume) return JobState::kRunning;
  if (from == JobState::kRunning || from == JobState::kInterrupted) {
    if (event == JobEvent::kFail) return JobState::kFailed;
    if (event == JobEvent::kCancel) return JobState::kCancelled;
  }
  return Error(ErrorCode::kFailedPrecondition,
               fmt::format("a job that is {} cannot {}", JobStateName(from), EventName(event)));
}

JobEnd Conclude(const Status& body, StopCause cause, std::string_view lease_name) {
  if (body.ok()) return {JobEvent::kSucceed, std::nullopt};
  const Error& error = body.error();
  switch (cause) {
    case StopCause::kLeaseTaken:
      if (!IsStop(error.code())) break;
      return {JobEvent::kFail,
              Error(ErrorCode::kAborted,
                    fmt::format("somebody else took {}, so this job stopped", lease_name),
                    "Look who works on it: this job had not renewed its lease in time.")};
    case StopCause::kLeaseExpired:
      if (!IsStop(error.code())) break;
      return {JobEvent::kFail,
              Error(ErrorCode::kAborted,
                    fmt::format("the catalog was out of reach until the lease {} expired, so this "
                                "job stopped",
                                lease_name),
                    "Run it again when the catalog can be reached.")};
    case StopCause::kCaller:
      if (error.code() == ErrorCode::kCancelled) return {JobEvent::kCancel, error};
      break;
    case StopCause::kNone:
      break;
  }
  return {JobEvent::kFail, error};
}

LeaseTiming::LeaseTiming(Duration term, MonotonicTime sent) : term_(term), base_(sent) {
  HF_ASSERT(term > Duration(0));
}

void LeaseTiming::Renewed(MonotonicTime sent) {
  HF_ASSERT(sent >= base_);
  base_ = sent;
}

}  // namespace holdfast
