// A job whose process dies at any catalog call, or at any moment, reaches a final state in the next
// process, and no step is done again once it was recorded.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "job/job_runner.h"
#include "testing/catalog/child_process.h"
#include "testing/catalog/faulty_journal.h"
#include "testing/catalog/samples.h"
#include "testing/catalog/temp_catalog.h"
#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using holdfast::testing::ChildProcess;
using holdfast::testing::FakeClock;
using holdfast::testing::FaultyJournal;
using holdfast::testing::RunTestInChild;
using holdfast::testing::TempCatalog;
using holdfast::testing::TempFolder;
using std::chrono::seconds;

constexpr std::array kSteps = {"create", "send/1", "send/2", "verify"};

JobSpec Spec(InterruptedJobs interrupted) {
  return {.kind = interrupted == InterruptedJobs::kKeep ? "restore" : "backup",
          .cluster = "prod",
          .subject = "",
          .lease_name = "cluster/prod",
          .request_json = "{}",
          .interrupted = interrupted,
          .wait = {}};
}

/// Runs of each step, by job.
using Runs = std::map<std::pair<std::string, std::string>, int>;

JobBody Body(Runs& runs) {
  return [&runs](StepContext& context) -> Result<std::string> {
    HF_RETURN_IF_ERROR(context.SavePlan("[1,2,3]"));
    for (const char* key : kSteps) {
      HF_RETURN_IF_ERROR(context.Step(key, [&](const CallContext&) -> Result<std::string> {
        ++runs[{context.job().value(), key}];
        return std::string("{}");
      }));
    }
    return std::string("{\"done\":true}");
  };
}

class JobCrash : public ::testing::TestWithParam<InterruptedJobs> {};

TEST_P(JobCrash, AtAnyCatalogCallTheNextProcessBringsItToAnEnd) {
  JobRunnerOptions options;
  options.worker = "test";
  options.record_patience = Duration(0);
  Random random(1);
  for (const bool after : {false, true}) {
    std::uint64_t died = 0;
    for (std::uint64_t n = 1;; ++n) {
      SCOPED_TRACE("call " + std::to_string(n) + (after ? ", after it took effect" : ""));
      TempCatalog catalog;
      Runs runs;
      FaultyJournal dying(*catalog);
      dying.DieAt(n, after);
      {
        JobRunner runner(dying, dying, SystemClock(), random, options);
        (void)runner.Run({}, Spec(GetParam()), Body(runs));
      }
      catalog.clock().Advance(options.lease_term + seconds(1));
      if (dying.dead()) ++died;

      JobRunner next(*catalog, *catalog, SystemClock(), random, options);
      auto left = catalog->ListJobs({}, {}, 10, std::nullopt);
      ASSERT_TRUE(left.ok()) << left.error().ToString();
      ASSERT_LE(left->size(), 1U);
      const bool interrupted = !left->empty() && left->front().state == JobState::kInterrupted;
      Result<JobReport> report = GetParam() == InterruptedJobs::kKeep && interrupted
                                     ? next.Resume({}, left->front().id, {}, Body(runs))
                                     : next.Run({}, Spec(GetParam()), Body(runs));
      ASSERT_TRUE(report.ok()) << report.error().ToString();

      auto jobs = catalog->ListJobs({}, {}, 10, std::nullopt);
      ASSERT_TRUE(jobs.ok());
      for (const JobRecord& job : *jobs) {
        EXPECT_TRUE(IsFinal(job.state)) << JobStateName(job.state);
      }
      // Within one job, only the step that was under way at the death may have run twice.
      int repeated = 0;
      for (const auto& [step, count] : runs) {
        EXPECT_LE(count, 2) << step.second;
        repeated += count - 1;
      }
      EXPECT_LE(repeated, 1);
      for (const char* key : kSteps) {
        EXPECT_GE((runs[{report->id.value(), key}]), 1) << key;
        auto step = catalog->FindStep({}, report->id, key);
        ASSERT_TRUE(step.ok() && step->has_value()) << key;
        EXPECT_EQ((*step)->state, StepState::kComplete);
      }
      auto lease = catalog->FindLease({}, "cluster/prod");
      ASSERT_TRUE(lease.ok() && lease->has_value());
      EXPECT_FALSE((*lease)->held);
      if (HasFailure()) return;
      if (!dying.dead()) break;
    }
    // Acquire, the plan, four steps, the end, the release, at least.
    EXPECT_GE(died, 8U);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, JobCrash,
                         ::testing::Values(InterruptedJobs::kKeep, InterruptedJobs::kClose),
                         [](const auto& test) {
                           return test.param == InterruptedJobs::kKeep ? "Restore" : "Backup";
                         });

// --- real processes and a real kill -9 ---------------------------------------------------------

constexpr const char* kFolderVariable = "HOLDFAST_TEST_JOB_FOLDER";
constexpr int kChildSteps = 30;

Result<std::unique_ptr<Catalog>> OpenIn(const std::filesystem::path& folder, Clock& clock,
                                        Random& random) {
  return OpenCatalog(
      {}, {.url = "sqlite://" + (folder / "catalog.db").string(), .password = {}, .ca_file = {}},
      clock, random);
}

/// Every step leaves a line; while it runs there is a folder of its name.
JobBody TracingBody(const std::filesystem::path& folder) {
  return [folder](StepContext& context) -> Result<std::string> {
    for (int i = 0; i < kChildSteps; ++i) {
      const std::string key = "step" + std::to_string(i);
      HF_RETURN_IF_ERROR(context.Step(key, [&](const CallContext&) -> Result<std::string> {
        if (!std::filesystem::create_directory(folder / key)) {
          return Error(ErrorCode::kInternal, "two processes are in " + key);
        }
        std::ofstream(folder / "trace", std::ios::app) << key << "\n" << std::flush;
        std::filesystem::remove(folder / key);
        return std::string("{}");
      }));
    }
    return std::string("{\"done\":true}");
  };
}

TEST(JobCrashChild, DISABLED_RunsAJob) {
  const char* folder = std::getenv(kFolderVariable);
  ASSERT_NE(folder, nullptr);
  Random random(static_cast<std::uint64_t>(::getpid()));
  auto catalog = OpenIn(folder, SystemClock(), random);
  ASSERT_TRUE(catalog.ok()) << catalog.error().ToString();
  JobRunner runner(**catalog, **catalog, SystemClock(), random, {});
  const auto report = runner.Run({}, Spec(InterruptedJobs::kKeep), TracingBody(folder));
  ASSERT_TRUE(report.ok()) << report.error().ToString();
}

TEST(JobCrashAcrossProcesses, KilledAtAnyMomentTheNextProcessBringsItToAnEnd) {
  Random random(11);
  int killed = 0;
  for (int round = 0; round < 15; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const TempFolder folder(TempFolder::Place::kMemory);
    ChildProcess child =
        RunTestInChild("JobCrashChild.DISABLED_RunsAJob",
                       {std::string(kFolderVariable) + "=" + folder.path().string()});
    // Some way into the job: a number of steps, and then any moment between two of them.
    const auto lines = [&] {
      std::ifstream trace(folder.path() / "trace");
      return std::count(std::istreambuf_iterator<char>(trace), {}, '\n');
    };
    const std::int64_t enough = random.Between(0, kChildSteps);
    while (child.running() && lines() < enough) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds(random.Between(0, 5'000)));
    child.Kill();
    if (child.Wait() == -SIGKILL) ++killed;
    for (int i = 0; i < kChildSteps; ++i) {
      std::filesystem::remove(folder.path() / ("step" + std::to_string(i)));
    }

    // An hour later, so that nobody has to wait for the lease of the dead.
    FakeClock later;
    later.SetWall(SystemClock().Wall() + std::chrono::hours(1));
    auto catalog = OpenIn(folder.path(), later, random);
    ASSERT_TRUE(catalog.ok()) << catalog.error().ToString();
    JobRunner runner(**catalog, **catalog, SystemClock(), random, {});
    auto left = (*catalog)->ListJobs({}, {}, 10, std::nullopt);
    ASSERT_TRUE(left.ok());
    ASSERT_LE(left->size(), 1U);
    if (left->empty()) continue;
    const std::int64_t before = lines();
    if (left->front().state == JobState::kInterrupted) {
      auto steps = (*catalog)->ListSteps({}, left->front().id, 1000, "");
      ASSERT_TRUE(steps.ok());
      // What is recorded was done; at most one was done and not recorded.
      EXPECT_LE(static_cast<std::int64_t>(steps->size()), before);
      EXPECT_GE(static_cast<std::int64_t>(steps->size()) + 1, before);
      const auto report = runner.Resume({}, left->front().id, {}, TracingBody(folder.path()));
      ASSERT_TRUE(report.ok()) << report.error().ToString();
      EXPECT_EQ(lines(), before + kChildSteps - static_cast<std::int64_t>(steps->size()));
    }
    auto job = (*catalog)->FindJob({}, left->front().id);
    ASSERT_TRUE(job.ok() && job->has_value());
    EXPECT_EQ((*job)->record.state, JobState::kComplete);
  }
  EXPECT_GT(killed, 0);
}

TEST(JobCrashAcrossProcesses, OfTwoProcessesThatBeginAtOnceOneRunsTheJob) {
  const TempFolder folder;
  std::vector<ChildProcess> children;
  for (int i = 0; i < 3; ++i) {
    children.push_back(
        RunTestInChild("JobCrashChild.DISABLED_RunsAJob",
                       {std::string(kFolderVariable) + "=" + folder.path().string()}));
  }
  int succeeded = 0;
  for (ChildProcess& child : children) {
    if (child.Wait() == 0) ++succeeded;
  }
  EXPECT_GE(succeeded, 1);
  FakeClock later;
  later.SetWall(SystemClock().Wall() + std::chrono::hours(1));
  Random random(1);
  auto catalog = OpenIn(folder.path(), later, random);
  ASSERT_TRUE(catalog.ok()) << catalog.error().ToString();
  auto jobs = (*catalog)->ListJobs({}, {}, 10, std::nullopt);
  ASSERT_TRUE(jobs.ok());
  EXPECT_EQ(jobs->size(), static_cast<std::size_t>(succeeded));
  for (const JobRecord& job : *jobs) EXPECT_EQ(job.state, JobState::kComplete);
}

}  // namespace
}  // namespace holdfast
