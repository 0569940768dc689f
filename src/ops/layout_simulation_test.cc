// Whole lives of a cluster that is not the one that was backed up, made by chance from a seed: a
// group is restored onto it, it is rebalanced, collections get another number of shards, and at
// each step peers die and return, replicas turn Dead, transfers fail, answers are late or lost,
// users stop holdfast and its process dies. After each step: what was wanted is there with every
// point and without a deleted one, or a clear error was given and what was there is untouched; and
// once the cluster is well again, going on reaches what was wanted.
//
// Run a seed that failed some times (HOLDFAST_TEST_FIRST_SEED=N HOLDFAST_TEST_SEEDS=1
// --gtest_filter=LayoutSimulation* --gtest_repeat=10): restore and copy have threads of their own.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ops/rebalance/rebalance_op.h"
#include "ops/reshard/reshard_op.h"
#include "testing/ops/layout_world.h"
#include "testing/ops/simulated_fence.h"
#include "testing/ops/simulated_life.h"
#include "testing/ops/simulation_events.h"

namespace holdfast {
namespace {

using testing::AddCallFault;
using testing::ClusterOptions;
using testing::Ended;
using testing::EngineCall;
using testing::FaultyObjectStore;
using testing::HeldGroup;
using testing::LayoutWorld;
using testing::MadeCollection;
using testing::ProcessParts;
using testing::ProcessTrouble;
using testing::ScriptedCollection;
using testing::ScriptedEngine;
using testing::ScriptedOptions;
using testing::Setting;
using testing::SimulatedFence;
using testing::SimulatedLife;
using testing::Tally;
using testing::Weather;

/// More by HOLDFAST_TEST_SEEDS.
constexpr std::uint64_t kSeeds = 60;
/// So many reach everything that may befall a cluster.
constexpr std::uint64_t kSeedsForAll = 400;

/// Where the replicas of a collection are.
using Layout = std::map<ShardId, std::set<PeerId>>;
Layout LayoutOf(const Collection& collection) {
  Layout layout;
  for (const Shard& shard : collection.shards) {
    for (const Replica& replica : shard.replicas) layout[shard.id].insert(replica.peer);
  }
  return layout;
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class LayoutSimulation {
 public:
  LayoutSimulation(std::uint64_t seed, Tally& tally)
      : life_(seed),
        tally_(tally),
        target_(life_.clock, TargetOptions(life_.random, seed + 1'000'000)),
        world_(life_.random, life_.clock, target_, tally,
               [this](const std::string& text) { life_.Note(text); }) {}

  void Run() {
    BackUp();
    MakeTarget();
    if (!Failed()) Restore();
    for (std::int64_t n = Chance(1, 2); n > 0 && !Failed() && !over_; --n) Rebalance();
    for (std::int64_t n = Chance(1, 2); n > 0 && !Failed() && !over_; --n) Reshard();
    if (!Failed() && !over_ && OneIn(3)) Rebalance();
  }

  std::string Trace() { return life_.Trace(); }

 private:
  static bool Failed() { return ::testing::Test::HasFailure(); }
  std::int64_t Chance(std::int64_t low, std::int64_t high) { return life_.Chance(low, high); }
  bool OneIn(std::int64_t n) { return life_.OneIn(n); }
  template <class T>
  const T& OneOf(const std::vector<T>& all) {
    return all[static_cast<std::size_t>(Chance(0, static_cast<std::int64_t>(all.size()) - 1))];
  }

  static void ExpectNothing(const std::vector<std::string>& wrong) {
    for (std::size_t i = 0; i < std::min<std::size_t>(wrong.size(), 5); ++i) {
      ADD_FAILURE() << wrong[i];
    }
  }

  static ScriptedOptions TargetOptions(Random& random, std::uint64_t seed) {
    ScriptedOptions options = ClusterOptions(random, seed);
    options.distributed = true;
    options.recovery_after = std::chrono::seconds(random.Between(1, 30));
    options.transfer_time = std::chrono::milliseconds(random.Between(100, 20'000));
    return options;
  }

  /// What may go wrong with a run of an operation; the world gets its weather.
  ProcessTrouble SomeTrouble(const std::string& kind) {
    ProcessTrouble trouble = Calm();
    Weather weather;
    if (OneIn(2)) weather.one_in = Chance(3, 60);
    weather.deaths = OneIn(2);
    weather.lost_disks = OneIn(2);
    weather.dead_replicas = OneIn(2);
    weather.late = OneIn(2);
    weather.optimizers = OneIn(2);
    weather.failing_transfers = OneIn(2);
    if (OneIn(4)) weather.deferred_one_in = Chance(1, 6);
    weather.writes = Chance(0, 2);
    world_.SetWeather(weather);
    if (OneIn(2)) trouble.faults = Chance(1, 4);
    trouble.add_fault = [this, kind](FaultyObjectStore& store) {
      tally_.Count("fault");
      if (kind == "restore" && OneIn(2)) return AddFault(life_.random, target_, store);
      return AddCallFault(life_.random, target_, EngineCall::kCleanReplica);
    };
    if (OneIn(6)) trouble.catalog_one_in = Chance(5, 30);
    const std::uint64_t most = calls_[kind];
    const auto span = static_cast<std::int64_t>(most == 0 ? 100 : most + most / 10);
    const auto some_call = static_cast<std::uint64_t>(Chance(1, span));
    if (OneIn(3)) trouble.die_at = some_call;
    if (trouble.die_at == 0 && OneIn(6)) trouble.stop_at = some_call;
    return trouble;
  }

  ProcessTrouble Calm() {
    ProcessTrouble trouble;
    trouble.between = [this](std::string_view what) { world_.Befall(what); };
    trouble.defer = [this](std::string_view what, std::function<void()> change) {
      return world_.Defer(what, std::move(change));
    };
    return trouble;
  }

  /// What holds of every run that ended by itself: a lease is left to nobody, an error says
  /// something and is no defect of ours.
  void CheckEnd(const std::string& kind, const Ended& ended, const ProcessTrouble& trouble) {
    calls_[kind] = std::max(calls_[kind], ended.calls);
    tally_.Count(kind + (ended.died ? " died" : ended.ok() ? " ok" : " failed"));
    if (ended.died) return;
    if (trouble.catalog_one_in == 0) {
      const auto lease = life_.catalog->FindLease({}, "cluster/prod");
      EXPECT_TRUE(lease.ok());
      EXPECT_FALSE(lease.ok() && *lease && (*lease)->held) << "a lease is left";
      if (ended.job) {
        const auto job = life_.catalog->FindJob({}, *ended.job);
        EXPECT_TRUE(job.ok() && *job && (*job)->record.state != JobState::kRunning);
      }
    }
    if (ended.ok()) return;
    if (trouble.stop_at > 0 && ended.error->code() == ErrorCode::kCancelled) {
      tally_.Count(kind + " cancelled");
    }
    EXPECT_NE(ended.error->code(), ErrorCode::kInternal) << ended.Text();
    // No step of these destroys anything, whatever the cluster does; the store may damage a group.
    const bool damaged = kind == "restore" && Contains(ended.Text(), "damaged");
    EXPECT_TRUE(ended.error->code() != ErrorCode::kDataLoss || damaged) << ended.Text();
    EXPECT_FALSE(ended.error->message().empty());
  }

  /// Collections that an operation has nothing to do with: every point, where it was.
  void RememberOthers(const std::set<std::string>& but) {
    others_.clear();
    for (const Collection& collection : target_.Now().collections) {
      if (!but.contains(collection.name)) others_[collection.name] = collection;
    }
  }
  void CheckOthers() {
    const Topology now = target_.Now();
    for (const auto& [name, before] : others_) {
      SCOPED_TRACE("'" + name + "', which is not worked on");
      const Collection* const there = now.FindCollection(name);
      ASSERT_NE(there, nullptr) << "it is gone";
      ExpectNothing(world_.CheckPoints(name));
      EXPECT_EQ(there->uuid, before.uuid);
      EXPECT_EQ(LayoutOf(*there), LayoutOf(before)) << "it was moved";
      EXPECT_EQ(there->indexes, before.indexes);
    }
  }

  void BackUp() {
    ScriptedOptions options = ClusterOptions(life_.random, 1);
    ScriptedEngine source(life_.clock, options);
    for (const MadeCollection& made : testing::AddCollections(life_.random, source)) {
      std::vector<std::optional<ShardKey>> keys(made.keys.begin(), made.keys.end());
      if (keys.empty()) keys.emplace_back(std::nullopt);
      // Sometimes the same ids under different keys.
      const std::uint64_t stride = OneIn(3) ? 0 : 1000;
      std::uint64_t base = 0;
      for (const auto& key : keys) {
        base += stride;
        for (std::uint64_t i = 0; i < made.ids; ++i) {
          source.Upsert(made.name, std::to_string(base + i),
                        {.vector = {}, .payload = R"({"v":)" + std::to_string(i) + "}"}, key);
        }
      }
      // Deletes that only the memory of an optimizing replica knows of.
      if (OneIn(2)) {
        const Topology now = source.Now();
        for (const Shard& shard : now.FindCollection(made.name)->shards) {
          if (OneIn(2)) continue;
          source.StartOptimization(
              {.peer = shard.replicas.front().peer, .collection = made.name, .shard = shard.id});
        }
      }
      base = 0;
      for (const auto& key : keys) {
        base += stride;
        for (std::uint64_t i = 0; i < made.ids; ++i) {
          if (OneIn(4)) source.Delete(made.name, std::to_string(base + i), key);
        }
      }
      group_points_[made.name] = LayoutWorld::Read(source, made.name);
    }
    Ended ended = life_.Backup(source, {}, life_.PlainBackup());
    if (!ended.ok()) {
      testing::Heal(source);
      ended = life_.Backup(source, {}, life_.PlainBackup());
    }
    ASSERT_TRUE(ended.ok()) << ended.Text();
    group_ = *ended.group;
    held_ = life_.Read(group_);
  }

  /// Other peers than the group's, some of them dead, with collections of its own.
  void MakeTarget() {
    if (OneIn(2)) {
      ScriptedCollection config;
      config.shards = static_cast<std::uint32_t>(Chance(1, 3));
      config.replication_factor = static_cast<std::uint32_t>(Chance(1, 3));
      target_.AddCollection("bystander", config);
      target_.Fill("bystander", 0, 30);
      world_.Learn("bystander");
    }
    // A name of the group is taken, and read through an alias of the group.
    for (const auto& [name, record] : held_.records) {
      if (record.collection.aliases.empty() || !OneIn(2)) continue;
      target_.AddCollection(name, {});
      target_.Fill(name, 0, 10);
      target_.SetAlias(record.collection.aliases.front(), name);
      world_.Learn(name);
      tally_.Count("name taken");
    }
  }

  /// Kills some peers, but so that each shard keeps an Active replica on one that lives.
  std::set<PeerId> KillSome(std::int64_t most) {
    std::set<PeerId> dead;
    for (std::int64_t n = Chance(0, most); n > 0; --n) {
      const Topology now = target_.Now();
      std::vector<PeerId> able;
      for (const Peer& peer : now.peers) {
        if (!peer.answers) continue;
        const bool spared = std::ranges::all_of(now.collections, [&](const Collection& one) {
          return std::ranges::all_of(one.shards, [&](const Shard& shard) {
            return std::ranges::any_of(shard.replicas, [&](const Replica& replica) {
              return replica.peer != peer.id && now.FindPeer(replica.peer)->answers;
            });
          });
        });
        if (spared) able.push_back(peer.id);
      }
      if (able.empty() || now.peers.size() - dead.size() < 2) break;
      const PeerId peer = OneOf(able);
      world_.Kill(peer);
      dead.insert(peer);
      tally_.Count("peer dead beforehand");
      life_.Note("peer " + std::to_string(peer.value()) + " is dead beforehand");
    }
    return dead;
  }

  // --- restore -----------------------------------------------------------------------------------

  /// The error says of this collection that it was left.
  static bool IsNamed(const Ended& ended, const std::string& name) {
    const std::string text = ended.Text();
    return Contains(text, "'" + name + "' was made for it and could not be removed") ||
           Contains(text, "'" + name + "' is restored and verified") ||
           Contains(text, "whether '" + name + "' was made could not be seen") ||
           (Contains(text, "an earlier run may have left") && Contains(text, "'" + name + "'"));
  }

  std::string SourceOf(const std::string& name) const {
    for (const auto& [source, record] : held_.records) {
      if (name == source || name.starts_with(source + "__")) return source;
    }
    return {};
  }

  std::vector<std::string> CheckRestored(const std::string& source, const std::string& name) {
    const CollectionRecord& record = held_.records.at(source);
    world_.Know(name, group_points_.at(source));
    std::vector<std::string> wrong = world_.CheckPoints(name);
    const Topology now = target_.Now();
    const Collection* const there = now.FindCollection(name);
    if (there == nullptr) return wrong;
    if (there->shard_keys != record.collection.shard_keys) wrong.push_back("other shard keys");
    if (there->indexes != record.collection.indexes) wrong.push_back("other indexes");
    if (there->replication_factor != record.collection.replication_factor) {
      wrong.push_back("another replication factor");
    }
    std::map<ShardId, std::optional<ShardKey>> want;
    std::map<ShardId, std::optional<ShardKey>> have;
    for (const ShardImage& image : record.shards) want[image.shard] = image.key;
    for (const Shard& shard : there->shards) have[shard.id] = shard.key;
    if (want != have) wrong.push_back("other shards");
    std::ranges::move(world_.CheckAtRest(name), std::back_inserter(wrong));
    return wrong;
  }

  void CheckAllRestored(const Ended& ended, const RestoreRequest& request) {
    EXPECT_EQ(ended.restored.size(), held_.records.size());
    const Topology now = target_.Now();
    for (const RestoredCollection& item : ended.restored) {
      SCOPED_TRACE("'" + item.source + "' as '" + item.target + "'");
      ExpectNothing(CheckRestored(item.source, item.target));
      const Collection* const there = now.FindCollection(item.target);
      if (there == nullptr) continue;
      const CollectionRecord& record = held_.records.at(item.source);
      std::size_t replicas = 0;
      for (const Shard& shard : there->shards) {
        const std::size_t most = std::max<std::size_t>(record.collection.replication_factor, 1);
        const std::size_t peers = request.layout == RestoreLayout::kConsolidate ? 1 : steady_;
        EXPECT_GE(shard.replicas.size(), std::min(most, peers)) << shard.id.value();
        EXPECT_LE(shard.replicas.size(), most) << shard.id.value();
        replicas += shard.replicas.size();
      }
      EXPECT_EQ(item.replicas, replicas);
      for (const std::string& alias : item.aliases) {
        EXPECT_NE(std::ranges::find(there->aliases, alias), there->aliases.end()) << alias;
      }
      if (!request.hidden) {
        EXPECT_EQ(item.aliases, record.collection.aliases);
      }
    }
  }

  /// After a restore that failed: what it left is whole, or named in the error.
  void CheckNotRestored(const std::set<std::string>& before, const Ended& ended) {
    for (const std::string& name : world_.Names()) {
      if (before.contains(name) || IsNamed(ended, name)) continue;
      const std::string source = SourceOf(name);
      ASSERT_NE(source, "") << "nobody wanted '" << name << "'";
      const auto wrong = CheckRestored(source, name);
      EXPECT_TRUE(wrong.empty()) << "'" << name
                                 << "' was left half made and is not named: " << wrong.front()
                                 << " after " << ended.Text();
    }
  }

  void Restore() {
    std::set<PeerId> dead;
    if (OneIn(2)) dead = KillSome(3);
    const std::set<std::string> before = world_.Names();
    RememberOthers({});
    RestoreRequest request;
    request.allow_consolidation = true;
    request.hidden = OneIn(5);
    request.receives_at_once = static_cast<std::uint32_t>(Chance(1, 4));
    if (OneIn(4)) request.layout = RestoreLayout::kSame;
    steady_ = target_.Now().peers.size() - dead.size();
    if (OneIn(8)) {
      request.layout = RestoreLayout::kConsolidate;
      for (const Peer& peer : target_.Now().peers) {
        if (peer.answers) request.consolidate_on = peer.id;
      }
      request.accept_crowding = true;
    }
    ProcessTrouble trouble = SomeTrouble("restore");
    Ended ended = life_.Restore(target_, group_, request, trouble);
    CheckEnd("restore", ended, trouble);
    steady_ -= std::min(steady_, world_.deaths());
    if (!ended.ok() && OneIn(3)) {
      if (const auto job = life_.Interrupted(ended)) {
        trouble = SomeTrouble("restore");
        Ended second = life_.Restore(target_, group_, request, trouble, job);
        CheckEnd("restore", second, trouble);
        // One that came to nothing leaves the job as it was.
        if (second.job) ended = second;
        steady_ -= std::min(steady_, world_.deaths());
      }
    }
    world_.Heal();
    CheckOthers();
    if (!ended.ok() && !ended.died) {
      SCOPED_TRACE("after a restore that failed");
      CheckNotRestored(before, ended);
    }
    if (Failed()) return;
    if (!ended.ok()) ended = RestoreToTheEnd(request, before, ended);
    if (!Failed()) CheckAllRestored(ended, request);
    if (Failed()) return;
    for (const RestoredCollection& item : ended.restored) {
      world_.Know(item.target, group_points_.at(item.source));
    }
  }

  /// Nothing is wrong any more: an interrupted one goes on, else a new one does it.
  Ended RestoreToTheEnd(const RestoreRequest& request, const std::set<std::string>& before,
                        const Ended& failed) {
    if (const auto job = life_.Interrupted(failed)) {
      Ended resumed = life_.Restore(target_, group_, request, Calm(), job);
      CheckEnd("restore", resumed, {});
      world_.Heal();
      if (resumed.ok()) {
        tally_.Count("restore resumed");
        return resumed;
      }
      tally_.Count("restore not resumed");
      life_.Note("could not be resumed");
      CheckOthers();
      CheckNotRestored(before, resumed);
    }
    // By hand, as errors and `holdfast topology` say.
    for (const std::string& name : world_.Names()) {
      if (before.contains(name)) continue;
      EXPECT_TRUE(target_.DropCollection({}, name).ok());
    }
    for (const auto& [name, there] : others_) {
      for (const std::string& alias : there.aliases) target_.SetAlias(alias, name);
    }
    Ended again = life_.Restore(target_, group_, request, Calm());
    CheckEnd("restore", again, {});
    EXPECT_TRUE(again.ok()) << again.Text() << "; before: " << failed.Text();
    tally_.Count("restore anew");
    return again;
  }

  // --- rebalance ---------------------------------------------------------------------------------

  Ended RunRebalance(const RebalanceOptions& wanted, const ProcessTrouble& trouble,
                     const std::optional<JobId>& resume = {}) {
    left_.clear();
    const Ended ended =
        life_.InProcess(target_, trouble, [&](ProcessParts& parts) -> std::optional<Error> {
          RebalanceOptions options = wanted;
          options.user_stop = parts.call.stop;
          RebalanceOp rebalance({.engine = parts.engine, .clock = life_.clock}, std::move(options));
          const JobBody body = [&](StepContext& context) -> Result<std::string> {
            if (!resume) HF_RETURN_IF_ERROR(TakeOver(context, parts));
            auto outcome = rebalance.Run(context);
            if (!outcome.ok()) return outcome.error();
            left_ = outcome->left;
            return RebalanceOutcomeToJson(*outcome, Duration(0));
          };
          const auto report =
              resume ? parts.runner.Resume(parts.call, *resume, {}, body)
                     : parts.runner.Run(parts.call,
                                        SimulatedLife::Spec(kRebalanceKind, InterruptedJobs::kKeep),
                                        body);
          if (!report.ok()) return report.error();
          return std::nullopt;
        });
    for (const std::string& left : left_) life_.Note("  left: " + left);
    return ended;
  }

  /// As the service does it.
  static Status TakeOver(StepContext& context, ProcessParts& parts) {
    HF_TRY(const RebalanceJournal taken,
           TakeOverOwn(context.call(), parts.jobs, testing::kSimulatedCluster));
    HF_RETURN_IF_ERROR(context.SavePlan(RebalanceJournalToJson(taken)));
    HF_TRY(const auto lease, parts.leases.FindLease(context.call(), "cluster/prod"));
    if (!lease) return Error(ErrorCode::kAborted, "the lease is gone");
    HF_TRY(const std::uint64_t closed,
           parts.jobs.CloseInterrupted(context.call(), lease->lease, kRebalanceKind, "{}"));
    if (closed > 0) context.Warn("taken over");
    return {};
  }

  std::map<std::string, std::vector<ShardPlacement>> SomeLayout() {
    const Topology now = target_.Now();
    const Collection& collection = OneOf(now.collections);
    std::vector<ShardPlacement> shards;
    for (const Shard& shard : collection.shards) {
      std::vector<PeerId> peers;
      for (const Peer& peer : now.peers) {
        if (peer.answers && OneIn(2)) peers.push_back(peer.id);
      }
      if (!peers.empty()) shards.push_back({.shard = shard.id, .peers = peers});
    }
    if (shards.empty()) return {};
    return {{collection.name, shards}};
  }

  /// What a rebalance that left nothing must have led to.
  void CheckBalanced(const RebalanceRequest& request, bool written) {
    const Topology now = target_.Now();
    const auto plan = PlanRebalance(now, request);
    ASSERT_TRUE(plan.ok()) << plan.error().ToString();
    // Sizes that writers have changed since may ask for another move.
    if (!written) {
      EXPECT_TRUE(plan->steps.empty()) << RebalancePlanToJson(*plan);
    }
    std::set<PeerId> usable;
    for (const Peer& peer : now.peers) {
      const auto limits = request.limits.find(peer.id);
      const bool draining = limits != request.limits.end() && limits->second.draining;
      if (peer.answers && !draining) usable.insert(peer.id);
    }
    for (const Collection& collection : now.collections) {
      SCOPED_TRACE("'" + collection.name + "'");
      ExpectNothing(world_.CheckPoints(collection.name));
      ExpectNothing(world_.CheckAtRest(collection.name));
      const auto wanted = request.wanted.find(collection.name);
      if (wanted != request.wanted.end()) {
        for (const ShardPlacement& shard : wanted->second) {
          EXPECT_EQ(LayoutOf(collection)[shard.shard],
                    std::set<PeerId>(shard.peers.begin(), shard.peers.end()));
        }
      }
      if (!request.wanted.empty()) continue;
      std::map<PeerId, std::size_t> held;
      std::size_t all = 0;
      for (const auto& [shard, peers] : LayoutOf(collection)) {
        EXPECT_GE(peers.size(),
                  std::min<std::size_t>(collection.replication_factor, usable.size()));
        for (const PeerId peer : peers) {
          EXPECT_TRUE(usable.contains(peer) || usable.size() < collection.replication_factor)
              << "peer " << peer.value() << " has to be empty";
          ++held[peer];
          ++all;
        }
      }
      for (const auto& [peer, count] : held) {
        EXPECT_LE(count, (all + usable.size() - 1) / usable.size())
            << "peer " << peer.value() << "; " << TopologyToJson(now);
      }
    }
  }

  static bool OnlyForWantOfPeers(const std::vector<std::string>& left) {
    return std::ranges::all_of(
        left, [](const std::string& text) { return Contains(text, "peers can be used"); });
  }

  /// Nothing of a run that ended by itself goes on: transfers of its own would be listed.
  void CheckNoneOfOurs(const Ended& ended) {
    for (const Collection& collection : target_.Now().collections) {
      for (const ShardTransfer& transfer : collection.transfers) {
        EXPECT_NE(transfer.method, "stream_records")
            << "shard " << transfer.shard.value() << " of '" << collection.name
            << "' is on its way to peer " << transfer.to.value() << " after " << ended.Text();
      }
    }
  }

  void Rebalance() {
    if (target_.Now().collections.empty()) return;
    RebalanceOptions options;
    options.transfers_at_once = static_cast<std::uint32_t>(Chance(1, 4));
    options.request.receives_at_once = static_cast<std::uint32_t>(Chance(1, 3));
    if (OneIn(6)) options.bytes_per_second = static_cast<std::uint64_t>(Chance(100, 100'000));
    if (OneIn(4)) options.wait = std::chrono::minutes(Chance(1, 5));
    for (std::int64_t n = Chance(0, 2); n > 0; --n) {
      target_.AddPeer();
      tally_.Count("peer added");
    }
    std::set<PeerId> given_up;
    const std::int64_t kind = Chance(0, 4);
    if (kind == 0) {
      given_up = KillSome(1);
      options.request.without.assign(given_up.begin(), given_up.end());
      if (!given_up.empty()) tally_.Count("rebalance without a peer");
    } else if (kind == 1 && target_.Now().peers.size() > 1) {
      options.request.limits[OneOf(target_.Now().peers).id].draining = true;
      tally_.Count("rebalance of a draining peer");
    } else if (kind == 2) {
      options.request.wanted = SomeLayout();
      tally_.Count("rebalance to a layout");
    }
    life_.Note("REBALANCE");
    const std::string readers = OneOf(target_.Now().collections).name;
    std::size_t unusable = given_up.size() + options.request.limits.size();
    const bool written = OneIn(2);
    if (written) world_.LetWrite(readers);
    world_.Watch();
    std::optional<JobId> job;
    std::optional<Ended> ended;
    std::vector<std::string> left;
    bool clean = true;
    for (std::int64_t tries = Chance(1, 2); tries > 0; --tries) {
      const ProcessTrouble trouble = SomeTrouble("rebalance");
      // A drop that the servers carry out after the next run has looked is not seen by it.
      if (ended) life_.clock.Advance(std::chrono::seconds(10));
      Ended next = RunRebalance(options, trouble, job);
      CheckEnd("rebalance", next, trouble);
      // One that came to nothing leaves things as they were.
      if (next.job || !ended) {
        ended = next;
        left = left_;
      }
      unusable += world_.deaths();
      ExpectNothing(world_.CheckNeverBelow(unusable));
      clean = clean && !next.died && trouble.catalog_one_in == 0 && world_.deferred() == 0 &&
              !Contains(next.Text(), "could not be ended");
      if (clean) CheckNoneOfOurs(next);
      job = life_.Interrupted(*ended);
      if (job && OneIn(2)) job.reset();
    }
    world_.Heal(given_up);
    for (const std::string& name : world_.Names()) ExpectNothing(world_.CheckPoints(name));
    if (Failed()) return;
    if (!ended->ok() || !OnlyForWantOfPeers(left)) {
      if (!job) job = life_.Interrupted(*ended);
      tally_.Count(job ? "rebalance resumed" : "rebalance again");
      ended = RunRebalance(options, Calm(), job);
      CheckEnd("rebalance", *ended, {});
      ExpectNothing(world_.CheckNeverBelow(unusable));
      CheckNoneOfOurs(*ended);
      world_.Heal(given_up);
      ASSERT_TRUE(ended->ok()) << "nothing is wrong any more: " << ended->Text();
      EXPECT_TRUE(OnlyForWantOfPeers(left_)) << left_.front();
    }
    world_.StopWriters();
    CheckBalanced(options.request, written);
    world_.Heal();
  }

  // --- reshard -----------------------------------------------------------------------------------

  using Counts = std::map<std::optional<ShardKey>, std::uint32_t>;

  /// One wish for another number of shards.
  struct Wish {
    ReshardOptions options;
    std::string source;
    Counts before;
    /// The shards before it began, most replicas of a shard of each key, peers that never died.
    std::set<ShardId> shards;
    std::map<std::optional<ShardKey>, std::size_t> replicas;
    std::size_t steady = 0;
    std::vector<std::string> aliases;
    /// Names before it began.
    std::set<std::string> names;
  };

  Ended RunReshard(const Wish& wish, const ProcessTrouble& trouble,
                   const std::optional<JobId>& resume = {}) {
    resharded_.reset();
    return life_.InProcess(target_, trouble, [&](ProcessParts& parts) -> std::optional<Error> {
      ReshardOptions options = wish.options;
      options.user_stop = parts.call.stop;
      ReshardOp reshard({.engine = parts.engine, .clock = life_.clock, .random = life_.random},
                        options);
      const JobBody body = [&](StepContext& context) -> Result<std::string> {
        auto outcome = reshard.Run(context);
        if (!outcome.ok()) return outcome.error();
        resharded_ = *outcome;
        return ReshardOutcomeToJson(*outcome, Duration(0));
      };
      const auto report =
          resume ? parts.runner.Resume(parts.call, *resume, {}, body)
                 : parts.runner.Run(parts.call,
                                    SimulatedLife::Spec("reshard", InterruptedJobs::kKeep), body);
      if (!report.ok()) return report.error();
      return std::nullopt;
    });
  }

  static Counts ShardsByKey(const Collection& there) {
    Counts counts;
    for (const Shard& shard : there.shards) ++counts[shard.key];
    return counts;
  }

  static bool HasAll(const Counts& counts, std::uint32_t shards) {
    return std::ranges::all_of(counts, [&](const auto& entry) { return entry.second == shards; });
  }

  /// The new collection has what readers were told of, and its readers.
  void CheckCopied(const Wish& wish, const ReshardOutcome& outcome) {
    SCOPED_TRACE("the copy '" + outcome.target + "'");
    const Topology now = target_.Now();
    const Collection* const source = now.FindCollection(wish.source);
    const Collection* const copy = now.FindCollection(outcome.target);
    ASSERT_NE(copy, nullptr);
    EXPECT_EQ(copy->shard_keys, source->shard_keys);
    EXPECT_EQ(copy->indexes, source->indexes);
    EXPECT_EQ(copy->replication_factor, source->replication_factor);
    EXPECT_TRUE(HasAll(ShardsByKey(*copy), wish.options.request.shards));
    EXPECT_EQ(copy->aliases, wish.aliases);
    ExpectNothing(world_.CheckAtRest(outcome.target));
    if (outcome.unproven) {
      tally_.Count("copy unproven");
      EXPECT_FALSE(outcome.warnings.empty());
      over_ = true;
      return;
    }
    world_.Know(outcome.target, world_.Told());
    ExpectNothing(world_.CheckPoints(outcome.target));
  }

  void CheckInPlace(const Wish& wish) {
    const Topology now = target_.Now();
    const Collection& there = *now.FindCollection(wish.source);
    EXPECT_TRUE(HasAll(ShardsByKey(there), wish.options.request.shards));
    EXPECT_EQ(there.aliases, wish.aliases);
    for (const Shard& shard : there.shards) {
      if (wish.shards.contains(shard.id)) continue;
      EXPECT_GE(shard.replicas.size(), std::min(wish.replicas.at(shard.key), wish.steady))
          << "new shard " << shard.id.value();
    }
    ExpectNothing(world_.CheckAtRest(wish.source));
  }

  /// Whatever came of a run: the source has every point that was acknowledged, in as many shards as
  /// whole rounds make; what else is there is named.
  void CheckSource(const Wish& wish, const Ended& ended) {
    const Topology now = target_.Now();
    const Collection* const source = now.FindCollection(wish.source);
    ASSERT_NE(source, nullptr) << "'" << wish.source << "' is gone";
    const bool job = life_.Interrupted(ended).has_value();
    const std::string text = ended.Text();
    // What was lost under other keys is told by the run that goes on.
    const bool untold = ended.died && job && wish.before.size() > 1;
    if (source->resharding.empty()) {
      if (!untold) ExpectNothing(world_.CheckPoints(wish.source));
      ExpectNothing(world_.CheckAtRest(wish.source));
    } else {
      EXPECT_TRUE(job || Contains(text, "could not be taken back")) << "a resharding is left";
    }
    for (const auto& [key, count] : ShardsByKey(*source)) {
      const std::uint32_t before = wish.before.at(key);
      EXPECT_GE(count, std::min(before, wish.options.request.shards));
      EXPECT_LE(count, std::max(before, wish.options.request.shards));
    }
    if (ended.ok()) return;
    for (const std::string& name : world_.Names()) {
      if (wish.names.contains(name) || job) continue;
      EXPECT_TRUE(Contains(text, "'" + name + "'")) << "'" << name << "' is left and not named";
    }
    if (source->aliases == wish.aliases) return;
    // Readers were switched before it failed: they must find everything.
    EXPECT_TRUE(job || ended.died || Contains(text, "aliases")) << text;
    for (const Collection& there : now.collections) {
      if (there.name == wish.source || there.aliases != wish.aliases) continue;
      ExpectNothing(
          LayoutWorld::Differences(world_.Told(), LayoutWorld::Read(target_, there.name)));
    }
  }

  /// Points are lost, or two collections have what the other lacks, and the error says so.
  static bool IsForAPerson(const Ended& ended) {
    return Contains(ended.Text(), "may be lost") ||
           Contains(ended.Text(), "were written to at the moment of the switch");
  }

  std::optional<Wish> SomeWish() {
    std::vector<std::string> able;
    for (const Collection& one : target_.Now().collections) {
      if (!one.shards.empty()) able.push_back(one.name);
    }
    if (able.empty()) return std::nullopt;
    Wish wish;
    wish.source = OneOf(able);
    if (OneIn(2)) target_.SetAlias("reads " + wish.source, wish.source);
    const Topology now = target_.Now();
    const Collection& source = *now.FindCollection(wish.source);
    wish.aliases = source.aliases;
    wish.before = ShardsByKey(source);
    wish.steady = now.peers.size();
    wish.names = world_.Names();
    for (const Shard& shard : source.shards) {
      std::size_t& most = wish.replicas[shard.key];
      most = std::max(most, shard.replicas.size());
      wish.shards.insert(shard.id);
    }
    ReshardRequest& request = wish.options.request;
    request.shards = static_cast<std::uint32_t>(Chance(1, 5));
    if (HasAll(wish.before, request.shards)) ++request.shards;
    request.collection = wish.aliases.empty() ? wish.source : OneOf(wish.aliases);
    constexpr std::array kMethods = {ReshardMethod::kAuto, ReshardMethod::kNative,
                                     ReshardMethod::kNative, ReshardMethod::kCopy};
    request.method = kMethods.at(static_cast<std::size_t>(Chance(0, 3)));
    if (request.method == ReshardMethod::kCopy && wish.aliases.empty()) {
      request.as = wish.source + " second";
      if (wish.names.contains(request.as)) return std::nullopt;
    }
    target_.SetReshardable(request.method != ReshardMethod::kAuto || OneIn(2));
    wish.options.index_wait = std::chrono::minutes(Chance(0, 3));
    wish.options.copy.page.points = static_cast<std::uint32_t>(Chance(1, 20));
    wish.options.copy.shards_at_once = static_cast<std::size_t>(Chance(1, 3));
    wish.options.copy.writers = static_cast<std::size_t>(Chance(1, 3));
    wish.options.copy.points_per_step = static_cast<std::uint64_t>(Chance(1, 40));
    return wish;
  }

  void Reshard() {
    std::optional<Wish> some = SomeWish();
    if (!some) return;
    Wish& wish = *some;
    life_.Note("RESHARD '" + wish.source + "' to " + std::to_string(wish.options.request.shards) +
               " by " + std::string(ReshardMethodName(wish.options.request.method)));
    std::mutex writing;
    SimulatedFence fence(!OneIn(4), writing);
    if (OneIn(2)) wish.options.fence = &fence;
    world_.SetAway([&fence] { return fence.away(); });
    RememberOthers({wish.source});
    world_.LetWrite(wish.aliases.empty() ? wish.source : wish.aliases.front());
    // A second collection has no moment in which its readers come over.
    if (wish.aliases.empty() && !wish.options.request.as.empty()) world_.StopWriters();
    Ended ended;
    std::optional<JobId> job;
    for (std::int64_t tries = Chance(1, 2); tries > 0; --tries) {
      const ProcessTrouble trouble = SomeTrouble("reshard");
      const std::optional<ReshardOutcome> before = resharded_;
      Ended next = RunReshard(wish, trouble, job);
      // The hooks' watchdog lets writers go when the process dies.
      if (next.died) fence.frozen = false;
      CheckEnd("reshard", next, trouble);
      // One that came to nothing leaves things as they were.
      const bool counts = next.job || !ended.job;
      if (counts) ended = next;
      if (!counts) resharded_ = before;
      wish.steady -= std::min(wish.steady, world_.deaths());
      EXPECT_FALSE(fence.frozen) << "writers were not released";
      job = life_.Interrupted(ended);
      if (!job || IsForAPerson(ended)) break;
    }
    world_.Heal();
    fence.Mend();
    AfterReshard(wish, ended, job);
    world_.SetAway({});
    world_.StopWriters();
    target_.SetReshardable(true);
  }

  void AfterReshard(const Wish& wish, Ended& ended, const std::optional<JobId>& job) {
    if (IsForAPerson(ended)) {
      tally_.Count("reshard for a person");
      over_ = true;
      return;
    }
    CheckOthers();
    CheckSource(wish, ended);
    if (Failed()) return;
    if (!ended.ok()) ReshardToTheEnd(wish, ended, job);
    if (Failed() || !ended.ok()) return;
    CheckSource(wish, ended);
    if (!resharded_) return;
    const bool native = resharded_->method == ReshardMethod::kNative;
    if (native) CheckInPlace(wish);
    if (!native) CheckCopied(wish, *resharded_);
    const bool up = wish.before.begin()->second < wish.options.request.shards;
    tally_.Count(std::string(native ? "native" : "copy") + (up ? " up" : " down"));
    if (wish.before.begin()->first) tally_.Count(native ? "native by key" : "copy by key");
    if (resharded_->fenced) tally_.Count("fenced");
  }

  /// Nothing is wrong any more and writers rest: an interrupted one goes on, else a new one does
  /// it.
  void ReshardToTheEnd(const Wish& wish, Ended& ended, const std::optional<JobId>& job) {
    const Ended failed = ended;
    if (job) {
      ended = RunReshard(wish, Calm(), job);
      CheckEnd("reshard", ended, {});
      world_.Heal();
      tally_.Count(ended.ok() ? "reshard resumed" : "reshard not resumed");
      if (ended.ok()) return;
      if (IsForAPerson(ended)) {
        tally_.Count("reshard for a person");
        over_ = true;
        return;
      }
      CheckSource(wish, ended);
      if (Failed()) return;
    }
    const Topology now = target_.Now();
    const Collection& source = *now.FindCollection(wish.source);
    if (HasAll(ShardsByKey(source), wish.options.request.shards) && source.resharding.empty()) {
      ended.error.reset();
      return;
    }
    if (source.aliases != wish.aliases) {
      // Its readers are on the copy already, where they find everything.
      over_ = true;
      return;
    }
    // By hand, as errors say.
    for (const std::string& name : world_.Names()) {
      if (!wish.names.contains(name)) {
        EXPECT_TRUE(target_.DropCollection({}, name).ok());
      }
    }
    ended = RunReshard(wish, Calm());
    CheckEnd("reshard", ended, {});
    tally_.Count("reshard again");
    if (!ended.ok() && IsRefused(wish, ended)) {
      tally_.Count("reshard refused");
      over_ = true;
      return;
    }
    EXPECT_TRUE(ended.ok()) << ended.Text() << "; before: " << failed.Text();
  }

  /// What cannot be had, with the reason.
  static bool IsRefused(const Wish& wish, const Ended& ended) {
    const bool keys = wish.before.size() > 1 && wish.options.fence == nullptr;
    return (keys && Contains(ended.Text(), "has several shard keys")) ||
           (wish.aliases.empty() && Contains(ended.Text(), "is not read through an alias"));
  }

  SimulatedLife life_;
  Tally& tally_;
  ScriptedEngine target_;
  LayoutWorld world_;
  GroupId group_;
  HeldGroup held_;
  std::map<std::string, LayoutWorld::Points> group_points_;
  std::map<std::string, Collection> others_;
  /// Calls of the longest run of each kind.
  std::map<std::string, std::uint64_t> calls_;
  std::vector<std::string> left_;
  std::optional<ReshardOutcome> resharded_;
  /// Peers that never died while a restore went on.
  std::size_t steady_ = 0;
  /// Only a person can go on.
  bool over_ = false;
};

TEST(LayoutSimulationTest, NoSeedBreaksAPromise) {
  const std::uint64_t first = Setting("HOLDFAST_TEST_FIRST_SEED", 1);
  const std::uint64_t seeds = Setting("HOLDFAST_TEST_SEEDS", kSeeds);
  Tally tally;
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    SCOPED_TRACE("HOLDFAST_TEST_FIRST_SEED=" + std::to_string(seed));
    LayoutSimulation simulation(seed, tally);
    simulation.Run();
    if (HasFailure()) {
      std::cerr << "Seed " << seed << ", the last calls and events:\n" << simulation.Trace();
      break;
    }
  }
  auto reached = tally.counts();
  for (const auto& [what, count] : reached) std::cerr << what << ": " << count << "\n";
  if (seeds < kSeedsForAll || HasFailure()) return;
  // What never happened was not tried.
  for (const char* what : {"restore ok",
                           "restore failed",
                           "restore died",
                           "restore resumed",
                           "restore cancelled",
                           "rebalance ok",
                           "rebalance failed",
                           "rebalance died",
                           "rebalance resumed",
                           "rebalance without a peer",
                           "rebalance of a draining peer",
                           "rebalance to a layout",
                           "reshard ok",
                           "reshard failed",
                           "reshard died",
                           "reshard resumed",
                           "native up",
                           "native down",
                           "native by key",
                           "copy up",
                           "copy down",
                           "copy by key",
                           "fenced",
                           "write",
                           "fault",
                           "peer died",
                           "peer returned",
                           "peer returned without disk",
                           "peer added",
                           "peer dead beforehand",
                           "replica turned Dead",
                           "late answer",
                           "change without answer",
                           "failing transfers",
                           "optimizer",
                           "name taken"}) {
    EXPECT_GT(reached[what], 0U) << what;
  }
}

}  // namespace
}  // namespace holdfast
