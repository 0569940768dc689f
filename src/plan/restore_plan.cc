#include "plan/restore_plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "model/json.h"
#include "plan/backup_plan.h"
#include "plan/shard_placer.h"

namespace holdfast {
namespace {

using json::Json;

/// Longest name Qdrant creates (reference 2.2).
constexpr std::size_t kNameCharactersMax = 255;
constexpr std::string_view kForbidden = "<>:\"/\\|?*\x1f";

Status CheckName(const std::string& name) {
  const bool bad = name.empty() || name.size() > kNameCharactersMax ||
                   name.find_first_of(kForbidden) != std::string::npos ||
                   name.find('\0') != std::string::npos;
  if (!bad) return {};
  return Error(ErrorCode::kInvalidArgument, "'" + name + "' is no collection name",
               "use 1 to 255 characters, none of < > : \" / \\ | ? *");
}

const Collection* AliasOwner(const Topology& target, const std::string& alias) {
  for (const Collection& collection : target.collections) {
    if (std::ranges::find(collection.aliases, alias) != collection.aliases.end()) {
      return &collection;
    }
  }
  return nullptr;
}

class Planner {
 public:
  Planner(const GroupManifest& manifest, const std::map<std::string, CollectionRecord>& records,
          const Topology& target, const RestoreRequest& request)
      : manifest_(manifest), records_(records), target_(target), request_(request) {
    plan_.group = manifest.id;
  }

  Result<RestorePlan> Plan() {
    FindPeers();
    HF_RETURN_IF_ERROR(CheckRequest());
    for (const CollectionSummary& summary : manifest_.collections) {
      if (!Wanted(summary.name)) continue;
      const auto record = records_.find(summary.name);
      if (record == records_.end()) {
        return Error(ErrorCode::kInternal, "the record of '" + summary.name + "' was not read");
      }
      HF_RETURN_IF_ERROR(PlanCollection(summary, record->second));
    }
    CheckNamesTogether();
    PlanMetadata();
    if (problems_.empty()) return std::move(plan_);
    std::string text = "cannot restore: ";
    for (std::size_t i = 0; i < problems_.size(); ++i) text += (i == 0 ? "" : " | ") + problems_[i];
    return Error(ErrorCode::kFailedPrecondition, text, hint_);
  }

 private:
  void FindPeers() {
    for (const Peer& peer : target_.peers) {
      const bool avoided = std::ranges::find(request_.avoid, peer.id) != request_.avoid.end();
      if (peer.answers && !avoided) placer_.Use(peer.id);
      if (!peer.answers) {
        plan_.warnings.push_back("peer " + std::to_string(peer.id.value()) + " does not answer (" +
                                 peer.trouble + "): it gets nothing");
      }
    }
    for (const Collection& collection : target_.collections) {
      for (const Shard& shard : collection.shards) {
        for (const Replica& replica : shard.replicas) {
          placer_.AddLoad(replica.peer, collection.bytes / collection.shards.size());
        }
      }
    }
  }

  bool Wanted(const std::string& name) const {
    return request_.collections.empty() ||
           std::ranges::find(request_.collections, name) != request_.collections.end();
  }

  Status CheckRequest() {
    for (const std::string& name : request_.collections) {
      if (std::ranges::find(manifest_.collections, name, &CollectionSummary::name) ==
          manifest_.collections.end()) {
        return Error(ErrorCode::kNotFound, "the group has no collection '" + name + "'",
                     "`holdfast show " + manifest_.id.value() + "` lists them");
      }
    }
    for (const auto& [from, to] : request_.rename) {
      if (std::ranges::find(manifest_.collections, from, &CollectionSummary::name) ==
          manifest_.collections.end()) {
        return Error(ErrorCode::kNotFound, "--as names '" + from + "', which the group has not",
                     "`holdfast show " + manifest_.id.value() + "` lists its collections");
      }
      if (!Wanted(from)) {
        return Error(ErrorCode::kInvalidArgument,
                     "--as names '" + from + "', which --collections leaves out");
      }
      HF_RETURN_IF_ERROR(CheckName(to));
    }
    for (const PeerId peer : request_.avoid) {
      if (target_.FindPeer(peer) != nullptr) continue;
      return Error(
          ErrorCode::kInvalidArgument,
          "--avoid names peer " + std::to_string(peer.value()) + ", which the target has not",
          "`holdfast topology` lists the peers");
    }
    if (placer_.peers() == 0) problems_.push_back("no peer of the target can be used");
    CheckVersions();
    return {};
  }

  void PlanMetadata() {
    if (!request_.collections.empty() || manifest_.topology.metadata.empty()) return;
    if (!target_.distributed) {
      plan_.warnings.push_back("the group has " +
                               std::to_string(manifest_.topology.metadata.size()) +
                               " cluster metadata keys; a stand-alone server keeps none");
      return;
    }
    for (const auto& [key, value] : manifest_.topology.metadata) {
      const auto there = target_.metadata.find(key);
      if (there == target_.metadata.end()) {
        plan_.metadata[key] = value;
      } else if (Json::parse(there->second, nullptr, false) != Json::parse(value, nullptr, false)) {
        plan_.warnings.push_back("cluster metadata key '" + key +
                                 "' has another value than in the group and stays as it is");
      }
    }
  }

  /// Segments newer than the server's own format do not load (reference 3.11).
  void CheckVersions() {
    std::string newest;
    for (const Peer& peer : manifest_.topology.peers) {
      if (CompareVersions(peer.version, newest) > 0) newest = peer.version;
    }
    for (const Peer& peer : target_.peers) {
      if (!placer_.Uses(peer.id) || CompareVersions(peer.version, newest) >= 0) continue;
      problems_.push_back("peer " + std::to_string(peer.id.value()) + " runs " + peer.version +
                          ", older than the group's " + newest);
    }
  }

  Status PlanCollection(const CollectionSummary& summary, const CollectionRecord& record) {
    CollectionPlan plan;
    plan.source = summary.name;
    plan.record = summary.record;
    HF_RETURN_IF_ERROR(Name(record.collection, plan));
    PlanKeys(record, plan);
    Place(record, plan);
    plan_.collections.push_back(std::move(plan));
    return {};
  }

  Status Name(const Collection& source, CollectionPlan& plan) {
    const auto renamed = request_.rename.find(source.name);
    const std::string wanted = renamed == request_.rename.end() ? source.name : renamed->second;
    const std::string beside = BesideName(wanted, manifest_.id);
    const bool taken = target_.FindCollection(wanted) != nullptr;
    const Collection* behind_alias = AliasOwner(target_, wanted);
    if (behind_alias != nullptr) {
      // Readers use the wanted name as an alias: built beside, then switched.
      plan.naming = Naming::kBesideAlias;
      plan.target = beside;
      plan.aliases = {wanted};
    } else if (!taken) {
      plan.naming = request_.hidden ? Naming::kHidden : Naming::kFree;
      plan.target = request_.hidden ? beside : wanted;
      // Nobody reads a half-filled collection: the name becomes an alias once it is verified.
      if (request_.hidden) plan.aliases = {wanted};
    } else if (request_.in_place) {
      plan.naming = Naming::kInPlace;
      plan.target = wanted;
      // Dropping a collection drops its aliases (reference 2.2), also those the group does not
      // know.
      plan.aliases = target_.FindCollection(wanted)->aliases;
    } else if (const auto& live = target_.FindCollection(wanted)->aliases;
               renamed == request_.rename.end() && !live.empty()) {
      // Who reads through any of its aliases is to find what is restored.
      plan.naming = Naming::kBesideAlias;
      plan.target = beside;
      plan.aliases = live;
    } else if (request_.hidden) {
      plan.naming = Naming::kHidden;
      plan.target = beside;
    } else {
      problems_.push_back("the target has a collection '" + wanted +
                          "' that is not read through an alias");
      hint_ = "restore it under another name with --as " + source.name +
              "=NEW, or replace it with --in-place";
      plan.target = wanted;
    }
    // Only aliases that are free or point at what is being replaced: others are somebody's choice.
    const bool left_beside = plan.naming == Naming::kHidden && taken;
    if (!left_beside && renamed == request_.rename.end()) AddAliases(source, plan);
    if (plan.target != wanted) {
      HF_RETURN_IF_ERROR(CheckName(plan.target));
      if (target_.FindCollection(plan.target) != nullptr ||
          AliasOwner(target_, plan.target) != nullptr) {
        problems_.push_back("the target already has '" + plan.target + "'");
        if (hint_.empty()) hint_ = "drop it if it is left over from an earlier restore";
      }
    }
    return {};
  }

  /// Collections and aliases share one space of names, in the cluster and in this plan.
  void CheckNamesTogether() {
    std::map<std::string, std::string> users;
    const auto use = [&](const std::string& name, const std::string& source) {
      const auto [user, first] = users.try_emplace(name, source);
      if (first) return;
      problems_.push_back("'" + user->second + "' and '" + source + "' would both be read as '" +
                          name + "'");
      if (hint_.empty()) hint_ = "give each its own name with --as, or restore them one by one";
    };
    for (const CollectionPlan& plan : plan_.collections) use(plan.target, plan.source);
    for (const CollectionPlan& plan : plan_.collections) {
      for (const std::string& alias : plan.aliases) use(alias, plan.source);
    }
  }

  void AddAliases(const Collection& source, CollectionPlan& plan) {
    for (const std::string& alias : source.aliases) {
      if (std::ranges::find(plan.aliases, alias) != plan.aliases.end()) continue;
      if (target_.FindCollection(alias) != nullptr) {
        plan_.warnings.push_back("alias '" + alias +
                                 "' is not set: the target has a collection of "
                                 "that name");
        continue;
      }
      const Collection* owner = AliasOwner(target_, alias);
      if (owner == nullptr || owner->name == source.name || owner->name == plan.target) {
        plan.aliases.push_back(alias);
      } else {
        plan_.warnings.push_back("alias '" + alias + "' is not switched: it points to '" +
                                 owner->name + "' now");
      }
    }
  }

  /// Keys in ascending order of their ids, gaps filled (the first custom shard has id 1).
  void PlanKeys(const CollectionRecord& record, CollectionPlan& plan) {
    if (!record.collection.custom_sharding) return;
    std::uint32_t next = 1;
    std::uint32_t fillers = 0;
    const auto filler_key = [&] {
      for (;;) {
        ShardKey key("holdfast-filler-" + std::to_string(fillers++));
        const auto& used = record.collection.shard_keys;
        if (std::ranges::find(used, key) == used.end()) return key;
      }
    };
    for (const ShardKey& key : record.collection.shard_keys) {
      std::vector<std::uint32_t> ids;
      for (const Shard& shard : record.collection.shards) {
        if (shard.key == key) ids.push_back(shard.id.value());
      }
      if (ids.empty()) continue;
      if (ids.back() - ids.front() + 1 != ids.size() || ids.front() < next) {
        problems_.push_back("the shard ids of key " + FormatShardKey(key) + " of '" +
                            record.collection.name + "' have gaps, which cannot be made again");
        continue;
      }
      if (ids.front() > next) {
        plan.keys.push_back({.key = filler_key(), .shards = ids.front() - next, .filler = true});
      }
      plan.keys.push_back(
          {.key = key, .shards = static_cast<std::uint32_t>(ids.size()), .filler = false});
      next = ids.back() + 1;
    }
  }

  void Place(const CollectionRecord& record, CollectionPlan& plan) {
    if (placer_.peers() == 0) return;
    const std::uint32_t wanted = std::max<std::uint32_t>(1, record.collection.replication_factor);
    plan.replication_factor = std::min(wanted, static_cast<std::uint32_t>(placer_.peers()));
    plan.shards = placer_.Place(record, plan.replication_factor);
    for (const ShardImage& image : record.shards) plan.tar_bytes += image.tar_bytes;
    CheckConsolidation(record, plan);
  }

  void CheckConsolidation(const CollectionRecord& record, const CollectionPlan& plan) {
    std::vector<std::string> reasons;
    const std::uint32_t configured = record.collection.replication_factor;
    const std::string fewer = "'" + plan.source + "' is restored with " +
                              std::to_string(plan.replication_factor) + " of " +
                              std::to_string(configured) + " replicas, as only " +
                              std::to_string(placer_.peers()) + " peers can be used";
    if (plan.replication_factor < std::min(configured, MostReplicas(record.collection))) {
      reasons.push_back(fewer);
    } else if (plan.replication_factor < configured) {
      plan_.warnings.push_back(fewer + "; it had no more when it was backed up");
    }
    std::map<PeerId, std::size_t> held;
    for (const ShardPlacement& placement : plan.shards) {
      for (const PeerId peer : placement.peers) ++held[peer];
    }
    const bool had_several = DistinctPeers(record.collection) > 1;
    if (plan.shards.size() > 1 && held.size() == 1 && had_several) {
      reasons.push_back("all shards of '" + plan.source + "' share one peer");
    }
    const std::size_t share = placer_.Share(plan.shards.size(), plan.replication_factor);
    for (const auto& [peer, count] : held) {
      if (count > share + 1) {
        reasons.push_back("peer " + std::to_string(peer.value()) + " holds " +
                          std::to_string(count) + " shards of '" + plan.source + "'");
      }
    }
    for (std::string& reason : reasons) {
      if (request_.allow_consolidation) {
        plan_.given_up.push_back(reason + "; when peers are back: `holdfast rebalance`");
      } else {
        problems_.push_back(reason);
        if (hint_.empty()) hint_ = "add peers, or pass --allow-consolidation to accept it";
      }
    }
  }

  static std::uint32_t MostReplicas(const Collection& collection) {
    std::size_t most = 0;
    for (const Shard& shard : collection.shards) most = std::max(most, shard.replicas.size());
    return static_cast<std::uint32_t>(most);
  }

  static std::size_t DistinctPeers(const Collection& collection) {
    std::set<PeerId> peers;
    for (const Shard& shard : collection.shards) {
      for (const Replica& replica : shard.replicas) peers.insert(replica.peer);
    }
    return peers.size();
  }

  const GroupManifest& manifest_;
  const std::map<std::string, CollectionRecord>& records_;
  const Topology& target_;
  const RestoreRequest& request_;
  RestorePlan plan_;
  ShardPlacer placer_;
  std::vector<std::string> problems_;
  std::string hint_;
};

}  // namespace

std::string BesideName(const std::string& name, const GroupId& group) {
  const std::string suffix = "__" + group.value();
  std::string head = name.substr(0, kNameCharactersMax - suffix.size());
  // Not in the middle of a UTF-8 character.
  while (!head.empty() && head.size() < name.size() &&
         (static_cast<unsigned char>(name[head.size()]) & 0xc0) == 0x80) {
    head.pop_back();
  }
  return head + suffix;
}

Result<RestorePlan> PlanRestore(const GroupManifest& manifest,
                                const std::map<std::string, CollectionRecord>& records,
                                const Topology& target, const RestoreRequest& request) {
  return Planner(manifest, records, target, request).Plan();
}

}  // namespace holdfast
