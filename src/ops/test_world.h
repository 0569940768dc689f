// What tests of this module stand on: a simulated cluster, a repository in memory, a catalog in a
// file, and jobs that really run through the runner.

#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "catalog/catalog.h"
#include "job/job_runner.h"
#include "ops/backup_op.h"
#include "ops/restore_op.h"
#include "repo/repository.h"
#include "repo/verify.h"
#include "testing/fake_clock.h"
#include "testing/memory_object_store.h"
#include "testing/scripted_engine.h"
#include "testing/temp_folder.h"

namespace holdfast {

/// Collects what a job tells its observer.
class Notes final : public JobObserver {
 public:
  void OnWarning(std::string_view text) override { warnings.emplace_back(text); }
  std::vector<std::string> warnings;
};

/// Ops and the simulated cluster live on a clock that moves by itself. What keeps a thread that
/// sleeps (leases, intents, progress) lives on the machine's, or time would run away.
class OpsWorld {
 public:
  explicit OpsWorld(testing::ScriptedOptions options = {}, ObjectStore* store = nullptr)
      : engine(clock, options), store_(store != nullptr ? *store : memory) {
    InitOptions init{.sealing = Sealing::kNone, .password = {}, .clock = SystemClock()};
    const Status made = Repository::Init({}, store_, init);
    EXPECT_TRUE(made.ok()) << made.error().ToString();
    Reopen();
  }

  /// As after a restart: nothing is remembered but the store and the catalog's file.
  void Reopen() {
    OpenOptions open{.sealing = Sealing::kNone, .password = {}, .clock = SystemClock()};
    auto opened = Repository::Open({}, store_, std::move(open));
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    repository = *std::move(opened);
    auto cat = OpenCatalog({},
                           {.url = "sqlite://" + folder.path().string() + "/catalog.db",
                            .password = {},
                            .ca_file = {}},
                           SystemClock(), random);
    ASSERT_TRUE(cat.ok()) << cat.error().ToString();
    catalog = *std::move(cat);
  }

  BackupOptions Options() {
    BackupOptions options;
    options.cluster = "prod";
    options.holdfast_version = "test";
    options.capture.spool_directory = folder.path().string();
    options.capture.settle = std::chrono::milliseconds(100);
    options.writer.spool_directory = folder.path().string();
    options.writer.spool_bytes_max = 64 * kMiB;
    return options;
  }

  Result<BackupOutcome> Backup(std::optional<BackupOptions> options = {}) {
    BackupOp backup({.engine = engine,
                     .repository = *repository,
                     .jobs = *catalog,
                     .pool = pool,
                     .clock = clock,
                     .random = random},
                    options ? *std::move(options) : Options());
    std::optional<BackupOutcome> outcome;
    JobRunner runner(*catalog, *catalog, SystemClock(), random, {}, &notes);
    const auto ran = runner.Run({},
                                {.kind = "backup",
                                 .cluster = "prod",
                                 .subject = {},
                                 .lease_name = "cluster/prod",
                                 .request_json = "{}",
                                 .interrupted = InterruptedJobs::kClose,
                                 .wait = {}},
                                [&](StepContext& context) -> Result<std::string> {
                                  auto done = backup.Run(context);
                                  if (!done.ok()) return std::move(done).error();
                                  outcome = *std::move(done);
                                  return std::string("{}");
                                });
    if (!ran.ok()) return ran.error();
    return *std::move(outcome);
  }

  Result<RestoreOutcome> Restore(const GroupId& group, RestoreRequest request = {}) {
    RestoreOptions options;
    options.group = group;
    options.request = std::move(request);
    options.safety_backup = [this](const std::vector<std::string>& names) -> Result<GroupId> {
      safety_backups.insert(names.begin(), names.end());
      return GroupId("safety");
    };
    options.user_stop = user_stop.get_token();
    RestoreOp restore({.engine = engine, .repository = *repository, .clock = clock},
                      std::move(options));
    std::optional<RestoreOutcome> outcome;
    JobRunner runner(*catalog, *catalog, SystemClock(), random, {}, &notes);
    const auto ran = runner.Run({},
                                {.kind = "restore",
                                 .cluster = "prod",
                                 .subject = {},
                                 .lease_name = "cluster/prod",
                                 .request_json = "{}",
                                 .interrupted = InterruptedJobs::kKeep,
                                 .wait = {}},
                                [&](StepContext& context) -> Result<std::string> {
                                  auto done = restore.Run(context);
                                  if (!done.ok()) return std::move(done).error();
                                  outcome = *std::move(done);
                                  return std::string("{}");
                                });
    if (!ran.ok()) return ran.error();
    return *std::move(outcome);
  }

  std::size_t Groups() {
    const auto groups = repository->ListGroups({});
    EXPECT_TRUE(groups.ok());
    return groups.ok() ? groups->size() : 0;
  }

  /// Every block of every listed group is there and whole.
  void ExpectValidRepository() {
    const auto report = Verify({}, *repository,
                               {.groups = {},
                                .share = 1,
                                .parallelism = 1,
                                .spool_directory = folder.path().string(),
                                .record = false});
    ASSERT_TRUE(report.ok()) << report.error().ToString();
    EXPECT_EQ(report->damaged_count, 0U)
        << (report->damaged.empty() ? "" : report->damaged.front().object);
  }

  // Catalogs in it would wait for the disk at every commit.
  testing::TempFolder folder{testing::TempFolder::Place::kMemory};
  testing::FakeClock clock;
  Random random{7};
  testing::ScriptedEngine engine;
  testing::MemoryObjectStore memory{SystemClock()};
  CpuPool pool{SystemClock(), 2, 16};
  std::unique_ptr<Repository> repository;
  std::unique_ptr<Catalog> catalog;
  Notes notes;
  std::set<std::string> safety_backups;
  std::stop_source user_stop;

 private:
  ObjectStore& store_;
};

}  // namespace holdfast
