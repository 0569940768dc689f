#include "job/job_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "job/worker_mark.h"
#include "testing/catalog/faulty_journal.h"
#include "testing/catalog/samples.h"
#include "testing/catalog/temp_catalog.h"

namespace holdfast {
namespace {

using holdfast::testing::FaultyJournal;
using holdfast::testing::TempCatalog;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Remembers everything, as lines.
class Recorder final : public JobObserver {
 public:
  void OnWaiting(const LeaseView& holder) override { Add("waiting for " + holder.lease.owner); }
  void OnStarted(const JobId&, std::uint32_t attempt) override {
    Add("started " + std::to_string(attempt));
  }
  void OnStep(std::string_view key, const Status& status, bool skipped) override {
    Add(std::string(skipped ? "skipped " : status.ok() ? "done " : "failed ") + std::string(key));
  }
  void OnProgress(const ProgressSnapshot& progress) override {
    const std::scoped_lock lock(mutex_);
    last_ = progress;
    ++snapshots_;
    changed_.notify_all();
  }
  void OnWarning(std::string_view text) override { Add("warning " + std::string(text)); }
  void OnEnded(const JobId&, JobState state) override {
    Add("ended " + std::string(JobStateName(state)));
  }

  std::vector<std::string> lines() {
    const std::scoped_lock lock(mutex_);
    return lines_;
  }
  void WaitForLine(const std::string& begin) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      for (const std::string& line : lines_) {
        if (line.starts_with(begin)) return true;
      }
      return false;
    });
  }
  ProgressSnapshot WaitForSnapshots(int count) {
    std::unique_lock lock(mutex_);
    const int enough = snapshots_ + count;
    changed_.wait(lock, [&] { return snapshots_ >= enough; });
    return last_;
  }

 private:
  void Add(std::string line) {
    const std::scoped_lock lock(mutex_);
    lines_.push_back(std::move(line));
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> lines_;
  ProgressSnapshot last_;
  int snapshots_ = 0;
};

JobSpec Spec(const std::string& kind = "restore") {
  return {.kind = kind,
          .cluster = "prod",
          .subject = "group",
          .lease_name = "cluster/prod/" + kind,
          .request_json = R"({"group":"latest"})",
          .interrupted = kind == "restore" ? InterruptedJobs::kKeep : InterruptedJobs::kClose,
          .wait = {}};
}

/// The jobs' own clock is the machine's (its lease lasts longer than any test), the database's is
/// the test's: that is how leases expire here.
class JobRunnerTest : public ::testing::Test {
 protected:
  JobRunnerTest() {
    options_.worker = "test";
    options_.wait_poll = milliseconds(1);
    options_.record_pause = milliseconds(1);
    options_.record_patience = milliseconds(20);
  }

  JobRunner NewRunner() {
    return JobRunner(journal_, journal_, SystemClock(), random_, options_, &recorder_);
  }

  JobDetails Find(const JobId& id) {
    auto job = catalog_->FindJob({}, id);
    EXPECT_TRUE(job.ok() && job->has_value());
    return job.ok() && *job ? **job : JobDetails();
  }

  std::vector<JobRecord> Jobs() {
    auto jobs = catalog_->ListJobs({}, {}, 100, std::nullopt);
    EXPECT_TRUE(jobs.ok());
    return jobs.ok() ? *jobs : std::vector<JobRecord>();
  }

  void ExpireLeases() { catalog_.clock().Advance(options_.lease_term + seconds(1)); }

  bool Held(const std::string& name) {
    auto view = catalog_->FindLease({}, name);
    EXPECT_TRUE(view.ok());
    return view.ok() && *view && (*view)->held;
  }

  /// A job whose process died in its body.
  JobId Abandon(const JobSpec& spec, const JobBody& body) {
    FaultyJournal dying(*catalog_);
    JobRunner runner(dying, dying, SystemClock(), random_, options_);
    JobId id;
    const auto run = runner.Run({}, spec, [&](StepContext& context) {
      id = context.job();
      auto result = body(context);
      dying.DieAt(dying.calls() + 1, /*after=*/false);
      return result;
    });
    ExpireLeases();
    EXPECT_EQ(Find(id).record.state, JobState::kInterrupted);
    return id;
  }

  TempCatalog catalog_;
  FaultyJournal journal_{*catalog_};
  Random random_{5};
  JobRunnerOptions options_;
  Recorder recorder_;
};

TEST_F(JobRunnerTest, AJobIsRecordedFromBeginToEnd) {
  JobRunner runner = NewRunner();
  JobId id;
  const auto report = runner.Run({}, Spec(), [&](StepContext& context) -> Result<std::string> {
    id = context.job();
    EXPECT_EQ(Find(id).record.state, JobState::kRunning);
    EXPECT_TRUE(Held("cluster/prod/restore"));
    EXPECT_EQ(context.attempt(), 1U);
    EXPECT_EQ(context.request_json(), R"({"group":"latest"})");
    EXPECT_EQ(context.plan_json(), "");
    HF_RETURN_IF_ERROR(context.SavePlan("[1]"));
    HF_RETURN_IF_ERROR(context.SetSubject("20261122"));
    HF_TRY(const std::string detail,
           context.Step("one", [](const CallContext&) -> Result<std::string> {
             return std::string("{\"n\":1}");
           }));
    EXPECT_EQ(detail, "{\"n\":1}");
    return std::string("{\"points\":2}");
  });
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(report->id, id);
  EXPECT_EQ(report->result_json, "{\"points\":2}");
  EXPECT_TRUE(report->recorded);
  const JobDetails job = Find(id);
  EXPECT_EQ(job.record.state, JobState::kComplete);
  EXPECT_EQ(job.record.subject, "20261122");
  EXPECT_THAT(job.record.owner, HasSubstr(id.value()));
  EXPECT_THAT(job.record.owner, HasSubstr("test"));
  EXPECT_EQ(job.documents.plan_json, "[1]");
  EXPECT_EQ(job.documents.result_json, "{\"points\":2}");
  EXPECT_FALSE(Held("cluster/prod/restore"));
  EXPECT_THAT(recorder_.lines(), ElementsAre("started 1", "done one", "ended complete"));
}

TEST_F(JobRunnerTest, ABodyThatFailsIsRecordedWithItsErrorAndItsStep) {
  JobRunner runner = NewRunner();
  const auto report = runner.Run({}, Spec(), [&](StepContext& context) -> Result<std::string> {
    return context.Step("one", [](const CallContext&) -> Result<std::string> {
      return Error(ErrorCode::kDataLoss, "a block is \"damaged\" \xff", "look at the disk");
    });
  });
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code(), ErrorCode::kDataLoss);
  ASSERT_EQ(Jobs().size(), 1U);
  const JobRecord job = Jobs()[0];
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_THAT(job.error_json, HasSubstr("\"code\":\"data_loss\""));
  EXPECT_THAT(job.error_json, HasSubstr("look at the disk"));
  auto step = catalog_->FindStep({}, job.id, "one");
  ASSERT_TRUE(step.ok() && step->has_value());
  EXPECT_EQ((*step)->state, StepState::kFailed);
  EXPECT_THAT((*step)->detail_json, HasSubstr("data_loss"));
  EXPECT_FALSE(Held("cluster/prod/restore"));
  EXPECT_THAT(recorder_.lines(), ElementsAre("started 1", "failed one", "ended failed"));
}

TEST_F(JobRunnerTest, ABodyThatWantsToBeResumedLeavesItsJobInterrupted) {
  JobRunner runner = NewRunner();
  JobId id;
  const auto failed = runner.Run({}, Spec(), [&](StepContext& context) -> Result<std::string> {
    id = context.job();
    EXPECT_TRUE(
        context
            .Step("one", [](const CallContext&) -> Result<std::string> { return std::string("1"); })
            .ok());
    context.LeaveInterrupted();
    return Error(ErrorCode::kFailedPrecondition, "writers are at work");
  });
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(Find(id).record.state, JobState::kInterrupted);
  EXPECT_FALSE(Held("cluster/prod/restore"));
  EXPECT_THAT(recorder_.lines(), ElementsAre("started 1", "done one", "ended interrupted"));
  const auto resumed = runner.Resume({}, id, {}, [&](StepContext& context) -> Result<std::string> {
    EXPECT_EQ(context.attempt(), 2U);
    return context.Step("one", [](const CallContext&) -> Result<std::string> {
      ADD_FAILURE() << "done before";
      return std::string();
    });
  });
  ASSERT_TRUE(resumed.ok()) << resumed.error().ToString();
  EXPECT_EQ(Find(id).record.state, JobState::kComplete);
}

TEST_F(JobRunnerTest, ACallersStopEndsAlsoAJobThatWantsToBeResumed) {
  JobRunner runner = NewRunner();
  std::stop_source stop;
  const auto report = runner.Run({.stop = stop.get_token(), .deadline = {}}, Spec(),
                                 [&](StepContext& context) -> Result<std::string> {
                                   context.LeaveInterrupted();
                                   stop.request_stop();
                                   return Error(ErrorCode::kCancelled, "stopped");
                                 });
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(Jobs()[0].state, JobState::kCancelled);
}

TEST_F(JobRunnerTest, AJobThatItsCallerStopsEndsAsCancelled) {
  JobRunner runner = NewRunner();
  std::stop_source stop;
  const auto report =
      runner.Run({.stop = stop.get_token(), .deadline = {}}, Spec(),
                 [&](StepContext& context) -> Result<std::string> {
                   stop.request_stop();
                   EXPECT_TRUE(context.call().stop.stop_requested());
                   return context.Step("never", [](const CallContext&) -> Result<std::string> {
                     ADD_FAILURE() << "a step began after the stop";
                     return std::string();
                   });
                 });
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(Jobs()[0].state, JobState::kCancelled);
  EXPECT_FALSE(Held("cluster/prod/restore"));
}

TEST_F(JobRunnerTest, ABodyThatEndsAfterTheStopHasStillSucceeded) {
  JobRunner runner = NewRunner();
  std::stop_source stop;
  const auto report = runner.Run({.stop = stop.get_token(), .deadline = {}}, Spec(),
                                 [&](StepContext&) -> Result<std::string> {
                                   stop.request_stop();
                                   return std::string("{}");
                                 });
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(Jobs()[0].state, JobState::kComplete);
}

TEST_F(JobRunnerTest, ASecondJobIsToldWhoHasTheLeaseAndChangesNothing) {
  JobRunner runner = NewRunner();
  const auto report = runner.Run({}, Spec(), [&](StepContext& context) -> Result<std::string> {
    const auto second = runner.Run({}, Spec(), [](StepContext&) -> Result<std::string> {
      ADD_FAILURE() << "two bodies at once";
      return std::string();
    });
    EXPECT_FALSE(second.ok());
    EXPECT_EQ(second.error().code(), ErrorCode::kBusy);
    EXPECT_THAT(second.error().message(), HasSubstr("job " + context.job().value()));
    EXPECT_THAT(second.error().hint(), HasSubstr("try later"));
    const auto resumed = runner.Resume({}, context.job(), {}, [](StepContext&) {
      ADD_FAILURE() << "resumed while it runs";
      return Result<std::string>(std::string());
    });
    EXPECT_EQ(resumed.error().code(), ErrorCode::kBusy);
    EXPECT_EQ(runner.Close({}, context.job(), "x").error().code(), ErrorCode::kBusy);
    EXPECT_EQ(Jobs().size(), 1U);
    return std::string();
  });
  EXPECT_TRUE(report.ok());
}

TEST_F(JobRunnerTest, AJobThatWaitsBeginsWhenTheOtherOneEnds) {
  JobRunner first = NewRunner();
  Recorder waiting;
  std::atomic<bool> inside = false;
  JobRunner second(journal_, journal_, SystemClock(), random_, options_, &waiting);
  std::jthread other;
  const auto report = first.Run({}, Spec(), [&](StepContext& context) -> Result<std::string> {
    inside = true;
    other = std::jthread([&] {
      JobSpec spec = Spec();
      spec.wait = std::chrono::hours(1);
      const auto waited = second.Run({}, spec, [&](StepContext&) -> Result<std::string> {
        EXPECT_FALSE(inside) << "two bodies at once";
        return std::string();
      });
      EXPECT_TRUE(waited.ok()) << waited.error().ToString();
    });
    waiting.WaitForLine("waiting for restore job " + context.job().value());
    inside = false;
    return std::string();
  });
  EXPECT_TRUE(report.ok());
  other.join();
  EXPECT_EQ(waiting.lines().size(), 3U) << "the holder was named more than once";
}

TEST_F(JobRunnerTest, ALeaseOfThisMachineWhoseProcessIsGoneIsTakenOverAtOnce) {
  // The owner of a process that has ended: this one's number, with another start.
  std::string gone = "backup job x on " + ThisWorker();
  gone.insert(gone.size() - 1, "9");
  ASSERT_TRUE(catalog_->Acquire({}, Spec().lease_name, gone, seconds(3600)).ok());
  const auto report = NewRunner().Run({}, Spec(), [&](StepContext&) { return std::string("{}"); });
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  // One that lives keeps it.
  ASSERT_TRUE(
      catalog_->Acquire({}, Spec().lease_name, "backup job x on " + ThisWorker(), seconds(3600))
          .ok());
  const auto refused = NewRunner().Run({}, Spec(), [&](StepContext&) { return std::string("{}"); });
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kBusy);
}

TEST_F(JobRunnerTest, AWaitEndsWithItsTimeOrWithItsCaller) {
  JobRunner runner = NewRunner();
  ASSERT_TRUE(catalog_->Acquire({}, "cluster/prod/restore", "somebody", seconds(30)).ok());
  JobSpec spec = Spec();
  spec.wait = milliseconds(5);
  const JobBody body = [](StepContext&) { return Result<std::string>(std::string()); };
  EXPECT_EQ(runner.Run({}, spec, body).error().code(), ErrorCode::kBusy);
  std::stop_source stop;
  spec.wait = std::chrono::hours(1);
  std::jthread stopper([&] {
    recorder_.WaitForLine("waiting for somebody");
    stop.request_stop();
  });
  EXPECT_EQ(runner.Run({.stop = stop.get_token(), .deadline = {}}, spec, body).error().code(),
            ErrorCode::kCancelled);
  EXPECT_TRUE(Jobs().empty());
}

TEST_F(JobRunnerTest, AStepRunsOncePerJobAlsoWhenAskedForAgain) {
  JobRunner runner = NewRunner();
  int runs = 0;
  const auto report = runner.Run({}, Spec(), [&](StepContext& context) -> Result<std::string> {
    const auto step = [&](const CallContext&) -> Result<std::string> {
      return std::to_string(++runs);
    };
    HF_TRY(const std::string first, context.Step("s", step));
    HF_TRY(const std::string second, context.Step("s", step));
    EXPECT_EQ(first, "1");
    EXPECT_EQ(second, "1");
    return std::string();
  });
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(runs, 1);
  EXPECT_THAT(recorder_.lines(), ElementsAre("started 1", "done s", "skipped s", "ended complete"));
}

TEST_F(JobRunnerTest, AStepThatFailedMayBeTriedAgain) {
  JobRunner runner = NewRunner();
  int runs = 0;
  const auto report = runner.Run({}, Spec(), [&](StepContext& context) -> Result<std::string> {
    const auto step = [&](const CallContext&) -> Result<std::string> {
      if (++runs == 1) return Error(ErrorCode::kUnavailable, "not yet");
      return std::string("1");
    };
    EXPECT_FALSE(context.Step("s", step).ok());
    return context.Step("s", step);
  });
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(runs, 2);
  auto step = catalog_->FindStep({}, report->id, "s");
  ASSERT_TRUE(step.ok() && step->has_value());
  EXPECT_EQ((*step)->state, StepState::kComplete);
}

TEST_F(JobRunnerTest, StepsOfManyThreadsAreAllRecorded) {
  JobRunner runner = NewRunner();
  const auto report = runner.Run({}, Spec(), [&](StepContext& context) -> Result<std::string> {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 5; ++i) {
          const std::string key = std::to_string(t) + "/" + std::to_string(i);
          HF_EXPECT_OK(context.Step(
              key, [&](const CallContext&) -> Result<std::string> { return "\"" + key + "\""; }));
        }
      });
    }
    threads.clear();
    return std::string();
  });
  ASSERT_TRUE(report.ok());
  auto steps = catalog_->ListSteps({}, report->id, 100, "");
  ASSERT_TRUE(steps.ok());
  EXPECT_EQ(steps->size(), 20U);
}

TEST_F(JobRunnerTest, OneStepOnTwoThreadsAtOnceIsADefectOfTheCaller) {
  JobRunner runner = NewRunner();
  const auto report = runner.Run({}, Spec(), [&](StepContext& context) -> Result<std::string> {
    return context.Step("s", [&](const CallContext&) -> Result<std::string> {
      const auto inner =
          context.Step("s", [](const CallContext&) { return Result<std::string>(std::string()); });
      EXPECT_FALSE(inner.ok());
      EXPECT_EQ(inner.error().code(), ErrorCode::kInternal);
      return std::string();
    });
  });
  EXPECT_TRUE(report.ok());
}

TEST_F(JobRunnerTest, AnInterruptedJobIsResumedWithWhatItHadRecorded) {
  const JobBody half = [](StepContext& context) -> Result<std::string> {
    HF_RETURN_IF_ERROR(context.SavePlan("[\"one\",\"two\"]"));
    return context.Step("one", [](const CallContext&) -> Result<std::string> {
      return std::string("{\"first\":true}");
    });
  };
  const JobId id = Abandon(Spec(), half);
  JobRunner runner = NewRunner();
  const auto report = runner.Resume({}, id, {}, [&](StepContext& context) -> Result<std::string> {
    EXPECT_EQ(context.job(), id);
    EXPECT_EQ(context.attempt(), 2U);
    EXPECT_EQ(context.plan_json(), "[\"one\",\"two\"]");
    EXPECT_EQ(context.request_json(), Spec().request_json);
    HF_TRY(const std::string one,
           context.Step("one", [](const CallContext&) -> Result<std::string> {
             ADD_FAILURE() << "done before";
             return std::string();
           }));
    EXPECT_EQ(one, "{\"first\":true}");
    return context.Step("two",
                        [](const CallContext&) -> Result<std::string> { return std::string("2"); });
  });
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(report->attempt, 2U);
  EXPECT_EQ(Find(id).record.state, JobState::kComplete);
  EXPECT_THAT(recorder_.lines(),
              ElementsAre("started 2", "skipped one", "done two", "ended complete"));
  const auto again = runner.Resume({}, id, {}, half);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(again.error().message(), HasSubstr("complete"));
}

TEST_F(JobRunnerTest, ANewBackupClosesTheInterruptedOneAndANewRestoreDoesNot) {
  const JobBody nothing = [](StepContext&) { return Result<std::string>(std::string("{}")); };
  const JobId backup = Abandon(Spec("backup"), nothing);
  const JobId restore = Abandon(Spec("restore"), nothing);
  JobRunner runner = NewRunner();
  ASSERT_TRUE(runner.Run({}, Spec("backup"), nothing).ok());
  ASSERT_TRUE(runner.Run({}, Spec("restore"), nothing).ok());
  EXPECT_EQ(Find(backup).record.state, JobState::kFailed);
  EXPECT_THAT(Find(backup).record.error_json, HasSubstr("interrupted"));
  EXPECT_EQ(Find(restore).record.state, JobState::kInterrupted);
  HF_EXPECT_OK(runner.Close({}, restore, "not needed any more"));
  EXPECT_EQ(Find(restore).record.state, JobState::kCancelled);
  EXPECT_THAT(Find(restore).record.error_json, HasSubstr("not needed any more"));
  EXPECT_FALSE(Held("cluster/prod/restore"));
  EXPECT_EQ(runner.Close({}, restore, "again").error().code(), ErrorCode::kFailedPrecondition);
}

TEST_F(JobRunnerTest, AJobThatIsNotThereIsNotFound) {
  JobRunner runner = NewRunner();
  const JobBody nothing = [](StepContext&) { return Result<std::string>(std::string()); };
  EXPECT_EQ(runner.Resume({}, JobId("none"), {}, nothing).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(runner.Close({}, JobId("none"), "x").error().code(), ErrorCode::kNotFound);
}

TEST_F(JobRunnerTest, AQueuedJobIsBegunByResume) {
  NewJob queued = holdfast::testing::SampleJob("20261122T000000Z-0000000000000001");
  HF_EXPECT_OK(catalog_->AddJob({}, queued, nullptr));
  JobRunner runner = NewRunner();
  const auto report = runner.Resume({}, queued.id, {}, [](StepContext& context) {
    EXPECT_EQ(context.attempt(), 1U);
    return Result<std::string>(std::string("{}"));
  });
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(Find(queued.id).record.state, JobState::kComplete);
}

TEST_F(JobRunnerTest, ACatalogOutOfReachAtTheStartSaysThatNothingWasChanged) {
  journal_.FailWith(Error(ErrorCode::kUnavailable, "connection refused"));
  JobRunner runner = NewRunner();
  const JobBody never = [](StepContext&) -> Result<std::string> {
    ADD_FAILURE() << "the body began";
    return std::string();
  };
  const auto run = runner.Run({}, Spec(), never);
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(run.error().hint(), HasSubstr("Nothing was changed, try later"));
  EXPECT_EQ(runner.Resume({}, JobId("j"), {}, never).error().code(), ErrorCode::kUnavailable);
}

TEST_F(JobRunnerTest, AStepWaitsForACatalogThatIsAwayForAWhile) {
  JobRunner runner = NewRunner();
  const auto report = runner.Run({}, Spec(), [&](StepContext& context) -> Result<std::string> {
    std::jthread healer;
    return context.Step("s", [&](const CallContext&) -> Result<std::string> {
      journal_.FailWith(Error(ErrorCode::kUnavailable, "connection refused"));
      const std::uint64_t calls = journal_.calls();
      healer = std::jthread([&, calls] {
        while (journal_.calls() < calls + 3) std::this_thread::yield();
        journal_.FailWith(std::nullopt);
      });
      return std::string("1");
    });
  });
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  auto step = catalog_->FindStep({}, report->id, "s");
  ASSERT_TRUE(step.ok());
  EXPECT_TRUE(step->has_value());
}

TEST_F(JobRunnerTest, AJobWhoseCatalogStaysAwayIsStoppedBeforeItsLeaseExpires) {
  // Real time: the shortest lease there is.
  options_.lease_term = kLeaseTermMin;
  JobRunner runner = NewRunner();
  const auto report = runner.Run({}, Spec(), [&](StepContext& context) -> Result<std::string> {
    journal_.FailWith(Error(ErrorCode::kUnavailable, "connection refused"));
    return context.Step("s", [&](const CallContext& call) -> Result<std::string> {
      HF_RETURN_IF_ERROR(SystemClock().SleepFor(call, std::chrono::hours(1)));
      return std::string();
    });
  });
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code(), ErrorCode::kAborted);
  EXPECT_THAT(report.error().message(), HasSubstr("out of reach"));
  journal_.FailWith(std::nullopt);
  ExpireLeases();
  EXPECT_EQ(Jobs()[0].state, JobState::kInterrupted);
}

TEST_F(JobRunnerTest, AJobWhoseLeaseWasTakenIsStopped) {
  options_.lease_term = kLeaseTermMin;
  JobRunner runner = NewRunner();
  const auto report = runner.Run({}, Spec(), [&](StepContext& context) -> Result<std::string> {
    ExpireLeases();
    HF_TRY(const Lease taken,
           catalog_->Acquire({}, "cluster/prod/restore", "somebody else", seconds(30)));
    // The next renewal finds out.
    HF_RETURN_IF_ERROR(SystemClock().SleepFor(context.call(), std::chrono::hours(1)));
    return std::string();
  });
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code(), ErrorCode::kAborted);
  EXPECT_THAT(report.error().message(), HasSubstr("took cluster/prod/restore"));
  EXPECT_EQ(Jobs()[0].state, JobState::kInterrupted) << "it is its successor's to end";
  EXPECT_TRUE(Held("cluster/prod/restore")) << "the successor's lease was released";
}

TEST_F(JobRunnerTest, AStepOfAJobWhoseLeaseWasTakenIsNotRecorded) {
  JobRunner runner = NewRunner();
  const auto report = runner.Run({}, Spec(), [&](StepContext& context) -> Result<std::string> {
    ExpireLeases();
    HF_TRY(const Lease taken,
           catalog_->Acquire({}, "cluster/prod/restore", "somebody else", seconds(30)));
    const auto step = context.Step(
        "s", [](const CallContext&) -> Result<std::string> { return std::string("1"); });
    EXPECT_FALSE(step.ok());
    EXPECT_TRUE(context.call().stop.stop_requested());
    HF_RETURN_IF_ERROR(step);
    return std::string();
  });
  EXPECT_EQ(report.error().code(), ErrorCode::kAborted);
  auto step = catalog_->FindStep({}, Jobs()[0].id, "s");
  ASSERT_TRUE(step.ok());
  EXPECT_FALSE(step->has_value());
}

TEST_F(JobRunnerTest, ABodyThatOutlivesTheCatalogGoesOnAndItsResultIsNotLost) {
  options_.lease_term = kLeaseTermMin;
  JobRunner runner = NewRunner();
  const auto report =
      runner.Run({}, Spec("backup"), [&](StepContext& context) -> Result<std::string> {
        context.OutliveCatalog();
        journal_.FailWith(Error(ErrorCode::kUnavailable, "connection refused"));
        // Past the expiry.
        HF_RETURN_IF_ERROR(SystemClock().SleepFor(context.call(), kLeaseTermMin));
        HF_RETURN_IF_ERROR(context.Step(
            "drained", [](const CallContext&) -> Result<std::string> { return std::string("1"); }));
        HF_RETURN_IF_ERROR(context.SavePlan("[]"));
        return std::string("{\"group\":\"g\"}");
      });
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(report->result_json, "{\"group\":\"g\"}");
  EXPECT_FALSE(report->recorded);
  EXPECT_THAT(recorder_.lines(), Contains(HasSubstr("does not know that job")));
  journal_.FailWith(std::nullopt);
  ExpireLeases();
  EXPECT_EQ(Jobs()[0].state, JobState::kInterrupted);
}

TEST_F(JobRunnerTest, AResultThatTheCatalogCannotTakeDoesNotKeepTheJobFromEnding) {
  JobRunner runner = NewRunner();
  const auto report = runner.Run({}, Spec(), [](StepContext&) -> Result<std::string> {
    return std::string("this is not JSON");
  });
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(Find(report->id).record.state, JobState::kComplete);
  EXPECT_EQ(Find(report->id).documents.result_json, "");
  EXPECT_THAT(recorder_.lines(), Contains(HasSubstr("result is not recorded")));
}

TEST_F(JobRunnerTest, AnEndWhoseReplyIsLostIsRecordedOnceAndWithoutAWarning) {
  JobRunner runner = NewRunner();
  for (const bool succeeds : {true, false}) {
    const auto report = runner.Run({}, Spec(), [&](StepContext&) -> Result<std::string> {
      journal_.LoseReply();
      if (!succeeds) return Error(ErrorCode::kInvalidArgument, "no");
      return std::string("{}");
    });
    EXPECT_EQ(report.ok(), succeeds);
  }
  EXPECT_THAT(recorder_.lines(),
              ElementsAre("started 1", "ended complete", "started 1", "ended failed"));
}

TEST_F(JobRunnerTest, TheObserverSeesProgressWhileTheBodyRuns) {
  options_.progress_interval = milliseconds(1);
  JobRunner runner = NewRunner();
  const auto report = runner.Run({}, Spec(), [&](StepContext& context) -> Result<std::string> {
    context.progress().BeginPhase("capture");
    context.progress().Expect("node 1", 100, 1);
    context.progress().AddBytes("node 1", 40);
    const ProgressSnapshot seen = recorder_.WaitForSnapshots(2);
    EXPECT_EQ(seen.phase, "capture");
    EXPECT_EQ(seen.total.bytes_done, 40U);
    context.Warn("slow");
    return std::string();
  });
  EXPECT_TRUE(report.ok());
  EXPECT_THAT(recorder_.lines(), Contains("warning slow"));
}

TEST(ErrorToJson, IsShortValidJsonWhateverTheTextHolds) {
  const Error error(ErrorCode::kInternal, std::string(100'000, '\x01') + "\xff\xfe",
                    std::string(100'000, '"'));
  const std::string json = ErrorToJson(error);
  EXPECT_LE(json.size(), kErrorJsonBytesMax);
  EXPECT_THAT(json, HasSubstr("\"code\":\"internal\""));
}

TEST(MakeJobId, IsTheInstantAndTheNumber) {
  const auto time = ParseTime("2026-11-22T03:24:38.999Z");
  ASSERT_TRUE(time.ok());
  EXPECT_EQ(MakeJobId(*time, 0x9f8a).value(), "20261122T032438Z-0000000000009f8a");
}

}  // namespace
}  // namespace holdfast
