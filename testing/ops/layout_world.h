// A simulated cluster whose points are known, what befalls it while holdfast works on its layout,
// and what must be true of it afterwards.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"
#include "testing/fake_clock.h"
#include "testing/scripted_engine.h"

namespace holdfast::testing {

/// What may befall a cluster between two calls of a process.
struct Weather {
  /// One call of so many sees something happen; 0: none.
  std::int64_t one_in = 0;
  /// Peers die; some return soon, others not before Heal().
  bool deaths = false;
  /// Of peers that die some return without their disk, where other peers have all that was on it.
  bool lost_disks = false;
  /// Replicas turn Dead while their peers live.
  bool dead_replicas = false;
  /// Answers take up to a minute.
  bool late = false;
  /// Optimizers run, so that deletes are hidden only.
  bool optimizers = false;
  /// Transfers between servers fail.
  bool failing_transfers = false;
  /// One change of so many is answered by a timeout and takes effect a little later; 0: none.
  std::int64_t deferred_one_in = 0;
  /// Most writes before a call, of writers that were let in.
  std::int64_t writes = 0;
};

/// How often each thing has happened, for a look at what the seeds reach. Thread-safe.
class Tally {
 public:
  void Count(const std::string& what) {
    const std::scoped_lock lock(mutex_);
    ++counts_[what];
  }
  std::map<std::string, std::uint64_t> counts() const {
    const std::scoped_lock lock(mutex_);
    return counts_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> counts_;
};

/// Thread-safe.
class LayoutWorld {
 public:
  /// A point is known by its shard key and its id.
  using PointName = std::pair<std::optional<ShardKey>, std::string>;
  /// The lines that it may have; an empty one: none. More than one after a write that failed.
  using Points = std::map<PointName, std::set<std::string>>;

  LayoutWorld(Random& random, FakeClock& clock, ScriptedEngine& engine, Tally& tally,
              std::function<void(std::string)> note)
      : random_(random), clock_(clock), engine_(engine), tally_(tally), note_(std::move(note)) {}

  // --- points ------------------------------------------------------------------------------------

  /// What the collection has now is what it must have.
  void Learn(const std::string& name);
  void Know(const std::string& name, Points points);
  Points Known(const std::string& name) const;
  /// What the Active replicas of a collection have between them.
  static Points Read(ScriptedEngine& engine, const std::string& name);

  /// From now on writers write to what `readers`, an alias or a name, reads; nobody until then.
  /// What they are told is known of the collection, and is in Told().
  void LetWrite(const std::string& readers);
  void StopWriters();
  /// While this is true writers stay away.
  void SetAway(std::function<bool()> away);
  /// What a reader of `readers` must find: what it had when writers were let in, with what they
  /// were told since.
  Points Told() const;
  /// The same point in `a` and `b` has a line that both allow; what is wrong else.
  static std::vector<std::string> Differences(const Points& want, const Points& have);

  // --- what befalls it ---------------------------------------------------------------------------

  void SetWeather(const Weather& weather);
  /// Peers that died, and changes that were deferred, since then.
  std::size_t deaths() const;
  std::size_t deferred() const;
  /// Before a call of a process.
  void Befall(std::string_view what);
  /// For ProcessEngine.
  bool Defer(std::string_view what, std::function<void()> change);
  /// The peer dies now and stays away until Heal().
  void Kill(PeerId peer);
  /// All comes to rest: what was deferred happens, all peers but `without` live, replicas that were
  /// Dead are made anew, transfers have ended.
  void Heal(const std::set<PeerId>& without = {});

  /// From now on the least number of Active replicas of every shard is watched.
  void Watch();
  /// Shards that had fewer Active replicas on living peers than they began with, have now, or can
  /// have without so many peers, for another reason than what befell them.
  std::vector<std::string> CheckNeverBelow(std::size_t unusable_peers);

  // --- what must be true at rest -----------------------------------------------------------------

  /// Every Active replica has exactly the known points of its shard.
  std::vector<std::string> CheckPoints(const std::string& name);
  /// Every replica is Active on a peer that lives, nothing is transferred or resharded.
  std::vector<std::string> CheckAtRest(const std::string& name);

  std::set<std::string> Names();

 private:
  struct Watched {
    std::uint32_t began = 0;
    std::uint32_t hurt = 0;
  };
  struct Deferred {
    MonotonicTime due;
    std::function<void()> change;
  };
  using ShardName = std::pair<std::string, ShardId>;

  void Happen();
  void Die(const Topology& now, std::optional<MonotonicTime> returns);
  void Return(PeerId peer);
  void RunDeferred(MonotonicTime until);
  void Note(const std::string& kind, const std::string& text);
  bool CanLoseDisk(const Topology& now, PeerId peer) const;
  void Hurt(const Topology& now, PeerId peer);
  void WriteOne();
  std::string Resolve(const Topology& now) const;

  Random& random_;
  FakeClock& clock_;
  ScriptedEngine& engine_;
  Tally& tally_;
  const std::function<void(std::string)> note_;

  mutable std::recursive_mutex mutex_;
  Weather weather_;
  std::map<std::string, Points> known_;
  std::string readers_;
  Points told_;
  std::function<bool()> away_;
  std::uint64_t versions_ = 0;
  std::map<PeerId, std::optional<MonotonicTime>> gone_;
  std::vector<Deferred> deferred_;
  std::size_t deaths_count_ = 0;
  std::size_t deferred_count_ = 0;
  std::map<ShardName, Watched> watched_;
};

}  // namespace holdfast::testing
