// `holdfast jobs`.

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/holdfast/command_helpers.h"
#include "model/json.h"

namespace holdfast {
namespace {

Json TimeOrNull(const std::optional<WallTime>& time) {
  return time ? Json(FormatTime(*time)) : Json();
}

/// The message of a job that failed; empty when it did not.
std::string Message(const JobRecord& job) {
  const Json error = Json::parse(job.error_json, nullptr, false);
  const auto message = error.is_object() ? error.find("message") : error.end();
  return message != error.end() && message->is_string() ? message->get<std::string>() : "";
}

Result<int> RunJobs(CommandContext& context, std::uint32_t limit) {
  HF_TRY(const auto jobs, context.service.ListJobs(context.call, limit));
  Table table{{"JOB", "KIND", "CLUSTER", "OF", "STATE", "STARTED", "ENDED", "WHAT HAPPENED"}};
  Json list = Json::array();
  for (const JobRecord& job : jobs) {
    const bool can_resume =
        (job.kind == "restore" || job.kind == "reshard" || job.kind == "rebalance") &&
        job.state == JobState::kInterrupted;
    table.push_back(
        {job.id.value(), job.kind, job.cluster, job.subject, std::string(JobStateName(job.state)),
         job.started_at ? FormatTime(*job.started_at) : "",
         job.finished_at ? FormatTime(*job.finished_at) : "",
         can_resume ? "holdfast " + job.kind + " --resume " + job.id.value() : Message(job)});
    list.push_back({{"job", job.id.value()},
                    {"kind", job.kind},
                    {"cluster", job.cluster},
                    {"group", job.subject},
                    {"state", JobStateName(job.state)},
                    {"attempt", job.attempt},
                    {"started_at", TimeOrNull(job.started_at)},
                    {"finished_at", TimeOrNull(job.finished_at)},
                    {"message", Message(job)}});
  }
  context.output.PrintTable(table);
  context.output.Result("complete", {{"jobs", std::move(list)}});
  return kExitDone;
}

}  // namespace

void AddJobs(CLI::App& app, CommonOptions& options, Command& chosen) {
  const auto limit = std::make_shared<std::uint32_t>(20);
  CLI::App* command =
      Add(app, options, "jobs", "List what was run, newest first, and what can be resumed",
          "holdfast jobs --limit 5", false);
  command->add_option("--limit", *limit, "How many at most")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->callback([limit, &chosen] {
    chosen = [limit](CommandContext& context) { return RunJobs(context, *limit); };
  });
}

}  // namespace holdfast
