// What a round of resharding must leave as it was, and what it must lead to.

#include <algorithm>
#include <iterator>
#include <utility>

#include "ops/reshard/native_reshard.h"

namespace holdfast {
namespace {

constexpr Duration kPoll = std::chrono::milliseconds(200);
/// How long counts that do not agree may come from writes between two of them.
constexpr Duration kCountPatience = std::chrono::seconds(30);
constexpr std::uint32_t kSamplesPerShard = 20;

}  // namespace

std::uint32_t NativeReshard::ShardsOf(const Collection& collection,
                                      const std::optional<ShardKey>& key) {
  return static_cast<std::uint32_t>(std::ranges::count(collection.shards, key, &Shard::key));
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
        .peer = shard.replicas.front().peer, .collection = there.name, .shard = shard.id};
    HF_TRY(const auto ids,
           Again(call, [&] { return parts_.engine.ListIds(call, from, "", kSamplesPerShard); }));
    HF_TRY(auto points, Again(call, [&] { return parts_.engine.ReadPoints(call, from, ids); }));
    std::ranges::move(points, std::back_inserter(before.samples));
  }
  for (const Shard& shard : there.shards) {
    if (shard.key != now.round.key) continue;
    const ReplicaRef from{
        .peer = shard.replicas.front().peer, .collection = there.name, .shard = shard.id};
    // By one ring, the larger one on the real server (transcript 6): each point is counted once.
    HF_TRY(const PointCounts counts,
           Again(call, [&] { return parts_.engine.CountPoints(call, from); }));
    before.points += counts.in_ring;
  }
  return before;
}

Status NativeReshard::Verify(const CallContext& call, const Try& now,
                             const std::optional<Before>& before) {
  const MonotonicTime until = parts_.clock.Monotonic() + kCountPatience;
  for (;;) {
    std::string wrong;
    std::uint64_t points = 0;
    HF_TRY(const Collection there, Read(call));
    for (const Shard& shard : there.shards) {
      if (shard.key != now.round.key) continue;
      for (const Replica& replica : shard.replicas) {
        const ReplicaRef ref{.peer = replica.peer, .collection = there.name, .shard = shard.id};
        if (replica.state != ReplicaState::kActive) wrong = Describe(ref) + " is not Active";
        const auto counts = Again(call, [&] { return parts_.engine.CountPoints(call, ref); });
        if (!counts.ok()) {
          return counts.error()
              .While("'" + plan_.collection + "' was resharded and could not be verified")
              .WithHint("run `holdfast reshard --resume JOB` when the peer is back");
        }
        if (counts->all != counts->in_ring) {
          wrong = Describe(ref) + " has " + std::to_string(counts->all) + " points, " +
                  std::to_string(counts->in_ring) + " of which belong there";
        }
        if (replica.peer == shard.replicas.front().peer) points += counts->in_ring;
      }
    }
    if (ShardsOf(there, now.round.key) != now.round.to) wrong = "the number of shards is wrong";
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
              .peer = shard.replicas.front().peer, .collection = there.name, .shard = shard.id};
          HF_TRY(const auto same, Again(call, [&] {
                   return parts_.engine.ReadPoints(call, ref, {sample.id_json});
                 }));
          found = same.size() == 1 && same.front().point_json == sample.point_json;
        }
        if (!found) wrong = "point " + sample.id_json + " is not what it was";
      }
    }
    if (wrong.empty()) return {};
    if (parts_.clock.Monotonic() >= until) {
      return Error(ErrorCode::kDataLoss,
                   "'" + plan_.collection + "' was resharded and is not right: " + wrong,
                   "look with `holdfast topology`; the group of the last backup has its points");
    }
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
  }
}

}  // namespace holdfast
