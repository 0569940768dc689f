// What a round of resharding must leave as it was, and what it must lead to.

#include <algorithm>
#include <iterator>
#include <utility>

#include "model/json.h"
#include "ops/insist.h"
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

/// Written down before readers are switched: the run that came so far first. Whoever kept writers
/// away for an earlier one has let them go.
Result<std::uint32_t> NativeReshard::NoteSwitch(StepContext& context, const Try& now) {
  HF_TRY(const std::string noted,
         context.Step(now.prefix + "switch", [&](const CallContext&) -> Result<std::string> {
           return json::Dump({{"attempt", context.attempt()}});
         }));
  HF_TRY(const json::Json detail, json::Parse(noted, "a recorded switch"));
  json::Reader in(detail, "a recorded switch");
  const std::uint32_t attempt = in.Number32("attempt");
  HF_RETURN_IF_ERROR(in.status());
  return attempt;
}

/// Once: only one shard more beside other keys loses what writers write then (docs/reshard.md).
Status NativeReshard::TellReleased(StepContext& context, const Try& now, const Collection& there,
                                   const std::string& text) {
  if (now.round.direction == ReshardDirection::kDown || there.shard_keys.size() < 2) return {};
  bool first = false;
  HF_TRY(const std::string told,
         context.Step(now.prefix + "told", [&](const CallContext&) -> Result<std::string> {
           first = true;
           return std::string("{}");
         }));
  if (!first) return {};
  return Error(ErrorCode::kFailedPrecondition,
               text + "; what they wrote under other shard keys since may be lost",
               "raise the time limit of the freeze, and write anew what was written meanwhile");
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
              .WithHint("run `holdfast reshard --resume JOB` when the peer is back");
        }
        if (counts->all != counts->in_ring) {
          wrong = Describe(ref) + " has " + std::to_string(counts->all) + " points, " +
                  std::to_string(counts->in_ring) + " of which belong there";
        }
        if (replica.peer == Readable(shard).peer) points += counts->in_ring;
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
              .peer = Readable(shard).peer, .collection = there.name, .shard = shard.id};
          HF_TRY(const auto same, Again(call, [&] {
                   return parts_.engine.ReadPoints(call, ref, {sample.id_json});
                 }));
          found = same.size() == 1 && same.front().point_json == sample.point_json;
        }
        if (!found) wrong = "point " + sample.id_json + " is not what it was";
      }
    }
    if (wrong.empty() && not_active.empty()) return {};
    const bool late = parts_.clock.Monotonic() >= until;
    if (late && !not_active.empty()) {
      return Error(
          ErrorCode::kFailedPrecondition,
          "'" + plan_.collection + "' was resharded and could not be verified: " + not_active,
          "run `holdfast reshard --resume JOB` when the servers have recovered it");
    }
    if (late) {
      return Error(ErrorCode::kDataLoss,
                   "'" + plan_.collection + "' was resharded and is not right: " + wrong,
                   "look with `holdfast topology`; the group of the last backup has its points");
    }
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
  }
}

}  // namespace holdfast
