#include "plan/rebalance_plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/size.h"
#include "plan/level_peers.h"
#include "plan/plan_findings.h"
#include "plan/reshard_plan.h"

namespace holdfast {
namespace {

constexpr const char* kRefusal = "cannot rebalance: ";
/// Placements of one plan; the second one nearly always changes nothing.
constexpr int kRoundsMax = 8;

bool Contains(const std::vector<PeerId>& peers, PeerId peer) {
  return std::ranges::find(peers, peer) != peers.end();
}

class Rebalancer {
 public:
  Rebalancer(const Topology& topology, const RebalanceRequest& request)
      : topology_(topology), request_(request) {}

  Result<RebalancePlan> Plan() {
    HF_RETURN_IF_ERROR(FindCollections());
    FindPeers();
    for (const Collection* collection : collections_) CheckAtRest(*collection);
    HF_RETURN_IF_ERROR(CheckWanted());
    if (!findings_.problems.empty()) return findings_.Refusal(kRefusal);
    const std::vector<RoomLack> lacks = Place();
    for (std::size_t i = 0; i < collections_.size(); ++i) {
      AddSteps(*collections_[i], placed_[i].shards);
    }
    for (const auto& [what, shards] : kept_) {
      plan_.left.push_back(FormatPeer(what.second) + " keeps " + std::to_string(shards) +
                           " shards of '" + what.first + "' although it is to be emptied: only " +
                           std::to_string(usable_.size()) + " peers can be used");
    }
    for (const RoomLack& lack : lacks) {
      // Somebody who gets nothing needs no room for it.
      const bool receives = std::ranges::any_of(plan_.steps, [&](const RebalanceStep& step) {
        return step.action != RebalanceAction::kDrop && step.to == lack.peer;
      });
      if (!receives) continue;
      std::string text = FormatPeer(lack.peer) + " would need " + FormatSize(lack.needed) +
                         " of disk and has " + FormatSize(lack.free);
      if (lack.estimated) {
        findings_.warnings.push_back(text + ", as estimated");
      } else {
        findings_.Problem(std::move(text));
      }
    }
    if (!findings_.problems.empty()) return findings_.Refusal(kRefusal);
    plan_.warnings = std::move(findings_.warnings);
    FindRemovable();
    return std::move(plan_);
  }

 private:
  /// Where every shard is to be, and what has no room. Placed again as if it were there already,
  /// until that changes nothing: a rebalance that is done shall find nothing to do.
  std::vector<RoomLack> Place() {
    for (int round = 0;; ++round) {
      Placer placer(usable_, request_.receives_at_once);
      std::vector<std::size_t> numbers;
      for (std::size_t i = 0; i < collections_.size(); ++i) {
        numbers.push_back(placer.Add(Demands(i), false));
      }
      std::vector<LevelledCollection> placed;
      for (std::size_t i = 0; i < collections_.size(); ++i) {
        placed.push_back({.shard_bytes = ReplicaBytes(*collections_[i]),
                          .shards = placer.PlacementsOf(numbers[i])});
      }
      std::vector<RoomLack> lacks = placer.Lacks();
      const bool even = request_.wanted.empty() && lacks.empty();
      if (even) LevelPeers(usable_, request_.receives_at_once, placed);
      const bool same = std::ranges::equal(
          placed, placed_, [](const LevelledCollection& a, const LevelledCollection& b) {
            return std::ranges::equal(a.shards, b.shards, {}, &ShardPlacement::peers,
                                      &ShardPlacement::peers);
          });
      placed_ = std::move(placed);
      if (same || !even || round == kRoundsMax) return lacks;
    }
  }

  Status FindCollections() {
    for (const std::string& name : request_.collections) {
      if (topology_.FindCollection(name) == nullptr) {
        return Error(ErrorCode::kNotFound, "there is no collection '" + name + "'",
                     "`holdfast topology` lists them");
      }
    }
    for (const Collection& collection : topology_.collections) {
      const auto& asked = request_.collections;
      if (!asked.empty() && std::ranges::find(asked, collection.name) == asked.end()) continue;
      if (!request_.wanted.empty() && !request_.wanted.contains(collection.name)) continue;
      collections_.push_back(&collection);
    }
    return {};
  }

  void FindPeers() {
    std::map<PeerId, std::uint64_t> held;
    std::map<PeerId, std::uint64_t> moved;
    for (const Collection& collection : topology_.collections) {
      const bool ours = std::ranges::find(collections_, &collection) != collections_.end();
      for (const Shard& shard : collection.shards) {
        for (const Replica& replica : shard.replicas) {
          (ours ? moved : held)[replica.peer] += ReplicaBytes(collection);
        }
      }
    }
    for (const Peer& peer : topology_.peers) {
      const bool given_up = Contains(request_.without, peer.id);
      if (!peer.answers) {
        const std::string silent = FormatPeer(peer.id) + " does not answer (" + peer.trouble + ")";
        if (!given_up && request_.leave_silent) {
          plan_.left.push_back(silent + ": what it holds is as it was, and it gets nothing");
        } else if (!given_up) {
          findings_.Problem(silent, "wait for it, or give it up with --without PEER");
        }
        continue;
      }
      if (given_up) {
        findings_.warnings.push_back(FormatPeer(peer.id) +
                                     " answers, so it is used although --without names it");
      }
      const PeerLimits limits = LimitsOf(request_.limits, peer.id);
      if (limits.draining) continue;
      PeerRoom room = RoomOf(peer, limits, held[peer.id]);
      // What it holds of these collections is placed again, so its room counts as free; an estimate
      // leaves that out already.
      if (room.free_bytes && !room.estimated) *room.free_bytes += moved[peer.id];
      usable_.push_back(std::move(room));
    }
    if (usable_.empty()) findings_.Problem("no peer can be used", "`holdfast topology` shows why");
  }

  void FindRemovable() {
    for (const Peer& peer : topology_.peers) {
      const bool given_up = !peer.answers && Contains(request_.without, peer.id);
      if (!given_up && !LimitsOf(request_.limits, peer.id).draining) continue;
      const bool holds = std::ranges::any_of(topology_.collections, [&](const Collection& one) {
        return std::ranges::any_of(one.shards, [&](const Shard& shard) {
          return std::ranges::find(shard.replicas, peer.id, &Replica::peer) != shard.replicas.end();
        });
      });
      if (holds) continue;
      plan_.removable.push_back(
          FormatPeer(peer.id) + " holds nothing any more; remove it with DELETE /cluster/peer/" +
          std::to_string(peer.id.value()) + (peer.answers ? "" : "?force=true"));
    }
  }

  bool Usable(PeerId peer) const {
    return std::ranges::find(usable_, peer, &PeerRoom::peer) != usable_.end();
  }

  /// Keeps what it holds although it does not answer.
  bool StaysSilent(PeerId id) const {
    return request_.leave_silent && !Answers(id) && !Contains(request_.without, id);
  }

  bool Answers(PeerId id) const {
    const Peer* peer = topology_.FindPeer(id);
    return peer != nullptr && peer->answers;
  }

  void CheckAtRest(const Collection& collection) {
    const std::string name = "'" + collection.name + "'";
    if (!collection.transfers.empty()) {
      findings_.PassingProblem(name + " is being transferred",
                               "wait until its transfers have ended");
    }
    if (!collection.resharding.empty()) {
      findings_.PassingProblem(name + " is being resharded",
                               "wait until that has ended; `holdfast jobs` names a reshard of its "
                               "own that was interrupted, which ends it with --resume");
    }
    for (const Shard& shard : collection.shards) {
      bool active = false;
      bool recovers = false;
      for (const Replica& replica : shard.replicas) {
        if (!Answers(replica.peer)) continue;
        active = active || replica.state == ReplicaState::kActive;
        if (replica.state == ReplicaState::kActive) continue;
        std::string text = "the replica of shard " + std::to_string(shard.id.value()) + " of " +
                           name + " on " + FormatPeer(replica.peer) + " is " +
                           std::string(ReplicaStateName(replica.state));
        if (Recovers(replica.state)) {
          recovers = true;
          findings_.PassingProblem(std::move(text), "wait until the servers have recovered it");
        } else {
          findings_.Problem(std::move(text),
                            "drop it or restore it with the server's own calls first");
        }
      }
      // Until what is being made is Active it may well be the only one.
      if (active || recovers) continue;
      const std::string text = "shard " + std::to_string(shard.id.value()) + " of " + name +
                               " has no active replica on a peer that answers";
      if (std::ranges::any_of(shard.replicas,
                              [&](const Replica& one) { return StaysSilent(one.peer); })) {
        stuck_.insert({collection.name, shard.id});
        plan_.left.push_back(text + ", and stays as it is");
      } else {
        findings_.Problem(text, "restore it from a group");
      }
    }
  }

  /// Replica states that end by themselves (reference 3.8).
  static bool Recovers(ReplicaState state) {
    return state != ReplicaState::kManualRecovery && state != ReplicaState::kListener;
  }

  Status CheckWanted() {
    for (const PeerId peer : request_.without) {
      if (topology_.FindPeer(peer) != nullptr) continue;
      return Error(ErrorCode::kInvalidArgument,
                   "--without names " + FormatPeer(peer) + ", which the cluster does not have",
                   "`holdfast topology` lists the peers");
    }
    for (const auto& [name, shards] : request_.wanted) {
      const Collection* collection = topology_.FindCollection(name);
      if (collection == nullptr) {
        return NoSuchCollection(name);
      }
      for (const ShardPlacement& placement : shards) {
        const std::string where =
            "shard " + std::to_string(placement.shard.value()) + " of '" + name + "'";
        if (collection->FindShard(placement.shard) == nullptr) {
          return Error(ErrorCode::kInvalidArgument,
                       "the wanted layout names " + where + ", which is not there");
        }
        if (placement.peers.empty()) {
          return Error(ErrorCode::kInvalidArgument, "the wanted layout names no peer for " + where,
                       "name at least one, or leave the shard out: then it stays as it is");
        }
        std::set<PeerId> distinct;
        for (const PeerId peer : placement.peers) {
          if (!distinct.insert(peer).second) {
            return Error(ErrorCode::kInvalidArgument,
                         "the wanted layout names " + FormatPeer(peer) + " twice for " + where,
                         "a peer holds at most one replica of a shard");
          }
          if (StaysSilent(peer)) {
            stuck_.insert({name, placement.shard});
            plan_.left.push_back(where + " cannot be brought to " + FormatPeer(peer));
          } else if (!Usable(peer)) {
            return Error(ErrorCode::kInvalidArgument,
                         "the wanted layout gives " + where + " to " + FormatPeer(peer) + ", " +
                             WhyNotUsable(peer),
                         "`holdfast topology` lists the peers");
          }
        }
      }
    }
    return {};
  }

  Error NoSuchCollection(const std::string& name) const {
    if (const Collection* const meant = FindByNameOrAlias(topology_, name); meant != nullptr) {
      return Error(ErrorCode::kInvalidArgument,
                   "the wanted layout names '" + name + "', which is an alias of the collection '" +
                       meant->name + "'",
                   "name it by its own name '" + meant->name + "'");
    }
    return Error(ErrorCode::kInvalidArgument,
                 "the wanted layout names '" + name + "', which is not there",
                 "`holdfast topology` lists the collections");
  }

  std::string WhyNotUsable(PeerId id) const {
    const Peer* peer = topology_.FindPeer(id);
    if (peer == nullptr) return "and the cluster has no such peer";
    if (!peer->answers) return "which does not answer (" + peer->trouble + ")";
    return "which is draining, as the configuration has it";
  }

  std::vector<ShardDemand> Demands(std::size_t number) {
    const Collection& collection = *collections_[number];
    std::vector<ShardDemand> demands;
    bool short_of_peers = false;
    for (const Shard& shard : collection.shards) {
      if (stuck_.contains({collection.name, shard.id})) continue;
      ShardDemand demand{
          .shard = shard.id, .bytes = ReplicaBytes(collection), .had = {}, .replicas = 1};
      std::size_t wanted = 0;
      std::size_t silent = 0;
      for (const Replica& replica : shard.replicas) {
        if (placed_.empty() && Usable(replica.peer)) demand.had.push_back(replica.peer);
        if (Answers(replica.peer)) ++wanted;
        if (StaysSilent(replica.peer)) ++silent;
      }
      wanted = std::max<std::size_t>({1, collection.replication_factor, wanted + silent}) - silent;
      wanted = std::max<std::size_t>(1, wanted);
      short_of_peers =
          short_of_peers ||
          std::min<std::size_t>(wanted, collection.replication_factor) > usable_.size();
      demand.replicas = static_cast<std::uint32_t>(std::min(wanted, usable_.size()));
      if (!placed_.empty()) {
        const auto& shards = placed_[number].shards;
        demand.had = std::ranges::lower_bound(shards, shard.id, {}, &ShardPlacement::shard)->peers;
      }
      demands.push_back(std::move(demand));
    }
    if (short_of_peers && placed_.empty()) {
      plan_.left.push_back("'" + collection.name + "' should have " +
                           std::to_string(collection.replication_factor) +
                           " replicas of each shard, and only " + std::to_string(usable_.size()) +
                           " peers can be used");
    }
    return demands;
  }

  void AddSteps(const Collection& collection, const std::vector<ShardPlacement>& even) {
    const auto wanted = request_.wanted.find(collection.name);
    for (const Shard& shard : collection.shards) {
      if (stuck_.contains({collection.name, shard.id})) continue;
      if (wanted == request_.wanted.end()) {
        AddShard(collection, shard,
                 std::ranges::lower_bound(even, shard.id, {}, &ShardPlacement::shard)->peers,
                 false);
        continue;
      }
      const auto asked = std::ranges::find(wanted->second, shard.id, &ShardPlacement::shard);
      if (asked != wanted->second.end()) AddShard(collection, shard, asked->peers, true);
    }
  }

  void AddShard(const Collection& collection, const Shard& shard, const std::vector<PeerId>& wanted,
                bool exactly) {
    std::vector<PeerId> fresh;
    std::vector<PeerId> leaving;
    std::vector<PeerId> gone;
    std::vector<PeerId> sources;
    for (const PeerId peer : wanted) {
      if (std::ranges::find(shard.replicas, peer, &Replica::peer) == shard.replicas.end()) {
        fresh.push_back(peer);
      }
    }
    for (const Replica& replica : shard.replicas) {
      const bool answers = Answers(replica.peer);
      if (answers) sources.push_back(replica.peer);
      if (Contains(wanted, replica.peer) || StaysSilent(replica.peer)) continue;
      (answers ? leaving : gone).push_back(replica.peer);
    }
    const auto add = [&](RebalanceAction action, PeerId from, PeerId to) {
      const std::uint64_t bytes = action == RebalanceAction::kDrop ? 0 : ReplicaBytes(collection);
      plan_.bytes += bytes;
      plan_.steps.push_back({.action = action,
                             .collection = collection.name,
                             .shard = shard.id,
                             .from = from,
                             .to = to,
                             .bytes = bytes});
    };
    std::size_t next = 0;
    for (; next < fresh.size() && next < leaving.size(); ++next) {
      add(RebalanceAction::kMove, leaving[next], fresh[next]);
    }
    // A source that stays: what moves away may be gone by then.
    const auto stays =
        std::ranges::find_if(sources, [&](PeerId peer) { return Contains(wanted, peer); });
    for (std::size_t i = next; i < fresh.size(); ++i) {
      add(RebalanceAction::kReplicate, stays != sources.end() ? *stays : fresh.front(), fresh[i]);
    }
    // Without being told so no shard gets fewer replicas than it has or is to have.
    const std::size_t least = std::min<std::size_t>(sources.size(), collection.replication_factor);
    for (std::size_t i = next, held = wanted.size(); i < leaving.size(); ++i) {
      if (!exactly && Usable(leaving[i])) continue;
      if (!exactly && held < least) {
        ++held;
        ++kept_[{collection.name, leaving[i]}];
        continue;
      }
      add(RebalanceAction::kDrop, leaving[i], leaving[i]);
    }
    for (const PeerId peer : gone) add(RebalanceAction::kDrop, peer, peer);
  }

  const Topology& topology_;
  const RebalanceRequest& request_;
  RebalancePlan plan_;
  std::vector<const Collection*> collections_;
  std::vector<PeerRoom> usable_;
  /// By collection.
  std::vector<LevelledCollection> placed_;
  /// Shards that are left as they are.
  std::set<std::pair<std::string, ShardId>> stuck_;
  /// By collection and peer: shards that stay on a peer that is to be emptied.
  std::map<std::pair<std::string, PeerId>, std::size_t> kept_;
  PlanFindings findings_;
};

}  // namespace

std::string_view RebalanceActionName(RebalanceAction action) noexcept {
  switch (action) {
    case RebalanceAction::kMove:
      return "move";
    case RebalanceAction::kReplicate:
      return "replicate";
    case RebalanceAction::kDrop:
      return "drop";
  }
  return "move";
}

Result<RebalancePlan> PlanRebalance(const Topology& topology, const RebalanceRequest& request) {
  return Rebalancer(topology, request).Plan();
}

}  // namespace holdfast
