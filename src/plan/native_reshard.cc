#include "plan/native_reshard.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "base/size.h"
#include "model/json.h"
#include "model/topology_json.h"
#include "plan/plan_findings.h"

namespace holdfast {
namespace {

using json::Json;
using json::Reader;

std::string KeyText(const std::optional<ShardKey>& key) {
  return key ? " of shard key " + FormatShardKey(*key) : std::string();
}

class Planner {
 public:
  Planner(const Topology& topology, const Collection& collection,
          const NativeReshardRequest& request)
      : topology_(topology), collection_(collection), request_(request) {}

  Result<NativeReshardPlan> Plan() {
    plan_.collection = collection_.name;
    plan_.uuid = collection_.uuid;
    Check();
    FindPeers();
    if (findings_.problems.empty()) {
      if (collection_.custom_sharding) {
        for (const ShardKey& key : collection_.shard_keys) AddRounds(key);
      } else {
        AddRounds({});
      }
      CheckRoom();
      CheckOtherKeys();
    }
    if (!findings_.problems.empty()) {
      return findings_.Refusal("cannot reshard '" + collection_.name + "' in place: ");
    }
    plan_.warnings = std::move(findings_.warnings);
    return std::move(plan_);
  }

 private:
  /// A peer that may get a replica.
  struct Place {
    PeerRoom room;
    /// Replicas of this collection that it has, or gets.
    std::size_t replicas = 0;
    std::uint64_t more_bytes = 0;
  };

  void Check() {
    if (request_.shards == 0) findings_.Problem("a collection has at least one shard");
    if (!topology_.distributed) {
      findings_.Problem("a stand-alone server does not reshard");
    } else if (!request_.allowed) {
      findings_.Problem("the cluster does not allow it",
                        "its servers need QDRANT__CLUSTER__RESHARDING_ENABLED=true, or use "
                        "--method copy");
    }
    for (const Shard& shard : collection_.shards) {
      for (const Replica& replica : shard.replicas) CheckReplica(shard, replica);
    }
    if (!collection_.transfers.empty()) findings_.Problem("its shards are being transferred");
    if (!collection_.resharding.empty()) findings_.Problem("it is " + collection_.resharding);
    if (collection_.custom_sharding && collection_.shard_keys.empty()) {
      findings_.Problem("it has custom sharding and no shard keys");
    }
  }

  void CheckReplica(const Shard& shard, const Replica& replica) {
    const Peer* const peer = topology_.FindPeer(replica.peer);
    const std::string what = "shard " + std::to_string(shard.id.value()) + " on peer " +
                             std::to_string(replica.peer.value());
    if (replica.state != ReplicaState::kActive) {
      findings_.Problem(what + " is " + std::string(ReplicaStateName(replica.state)));
    } else if (peer == nullptr || !peer->answers) {
      findings_.Problem(what + " cannot be used: the peer does not answer");
    }
  }

  void FindPeers() {
    for (const Peer& peer : topology_.peers) {
      const PeerLimits limits = LimitsOf(request_.limits, peer.id);
      if (!peer.answers || limits.draining) continue;
      std::uint64_t held = 0;
      std::size_t replicas = 0;
      for (const Collection& other : topology_.collections) {
        for (const Shard& shard : other.shards) {
          const bool here =
              std::ranges::find(shard.replicas, peer.id, &Replica::peer) != shard.replicas.end();
          if (!here) continue;
          held += ReplicaBytes(other);
          if (other.name == collection_.name) ++replicas;
        }
      }
      places_.push_back(
          {.room = RoomOf(peer, limits, held), .replicas = replicas, .more_bytes = 0});
    }
    if (places_.empty()) findings_.Problem("there is no peer that a shard can be put on");
  }

  void AddRounds(const std::optional<ShardKey>& key) {
    std::uint32_t count = 0;
    std::size_t replicas = 1;
    for (const Shard& shard : collection_.shards) {
      if (shard.key != key) continue;
      ++count;
      replicas = std::max(replicas, shard.replicas.size());
    }
    const std::uint64_t key_bytes = ReplicaBytes(collection_) * count;
    for (; count < request_.shards; ++count) {
      ReshardRound round{.direction = ReshardDirection::kUp,
                         .key = key,
                         .peers = {},
                         .from = count,
                         .to = count + 1};
      for (std::size_t i = 0; i < std::min(replicas, places_.size()); ++i) {
        round.peers.push_back(Choose(round.peers, key_bytes / (count + 1)));
      }
      plan_.rounds.push_back(std::move(round));
    }
    for (; count > request_.shards; --count) {
      plan_.rounds.push_back({.direction = ReshardDirection::kDown,
                              .key = key,
                              .peers = {},
                              .from = count,
                              .to = count - 1});
    }
    if (collection_.shard_keys.size() > 1 && !plan_.rounds.empty() &&
        plan_.rounds.back().key == key && plan_.rounds.back().direction == ReshardDirection::kUp) {
      findings_.warnings.push_back("the new shards" + KeyText(key) +
                                   " get ids behind those of the other keys: no restore can give "
                                   "this key the same ids again");
    }
  }

  PeerId Choose(const std::vector<PeerId>& taken, std::uint64_t bytes) {
    const auto rank = [&](const Place& place) {
      const std::uint64_t need = place.more_bytes + bytes;
      const bool full = place.room.free_bytes && *place.room.free_bytes < need;
      bool zone_used = false;
      for (const Place& other : places_) {
        if (std::ranges::find(taken, other.room.peer) == taken.end()) continue;
        zone_used = zone_used || (!place.room.zone.empty() && other.room.zone == place.room.zone);
      }
      return std::tuple(full, zone_used, place.replicas, place.room.held_bytes + need,
                        place.room.peer);
    };
    Place* best = nullptr;
    for (Place& place : places_) {
      if (std::ranges::find(taken, place.room.peer) != taken.end()) continue;
      if (best == nullptr || rank(place) < rank(*best)) best = &place;
    }
    ++best->replicas;
    best->more_bytes += bytes;
    return best->room.peer;
  }

  void CheckRoom() {
    for (const Place& place : places_) {
      if (!place.room.free_bytes || place.more_bytes <= *place.room.free_bytes) continue;
      std::string text = FormatPeer(place.room.peer) + " would need " +
                         FormatSize(place.more_bytes) + " of disk and has " +
                         FormatSize(*place.room.free_bytes);
      if (place.room.estimated) {
        findings_.warnings.push_back(text + ", as estimated");
      } else {
        findings_.Problem(std::move(text));
      }
    }
  }

  /// One shard less loses nothing (transcript 6).
  void CheckOtherKeys() {
    const bool grows = std::ranges::any_of(plan_.rounds, [](const ReshardRound& round) {
      return round.direction == ReshardDirection::kUp;
    });
    if (!grows || collection_.shard_keys.size() < 2 || request_.fenced) return;
    findings_.Problem(
        "it has several shard keys, and while one of them gets another shard this server loses new "
        "points that are written under the others",
        "keep writers away with `freeze` and `thaw` in the cluster's configuration, or use "
        "--method copy");
  }

  const Topology& topology_;
  const Collection& collection_;
  const NativeReshardRequest& request_;
  PlanFindings findings_;
  std::vector<Place> places_;
  NativeReshardPlan plan_;
};

}  // namespace

Result<NativeReshardPlan> PlanNativeReshard(const Topology& topology,
                                            const NativeReshardRequest& request) {
  const Collection* const collection = topology.FindCollection(request.collection);
  if (collection == nullptr) {
    return Error(ErrorCode::kNotFound, "there is no collection '" + request.collection + "'",
                 "`holdfast topology` lists them");
  }
  return Planner(topology, *collection, request).Plan();
}

std::string NativeReshardPlanToJson(const NativeReshardPlan& plan) {
  Json rounds = Json::array();
  for (const ReshardRound& round : plan.rounds) {
    Json peers = Json::array();
    for (const PeerId peer : round.peers) peers.push_back(peer.value());
    Json item = {{"direction", ReshardDirectionName(round.direction)},
                 {"peers", std::move(peers)},
                 {"from", round.from},
                 {"to", round.to}};
    if (round.key) item["key"] = ShardKeyJson(*round.key);
    rounds.push_back(std::move(item));
  }
  return json::Dump({{"collection", plan.collection},
                     {"uuid", plan.uuid},
                     {"rounds", std::move(rounds)},
                     {"warnings", plan.warnings}});
}

Result<NativeReshardPlan> NativeReshardPlanFromJson(std::string_view text) {
  HF_TRY(const Json document, json::Parse(text, "the resharding plan"));
  Reader in(document, "the resharding plan");
  NativeReshardPlan plan;
  plan.collection = in.Text("collection");
  plan.uuid = in.Text("uuid");
  for (const Json& item : in.Array("rounds")) {
    Reader one(item, "a round of the resharding plan");
    ReshardRound round;
    const std::string direction = one.Text("direction");
    round.direction = direction == "down" ? ReshardDirection::kDown : ReshardDirection::kUp;
    if (one.Has("key")) {
      HF_TRY(round.key, ShardKeyFrom(one.At("key")));
    }
    for (const Json& peer : one.Array("peers")) {
      if (!peer.is_number_unsigned()) return Error(ErrorCode::kDataLoss, "a peer is no number");
      round.peers.push_back(PeerId(peer.get<std::uint64_t>()));
    }
    round.from = one.Number32("from");
    round.to = one.Number32("to");
    HF_RETURN_IF_ERROR(one.status());
    if (direction != "up" && direction != "down") {
      return Error(ErrorCode::kDataLoss, "the resharding plan has a round '" + direction + "'");
    }
    plan.rounds.push_back(std::move(round));
  }
  for (const Json& item : in.Array("warnings")) {
    if (!item.is_string()) return Error(ErrorCode::kDataLoss, "a warning is not a text");
    plan.warnings.push_back(item.get<std::string>());
  }
  HF_RETURN_IF_ERROR(in.status());
  return plan;
}

}  // namespace holdfast
