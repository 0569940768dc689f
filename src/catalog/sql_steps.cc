#include <fmt/format.h>

#include "catalog/sql_catalog.h"
#include "catalog/sql_rows.h"

namespace holdfast::sql {
namespace {

Result<StepRecord> ReadStep(const Row& row) {
  Columns columns(row);
  StepRecord step;
  step.key = columns.Text();
  const std::string state = columns.Text();
  step.attempt = static_cast<std::uint32_t>(columns.Number());
  step.ended_at = columns.Time();
  step.detail_json = columns.Text();
  if (state != "complete" && state != "failed") {
    return Error(ErrorCode::kDataLoss, fmt::format("the catalog's record of step {} has the state "
                                                   "\"{}\"",
                                                   step.key, state));
  }
  step.state = state == "complete" ? StepState::kComplete : StepState::kFailed;
  return step;
}

}  // namespace

Status SqlCatalog::PutStep(const CallContext& call, const Lease& lease, const JobId& id,
                           const StepRecord& step) {
  HF_RETURN_IF_ERROR(CheckName("key of the step", step.key, kStepKeyBytesMax));
  HF_RETURN_IF_ERROR(CheckDocument("detail of the step", step.detail_json, kDocumentBytesMax));
  return store_.Write(call, [&](Session& session) -> Status {
    HF_RETURN_IF_ERROR(Fence(session, lease));
    HF_TRY(const auto jobs,
           session.Query("SELECT attempt FROM holdfast_jobs WHERE job_id = ? AND "
                         "state = 'running' AND lease_name = ? AND lease_token = ?",
                         {id.value(), lease.name, Signed(lease.token)}));
    if (jobs.empty()) {
      return Error(
          ErrorCode::kFailedPrecondition,
          fmt::format("job {} does not run under this grant of {}", id.value(), lease.name));
    }
    const std::vector<Value> values = {
        std::string(step.state == StepState::kComplete ? "complete" : "failed"),
        Columns(jobs[0]).Signed(), step.detail_json, id.value(), step.key};
    HF_TRY(const auto updated,
           session.Execute("UPDATE holdfast_steps SET state = ?, attempt = ?, detail = ?, "
                           "ended_us = {now} WHERE job_id = ? AND step_key = ?",
                           values));
    if (updated == 1) return {};
    HF_RETURN_IF_ERROR(
        session.Execute("INSERT INTO holdfast_steps (state, attempt, detail, job_id, step_key, "
                        "ended_us) VALUES (?, ?, ?, ?, ?, {now})",
                        values));
    return {};
  });
}

Result<std::optional<StepRecord>> SqlCatalog::FindStep(const CallContext& call, const JobId& id,
                                                       std::string_view key) {
  std::optional<StepRecord> step;
  Status read = store_.Read(call, [&](Session& session) -> Status {
    HF_TRY(const auto rows,
           session.Query("SELECT step_key, state, attempt, ended_us, detail FROM holdfast_steps "
                         "WHERE job_id = ? AND step_key = ?",
                         {id.value(), std::string(key)}));
    step.reset();
    if (rows.empty()) return {};
    HF_TRY(step, ReadStep(rows[0]));
    return {};
  });
  if (!read.ok()) return std::move(read).error();
  return step;
}

Result<std::vector<StepRecord>> SqlCatalog::ListSteps(const CallContext& call, const JobId& id,
                                                      std::size_t limit, std::string_view after) {
  HF_RETURN_IF_ERROR(CheckLimit(limit));
  std::vector<StepRecord> steps;
  Status read = store_.Read(call, [&](Session& session) -> Status {
    HF_TRY(const auto rows,
           session.Query("SELECT step_key, state, attempt, ended_us, '' FROM holdfast_steps "
                         "WHERE job_id = ? AND step_key > ? ORDER BY step_key LIMIT ?",
                         {id.value(), std::string(after), Signed(limit)}));
    steps.clear();
    for (const Row& row : rows) {
      HF_TRY(auto step, ReadStep(row));
      steps.push_back(std::move(step));
    }
    return {};
  });
  if (!read.ok()) return std::move(read).error();
  return steps;
}

}  // namespace holdfast::sql
