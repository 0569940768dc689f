// What clients wrote to the simulated cluster and when, and what a restored group may therefore
// hold: the rule of sandbox/holdfast_sandbox/journal.py, shard by shard.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "model/group.h"
#include "testing/fake_clock.h"
#include "testing/scripted_engine.h"

namespace holdfast::testing {

/// The interval within which a shard was cut; instants of the clock of the simulation.
struct CutInterval {
  MonotonicTime begin;
  MonotonicTime end;
};

/// Writes by chance and remembers every write. One thread at a time.
class Written {
 public:
  Written(FakeClock& clock, ScriptedEngine& engine, Random& random)
      : clock_(clock), engine_(engine), random_(random) {}

  /// From now on writes go to this collection too; `keys` of custom sharding, or none.
  void Begin(const std::string& collection, std::vector<ShardKey> keys, std::uint64_t ids);
  /// No more writes; what was written stays known.
  void End(const std::string& collection) { open_.erase(collection); }
  /// The collection was made anew, empty.
  void Emptied(const std::string& collection);

  /// An insert, an overwrite or a delete, one point each.
  void WriteOne();

  /// What is wrong with `content` (lines by id) as the restored `shard` of a collection that was
  /// cut within `cut`: a write acknowledged before is in, one sent after is not, those between may
  /// be, on one point only in their order.
  std::vector<std::string> Check(const std::string& collection, ShardId shard,
                                 const CutInterval& cut,
                                 const std::map<std::string, std::string>& content) const;
  /// What is wrong with the live collections: every Active replica holds what was written last.
  std::vector<std::string> CheckLive() const;
  /// True when a write lies within `cut`, in part or whole.
  bool AnyWithin(const CutInterval& cut) const;

 private:
  struct Change {
    MonotonicTime sent;
    MonotonicTime acked;
    /// Number of the write, which is the point's payload; absent: deleted.
    std::optional<std::uint64_t> version;
  };
  struct Point {
    ShardId shard;
    std::vector<Change> changes;
  };
  struct Open {
    std::vector<std::optional<ShardKey>> keys;
    std::uint64_t ids = 0;
  };
  using Points = std::map<std::string, Point>;

  static std::optional<std::uint64_t> VersionOf(const std::map<std::string, std::string>& content,
                                                const std::string& id);

  FakeClock& clock_;
  ScriptedEngine& engine_;
  Random& random_;
  std::map<std::string, Open> open_;
  std::map<std::string, Points> points_;
  std::uint64_t versions_ = 0;
};

}  // namespace holdfast::testing
