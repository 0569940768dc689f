#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "catalog/sql_catalog.h"
#include "catalog/sql_rows.h"

namespace holdfast::sql {
namespace {

/// One row of a document: with its key far below the 6,291,456 bytes that TiDB takes.
constexpr std::size_t kPartBytesMax = 3 * kMiB;

/// A job that is stored as running while its grant is no longer the latest, or has expired, shows
/// as interrupted: expiry already means that nobody vouches for it.
constexpr std::string_view kShownState =
    "CASE WHEN j.state = 'running' AND (l.name IS NULL OR l.token <> j.lease_token OR "
    "l.expires_us <= {now}) THEN 'interrupted' ELSE j.state END";
constexpr std::string_view kTables =
    "holdfast_jobs j LEFT JOIN holdfast_leases l ON l.name = j.lease_name";
constexpr std::string_view kColumns =
    "j.job_id, j.kind, j.cluster, j.subject, j.lease_name, j.attempt, j.owner, j.error, "
    "j.created_us, j.started_us, j.finished_us";

Result<JobRecord> ReadJob(const Row& row) {
  Columns columns(row);
  const std::string state = columns.Text();
  JobRecord job;
  job.id = JobId(columns.Text());
  job.kind = columns.Text();
  job.cluster = columns.Text();
  job.subject = columns.Text();
  job.lease_name = columns.Text();
  job.attempt = static_cast<std::uint32_t>(columns.Number());
  job.owner = columns.Text();
  job.error_json = columns.Text();
  job.created_at = columns.Time();
  job.started_at = columns.OptionalTime();
  job.finished_at = columns.OptionalTime();
  constexpr std::array kAll = {JobState::kQueued,   JobState::kRunning, JobState::kInterrupted,
                               JobState::kComplete, JobState::kFailed,  JobState::kCancelled};
  const auto* found = std::find_if(kAll.begin(), kAll.end(), [&](JobState candidate) {
    return JobStateName(candidate) == state;
  });
  if (found == kAll.end()) {
    return Error(
        ErrorCode::kDataLoss,
        fmt::format("the catalog's record of job {} has the state \"{}\"", job.id.value(), state));
  }
  job.state = *found;
  return job;
}

/// Cuts at characters, because a text column takes no half of one.
std::vector<std::string> Parts(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    std::size_t size = std::min(text.size(), kPartBytesMax);
    while (size < text.size() && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
    parts.emplace_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return parts;
}

Status WriteDocument(Session& session, const JobId& id, const std::string& name,
                     std::string_view text) {
  HF_RETURN_IF_ERROR(session.Execute(
      "DELETE FROM holdfast_job_documents WHERE job_id = ? AND name = ?", {id.value(), name}));
  std::int64_t number = 0;
  for (std::string& part : Parts(text)) {
    HF_RETURN_IF_ERROR(session.Execute(
        "INSERT INTO holdfast_job_documents (job_id, name, part, body) VALUES (?, ?, ?, ?)",
        {id.value(), name, number++, std::move(part)}));
  }
  return {};
}

Status ReadDocuments(Session& session, const JobId& id, JobDocuments& documents) {
  documents = {};
  HF_TRY(const auto rows,
         session.Query("SELECT name, body FROM holdfast_job_documents WHERE job_id = ? "
                       "ORDER BY name, part",
                       {id.value()}));
  for (const Row& row : rows) {
    Columns columns(row);
    const std::string name = columns.Text();
    const std::string body = columns.Text();
    if (name == "request") documents.request_json += body;
    if (name == "plan") documents.plan_json += body;
    if (name == "result") documents.result_json += body;
  }
  return {};
}

/// Says why a change of a job touched no row.
Error WhyNot(Session& session, const Lease& lease, const JobId& id, std::string_view wanted) {
  auto rows =
      session.Query("SELECT state, lease_name FROM holdfast_jobs WHERE job_id = ?", {id.value()});
  if (!rows.ok()) return std::move(rows).error();
  if (rows->empty()) return {ErrorCode::kNotFound, fmt::format("there is no job {}", id.value())};
  Columns columns((*rows)[0]);
  const std::string state = columns.Text();
  const std::string lease_name = columns.Text();
  if (lease_name != lease.name) {
    return {ErrorCode::kFailedPrecondition, fmt::format("job {} runs under the lease {}, not {}",
                                                        id.value(), lease_name, lease.name)};
  }
  return {ErrorCode::kFailedPrecondition,
          fmt::format("job {} is {}, so it cannot be {}", id.value(), state, wanted)};
}

Status CheckJob(const NewJob& job, const Lease* lease) {
  HF_RETURN_IF_ERROR(CheckName("id of the job", job.id.value(), kNameBytesMax));
  HF_RETURN_IF_ERROR(CheckName("kind of the job", job.kind, kNameBytesMax));
  HF_RETURN_IF_ERROR(CheckOptionalName("cluster of the job", job.cluster, kNameBytesMax));
  HF_RETURN_IF_ERROR(CheckOptionalName("subject of the job", job.subject, kNameBytesMax));
  HF_RETURN_IF_ERROR(CheckName("lease name of the job", job.lease_name, kLeaseNameBytesMax));
  if (lease != nullptr && lease->name != job.lease_name) {
    return Error(
        ErrorCode::kInvalidArgument,
        fmt::format("the job names the lease {} and was given {}", job.lease_name, lease->name));
  }
  return CheckDocument("request of the job", job.request_json, kDocumentBytesMax);
}

/// kFailedPrecondition unless the job runs under this very grant.
Status CheckRuns(Session& session, const Lease& lease, const JobId& id, std::string_view wanted) {
  HF_TRY(const auto rows,
         session.Query("SELECT 1 FROM holdfast_jobs WHERE job_id = ? AND state = 'running' "
                       "AND lease_name = ? AND lease_token = ?",
                       {id.value(), lease.name, Signed(lease.token)}));
  if (rows.empty()) return WhyNot(session, lease, id, wanted);
  return {};
}

}  // namespace

Status SqlCatalog::AddJob(const CallContext& call, const NewJob& job, const Lease* lease) {
  HF_RETURN_IF_ERROR(CheckJob(job, lease));
  auto added = store_.Operate(call, [&](Session& session) -> Result<std::string> {
    if (lease != nullptr) HF_RETURN_IF_ERROR(Fence(session, *lease));
    HF_TRY(const auto there,
           session.Query("SELECT 1 FROM holdfast_jobs WHERE job_id = ?", {job.id.value()}));
    if (!there.empty()) {
      return Error(ErrorCode::kAlreadyExists,
                   fmt::format("there is a job {} already", job.id.value()));
    }
    const bool runs = lease != nullptr;
    HF_RETURN_IF_ERROR(session.Execute(
        fmt::format("INSERT INTO holdfast_jobs (job_id, kind, cluster, subject, lease_name, "
                    "lease_token, owner, state, attempt, error, created_us, started_us) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', {{now}}, {})",
                    runs ? "{now}" : "NULL"),
        {job.id.value(), job.kind, job.cluster, job.subject, job.lease_name,
         runs ? Signed(lease->token) : 0, runs ? lease->owner : std::string(),
         std::string(JobStateName(runs ? JobState::kRunning : JobState::kQueued)),
         std::int64_t{runs ? 1 : 0}}));
    HF_RETURN_IF_ERROR(WriteDocument(session, job.id, "request", job.request_json));
    return std::string();
  });
  if (!added.ok()) return std::move(added).error();
  return {};
}

Status SqlCatalog::StartJob(const CallContext& call, const Lease& lease, const JobId& id) {
  auto started = store_.Operate(call, [&](Session& session) -> Result<std::string> {
    HF_RETURN_IF_ERROR(Fence(session, lease));
    // The fence proves that this is the latest grant: a job that runs under an earlier one is
    // interrupted, whatever the time.
    HF_TRY(const auto changed,
           session.Execute(
               "UPDATE holdfast_jobs SET state = 'running', attempt = attempt + 1, owner = ?, "
               "lease_token = ?, started_us = {now} WHERE job_id = ? AND lease_name = ? AND "
               "(state = 'queued' OR (state = 'running' AND lease_token < ?))",
               {lease.owner, Signed(lease.token), id.value(), lease.name, Signed(lease.token)}));
    if (changed != 1) return WhyNot(session, lease, id, "started");
    return std::string();
  });
  if (!started.ok()) return std::move(started).error();
  return {};
}

Status SqlCatalog::UpdateJob(const CallContext& call, const Lease& lease, const JobId& id,
                             const JobUpdate& update) {
  if (update.subject) {
    HF_RETURN_IF_ERROR(CheckOptionalName("subject of the job", *update.subject, kNameBytesMax));
  }
  if (update.plan_json) {
    HF_RETURN_IF_ERROR(CheckDocument("plan of the job", *update.plan_json, kPlanBytesMax));
  }
  return store_.Write(call, [&](Session& session) -> Status {
    HF_RETURN_IF_ERROR(Fence(session, lease));
    HF_RETURN_IF_ERROR(CheckRuns(session, lease, id, "updated"));
    if (update.subject) {
      HF_RETURN_IF_ERROR(session.Execute("UPDATE holdfast_jobs SET subject = ? WHERE job_id = ?",
                                         {*update.subject, id.value()}));
    }
    if (update.plan_json) {
      HF_RETURN_IF_ERROR(WriteDocument(session, id, "plan", *update.plan_json));
    }
    return {};
  });
}

Status SqlCatalog::FinishJob(const CallContext& call, const Lease& lease, const JobId& id,
                             const JobOutcome& outcome) {
  if (!IsFinal(outcome.state) ||
      (outcome.state != JobState::kComplete && outcome.error_json.empty())) {
    return Error(ErrorCode::kInvalidArgument,
                 "a job ends as complete, or as failed or cancelled with an error");
  }
  HF_RETURN_IF_ERROR(CheckDocument("result of the job", outcome.result_json, kDocumentBytesMax));
  HF_RETURN_IF_ERROR(CheckDocument("error of the job", outcome.error_json, kErrorJsonBytesMax));
  auto finished = store_.Operate(call, [&](Session& session) -> Result<std::string> {
    HF_RETURN_IF_ERROR(Fence(session, lease));
    const std::string state(JobStateName(outcome.state));
    HF_TRY(const auto changed,
           session.Execute("UPDATE holdfast_jobs SET state = ?, error = ?, finished_us = {now} "
                           "WHERE job_id = ? AND lease_name = ? AND "
                           "(state = 'queued' OR state = 'running')",
                           {state, outcome.error_json, id.value(), lease.name}));
    if (changed != 1) return WhyNot(session, lease, id, state);
    HF_RETURN_IF_ERROR(WriteDocument(session, id, "result", outcome.result_json));
    return std::string();
  });
  if (!finished.ok()) return std::move(finished).error();
  return {};
}

Result<std::uint64_t> SqlCatalog::CloseInterrupted(const CallContext& call, const Lease& lease,
                                                   std::string_view kind,
                                                   std::string_view error_json) {
  HF_RETURN_IF_ERROR(CheckDocument("error of the job", error_json, kErrorJsonBytesMax));
  HF_TRY(
      const std::string reply, store_.Operate(call, [&](Session& session) -> Result<std::string> {
        HF_RETURN_IF_ERROR(Fence(session, lease));
        HF_TRY(const auto closed,
               session.Execute(
                   "UPDATE holdfast_jobs SET state = 'failed', error = ?, "
                   "finished_us = {now} WHERE lease_name = ? AND kind = ? AND "
                   "state = 'running' AND lease_token < ?",
                   {std::string(error_json), lease.name, std::string(kind), Signed(lease.token)}));
        return fmt::format("{}", closed);
      }));
  std::uint64_t closed = 0;
  std::from_chars(reply.data(), reply.data() + reply.size(), closed);
  return closed;
}

Result<std::optional<JobDetails>> SqlCatalog::FindJob(const CallContext& call, const JobId& id) {
  std::optional<JobDetails> job;
  Status read = store_.Read(call, [&](Session& session) -> Status {
    HF_TRY(const auto rows, session.Query(fmt::format("SELECT {}, {} FROM {} WHERE j.job_id = ?",
                                                      kShownState, kColumns, kTables),
                                          {id.value()}));
    job.reset();
    if (rows.empty()) return {};
    job.emplace();
    HF_TRY(job->record, ReadJob(rows[0]));
    return ReadDocuments(session, id, job->documents);
  });
  if (!read.ok()) return std::move(read).error();
  return job;
}

Result<std::vector<JobRecord>> SqlCatalog::ListJobs(const CallContext& call,
                                                    const JobFilter& filter, std::size_t limit,
                                                    const std::optional<JobId>& after) {
  HF_RETURN_IF_ERROR(CheckLimit(limit));
  std::string sql =
      fmt::format("SELECT {}, {} FROM {} WHERE 1 = 1", kShownState, kColumns, kTables);
  std::vector<Value> values;
  const auto add = [&](std::string_view condition, std::string value) {
    sql += fmt::format(" AND {} = ?", condition);
    values.emplace_back(std::move(value));
  };
  if (filter.cluster) add("j.cluster", *filter.cluster);
  if (filter.kind) add("j.kind", *filter.kind);
  if (filter.lease_name) add("j.lease_name", *filter.lease_name);
  if (filter.state) add(kShownState, std::string(JobStateName(*filter.state)));
  if (after) {
    sql += " AND j.job_id < ?";
    values.emplace_back(after->value());
  }
  sql += " ORDER BY j.job_id DESC LIMIT ?";
  values.emplace_back(Signed(limit));
  std::vector<JobRecord> jobs;
  Status read = store_.Read(call, [&](Session& session) -> Status {
    HF_TRY(const auto rows, session.Query(sql, values));
    jobs.clear();
    for (const Row& row : rows) {
      HF_TRY(auto job, ReadJob(row));
      jobs.push_back(std::move(job));
    }
    return {};
  });
  if (!read.ok()) return std::move(read).error();
  return jobs;
}

}  // namespace holdfast::sql
