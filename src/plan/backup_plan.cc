#include "plan/backup_plan.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <tuple>
#include <utility>

#include "base/join.h"
#include "base/size.h"
#include "model/json.h"
#include "model/topology_json.h"

namespace holdfast {
namespace {

using json::Json;

std::array<unsigned, 3> VersionNumbers(std::string_view text) {
  std::array<unsigned, 3> numbers{};
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  for (unsigned& number : numbers) {
    const auto [next, code] = std::from_chars(at, end, number);
    if (code != std::errc()) break;
    at = next;
    if (at == end || *at != '.') break;
    ++at;
  }
  return numbers;
}

bool Healthy(const Topology& topology, const Replica& replica) {
  if (replica.state != ReplicaState::kActive) return false;
  // A lone replica on a dead peer still reads Active (measured 18): the peer itself must answer.
  const Peer* peer = topology.FindPeer(replica.peer);
  return peer != nullptr && peer->answers;
}

const ReplicaFacts* FactsOf(const std::map<ReplicaKey, ReplicaFacts>& facts,
                            const Collection& collection, ShardId shard, PeerId peer) {
  const auto found = facts.find({collection.name, shard, peer});
  return found == facts.end() ? nullptr : &found->second;
}

std::string ReplicaText(const Topology& topology, const Replica& replica) {
  std::string text =
      std::to_string(replica.peer.value()) + " is " + std::string(ReplicaStateName(replica.state));
  const Peer* peer = topology.FindPeer(replica.peer);
  if (peer == nullptr) return text + ", its peer is unknown";
  if (!peer->answers) text += ", its peer does not answer (" + peer->trouble + ")";
  return text;
}

/// Picks sources shard by shard, so that load is spread over peers.
class SourcePicker {
 public:
  SourcePicker(const Topology& topology, const std::map<ReplicaKey, ReplicaFacts>& facts,
               const std::map<ParentKey, ParentImage>& parents)
      : topology_(topology), facts_(facts), parents_(parents) {}

  CaptureStep Pick(const Collection& collection, const Shard& shard) {
    const auto parent = parents_.find({collection.uuid, shard.id});
    const bool has_parent = parent != parents_.end() && !collection.uuid.empty();
    const std::uint64_t most = MostPoints(collection, shard);
    // Smaller is better, left to right.
    using Rank = std::tuple<bool, bool, bool, std::uint64_t, PeerId>;
    std::vector<Rank> ranks;
    CaptureStep step{.collection = collection.name,
                     .shard = shard.id,
                     .key = shard.key,
                     .sources = {},
                     .predicted_bytes = 0,
                     .wave = 0,
                     .mode = CaptureMode::kStream};
    for (const Replica& replica : shard.replicas) {
      if (!Healthy(topology_, replica)) continue;
      const ReplicaFacts* known = FactsOf(facts_, collection, shard.id, replica.peer);
      const bool lacking = known == nullptr || known->points.value_or(0) < most;
      const bool idle = known != nullptr && known->idle;
      const bool is_parent = has_parent && parent->second.peer == replica.peer;
      ranks.emplace_back(lacking, !idle, !is_parent, load_[replica.peer], replica.peer);
      if (known != nullptr) step.predicted_bytes = std::max(step.predicted_bytes, known->bytes);
    }
    std::ranges::sort(ranks);
    for (const Rank& rank : ranks) step.sources.push_back(std::get<PeerId>(rank));
    if (has_parent) step.predicted_bytes = std::max(step.predicted_bytes, parent->second.tar_bytes);
    if (!step.sources.empty()) load_[step.sources.front()] += 1 + step.predicted_bytes;
    return step;
  }

 private:
  std::uint64_t MostPoints(const Collection& collection, const Shard& shard) const {
    std::uint64_t most = 0;
    for (const Replica& replica : shard.replicas) {
      const ReplicaFacts* known = FactsOf(facts_, collection, shard.id, replica.peer);
      if (known != nullptr && Healthy(topology_, replica)) {
        most = std::max(most, known->points.value_or(0));
      }
    }
    return most;
  }

  const Topology& topology_;
  const std::map<ReplicaKey, ReplicaFacts>& facts_;
  const std::map<ParentKey, ParentImage>& parents_;
  std::map<PeerId, std::uint64_t> load_;
};

/// Streams and spool bytes that the collections of one wave need together.
struct WaveLoad {
  std::map<PeerId, std::uint32_t> per_peer;
  std::uint32_t streams = 0;
  std::uint64_t bytes = 0;

  bool Fits(const BackupRequest& request) const {
    if (streams > request.streams_max) return false;
    if (request.spool_bytes_max != 0 && bytes > request.spool_bytes_max) return false;
    return std::ranges::all_of(
        per_peer, [&](const auto& entry) { return entry.second <= request.streams_per_peer_max; });
  }
};

WaveLoad Plus(WaveLoad load, const std::vector<CaptureStep>& steps) {
  for (const CaptureStep& step : steps) {
    // A staged snapshot holds no lock while it is downloaded, so it needs no room of its own.
    if (step.mode == CaptureMode::kStaged) continue;
    load.per_peer[step.sources.front()] += 1;
    load.streams += 1;
    load.bytes += step.predicted_bytes;
  }
  return load;
}

/// All streams of a collection are open at once, each with its room reserved. What does not fit is
/// stored on its node first, largest shards first.
Status StageWhatOutgrowsTheSpool(const Collection& collection, std::vector<CaptureStep>& steps,
                                 const BackupRequest& request) {
  if (request.spool_bytes_max == 0) return {};
  while (Plus({}, steps).bytes > request.spool_bytes_max) {
    if (request.mode == ModeChoice::kStream) {
      return Error(ErrorCode::kFailedPrecondition,
                   "the shards of '" + collection.name + "' need " +
                       FormatSize(Plus({}, steps).bytes) + " of room in the spool, it may hold " +
                       FormatSize(request.spool_bytes_max),
                   "raise [backup] spool_bytes_max, or leave --mode at auto");
    }
    const auto larger_stream = [](const CaptureStep& left, const CaptureStep& right) {
      const auto room = [](const CaptureStep& step) {
        return step.mode == CaptureMode::kStream ? step.predicted_bytes : 0;
      };
      return room(left) < room(right);
    };
    std::ranges::max_element(steps, larger_stream)->mode = CaptureMode::kStaged;
  }
  return {};
}

Result<std::vector<const Collection*>> Chosen(const Topology& topology,
                                              const BackupRequest& request) {
  std::vector<const Collection*> chosen;
  if (request.collections.empty()) {
    for (const Collection& collection : topology.collections) chosen.push_back(&collection);
    return chosen;
  }
  const std::set<std::string> names(request.collections.begin(), request.collections.end());
  for (const std::string& name : names) {
    const Collection* collection = topology.FindCollection(name);
    if (collection == nullptr) {
      return Error(ErrorCode::kNotFound, "the cluster has no collection '" + name + "'",
                   "`holdfast topology` lists the collections it has");
    }
    chosen.push_back(collection);
  }
  return chosen;
}

Status CheckVersions(const Topology& topology, const BackupRequest& request) {
  for (const Peer& peer : topology.peers) {
    if (!peer.answers || request.allow_old) continue;
    if (CompareVersions(peer.version, kOldestVersion) < 0) {
      return Error(
          ErrorCode::kUnsupported,
          FormatPeer(peer.id) + " runs version " + peer.version + ", older than " + kOldestVersion,
          "upgrade it, or pass --allow-old after a restore drill with that version");
    }
  }
  return {};
}

/// Ids of a key that are not one after the other cannot be made again (reference 2.8).
void WarnAboutKeyGaps(const Collection& collection, std::vector<std::string>& warnings) {
  for (const ShardKey& key : collection.shard_keys) {
    std::vector<ShardId> ids;
    for (const Shard& shard : collection.shards) {
      if (shard.key == key) ids.push_back(shard.id);
    }
    if (ids.empty() || ids.back().value() - ids.front().value() + 1 == ids.size()) continue;
    warnings.push_back("the shard ids of key " + FormatShardKey(key) + " of '" + collection.name +
                       "' have gaps: shard images of this key can only be restored logically");
  }
}

void WarnAboutCounts(const Topology& topology, const Collection& collection,
                     const std::map<ReplicaKey, ReplicaFacts>& facts,
                     std::vector<std::string>& warnings) {
  for (const Shard& shard : collection.shards) {
    std::set<std::uint64_t> counts;
    for (const Replica& replica : shard.replicas) {
      const ReplicaFacts* known = FactsOf(facts, collection, shard.id, replica.peer);
      if (known == nullptr || !known->points || !Healthy(topology, replica)) continue;
      counts.insert(*known->points);
    }
    if (counts.size() < 2) continue;
    warnings.push_back("replicas of shard " + std::to_string(shard.id.value()) + " of '" +
                       collection.name + "' count between " + FormatCount(*counts.begin()) +
                       " and " + FormatCount(*counts.rbegin()) +
                       " points; the one with most was preferred");
  }
}

}  // namespace

int CompareVersions(std::string_view left, std::string_view right) {
  const auto a = VersionNumbers(left);
  const auto b = VersionNumbers(right);
  return a < b ? -1 : a == b ? 0 : 1;
}

std::vector<Obstacle> ObstaclesTo(const Topology& topology, const Collection& collection,
                                  const std::map<ReplicaKey, ReplicaFacts>& facts) {
  std::vector<Obstacle> obstacles;
  if (!collection.resharding.empty()) {
    obstacles.push_back({.reason = "it is resharding: " + collection.resharding, .passing = true});
  }
  if (!collection.transfers.empty()) {
    const ShardTransfer& first = collection.transfers.front();
    obstacles.push_back({.reason = "shard " + std::to_string(first.shard.value()) +
                                   " is being transferred from peer " +
                                   std::to_string(first.from.value()) + " to " +
                                   std::to_string(first.to.value()),
                         .passing = true});
  }
  for (const Shard& shard : collection.shards) {
    std::vector<std::string> states;
    bool healthy = false;
    for (const Replica& replica : shard.replicas) {
      const bool asked = FactsOf(facts, collection, shard.id, replica.peer) != nullptr;
      healthy = healthy || (asked && Healthy(topology, replica));
      states.push_back(ReplicaText(topology, replica));
    }
    if (healthy) continue;
    obstacles.push_back(
        {.reason = "shard " + std::to_string(shard.id.value()) + " has no healthy replica (" +
                   (states.empty() ? "it has none at all" : Join(states, "; ")) + ")",
         .passing = false});
  }
  return obstacles;
}

Result<BackupPlan> PlanBackup(const Topology& topology,
                              const std::map<ReplicaKey, ReplicaFacts>& facts,
                              const std::map<ParentKey, ParentImage>& parents,
                              const BackupRequest& request) {
  HF_RETURN_IF_ERROR(CheckVersions(topology, request));
  HF_TRY(const auto chosen, Chosen(topology, request));
  BackupPlan plan;
  SourcePicker picker(topology, facts, parents);
  std::vector<std::string> refusals;
  bool all_passing = true;
  WaveLoad load;
  std::uint32_t wave = 0;
  for (const Collection* collection : chosen) {
    const std::vector<Obstacle> obstacles = ObstaclesTo(topology, *collection, facts);
    if (!obstacles.empty()) {
      std::vector<std::string> reasons;
      for (const Obstacle& obstacle : obstacles) {
        reasons.push_back(obstacle.reason);
        all_passing = all_passing && obstacle.passing;
      }
      plan.skipped.push_back({.name = collection->name, .reason = Join(reasons, "; ")});
      refusals.push_back("'" + collection->name + "': " + plan.skipped.back().reason);
      continue;
    }
    std::vector<CaptureStep> steps;
    for (const Shard& shard : collection->shards) steps.push_back(picker.Pick(*collection, shard));
    for (CaptureStep& step : steps) {
      if (request.mode == ModeChoice::kStaged) step.mode = CaptureMode::kStaged;
    }
    HF_RETURN_IF_ERROR(StageWhatOutgrowsTheSpool(*collection, steps, request));
    if (!Plus({}, steps).Fits(request)) {
      const WaveLoad alone = Plus({}, steps);
      return Error(ErrorCode::kFailedPrecondition,
                   "'" + collection->name + "' needs " + std::to_string(alone.streams) +
                       " streams open at once, more than the limits allow",
                   "raise [backup] streams_max and streams_per_peer_max; a collection is always "
                   "taken in one wave, so that its shards share one cut");
    }
    if (!plan.steps.empty() && !Plus(load, steps).Fits(request)) {
      ++wave;
      load = {};
    }
    load = Plus(std::move(load), steps);
    for (CaptureStep& step : steps) {
      step.wave = wave;
      plan.steps.push_back(std::move(step));
    }
    plan.collections.push_back(collection->name);
    WarnAboutKeyGaps(*collection, plan.warnings);
    WarnAboutCounts(topology, *collection, facts, plan.warnings);
  }
  plan.waves = plan.steps.empty() ? 0 : wave + 1;
  // A group of nothing would be the latest one all the same.
  const bool nothing_left = plan.collections.empty();
  if (!refusals.empty() && (!request.skip_unhealthy || nothing_left)) {
    return Error(
        all_passing ? ErrorCode::kBusy : ErrorCode::kFailedPrecondition,
        "cannot back up " + Join(refusals, " | "),
        all_passing ? "nothing was changed; try later, or pass --wait"
        : nothing_left
            ? "repair what is named (`holdfast jobs` shows what was interrupted and can be "
              "resumed): nothing else is left to back up"
            : "repair what is named (`holdfast jobs` shows what was interrupted and can be "
              "resumed), or pass --skip-unhealthy for a complete group of the "
              "rest");
  }
  return plan;
}

std::string WhatChanged(const Collection& before, const Collection& after) {
  if (before.uuid != after.uuid) return "it was dropped and created again";
  if (before.create_json != after.create_json || before.finish_json != after.finish_json) {
    return "its configuration changed";
  }
  if (before.indexes != after.indexes) return "its payload indexes changed";
  if (before.aliases != after.aliases) return "its aliases changed";
  if (before.shard_keys != after.shard_keys) return "its shard keys changed";
  if (before.shards != after.shards) return "its shards or the states of its replicas changed";
  if (!after.transfers.empty()) return "a shard transfer began";
  if (!after.resharding.empty()) return "resharding began";
  return {};
}

std::string BackupPlanToJson(const BackupPlan& plan) {
  Json steps = Json::array();
  for (const CaptureStep& step : plan.steps) {
    Json sources = Json::array();
    for (const PeerId peer : step.sources) sources.push_back(peer.value());
    Json item = {{"collection", step.collection},
                 {"shard", step.shard.value()},
                 {"sources", std::move(sources)},
                 {"predicted_bytes", step.predicted_bytes},
                 {"wave", step.wave},
                 {"mode", CaptureModeName(step.mode)}};
    if (step.key) item["key"] = ShardKeyJson(*step.key);
    steps.push_back(std::move(item));
  }
  Json skipped = Json::array();
  for (const SkippedCollection& item : plan.skipped) {
    skipped.push_back({{"name", item.name}, {"reason", item.reason}});
  }
  return json::Dump({{"waves", plan.waves},
                     {"collections", plan.collections},
                     {"steps", std::move(steps)},
                     {"skipped", std::move(skipped)},
                     {"warnings", plan.warnings}});
}

}  // namespace holdfast
