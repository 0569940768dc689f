// What a round of resharding must leave as it was, and what it must lead to.

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "model/json.h"
#include "ops/insist.h"
#include "ops/reshard/native_reshard.h"
#include "ops/reshard/write_mark.h"

namespace holdfast {
namespace {

constexpr Duration kPoll = std::chrono::milliseconds(200);
/// How long counts that do not agree may come from writes between two of them.
constexpr Duration kCountPatience = std::chrono::seconds(30);
constexpr std::uint32_t kSamplesPerShard = 20;
/// How long writes that were under way when writers were stopped may take to reach all replicas.
constexpr Duration kMovedPatience = std::chrono::seconds(10);

std::string Apart(const ReplicaRef& replica, std::uint64_t points, std::uint64_t other) {
  return Describe(replica) + " has " + std::to_string(points) + " points, another replica of it " +
         std::to_string(other);
}

}  // namespace

std::uint32_t NativeReshard::ShardsOf(const Collection& collection,
                                      const std::optional<ShardKey>& key) {
  return static_cast<std::uint32_t>(std::ranges::count(collection.shards, key, &Shard::key));
}

const Replica& NativeReshard::Readable(const Shard& shard) {
  const auto active = std::ranges::find(shard.replicas, ReplicaState::kActive, &Replica::state);
  return active == shard.replicas.end() ? shard.replicas.front() : *active;
}

/// For the report: what cannot be counted fails nothing that is done.
Status NativeReshard::CountAll(const CallContext& call, const Collection& now) {
  for (const Shard& shard : now.shards) {
    Result<PointCounts> counts = Error(ErrorCode::kUnavailable, "it has no replica");
    for (const Replica& replica : shard.replicas) {
      counts = parts_.engine.CountPoints(
          call, {.peer = replica.peer, .collection = now.name, .shard = shard.id});
      if (counts.ok()) break;
      HF_RETURN_IF_ERROR(parts_.clock.Check(call));
      if (!AnotherMayAnswer(counts.error().code())) return counts.error();
    }
    if (counts.ok()) {
      outcome_.points += counts->in_ring;
    } else {
      outcome_.warnings.push_back("shard " + std::to_string(shard.id.value()) + " of '" + now.name +
                                  "' could not be counted in the end: " + counts.error().message());
    }
  }
  return {};
}

/// Only while nobody writes.
Result<NativeReshard::Before> NativeReshard::Look(const CallContext& call, const Try& now) {
  Before before;
  HF_TRY(const Collection there, Read(call));
  for (const Shard& shard : there.shards) {
    // Not read yet, or not counted twice: a new shard has copies of what the others have still.
    const bool comes = shard.id == now.shard && now.round.direction == ReshardDirection::kUp;
    if (shard.key != now.round.key || comes) continue;
    const ReplicaRef from{
        .peer = Readable(shard).peer, .collection = there.name, .shard = shard.id};
    HF_TRY(const auto ids,
           Again(call, [&] { return parts_.engine.ListIds(call, from, "", kSamplesPerShard); }));
    HF_TRY(auto points, Again(call, [&] { return parts_.engine.ReadPoints(call, from, ids); }));
    std::ranges::move(points, std::back_inserter(before.samples));
  }
  for (const Shard& shard : there.shards) {
    if (shard.key != now.round.key) continue;
    const ReplicaRef from{
        .peer = Readable(shard).peer, .collection = there.name, .shard = shard.id};
    HF_TRY(const PointCounts counts,
           Again(call, [&] { return parts_.engine.CountPoints(call, from); }));
    // The ring of the filter is the larger one (transcript 6), with the shard that comes or goes:
    // what moves is foreign to the others. Each point is to be counted once, and where it stays.
    const bool goes = now.round.direction == ReshardDirection::kDown;
    if (shard.id == now.shard) before.in_moving = counts.all;
    if (shard.id != now.shard) before.copied += counts.all - counts.in_ring;
    if (!goes) before.points += counts.in_ring;
    if (goes && shard.id != now.shard) before.points += counts.all;
  }
  return before;
}

/// A write that reached only one of the two shards that a moving point has (its client was told an
/// error, as while a peer was away) leaves them different; readers are not to be switched to what
/// is older. As long as they are not, the round can be begun anew.
Result<NativeReshard::Before> NativeReshard::AwaitMoved(const CallContext& call, const Try& now,
                                                        Before before) {
  const MonotonicTime until = parts_.clock.Monotonic() + kMovedPatience;
  for (;;) {
    std::string wrong;
    if (before.in_moving != before.copied) {
      wrong = "shard " + std::to_string(now.shard.value()) + " has " +
              std::to_string(before.in_moving) + " points, the other shards have " +
              std::to_string(before.copied) + " of those that move";
    }
    if (wrong.empty()) {
      HF_TRY(wrong, Different(call, now, before.samples));
    }
    if (wrong.empty()) return before;
    if (parts_.clock.Monotonic() >= until) {
      return Error(ErrorCode::kAborted,
                   "not every write reached both places of a point of '" + plan_.collection +
                       "' that moves: " + wrong,
                   "see that all peers answer and that no shard has points of another one (POST "
                   "/collections/NAME/shards/N/cleanup removes them), then try again");
    }
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
    HF_TRY(before, Look(call, now));
  }
}

/// What the replicas of a shard do not agree on, in number or in a sampled point; empty: nothing.
Result<std::string> NativeReshard::Different(const CallContext& call, const Try& now,
                                             const std::vector<SampledPoint>& samples) {
  std::map<std::string, std::string> lines;
  std::vector<std::string> ids;
  for (const SampledPoint& sample : samples) {
    lines[sample.id_json] = sample.point_json;
    ids.push_back(sample.id_json);
  }
  HF_TRY(const Collection there, Read(call));
  for (const Shard& shard : there.shards) {
    if (shard.key != now.round.key) continue;
    std::optional<std::uint64_t> points;
    for (const Replica& replica : shard.replicas) {
      if (replica.state != ReplicaState::kActive) continue;
      const ReplicaRef ref{.peer = replica.peer, .collection = there.name, .shard = shard.id};
      HF_TRY(const PointCounts counts,
             Again(call, [&] { return parts_.engine.CountPoints(call, ref); }));
      if (!points) points = counts.all;
      if (*points != counts.all) return Apart(ref, counts.all, *points);
      HF_TRY(const auto found,
             Again(call, [&] { return parts_.engine.ReadPoints(call, ref, ids); }));
      for (const SampledPoint& point : found) {
        if (lines[point.id_json] == point.point_json) continue;
        return "point " + point.id_json + " is another one in " + Describe(ref);
      }
    }
  }
  return std::string();
}

Status NativeReshard::Verify(const CallContext& call, const Try& now,
                             const std::optional<Before>& before) {
  const MonotonicTime until = parts_.clock.Monotonic() + kCountPatience;
  std::string wrong;
  std::string apart;
  for (;;) {
    const std::string wrong_before = std::exchange(wrong, {});
    // Writers may come in between the counts of two replicas, unless their numbers tell otherwise.
    std::optional<WriteMark> mark;
    if (!std::exchange(apart, {}).empty() && !before) {
      HF_TRY(mark, Again(call, [&] { return ReadMark(call, parts_.engine, plan_.collection); }));
    }
    std::map<ShardId, std::uint64_t> counted;
    std::vector<ReplicaRef> foreign;
    std::string not_active;
    std::uint64_t points = 0;
    HF_TRY(const Collection there, Read(call));
    for (const Shard& shard : there.shards) {
      if (shard.key != now.round.key) continue;
      for (const Replica& replica : shard.replicas) {
        const ReplicaRef ref{.peer = replica.peer, .collection = there.name, .shard = shard.id};
        if (replica.state != ReplicaState::kActive) {
          not_active = Describe(ref) + " is " + std::string(ReplicaStateName(replica.state));
          continue;
        }
        const auto counts = Again(call, [&] { return parts_.engine.CountPoints(call, ref); });
        if (!counts.ok()) {
          return counts.error()
              .While("'" + plan_.collection + "' was resharded and could not be verified")
              .WithHint("run " + ResumeCommand() + " when the peer is back");
        }
        if (counts->all != counts->in_ring) {
          foreign.push_back(ref);
          wrong = Describe(ref) + " has " + std::to_string(counts->all) + " points, " +
                  std::to_string(counts->in_ring) + " of which belong there";
        }
        const std::uint64_t other = counted.try_emplace(shard.id, counts->all).first->second;
        if (other != counts->all) apart = Apart(ref, counts->all, other);
        if (replica.peer == Readable(shard).peer) points += counts->in_ring;
      }
    }
    if (ShardsOf(there, now.round.key) != now.round.to) wrong = "the number of shards is wrong";
    if (wrong.empty() && !apart.empty() && before) wrong = apart;
    if (wrong.empty() && !apart.empty() && mark) {
      HF_TRY(const WriteMark later,
             Again(call, [&] { return ReadMark(call, parts_.engine, plan_.collection); }));
      if (ProvesQuiet(*mark, later)) wrong = apart;
    }
    if (wrong.empty() && before && points != before->points) {
      wrong = "the shards have " + std::to_string(points) + " points, before they had " +
              std::to_string(before->points);
    }
    if (wrong.empty() && before) {
      for (const SampledPoint& sample : before->samples) {
        bool found = false;
        for (const Shard& shard : there.shards) {
          if (shard.key != now.round.key || found) continue;
          const ReplicaRef ref{
              .peer = Readable(shard).peer, .collection = there.name, .shard = shard.id};
          HF_TRY(const auto same, Again(call, [&] {
                   return parts_.engine.ReadPoints(call, ref, {sample.id_json});
                 }));
          found = same.size() == 1 && same.front().point_json == sample.point_json;
        }
        if (!found) wrong = "point " + sample.id_json + " is not what it was";
      }
    }
    const bool late = parts_.clock.Monotonic() >= until;
    if (wrong.empty() && not_active.empty() && (apart.empty() || late)) return {};
    if (late && !not_active.empty()) {
      return Error(
          ErrorCode::kFailedPrecondition,
          "'" + plan_.collection + "' was resharded and could not be verified: " + not_active,
          "run " + ResumeCommand() + " when the servers have recovered it");
    }
    // Seen once it may be a replica that turned Dead between the look and the count.
    if (late && wrong == wrong_before) {
      return Error(
          ErrorCode::kDataLoss,
          "'" + plan_.collection + "' was resharded and is not right: " + wrong,
          "`holdfast topology` shows the replicas; one that has less than the others can be "
          "dropped, and `holdfast rebalance` makes it anew; the group of the last backup "
          "has all points");
    }
    // One that was made anew from another that had not been cleaned yet; the next look judges it.
    if (wrong == wrong_before) {
      for (const ReplicaRef& replica : foreign) {
        static_cast<void>(parts_.engine.CleanReplica(call, replica).ok());
      }
    }
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
  }
}

}  // namespace holdfast
