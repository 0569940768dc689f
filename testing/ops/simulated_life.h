// What simulations of whole lives of holdfast share: time, a repository, a catalog, and processes
// that work with them until they end, fail or die.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"
#include "exec/cpu_pool.h"
#include "job/job_runner.h"
#include "model/group.h"
#include "ops/backup_op.h"
#include "ops/restore_op.h"
#include "repo/repository.h"
#include "testing/catalog/temp_catalog.h"
#include "testing/fake_clock.h"
#include "testing/faulty_object_store.h"
#include "testing/memory_object_store.h"
#include "testing/ops/process.h"
#include "testing/ops/process_engine.h"
#include "testing/scripted_engine.h"
#include "testing/temp_folder.h"

namespace holdfast::testing {

/// The cluster that jobs are recorded for; they share its lease.
inline constexpr const char* kSimulatedCluster = "prod";

/// The number in the environment variable `name`.
std::uint64_t Setting(const char* name, std::uint64_t otherwise);

/// What goes wrong in and around one process.
struct ProcessTrouble {
  /// Faults of the cluster and of the store: so many times what `add_fault` adds and describes.
  std::int64_t faults = 0;
  std::function<std::string(FaultyObjectStore&)> add_fault{};
  /// One call of the catalog of so many fails; 0: none.
  std::int64_t catalog_one_in = 0;
  /// Call at which the process dies, or the user stops it; 0: none.
  std::uint64_t die_at = 0;
  std::uint64_t stop_at = 0;
  /// What the world does before each of the process's calls.
  std::function<void(std::string_view what)> between{};
  /// Of ProcessEngine.
  ProcessEngine::Defer defer{};
};

/// How a process ended.
struct Ended {
  std::optional<Error> error;
  bool died = false;
  std::uint64_t calls = 0;
  /// The job that it ran; absent when it never began.
  std::optional<JobId> job;
  std::vector<std::string> warnings;
  std::optional<GroupId> group;
  std::vector<RestoredCollection> restored;

  bool ok() const { return !error; }
  std::string Text() const { return error ? error->ToString() : "ok"; }
  bool Warned(const std::string& of) const;
};

/// What a process has to work with.
struct ProcessParts {
  const CallContext& call;
  Engine& engine;
  Repository& repository;
  JobJournal& jobs;
  LeaseTable& leases;
  JobRunner& runner;
  Ended& ended;
};

/// A group as it was written, read without any trouble.
struct HeldGroup {
  GroupManifest manifest;
  std::map<std::string, CollectionRecord> records;
};

/// Time is simulated for operations and the cluster, and the machine's for threads that sleep
/// (leases, intents): they would let the simulated time run away.
class SimulatedLife {
 public:
  explicit SimulatedLife(std::uint64_t seed);

  std::int64_t Chance(std::int64_t low, std::int64_t high) { return random.Between(low, high); }
  bool OneIn(std::int64_t n) { return n > 0 && random.Between(1, n) == 1; }

  /// The trace keeps the last lines, those that repeat once.
  void Note(std::string line);
  std::string Trace();

  /// Runs `body` in a process of its own, with `trouble`.
  Ended InProcess(ScriptedEngine& engine, const ProcessTrouble& trouble,
                  const std::function<std::optional<Error>(ProcessParts& parts)>& body);

  static JobSpec Spec(const std::string& kind, InterruptedJobs interrupted);
  /// The job of that process, when it is interrupted; its lease has expired.
  std::optional<JobId> Interrupted(const Ended& ended);

  BackupOptions PlainBackup();
  Ended Backup(ScriptedEngine& source, const ProcessTrouble& trouble, const BackupOptions& options);
  Ended Restore(ScriptedEngine& target, const GroupId& group, const RestoreRequest& request,
                const ProcessTrouble& trouble, const std::optional<JobId>& resume = {});

  HeldGroup Read(const GroupId& group);

  Random random;
  FakeClock clock;
  TempCatalog catalog;
  MemoryObjectStore memory;
  CpuPool pool;
  TempFolder folder{TempFolder::Place::kMemory};
  /// Of a process that has no trouble.
  std::unique_ptr<Repository> repository;

 private:
  std::mutex trace_mutex_;
  std::deque<std::pair<std::string, std::uint64_t>> trace_;
};

}  // namespace holdfast::testing
