#include "testing/ops/simulated_life.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>

#include "base/size.h"
#include "store/retrying_store.h"

namespace holdfast::testing {
namespace {

constexpr std::size_t kTraceLines = 2000;

class Listener final : public JobObserver {
 public:
  void OnStarted(const JobId& id, std::uint32_t) override { job = id; }
  void OnWarning(std::string_view text) override { texts.emplace_back(text); }
  std::optional<JobId> job;
  std::vector<std::string> texts;
};

Result<std::unique_ptr<Repository>> OpenRepository(ObjectStore& store) {
  return Repository::Open({}, store,
                          {.sealing = Sealing::kNone, .password = {}, .clock = SystemClock()});
}

}  // namespace

std::uint64_t Setting(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

bool Ended::Warned(const std::string& of) const {
  return std::ranges::any_of(
      warnings, [&](const std::string& text) { return text.find(of) != std::string::npos; });
}

SimulatedLife::SimulatedLife(std::uint64_t seed)
    : random(seed), memory(SystemClock()), pool(SystemClock(), 2, 16) {
  const Status made = Repository::Init(
      {}, memory, {.sealing = Sealing::kNone, .password = {}, .clock = SystemClock()});
  EXPECT_TRUE(made.ok()) << made.error().ToString();
  auto opened = OpenRepository(memory);
  EXPECT_TRUE(opened.ok()) << opened.error().ToString();
  if (opened.ok()) repository = *std::move(opened);
}

void SimulatedLife::Note(std::string line) {
  const std::scoped_lock lock(trace_mutex_);
  if (!trace_.empty() && trace_.back().first == line) {
    ++trace_.back().second;
    return;
  }
  trace_.emplace_back(std::move(line), 1);
  if (trace_.size() > kTraceLines) trace_.pop_front();
}

std::string SimulatedLife::Trace() {
  const std::scoped_lock lock(trace_mutex_);
  std::string text;
  for (const auto& [line, times] : trace_) {
    text += "  " + line + (times > 1 ? " (" + std::to_string(times) + " times)" : "") + "\n";
  }
  return text;
}

Ended SimulatedLife::InProcess(
    ScriptedEngine& engine, const ProcessTrouble& trouble,
    const std::function<std::optional<Error>(ProcessParts& parts)>& body) {
  // A lease that a dead process held has expired.
  catalog.clock().Advance(std::chrono::minutes(5));
  Process process([&](std::string_view what) {
    Note(std::string(what));
    if (trouble.between) trouble.between(what);
  });
  std::stop_source user;
  if (trouble.die_at > 0) process.DieAt(trouble.die_at, OneIn(2));
  if (trouble.stop_at > 0) {
    process.Before(trouble.stop_at, [&] {
      Note("  STOPPED by the user");
      user.request_stop();
    });
  }
  FaultyObjectStore faulty(memory, clock);
  faulty.AllowUnused();
  for (std::int64_t n = trouble.faults; n > 0; --n) Note("  FAULT " + trouble.add_fault(faulty));
  ProcessStore reached(process, faulty);
  RetryingStore patient(reached, Retrier{.clock = clock, .random = random, .policy = {}});
  ProcessEngine cluster(process, engine, trouble.defer);
  ProcessCatalog journal(process, *catalog, random, trouble.catalog_one_in);

  Ended ended;
  Listener heard;
  auto opened = OpenRepository(patient);
  if (!opened.ok()) {
    ended.error = opened.error();
  } else {
    JobRunnerOptions options;
    options.record_pause = std::chrono::milliseconds(1);
    options.record_patience = std::chrono::milliseconds(100);
    JobRunner runner(journal, journal, SystemClock(), random, options, &heard);
    const CallContext call{.stop = user.get_token(), .deadline = {}};
    ProcessParts parts{.call = call,
                       .engine = cluster,
                       .repository = **opened,
                       .jobs = journal,
                       .leases = journal,
                       .runner = runner,
                       .ended = ended};
    ended.error = body(parts);
  }
  engine.ClearFaults();
  ended.died = process.dead();
  ended.calls = process.calls();
  ended.job = heard.job;
  ended.warnings = std::move(heard.texts);
  Note("ENDED after " + std::to_string(ended.calls) + " calls" + (ended.died ? ", dead: " : ": ") +
       ended.Text());
  for (const std::string& warning : ended.warnings) Note("  warning: " + warning);
  return ended;
}

JobSpec SimulatedLife::Spec(const std::string& kind, InterruptedJobs interrupted) {
  return {.kind = kind,
          .cluster = kSimulatedCluster,
          .subject = {},
          .lease_name = std::string("cluster/") + kSimulatedCluster,
          .request_json = "{}",
          .interrupted = interrupted,
          .wait = {}};
}

std::optional<JobId> SimulatedLife::Interrupted(const Ended& ended) {
  catalog.clock().Advance(std::chrono::minutes(5));
  if (!ended.job) return std::nullopt;
  const auto job = catalog->FindJob({}, *ended.job);
  EXPECT_TRUE(job.ok());
  // What began may have died before its first record.
  if (!*job || (*job)->record.state != JobState::kInterrupted) return std::nullopt;
  return ended.job;
}

BackupOptions SimulatedLife::PlainBackup() {
  BackupOptions options;
  options.cluster = kSimulatedCluster;
  options.holdfast_version = "test";
  options.capture.spool_directory = options.writer.spool_directory = folder.path().string();
  options.capture.settle = std::chrono::milliseconds(100);
  options.writer.spool_bytes_max = 64 * kMiB;
  options.request.spool_bytes_max = options.writer.spool_bytes_max;
  return options;
}

Ended SimulatedLife::Backup(ScriptedEngine& source, const ProcessTrouble& trouble,
                            const BackupOptions& options) {
  return InProcess(source, trouble, [&](ProcessParts& parts) -> std::optional<Error> {
    BackupOp backup({.engine = parts.engine,
                     .repository = parts.repository,
                     .jobs = parts.jobs,
                     .pool = pool,
                     .clock = clock,
                     .random = random},
                    options);
    const auto report =
        parts.runner.Run(parts.call, Spec("backup", InterruptedJobs::kClose),
                         [&](StepContext& context) -> Result<std::string> {
                           auto outcome = backup.Run(context);
                           if (!outcome.ok()) return outcome.error();
                           parts.ended.group = outcome->manifest.id;
                           for (const std::string& text : outcome->manifest.warnings) {
                             context.Warn(text);
                           }
                           return std::string("{}");
                         });
    if (!report.ok()) return report.error();
    return std::nullopt;
  });
}

Ended SimulatedLife::Restore(ScriptedEngine& target, const GroupId& group,
                             const RestoreRequest& request, const ProcessTrouble& trouble,
                             const std::optional<JobId>& resume) {
  return InProcess(target, trouble, [&](ProcessParts& parts) -> std::optional<Error> {
    RestoreOptions options;
    options.group = group;
    options.request = request;
    options.user_stop = parts.call.stop;
    options.safety_backup = [](const std::vector<std::string>&) -> Result<GroupId> {
      return GroupId("safety");
    };
    RestoreOp restore({.engine = parts.engine, .repository = parts.repository, .clock = clock},
                      std::move(options));
    const JobBody body = [&](StepContext& context) -> Result<std::string> {
      auto outcome = restore.Run(context);
      if (!outcome.ok()) return outcome.error();
      parts.ended.restored = outcome->collections;
      return std::string("{}");
    };
    const auto report =
        resume ? parts.runner.Resume(parts.call, *resume, {}, body)
               : parts.runner.Run(parts.call, Spec("restore", InterruptedJobs::kKeep), body);
    if (!report.ok()) return report.error();
    return std::nullopt;
  });
}

HeldGroup SimulatedLife::Read(const GroupId& group) {
  HeldGroup held;
  const auto envelope = repository->ReadManifest({}, group);
  EXPECT_TRUE(envelope.ok()) << envelope.error().ToString();
  const auto manifest = ManifestFromJson(envelope->body);
  EXPECT_TRUE(manifest.ok()) << manifest.error().ToString();
  held.manifest = *manifest;
  for (const CollectionSummary& summary : manifest->collections) {
    const auto text = repository->ReadCollection({}, *envelope, summary.record);
    EXPECT_TRUE(text.ok()) << text.error().ToString();
    auto record = RecordFromJson(*text);
    EXPECT_TRUE(record.ok()) << record.error().ToString();
    held.records[summary.name] = *std::move(record);
  }
  return held;
}

}  // namespace holdfast::testing
