#include "testing/ops/layout_world.h"

#include <algorithm>
#include <chrono>
#include <iterator>

#include "base/assert.h"
#include "model/json.h"
#include "testing/ops/replicas_where.h"

namespace holdfast::testing {
namespace {

/// A change that nobody answered takes effect within this; the operations wait a little longer.
constexpr std::int64_t kLateMillisecondsMax = 8000;
/// Looks at a cluster that comes to rest, and the time between them.
constexpr int kRestLooksMax = 2000;
constexpr Duration kRestPause = std::chrono::seconds(1);

template <class T>
const T& OneOf(Random& random, const std::vector<T>& all) {
  HF_ASSERT(!all.empty());
  return all[static_cast<std::size_t>(
      random.Between(0, static_cast<std::int64_t>(all.size()) - 1))];
}

std::vector<PeerId> Living(const Topology& now) {
  std::vector<PeerId> peers;
  for (const Peer& peer : now.peers) {
    if (peer.answers) peers.push_back(peer.id);
  }
  return peers;
}

/// Another replica of the shard is Active on a peer that lives.
bool HasAnother(const Topology& now, const Shard& shard, PeerId peer) {
  return std::ranges::any_of(shard.replicas, [&](const Replica& other) {
    return other.peer != peer && other.state == ReplicaState::kActive &&
           now.FindPeer(other.peer)->answers;
  });
}

bool SameLine(const std::string& a, const std::string& b) {
  if (a == b) return true;
  return !a.empty() && !b.empty() && json::Json::parse(a) == json::Json::parse(b);
}

bool Allows(const std::set<std::string>& lines, const std::string& line) {
  return std::ranges::any_of(lines, [&](const std::string& one) { return SameLine(one, line); });
}

std::string Shown(const LayoutWorld::PointName& name) {
  return name.second + (name.first ? " of " + FormatShardKey(*name.first) : "");
}

std::string Shown(const std::set<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) {
    text += (text.empty() ? "" : " or ") + (line.empty() ? std::string("nothing") : line);
  }
  return text;
}

}  // namespace

// --- points --------------------------------------------------------------------------------------

LayoutWorld::Points LayoutWorld::Read(ScriptedEngine& engine, const std::string& name) {
  Points points;
  const Topology now = engine.Now();
  const Collection* const collection = now.FindCollection(name);
  if (collection == nullptr) return points;
  for (const Shard& shard : collection->shards) {
    for (const Replica& replica : shard.replicas) {
      if (replica.state != ReplicaState::kActive) continue;
      for (const auto& [id, line] :
           engine.Content({.peer = replica.peer, .collection = name, .shard = shard.id})) {
        points[{shard.key, id}].insert(line);
      }
    }
  }
  return points;
}

void LayoutWorld::Learn(const std::string& name) { Know(name, Read(engine_, name)); }

void LayoutWorld::Know(const std::string& name, Points points) {
  const std::scoped_lock lock(mutex_);
  known_[name] = std::move(points);
}

LayoutWorld::Points LayoutWorld::Known(const std::string& name) const {
  const std::scoped_lock lock(mutex_);
  const auto found = known_.find(name);
  return found == known_.end() ? Points() : found->second;
}

void LayoutWorld::LetWrite(const std::string& readers) {
  const std::scoped_lock lock(mutex_);
  readers_ = readers;
  told_ = Known(Resolve(engine_.Now()));
}

void LayoutWorld::StopWriters() {
  const std::scoped_lock lock(mutex_);
  readers_.clear();
}

void LayoutWorld::SetAway(std::function<bool()> away) {
  const std::scoped_lock lock(mutex_);
  away_ = std::move(away);
}

LayoutWorld::Points LayoutWorld::Told() const {
  const std::scoped_lock lock(mutex_);
  return told_;
}

std::vector<std::string> LayoutWorld::Differences(const Points& want, const Points& have) {
  std::vector<std::string> wrong;
  static const std::set<std::string> kNone = {""};
  const auto compare = [&](const PointName& name) {
    const auto a = want.find(name);
    const auto b = have.find(name);
    const std::set<std::string>& wanted = a == want.end() ? kNone : a->second;
    const std::set<std::string>& found = b == have.end() ? kNone : b->second;
    const bool fits =
        std::ranges::any_of(found, [&](const std::string& line) { return Allows(wanted, line); });
    if (!fits) {
      wrong.push_back("point " + Shown(name) + " is " + Shown(found) + " and must be " +
                      Shown(wanted));
    }
  };
  for (const auto& [name, lines] : want) compare(name);
  for (const auto& [name, lines] : have) {
    if (!want.contains(name)) compare(name);
  }
  return wrong;
}

std::string LayoutWorld::Resolve(const Topology& now) const {
  for (const Collection& collection : now.collections) {
    if (collection.name == readers_) return readers_;
    if (std::ranges::find(collection.aliases, readers_) != collection.aliases.end()) {
      return collection.name;
    }
  }
  return {};
}

void LayoutWorld::WriteOne() {
  if (readers_.empty() || (away_ && away_())) return;
  const Topology now = engine_.Now();
  const Collection* const collection = now.FindCollection(Resolve(now));
  if (collection == nullptr || collection->shards.empty()) return;
  const std::optional<ShardKey> key = OneOf(random_, collection->shards).key;
  // Some of the points that are there, some new ones.
  std::string id = std::to_string(random_.Between(900'000, 900'030));
  Points& known = known_[collection->name];
  if (!known.empty() && random_.Between(0, 2) > 0) {
    const auto some =
        std::next(known.begin(), random_.Between(0, static_cast<std::int64_t>(known.size()) - 1));
    if (some->first.first == key) id = some->first.second;
  }
  const PointName name(key, id);
  std::string line;
  bool taken = false;
  if (random_.Between(0, 2) == 0) {
    taken = engine_.Delete(collection->name, id, key);
  } else {
    const std::uint64_t version = ++versions_;
    const std::vector<float> vector = {0.5F, 0.25F, static_cast<float>(version % 64) / 64.0F, 1.0F};
    const std::string payload = R"({"w":)" + std::to_string(version) + "}";
    line = json::Dump(json::Json{{"id", json::Json::parse(id)},
                                 {"payload", json::Json::parse(payload)},
                                 {"vector", vector}});
    taken = engine_.Upsert(collection->name, id, {.vector = vector, .payload = payload}, key);
  }
  tally_.Count(taken ? "write" : "write refused");
  for (Points* const points : {&known, &told_}) {
    std::set<std::string>& lines = (*points)[name];
    if (lines.empty()) lines.insert("");
    // Told an error, a client knows nothing of its write.
    if (taken) lines.clear();
    lines.insert(line);
  }
}

// --- what befalls it -----------------------------------------------------------------------------

void LayoutWorld::SetWeather(const Weather& weather) {
  const std::scoped_lock lock(mutex_);
  weather_ = weather;
  deaths_count_ = 0;
  deferred_count_ = 0;
  engine_.FailTransfers(0);
}

std::size_t LayoutWorld::deaths() const {
  const std::scoped_lock lock(mutex_);
  return deaths_count_;
}

std::size_t LayoutWorld::deferred() const {
  const std::scoped_lock lock(mutex_);
  return deferred_count_;
}

void LayoutWorld::Note(const std::string& kind, const std::string& text) {
  tally_.Count(kind);
  note_("  EVENT " + text);
}

void LayoutWorld::Befall(std::string_view /*what*/) {
  const std::scoped_lock lock(mutex_);
  RunDeferred(clock_.Monotonic());
  for (const auto& [peer, returns] : std::map(gone_)) {
    if (returns && *returns <= clock_.Monotonic()) Return(peer);
  }
  if (weather_.one_in > 0 && random_.Between(1, weather_.one_in) == 1) Happen();
  // Time may have passed.
  RunDeferred(clock_.Monotonic());
  for (std::int64_t n = random_.Between(0, weather_.writes); n > 0; --n) WriteOne();
}

bool LayoutWorld::Defer(std::string_view what, std::function<void()> change) {
  const std::scoped_lock lock(mutex_);
  if (weather_.deferred_one_in == 0 || random_.Between(1, weather_.deferred_one_in) != 1) {
    // The servers carry out what they were asked for in its order.
    RunDeferred(MonotonicTime::max());
    return false;
  }
  const auto late = std::chrono::milliseconds(random_.Between(0, kLateMillisecondsMax));
  ++deferred_count_;
  Note("change without answer", std::string(what) + " takes effect late");
  const MonotonicTime before = deferred_.empty() ? clock_.Monotonic() : deferred_.back().due;
  deferred_.push_back(
      {.due = std::max(before, clock_.Monotonic() + late), .change = std::move(change)});
  return true;
}

void LayoutWorld::RunDeferred(MonotonicTime until) {
  std::vector<Deferred> due;
  std::vector<Deferred> later;
  for (Deferred& one : deferred_) (one.due <= until ? due : later).push_back(std::move(one));
  deferred_ = std::move(later);
  for (const Deferred& one : due) one.change();
}

bool LayoutWorld::CanLoseDisk(const Topology& now, PeerId peer) const {
  for (const Collection& collection : now.collections) {
    for (const Shard& shard : collection.shards) {
      const bool here =
          std::ranges::find(shard.replicas, peer, &Replica::peer) != shard.replicas.end();
      if (here && !HasAnother(now, shard, peer)) return false;
    }
  }
  return true;
}

void LayoutWorld::Hurt(const Topology& now, PeerId peer) {
  for (const ReplicaRef& ref : ReplicasWhere(now, [&](const Shard&, const Replica& replica) {
         return replica.peer == peer && replica.state == ReplicaState::kActive;
       })) {
    ++watched_[{ref.collection, ref.shard}].hurt;
  }
}

void LayoutWorld::Die(const Topology& now, std::optional<MonotonicTime> returns) {
  const std::vector<PeerId> living = Living(now);
  if (living.size() < 2) return;
  const PeerId peer = OneOf(random_, living);
  Hurt(now, peer);
  engine_.KillPeer(peer);
  gone_[peer] = returns;
  ++deaths_count_;
  Note("peer died", "peer " + std::to_string(peer.value()) + " dies");
}

void LayoutWorld::Kill(PeerId peer) {
  const std::scoped_lock lock(mutex_);
  Hurt(engine_.Now(), peer);
  engine_.KillPeer(peer);
  gone_[peer] = std::nullopt;
}

void LayoutWorld::Return(PeerId peer) {
  const bool lost =
      weather_.lost_disks && random_.Between(0, 1) == 0 && CanLoseDisk(engine_.Now(), peer);
  engine_.StartPeer(peer, lost);
  gone_.erase(peer);
  Note(lost ? "peer returned without disk" : "peer returned",
       "peer " + std::to_string(peer.value()) + (lost ? " returns without its disk" : " returns"));
}

void LayoutWorld::Happen() {
  const Topology now = engine_.Now();
  switch (random_.Between(0, 5)) {
    case 0: {
      if (!weather_.deaths) return;
      std::optional<MonotonicTime> returns;
      if (random_.Between(0, 3) > 0) {
        returns = clock_.Monotonic() + std::chrono::seconds(random_.Between(0, 60));
      }
      Die(now, returns);
      return;
    }
    case 1: {
      if (!weather_.dead_replicas) return;
      const auto found = ReplicasWhere(now, [&](const Shard& shard, const Replica& replica) {
        return replica.state != ReplicaState::kDead && HasAnother(now, shard, replica.peer);
      });
      if (found.empty()) return;
      const ReplicaRef& replica = OneOf(random_, found);
      if (!engine_.LoseReplica(replica)) return;
      ++watched_[{replica.collection, replica.shard}].hurt;
      Note("replica turned Dead", Describe(replica) + " turns Dead");
      return;
    }
    case 2: {
      if (!weather_.late) return;
      const auto time = std::chrono::milliseconds(random_.Between(100, 60'000));
      clock_.Advance(time);
      Note("late answer", "an answer takes " + std::to_string(time.count()) + " ms");
      return;
    }
    case 3: {
      if (!weather_.failing_transfers) return;
      engine_.FailTransfers(static_cast<int>(random_.Between(1, 4)));
      Note("failing transfers", "the next transfers fail");
      return;
    }
    default: {
      if (!weather_.optimizers) return;
      const auto any = [](const Shard&, const Replica&) { return true; };
      const auto found = ReplicasWhere(now, any);
      if (found.empty()) return;
      const ReplicaRef& replica = OneOf(random_, found);
      if (random_.Between(0, 1) == 0) {
        engine_.StartOptimization(replica);
        Note("optimizer", Describe(replica) + " is being optimized");
      } else {
        engine_.FinishOptimization(replica);
      }
    }
  }
}

void LayoutWorld::Heal(const std::set<PeerId>& without) {
  const std::scoped_lock lock(mutex_);
  weather_ = {};
  engine_.ClearFaults();
  engine_.FailTransfers(0);
  RunDeferred(MonotonicTime::max());
  for (const Peer& peer : engine_.Now().peers) {
    if (peer.answers || without.contains(peer.id)) continue;
    engine_.StartPeer(peer.id);
    gone_.erase(peer.id);
  }
  const auto any = [](const Shard&, const Replica&) { return true; };
  for (const ReplicaRef& replica : ReplicasWhere(engine_.Now(), any)) {
    engine_.FinishOptimization(replica);
  }
  for (int look = 0; look < kRestLooksMax; ++look) {
    clock_.Advance(kRestPause);
    const Topology now = engine_.Now();
    const auto unfinished = ReplicasWhere(now, [&](const Shard& shard, const Replica& replica) {
      if (!now.FindPeer(replica.peer)->answers) return false;
      const bool recovers =
          replica.state == ReplicaState::kDead && HasAnother(now, shard, replica.peer);
      return recovers || replica.state == ReplicaState::kInitializing;
    });
    const bool moving = std::ranges::any_of(
        now.collections, [](const Collection& one) { return !one.transfers.empty(); });
    if (unfinished.empty() && !moving) return;
  }
  note_("  the cluster does not come to rest");
}

void LayoutWorld::Watch() {
  const std::scoped_lock lock(mutex_);
  engine_.WatchReplicas();
  watched_.clear();
  for (const Collection& collection : engine_.Now().collections) {
    for (const Shard& shard : collection.shards) {
      watched_[{collection.name, shard.id}].began = engine_.least_active(collection.name, shard.id);
    }
  }
}

std::vector<std::string> LayoutWorld::CheckNeverBelow(std::size_t unusable_peers) {
  const std::scoped_lock lock(mutex_);
  std::vector<std::string> wrong;
  const Topology now = engine_.Now();
  for (const auto& [name, watched] : watched_) {
    const Collection* const collection = now.FindCollection(name.first);
    const Shard* const shard = collection == nullptr ? nullptr : collection->FindShard(name.second);
    if (shard == nullptr) continue;
    const std::size_t usable = now.peers.size() - std::min(now.peers.size(), unusable_peers);
    const auto wanted = static_cast<std::uint32_t>(
        std::min({std::size_t{watched.began}, shard->replicas.size(), usable}));
    const std::uint32_t least = engine_.least_active(name.first, name.second);
    if (least + watched.hurt >= wanted) continue;
    wrong.push_back("shard " + std::to_string(name.second.value()) + " of '" + name.first +
                    "' had only " + std::to_string(least) + " Active replicas of " +
                    std::to_string(wanted) + ", and " + std::to_string(watched.hurt) +
                    " were hurt");
  }
  return wrong;
}

// --- what must be true at rest -------------------------------------------------------------------

std::set<std::string> LayoutWorld::Names() {
  std::set<std::string> names;
  for (const Collection& collection : engine_.Now().collections) names.insert(collection.name);
  return names;
}

std::vector<std::string> LayoutWorld::CheckPoints(const std::string& name) {
  const std::scoped_lock lock(mutex_);
  const Topology now = engine_.Now();
  const Collection* const collection = now.FindCollection(name);
  if (collection == nullptr) return {"'" + name + "' is gone"};
  std::vector<std::string> wrong;
  std::map<ShardId, Points> of_shard;
  for (const auto& [point, lines] : known_[name]) {
    if (std::ranges::find(collection->shards, point.first, &Shard::key) ==
        collection->shards.end()) {
      wrong.push_back("'" + name + "' lacks the shards of point " + Shown(point));
      continue;
    }
    of_shard[engine_.ShardOf(name, point.second, point.first)][point] = lines;
  }
  for (const Shard& shard : collection->shards) {
    bool any = false;
    for (const Replica& replica : shard.replicas) {
      if (replica.state != ReplicaState::kActive) continue;
      any = true;
      const ReplicaRef ref{.peer = replica.peer, .collection = name, .shard = shard.id};
      Points have;
      for (const auto& [id, line] : engine_.Content(ref)) have[{shard.key, id}] = {line};
      for (const std::string& text : Differences(of_shard[shard.id], have)) {
        wrong.push_back(Describe(ref) + ": " + text);
      }
    }
    if (!any) {
      wrong.push_back("shard " + std::to_string(shard.id.value()) + " of '" + name +
                      "' has no Active replica");
    }
  }
  return wrong;
}

std::vector<std::string> LayoutWorld::CheckAtRest(const std::string& name) {
  const Topology now = engine_.Now();
  const Collection* const collection = now.FindCollection(name);
  if (collection == nullptr) return {"'" + name + "' is gone"};
  std::vector<std::string> wrong;
  if (!collection->transfers.empty()) wrong.push_back("'" + name + "' is being transferred");
  if (!collection->resharding.empty()) wrong.push_back("'" + name + "' is being resharded");
  for (const Shard& shard : collection->shards) {
    for (const Replica& replica : shard.replicas) {
      const ReplicaRef ref{.peer = replica.peer, .collection = name, .shard = shard.id};
      if (replica.state != ReplicaState::kActive) {
        wrong.push_back(Describe(ref) + " is " + std::string(ReplicaStateName(replica.state)));
      }
      if (!now.FindPeer(replica.peer)->answers) wrong.push_back(Describe(ref) + ": dead peer");
    }
  }
  return wrong;
}

}  // namespace holdfast::testing
