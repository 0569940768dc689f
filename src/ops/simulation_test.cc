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
#include <iostream>
#include <mutex>
#include <set>

#include "repo/intent.h"
#include "repo/verify.h"
#include "testing/ops/simulated_fence.h"
#include "testing/ops/simulated_life.h"
#include "testing/ops/simulation_events.h"
#include "testing/ops/written.h"

namespace holdfast {
namespace {

using testing::AddCollections;
using testing::AddFault;
using testing::ClusterOptions;
using testing::CutInterval;
using testing::Ended;
using testing::FakeClock;
using testing::FaultyObjectStore;
using testing::Heal;
using testing::HeldGroup;
using testing::MadeCollection;
using testing::MakeEvent;
using testing::ProcessTrouble;
using testing::ScriptedEngine;
using testing::Setting;
using testing::SimulatedFence;
using testing::SimulatedLife;
using testing::Written;

/// Enough for a minute's worth of bugs in every commit; more by HOLDFAST_TEST_SEEDS.
constexpr std::uint64_t kSeeds = 100;

/// What goes wrong in one run.
struct Trouble : ProcessTrouble {
  /// Most writes between two calls.
  std::int64_t writes = 2;
  /// One call of so many sees something happen in the cluster; 0: none.
  std::int64_t events_one_in = 0;
};

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed)
      : life_(seed),
        source_(clock_, ClusterOptions(random_, seed)),
        written_(clock_, source_, random_) {
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

  std::string Trace() { return life_.Trace(); }

 private:
  static bool Failed() { return ::testing::Test::HasFailure(); }
  std::int64_t Chance(std::int64_t low, std::int64_t high) { return life_.Chance(low, high); }
  bool OneIn(std::int64_t n) { return life_.OneIn(n); }

  static void ExpectNothing(const std::vector<std::string>& wrong) {
    for (std::size_t i = 0; i < std::min<std::size_t>(wrong.size(), 5); ++i) {
      ADD_FAILURE() << wrong[i];
    }
  }

  // --- the world between two calls
  // -----------------------------------------------------------------

  void Between(ScriptedEngine& engine, const Trouble& trouble) {
    const std::scoped_lock lock(world_mutex_);
    if (OneIn(trouble.events_one_in)) life_.Note("  EVENT " + MakeEvent(random_, engine));
    if (fence_ != nullptr && fence_->away()) return;
    for (std::int64_t n = Chance(0, trouble.writes); n > 0; --n) written_.WriteOne();
  }

  void Moment() {
    const std::scoped_lock lock(world_mutex_);
    if (fence_ != nullptr && fence_->away()) return;
    for (std::int64_t n = Chance(0, moment_writes_); n > 0; --n) written_.WriteOne();
  }

  /// `run` makes the process.
  template <class F>
  Ended WithTrouble(ScriptedEngine& engine, const Trouble& trouble, F run) {
    ProcessTrouble of_process = trouble;
    of_process.add_fault = [&](FaultyObjectStore& store) {
      return AddFault(random_, engine, store);
    };
    of_process.between = [&](std::string_view) { Between(engine, trouble); };
    moment_writes_ = trouble.writes;
    Ended ended = run(of_process);
    moment_writes_ = 0;
    return ended;
  }

  // --- backup
  // ----------------------------------------------------------------------------------------

  Ended Backup(const Trouble& trouble, bool plain, SimulatedFence* fence) {
    BackupOptions options = life_.PlainBackup();
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
    const Ended ended = WithTrouble(source_, trouble, [&](const ProcessTrouble& of_process) {
      return life_.Backup(source_, of_process, options);
    });
    fence_ = nullptr;
    if (fence != nullptr && !ended.died) {
      EXPECT_EQ(fence->freezes, fence->thaws) << "writers were not released";
    }
    return ended;
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
    return WithTrouble(target, trouble, [&](const ProcessTrouble& of_process) {
      return life_.Restore(target, group, request, of_process, resume);
    });
  }

  std::unique_ptr<ScriptedEngine> FreshCluster() {
    return std::make_unique<ScriptedEngine>(
        clock_, ClusterOptions(random_, static_cast<std::uint64_t>(Chance(1, 1'000'000))));
  }

  /// The cut of a shard in simulated time. The group's clock zero is kept to the millisecond.
  CutInterval CutOf(const GroupManifest& manifest, const ShardImage& image) {
    const MonotonicTime zero = clock_.Monotonic() - (clock_.Wall() - manifest.begun_at);
    return {.begin = zero + Duration(image.cut_begin_us),
            .end = zero + Duration(image.cut_end_us) + std::chrono::milliseconds(1)};
  }

  /// What is wrong with one restored collection.
  std::vector<std::string> CheckRestored(ScriptedEngine& target, const HeldGroup& held,
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

  void CheckFence(const GroupId& group, const HeldGroup& held) {
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

  void CheckOutcome(ScriptedEngine& target, const GroupId& group, const HeldGroup& held,
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
      const HeldGroup held = life_.Read(group);
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
                             const HeldGroup& held, const Ended& ended) {
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
    const HeldGroup held = life_.Read(group);
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
    if (const auto job = life_.Interrupted(ended); job && OneIn(2)) {
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

  /// Onto the cluster it came from, where writers go on.
  void RestoreBesideTheLive() {
    Heal(source_);
    const GroupId group = SomeGroup();
    const HeldGroup held = life_.Read(group);
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
  SimulatedLife life_;
  Random& random_ = life_.random;
  FakeClock& clock_ = life_.clock;
  testing::TempFolder& folder_ = life_.folder;
  std::unique_ptr<Repository>& repository_ = life_.repository;
  ScriptedEngine source_;
  Written written_;
  SimulatedFence* fence_ = nullptr;
  std::int64_t moment_writes_ = 0;
  std::uint64_t calls_ = 0;
  std::set<std::string> ended_;
  std::mutex world_mutex_;
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
