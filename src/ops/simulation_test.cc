// Whole clusters and whole lives of holdfast, made by chance from a seed: writers that never stop,
// peers that die and come back, streams that end short, a store and a catalog that fail, and the
// process itself dying at any of its calls. Afterwards: the repository is whole, a group is whole
// or does not exist, every group restores onto another cluster to a state that the writers allow,
// what failed left the live collections alone, and the next run cleans up.
//
// A seed decides what is done and what goes wrong at which call, but captures and uploads have
// threads of their own, so a second run of one seed takes its calls in another order: run a seed
// that failed some ten times (HOLDFAST_TEST_FIRST_SEED=N HOLDFAST_TEST_SEEDS=1
// --gtest_repeat=10). The trace of calls and events of the failed seed is printed.
//
// Time is the simulation's own for ops and the cluster, and the machine's for threads that sleep
// (leases, intents): they would let the simulated time run away.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <mutex>
#include <set>

#include "job/job_runner.h"
#include "ops/backup_op.h"
#include "ops/restore_op.h"
#include "repo/intent.h"
#include "repo/verify.h"
#include "store/retrying_store.h"
#include "testing/catalog/temp_catalog.h"
#include "testing/faulty_object_store.h"
#include "testing/memory_object_store.h"
#include "testing/ops/process.h"
#include "testing/ops/process_engine.h"
#include "testing/ops/simulation_events.h"
#include "testing/ops/written.h"

namespace holdfast {
namespace {

using testing::AddCollections;
using testing::AddFault;
using testing::ClusterOptions;
using testing::CutInterval;
using testing::FakeClock;
using testing::FaultyObjectStore;
using testing::Heal;
using testing::MadeCollection;
using testing::MakeEvent;
using testing::MemoryObjectStore;
using testing::Process;
using testing::ProcessCatalog;
using testing::ProcessEngine;
using testing::ProcessStore;
using testing::ScriptedEngine;
using testing::Written;

/// Enough for a minute's worth of bugs in every commit; more by HOLDFAST_TEST_SEEDS.
constexpr std::uint64_t kSeeds = 100;
constexpr std::size_t kTraceLines = 2000;
constexpr const char* kCluster = "prod";

std::uint64_t Setting(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class Warnings final : public JobObserver {
 public:
  void OnWarning(std::string_view text) override { texts.emplace_back(text); }
  std::vector<std::string> texts;
};

/// A fence that keeps the simulated writers away, and may let them go too early.
class SimulatedFence final : public Fence {
 public:
  /// `writing` is held by whoever writes.
  SimulatedFence(bool holds, std::mutex& writing) : holds_(holds), writing_(writing) {}
  Status Freeze(const CallContext&) override {
    const std::scoped_lock nobody_writes(writing_);
    frozen = true;
    ++freezes;
    return {};
  }
  Status Thaw(const CallContext&) override {
    frozen = false;
    ++thaws;
    if (!holds_) return Error(ErrorCode::kDeadlineExceeded, "the time limit passed");
    return {};
  }
  /// Writers are kept away now.
  bool away() const { return frozen && holds_; }
  std::atomic<bool> frozen = false;
  std::atomic<int> freezes = 0;
  std::atomic<int> thaws = 0;

 private:
  const bool holds_;
  std::mutex& writing_;
};

/// What goes wrong in one run.
struct Trouble {
  /// Most writes between two calls.
  std::int64_t writes = 2;
  /// One call of so many sees something happen in the cluster; 0: none.
  std::int64_t events_one_in = 0;
  /// Faults of calls and streams of the cluster, and of the store.
  std::int64_t faults = 0;
  std::int64_t catalog_one_in = 0;
  /// Call at which the process dies, or the user stops it; 0: none.
  std::uint64_t die_at = 0;
  std::uint64_t stop_at = 0;
};

/// How a run ended.
struct Ended {
  std::optional<Error> error;
  bool died = false;
  std::uint64_t calls = 0;
  std::vector<std::string> warnings;
  std::optional<GroupId> group;
  std::vector<RestoredCollection> restored;

  bool ok() const { return !error; }
  std::string Text() const { return error ? error->ToString() : "ok"; }
  bool Warned(const std::string& of) const {
    return std::ranges::any_of(
        warnings, [&](const std::string& text) { return text.find(of) != std::string::npos; });
  }
};

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed)
      : random_(seed),
        source_(clock_, ClusterOptions(random_, seed)),
        written_(clock_, source_, random_) {
    const Status made = Repository::Init(
        {}, memory_, {.sealing = Sealing::kNone, .password = {}, .clock = SystemClock()});
    EXPECT_TRUE(made.ok()) << made.error().ToString();
    repository_ = OpenRepository(memory_);
    for (const MadeCollection& made_one : AddCollections(random_, source_)) {
      written_.Begin(made_one.name, made_one.keys, made_one.ids);
    }
    for (std::int64_t n = Chance(0, 120); n > 0; --n) written_.WriteOne();
    source_.OnMoment([this](testing::StreamMoment, const ReplicaRef&) { Moment(); });
  }

  void Run() {
    for (std::int64_t n = Chance(1, 3); n > 0 && !Failed(); --n) TroubledBackup();
    if (!Failed()) CleanBackup();
    if (!Failed()) VerifyAll();
    if (!Failed()) RestoreEveryGroup();
    if (!Failed()) TroubledRestore();
    if (!Failed()) RestoreBesideTheLive();
    if (!Failed()) ExpectNothing(written_.CheckLive());
  }

  std::string Trace() {
    const std::scoped_lock lock(trace_mutex_);
    std::string text;
    for (const std::string& line : trace_) text += "  " + line + "\n";
    return text;
  }

 private:
  static bool Failed() { return ::testing::Test::HasFailure(); }
  std::int64_t Chance(std::int64_t low, std::int64_t high) { return random_.Between(low, high); }
  bool OneIn(std::int64_t n) { return n > 0 && random_.Between(1, n) == 1; }

  void Note(std::string line) {
    const std::scoped_lock lock(trace_mutex_);
    trace_.push_back(std::move(line));
    if (trace_.size() > kTraceLines) trace_.pop_front();
  }

  static void ExpectNothing(const std::vector<std::string>& wrong) {
    for (std::size_t i = 0; i < std::min<std::size_t>(wrong.size(), 5); ++i) {
      ADD_FAILURE() << wrong[i];
    }
  }

  static std::unique_ptr<Repository> OpenRepository(ObjectStore& store) {
    auto opened = Repository::Open(
        {}, store, {.sealing = Sealing::kNone, .password = {}, .clock = SystemClock()});
    EXPECT_TRUE(opened.ok()) << opened.error().ToString();
    return opened.ok() ? *std::move(opened) : nullptr;
  }

  // --- the world between two calls
  // -----------------------------------------------------------------

  void Between(ScriptedEngine& engine, const Trouble& trouble, std::string_view what) {
    const std::scoped_lock lock(world_mutex_);
    Note(std::string(what));
    if (OneIn(trouble.events_one_in)) Note("  EVENT " + MakeEvent(random_, engine));
    if (fence_ != nullptr && fence_->away()) return;
    for (std::int64_t n = Chance(0, trouble.writes); n > 0; --n) written_.WriteOne();
  }

  void Moment() {
    const std::scoped_lock lock(world_mutex_);
    if (fence_ != nullptr && fence_->away()) return;
    for (std::int64_t n = Chance(0, moment_writes_); n > 0; --n) written_.WriteOne();
  }

  // --- one process
  // -----------------------------------------------------------------------------------

  /// Runs `body` in a process of its own, with `trouble`.
  template <class Body>
  Ended InProcess(ScriptedEngine& engine, const Trouble& trouble, Body body) {
    // A lease that a dead process held has expired.
    catalog_.clock().Advance(std::chrono::minutes(5));
    Process process([&](std::string_view what) { Between(engine, trouble, what); });
    std::stop_source user;
    if (trouble.die_at > 0) process.DieAt(trouble.die_at, OneIn(2));
    if (trouble.stop_at > 0) {
      process.Before(trouble.stop_at, [&] {
        Note("  STOPPED by the user");
        user.request_stop();
      });
    }
    FaultyObjectStore faulty(memory_, clock_);
    faulty.AllowUnused();
    for (std::int64_t n = trouble.faults; n > 0; --n) {
      Note("  FAULT " + AddFault(random_, engine, faulty));
    }
    ProcessStore reached(process, faulty);
    RetryingStore patient(reached, Retrier{.clock = clock_, .random = random_, .policy = {}});
    ProcessEngine cluster(process, engine);
    ProcessCatalog catalog(process, *catalog_, random_, trouble.catalog_one_in);
    moment_writes_ = trouble.writes;

    Ended ended;
    Warnings warnings;
    auto opened = Repository::Open(
        {}, patient, {.sealing = Sealing::kNone, .password = {}, .clock = SystemClock()});
    if (!opened.ok()) {
      ended.error = opened.error();
    } else {
      JobRunnerOptions options;
      options.record_pause = std::chrono::milliseconds(1);
      options.record_patience = std::chrono::milliseconds(100);
      JobRunner runner(catalog, catalog, SystemClock(), random_, options, &warnings);
      ended.error = body({.stop = user.get_token(), .deadline = {}}, cluster, **opened, catalog,
                         runner, ended);
    }
    engine.ClearFaults();
    moment_writes_ = 0;
    ended.died = process.dead();
    ended.calls = process.calls();
    ended.warnings = std::move(warnings.texts);
    Note("ENDED after " + std::to_string(ended.calls) + " calls" +
         (ended.died ? ", dead: " : ": ") + ended.Text());
    for (const std::string& warning : ended.warnings) Note("  warning: " + warning);
    return ended;
  }

  // --- backup
  // ----------------------------------------------------------------------------------------

  Ended Backup(const Trouble& trouble, bool plain, SimulatedFence* fence) {
    BackupOptions options;
    options.cluster = kCluster;
    options.holdfast_version = "test";
    options.capture.spool_directory = options.writer.spool_directory = folder_.path().string();
    options.capture.settle = std::chrono::milliseconds(100);
    options.writer.spool_bytes_max = 64 * kMiB;
    options.request.spool_bytes_max = options.writer.spool_bytes_max;
    options.fence = fence;
    if (!plain) {
      constexpr std::array kModes = {ModeChoice::kAuto, ModeChoice::kAuto, ModeChoice::kStream,
                                     ModeChoice::kStaged};
      options.request.mode = options.capture.mode =
          kModes.at(static_cast<std::size_t>(Chance(0, 3)));
      options.request.skip_unhealthy = OneIn(3);
      options.request.streams_per_peer_max = OneIn(3) ? 8 : 32;
      if (OneIn(4)) options.max_skew = std::chrono::milliseconds(Chance(1, 200));
      if (OneIn(3)) options.wait = std::chrono::minutes(1);
    }
    fence_ = fence;
    const Ended ended =
        InProcess(source_, trouble,
                  [&](const CallContext& call, Engine& engine, Repository& repository,
                      JobJournal& jobs, JobRunner& runner, Ended& end) -> std::optional<Error> {
                    BackupOp backup({.engine = engine,
                                     .repository = repository,
                                     .jobs = jobs,
                                     .pool = pool_,
                                     .clock = clock_,
                                     .random = random_},
                                    options);
                    const auto report =
                        runner.Run(call, Spec("backup", InterruptedJobs::kClose),
                                   [&](StepContext& context) -> Result<std::string> {
                                     auto outcome = backup.Run(context);
                                     if (!outcome.ok()) return outcome.error();
                                     end.group = outcome->manifest.id;
                                     for (const std::string& text : outcome->manifest.warnings)
                                       context.Warn(text);
                                     return std::string("{}");
                                   });
                    if (!report.ok()) return report.error();
                    return std::nullopt;
                  });
    fence_ = nullptr;
    if (fence != nullptr && !ended.died) {
      EXPECT_EQ(fence->freezes, fence->thaws) << "writers were not released";
    }
    return ended;
  }

  static JobSpec Spec(const std::string& kind, InterruptedJobs interrupted) {
    return {.kind = kind,
            .cluster = kCluster,
            .subject = {},
            .lease_name = std::string("cluster/") + kCluster,
            .request_json = "{}",
            .interrupted = interrupted,
            .wait = {}};
  }

  std::set<GroupId> Groups() {
    std::set<GroupId> ids;
    const auto groups = repository_->ListGroups({});
    EXPECT_TRUE(groups.ok());
    for (const GroupInfo& group : *groups) ids.insert(group.group);
    return ids;
  }

  std::size_t Intents() {
    const auto intents = ListIntents({}, *repository_);
    EXPECT_TRUE(intents.ok());
    return intents->size();
  }

  Trouble SomeTrouble() {
    Trouble trouble;
    trouble.writes = Chance(0, 3);
    if (OneIn(2)) trouble.events_one_in = Chance(5, 60);
    if (OneIn(2)) trouble.faults = Chance(1, 4);
    if (OneIn(5)) trouble.catalog_one_in = Chance(5, 30);
    const std::uint64_t span = calls_ == 0 ? 200 : calls_ + calls_ / 10;
    const auto some_call = static_cast<std::uint64_t>(Chance(1, static_cast<std::int64_t>(span)));
    if (OneIn(3)) trouble.die_at = some_call;
    if (trouble.die_at == 0 && OneIn(8)) trouble.stop_at = some_call;
    return trouble;
  }

  void TroubledBackup() {
    const Trouble trouble = SomeTrouble();
    const std::set<GroupId> before = Groups();
    const std::size_t intents = Intents();
    SimulatedFence fence(!OneIn(4), world_mutex_);
    const Ended ended = Backup(trouble, false, OneIn(4) ? &fence : nullptr);
    calls_ = std::max(calls_, ended.calls);
    const std::set<GroupId> after = Groups();
    EXPECT_TRUE(std::ranges::includes(after, before)) << "a group went away";
    EXPECT_LE(after.size(), before.size() + 1);
    if (ended.ok() && !ended.died) {
      EXPECT_TRUE(after.contains(*ended.group));
    }
    // Only a manifest whose put was answered by an error, or by nobody, may be there after all.
    const bool unsure = ended.died || trouble.faults > 0 || trouble.catalog_one_in > 0;
    if (!ended.ok() && !unsure) {
      EXPECT_EQ(after, before) << ended.Text();
    }
    if (!ended.died && trouble.faults == 0) {
      EXPECT_EQ(Intents(), intents);
    }
    ended_.insert(ended.ok() ? "backup ok" : ended.died ? "backup died" : "backup failed");
  }

  void CleanBackup() {
    Heal(source_);
    const std::size_t groups = Groups().size();
    Trouble trouble;
    trouble.writes = Chance(0, 2);
    const Ended ended = Backup(trouble, true, nullptr);
    ASSERT_TRUE(ended.ok()) << "nothing was wrong any more: " << ended.Text();
    EXPECT_EQ(Groups().size(), groups + 1);
    const auto left = source_.stored_snapshots();
    if (!left.empty()) {
      EXPECT_TRUE(ended.Warned(left.front().name)) << left.front().name;
    }
  }

  void VerifyAll() {
    const auto report = Verify({}, *repository_,
                               {.groups = {},
                                .share = 1,
                                .parallelism = 1,
                                .spool_directory = folder_.path().string(),
                                .record = false});
    ASSERT_TRUE(report.ok()) << report.error().ToString();
    EXPECT_EQ(report->damaged_count, 0U)
        << (report->damaged.empty() ? "" : report->damaged.front().object);
  }

  // --- restore
  // ---------------------------------------------------------------------------------------

  Ended Restore(ScriptedEngine& target, const GroupId& group, const RestoreRequest& request,
                const Trouble& trouble, const std::optional<JobId>& resume = {}) {
    return InProcess(
        target, trouble,
        [&](const CallContext& call, Engine& engine, Repository& repository, JobJournal&,
            JobRunner& runner, Ended& end) -> std::optional<Error> {
          RestoreOptions options;
          options.group = group;
          options.request = request;
          options.user_stop = call.stop;
          options.safety_backup = [](const std::vector<std::string>&) -> Result<GroupId> {
            return GroupId("safety");
          };
          RestoreOp restore({.engine = engine, .repository = repository, .clock = clock_},
                            std::move(options));
          const JobBody body = [&](StepContext& context) -> Result<std::string> {
            auto outcome = restore.Run(context);
            if (!outcome.ok()) return outcome.error();
            end.restored = outcome->collections;
            return std::string("{}");
          };
          const auto report = resume
                                  ? runner.Resume(call, *resume, {}, body)
                                  : runner.Run(call, Spec("restore", InterruptedJobs::kKeep), body);
          if (!report.ok()) return report.error();
          return std::nullopt;
        });
  }

  std::unique_ptr<ScriptedEngine> FreshCluster() {
    return std::make_unique<ScriptedEngine>(
        clock_, ClusterOptions(random_, static_cast<std::uint64_t>(Chance(1, 1'000'000))));
  }

  /// A group as it was written, read without any trouble.
  struct Held {
    GroupManifest manifest;
    std::map<std::string, CollectionRecord> records;
  };
  Held Read(const GroupId& group) {
    Held held;
    const auto envelope = repository_->ReadManifest({}, group);
    EXPECT_TRUE(envelope.ok()) << envelope.error().ToString();
    const auto manifest = ManifestFromJson(envelope->body);
    EXPECT_TRUE(manifest.ok()) << manifest.error().ToString();
    held.manifest = *manifest;
    for (const CollectionSummary& summary : manifest->collections) {
      const auto text = repository_->ReadCollection({}, *envelope, summary.record);
      EXPECT_TRUE(text.ok()) << text.error().ToString();
      auto record = RecordFromJson(*text);
      EXPECT_TRUE(record.ok()) << record.error().ToString();
      held.records[summary.name] = *std::move(record);
    }
    return held;
  }

  /// The cut of a shard in simulated time. The group's clock zero is kept to the millisecond.
  CutInterval CutOf(const GroupManifest& manifest, const ShardImage& image) {
    const MonotonicTime zero = clock_.Monotonic() - (clock_.Wall() - manifest.begun_at);
    return {.begin = zero + Duration(image.cut_begin_us),
            .end = zero + Duration(image.cut_end_us) + std::chrono::milliseconds(1)};
  }

  /// What is wrong with one restored collection.
  std::vector<std::string> CheckRestored(ScriptedEngine& target, const Held& held,
                                         const std::string& source, const std::string& name) {
    const CollectionRecord& record = held.records.at(source);
    const Topology now = target.Now();
    const Collection* there = now.FindCollection(name);
    if (there == nullptr) return {"'" + name + "' is not there"};
    std::vector<std::string> wrong;
    if (there->shard_keys != record.collection.shard_keys) wrong.push_back("other shard keys");
    if (there->indexes != record.collection.indexes) wrong.push_back("other indexes");
    if (there->shards.size() != record.shards.size()) wrong.push_back("other shards");
    for (const ShardImage& image : record.shards) {
      const auto shard = std::ranges::find(there->shards, image.shard, &Shard::id);
      if (shard == there->shards.end() || shard->key != image.key) {
        wrong.push_back("shard " + std::to_string(image.shard.value()) + " is another one");
        continue;
      }
      if (shard->replicas.empty()) wrong.push_back("a shard without replicas");
      std::optional<std::map<std::string, std::string>> content;
      for (const Replica& replica : shard->replicas) {
        const auto lines =
            target.Content({.peer = replica.peer, .collection = name, .shard = shard->id});
        if (content && *content != lines) wrong.push_back("replicas differ");
        content = lines;
      }
      if (!content) continue;
      std::ranges::move(written_.Check(source, shard->id, CutOf(held.manifest, image), *content),
                        std::back_inserter(wrong));
    }
    return wrong;
  }

  void CheckFence(const GroupId& group, const Held& held) {
    if (held.manifest.consistency != Consistency::kFenced) return;
    std::optional<CutInterval> all;
    for (const auto& [name, record] : held.records) {
      for (const ShardImage& image : record.shards) {
        CutInterval cut = CutOf(held.manifest, image);
        cut.begin += std::chrono::milliseconds(1);
        cut.end -= std::chrono::milliseconds(1);
        if (!all) all = cut;
        all->begin = std::min(all->begin, cut.begin);
        all->end = std::max(all->end, cut.end);
      }
    }
    if (all && all->begin < all->end) {
      EXPECT_FALSE(written_.AnyWithin(*all)) << group.value() << " is not fenced";
    }
  }

  void CheckOutcome(ScriptedEngine& target, const GroupId& group, const Held& held,
                    const Ended& ended) {
    EXPECT_EQ(ended.restored.size(), held.records.size());
    for (const RestoredCollection& item : ended.restored) {
      SCOPED_TRACE("group " + group.value() + ", '" + item.source + "' as '" + item.target + "'");
      ExpectNothing(CheckRestored(target, held, item.source, item.target));
    }
  }

  void RestoreEveryGroup() {
    for (const GroupId& group : Groups()) {
      const auto target = FreshCluster();
      RestoreRequest request;
      request.allow_consolidation = true;
      request.hidden = OneIn(4);
      Trouble none;
      none.writes = 0;
      const Ended ended = Restore(*target, group, request, none);
      ASSERT_TRUE(ended.ok()) << "group " << group.value() << " does not restore: " << ended.Text();
      const Held held = Read(group);
      CheckFence(group, held);
      CheckOutcome(*target, group, held, ended);
    }
  }

  GroupId SomeGroup() {
    const std::set<GroupId> groups = Groups();
    return *std::next(groups.begin(), Chance(0, static_cast<std::int64_t>(groups.size()) - 1));
  }

  static std::set<std::string> Names(ScriptedEngine& engine) {
    std::set<std::string> names;
    for (const Collection& collection : engine.Now().collections) names.insert(collection.name);
    return names;
  }

  /// The error says of this collection that it was left.
  static bool IsNamed(const Ended& ended, const std::string& name) {
    const std::string text = ended.Text();
    const auto says = [&](const std::string& words) {
      return text.find(words) != std::string::npos;
    };
    return says("'" + name + "' was made for it and could not be removed") ||
           says("'" + name + "' is restored and verified") ||
           says("whether '" + name + "' was made could not be seen");
  }

  /// After a restore that failed: what it left is whole, or named in the error.
  void ExpectNothingHalfMade(ScriptedEngine& target, const std::set<std::string>& before,
                             const Held& held, const Ended& ended) {
    for (const std::string& name : Names(target)) {
      if (before.contains(name) || IsNamed(ended, name)) continue;
      const auto wrong = CheckRestored(target, held, name, name);
      EXPECT_TRUE(wrong.empty()) << "'" << name
                                 << "' was left half made and is not named: " << wrong.front()
                                 << " after " << ended.Text();
    }
  }

  /// Onto a fresh cluster where things go wrong; then to the end, by resuming or anew.
  void TroubledRestore() {
    const GroupId group = SomeGroup();
    const Held held = Read(group);
    const auto target = FreshCluster();
    RestoreRequest request;
    request.allow_consolidation = true;
    Trouble trouble = SomeTrouble();
    trouble.writes = 0;
    const Ended ended = Restore(*target, group, request, trouble);
    ended_.insert(ended.ok() ? "restore ok" : ended.died ? "restore died" : "restore failed");
    Heal(*target);
    if (!ended.died) {
      if (ended.ok()) CheckOutcome(*target, group, held, ended);
      if (!ended.ok()) ExpectNothingHalfMade(*target, {}, held, ended);
    }
    if (ended.ok() || Failed()) return;
    Trouble none;
    none.writes = 0;
    if (const auto job = Interrupted(); job && OneIn(2)) {
      const Ended resumed = Restore(*target, group, request, none, job);
      Heal(*target);
      // Replicas that died with a peer stay Dead until somebody sends them again.
      if (trouble.events_one_in == 0) {
        EXPECT_TRUE(resumed.ok()) << resumed.Text();
      }
      if (resumed.ok()) {
        ended_.insert("restore resumed");
        CheckOutcome(*target, group, held, resumed);
        return;
      }
      ExpectNothingHalfMade(*target, {}, held, resumed);
    }
    // By hand, as errors and `holdfast topology` say.
    for (const std::string& name : Names(*target)) {
      ASSERT_TRUE(target->DropCollection({}, name).ok());
    }
    const Ended again = Restore(*target, group, request, none);
    ASSERT_TRUE(again.ok()) << again.Text();
    CheckOutcome(*target, group, held, again);
  }

  std::optional<JobId> Interrupted() {
    catalog_.clock().Advance(std::chrono::minutes(5));
    JobFilter filter;
    filter.kind = "restore";
    const auto jobs = catalog_->ListJobs({}, filter, 1, std::nullopt);
    EXPECT_TRUE(jobs.ok());
    if (jobs->empty() || jobs->front().state != JobState::kInterrupted) return std::nullopt;
    return jobs->front().id;
  }

  /// Onto the cluster it came from, where writers go on.
  void RestoreBesideTheLive() {
    Heal(source_);
    const GroupId group = SomeGroup();
    const Held held = Read(group);
    const std::set<std::string> before = Names(source_);
    std::map<std::string, std::vector<std::string>> aliases;
    for (const Collection& there : source_.Now().collections) aliases[there.name] = there.aliases;
    RestoreRequest request;
    request.allow_consolidation = true;
    for (const auto& [name, record] : held.records) request.rename[name] = name + " copy";
    Trouble trouble = SomeTrouble();
    const Ended ended = Restore(source_, group, request, trouble);
    ended_.insert(ended.ok() ? "beside ok" : ended.died ? "beside died" : "beside failed");
    Heal(source_);
    if (ended.ok()) {
      for (const RestoredCollection& item : ended.restored) {
        ExpectNothing(CheckRestored(source_, held, item.source, item.target));
      }
    }
    EXPECT_TRUE(std::ranges::includes(Names(source_), before)) << "a live collection is gone";
    if (!ended.ok() && !ended.died) {
      for (const std::string& name : Names(source_)) {
        if (before.contains(name) || IsNamed(ended, name)) continue;
        const std::string source = name.substr(0, name.size() - 5);
        const auto wrong = CheckRestored(source_, held, source, name);
        EXPECT_TRUE(wrong.empty()) << name << ": " << wrong.front() << " after " << ended.Text();
      }
    }
    if (trouble.events_one_in > 0) return;
    for (const Collection& there : source_.Now().collections) {
      if (before.contains(there.name)) {
        EXPECT_EQ(there.aliases, aliases[there.name]);
      }
    }
  }

 public:
  /// How its runs ended, for a look at what the seeds reach.
  const std::set<std::string>& ended() const { return ended_; }

 private:
  Random random_;
  FakeClock clock_;
  testing::TempFolder folder_{testing::TempFolder::Place::kMemory};
  testing::TempCatalog catalog_;
  MemoryObjectStore memory_{SystemClock()};
  CpuPool pool_{SystemClock(), 2, 16};
  ScriptedEngine source_;
  Written written_;
  std::unique_ptr<Repository> repository_;
  SimulatedFence* fence_ = nullptr;
  std::int64_t moment_writes_ = 0;
  std::uint64_t calls_ = 0;
  std::set<std::string> ended_;
  std::mutex world_mutex_;
  std::mutex trace_mutex_;
  std::deque<std::string> trace_;
};

TEST(SimulationTest, NoSeedBreaksAPromise) {
  const std::uint64_t first = Setting("HOLDFAST_TEST_FIRST_SEED", 1);
  const std::uint64_t seeds = Setting("HOLDFAST_TEST_SEEDS", kSeeds);
  std::map<std::string, std::uint64_t> reached;
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    SCOPED_TRACE("HOLDFAST_TEST_FIRST_SEED=" + std::to_string(seed));
    Simulation simulation(seed);
    simulation.Run();
    for (const std::string& end : simulation.ended()) ++reached[end];
    if (HasFailure()) {
      std::cerr << "Seed " << seed << ", the last calls and events:\n" << simulation.Trace();
      break;
    }
  }
  for (const auto& [end, count] : reached) {
    std::cerr << end << ": " << count << "\n";
  }
  // Where nothing failed, or nothing came through, nothing was tried.
  if (seeds < kSeeds || HasFailure()) return;
  for (const char* end : {"backup ok", "backup died", "backup failed", "restore ok", "restore died",
                          "restore failed", "restore resumed", "beside ok", "beside failed"}) {
    EXPECT_GT(reached[end], 0U) << end;
  }
}

}  // namespace
}  // namespace holdfast
