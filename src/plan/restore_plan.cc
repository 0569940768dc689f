#include "plan/restore_plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "model/json.h"
#include "model/topology_json.h"
#include "plan/backup_plan.h"

namespace holdfast {
namespace {

using json::Json;
using json::Reader;

/// Longest name Qdrant creates (reference 2.2); also keeps recovery by URL possible, which fails
/// above 91 characters.
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

/// Bytes already planned for each peer that may be used.
using Load = std::map<PeerId, std::uint64_t>;

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
      const bool wanted =
          request_.collections.empty() ||
          std::ranges::find(request_.collections, summary.name) != request_.collections.end();
      if (!wanted) continue;
      const auto record = records_.find(summary.name);
      if (record == records_.end()) {
        return Error(ErrorCode::kInternal, "the record of '" + summary.name + "' was not read");
      }
      HF_RETURN_IF_ERROR(PlanCollection(summary, record->second));
    }
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
      if (peer.answers && !avoided) load_[peer.id] = 0;
      if (!peer.answers) {
        plan_.warnings.push_back("peer " + std::to_string(peer.id.value()) + " does not answer (" +
                                 peer.trouble + "): it gets nothing");
      }
    }
    for (const Collection& collection : target_.collections) {
      for (const Shard& shard : collection.shards) {
        for (const Replica& replica : shard.replicas) {
          const auto peer = load_.find(replica.peer);
          if (peer == load_.end() || collection.shards.empty()) continue;
          peer->second += collection.bytes / collection.shards.size();
        }
      }
    }
  }

  Status CheckRequest() {
    for (const std::string& name : request_.collections) {
      if (!records_.contains(name)) {
        return Error(ErrorCode::kNotFound, "the group has no collection '" + name + "'",
                     "`holdfast show " + manifest_.id.value() + "` lists them");
      }
    }
    for (const auto& [from, to] : request_.rename) {
      if (!records_.contains(from)) {
        return Error(ErrorCode::kNotFound, "--as names '" + from + "', which the group has not");
      }
      HF_RETURN_IF_ERROR(CheckName(to));
    }
    if (load_.empty()) problems_.push_back("no peer of the target can be used");
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
      if (!load_.contains(peer.id) || CompareVersions(peer.version, newest) >= 0) continue;
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
    } else if (renamed == request_.rename.end() && ReadThroughAlias(source)) {
      plan.naming = Naming::kBesideAlias;
      plan.target = beside;
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
    if (plan.target != wanted) HF_RETURN_IF_ERROR(CheckName(plan.target));
    const bool occupied =
        plan.naming != Naming::kInPlace &&
        (target_.FindCollection(plan.target) != nullptr || !targets_.insert(plan.target).second);
    if (occupied && !(taken && plan.target == wanted)) {
      problems_.push_back("the target already has '" + plan.target + "'");
      if (hint_.empty()) hint_ = "drop it if it is left over from an earlier restore";
    }
    return {};
  }

  /// The live collection of the same name is what the group's aliases point to now.
  bool ReadThroughAlias(const Collection& source) const {
    const Collection* live = target_.FindCollection(source.name);
    return live != nullptr && !live->aliases.empty() && !source.aliases.empty();
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
        plan.keys.push_back({.key = ShardKey("holdfast-filler-" + std::to_string(fillers++)),
                             .shards = ids.front() - next,
                             .filler = true});
      }
      plan.keys.push_back(
          {.key = key, .shards = static_cast<std::uint32_t>(ids.size()), .filler = false});
      next = ids.back() + 1;
    }
  }

  /// Peers of a shard: those it had where they are still there and not crowded, else the least
  /// loaded ones.
  void Place(const CollectionRecord& record, CollectionPlan& plan) {
    const std::uint32_t wanted = std::max<std::uint32_t>(1, record.collection.replication_factor);
    const auto usable = static_cast<std::uint32_t>(load_.size());
    plan.replication_factor = std::min(wanted, usable);
    if (usable == 0) return;
    const std::size_t shards = record.shards.size();
    const std::size_t fair =
        (shards * plan.replication_factor + usable - 1) / usable;  // design.md, Consolidation
    std::map<PeerId, std::size_t> held;
    for (const ShardImage& image : record.shards) {
      ShardPlacement placement{.shard = image.shard, .peers = {}};
      const auto take = [&](PeerId peer) {
        placement.peers.push_back(peer);
        ++held[peer];
        load_[peer] += image.tar_bytes;
      };
      for (const Shard& shard : record.collection.shards) {
        if (shard.id != image.shard) continue;
        for (const Replica& replica : shard.replicas) {
          const bool room = load_.contains(replica.peer) && held[replica.peer] < fair;
          if (room && placement.peers.size() < plan.replication_factor) take(replica.peer);
        }
      }
      while (placement.peers.size() < plan.replication_factor) {
        take(LeastLoaded(placement.peers, held));
      }
      std::ranges::sort(placement.peers);
      plan.tar_bytes += image.tar_bytes;
      plan.shards.push_back(std::move(placement));
    }
    CheckConsolidation(record, plan, usable, held);
  }

  PeerId LeastLoaded(const std::vector<PeerId>& taken,
                     const std::map<PeerId, std::size_t>& held) const {
    const PeerId* best = nullptr;
    std::pair<std::size_t, std::uint64_t> best_load;
    for (const auto& [peer, bytes] : load_) {
      if (std::ranges::find(taken, peer) != taken.end()) continue;
      const auto count = held.find(peer);
      const std::pair<std::size_t, std::uint64_t> load{count == held.end() ? 0 : count->second,
                                                       bytes};
      if (best == nullptr || load < best_load) {
        best = &peer;
        best_load = load;
      }
    }
    return *best;
  }

  void CheckConsolidation(const CollectionRecord& record, const CollectionPlan& plan,
                          std::uint32_t usable, const std::map<PeerId, std::size_t>& held) {
    std::vector<std::string> reasons;
    if (plan.replication_factor < record.collection.replication_factor) {
      reasons.push_back("'" + plan.source + "' is restored with " +
                        std::to_string(plan.replication_factor) + " of " +
                        std::to_string(record.collection.replication_factor) +
                        " replicas, as only " + std::to_string(usable) + " peers can be used");
    }
    const bool had_several = DistinctPeers(record.collection) > 1;
    if (plan.shards.size() > 1 && held.size() == 1 && had_several) {
      reasons.push_back("all shards of '" + plan.source + "' share one peer");
    }
    const std::size_t fair = (plan.shards.size() * plan.replication_factor + usable - 1) / usable;
    for (const auto& [peer, count] : held) {
      if (count > fair + 1) {
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
  Load load_;
  std::set<std::string> targets_;
  std::vector<std::string> problems_;
  std::string hint_;
};

std::string_view NamingName(Naming naming) {
  switch (naming) {
    case Naming::kFree:
      return "free";
    case Naming::kBesideAlias:
      return "beside-alias";
    case Naming::kHidden:
      return "hidden";
    case Naming::kInPlace:
      return "in-place";
  }
  return "free";
}

Result<Naming> NamingFrom(const std::string& name) {
  for (const Naming naming :
       {Naming::kFree, Naming::kBesideAlias, Naming::kHidden, Naming::kInPlace}) {
    if (NamingName(naming) == name) return naming;
  }
  return Error(ErrorCode::kDataLoss, "a restore plan has an unknown naming '" + name + "'");
}

Json CollectionPlanJson(const CollectionPlan& plan) {
  Json keys = Json::array();
  for (const KeyStep& step : plan.keys) {
    keys.push_back(
        {{"key", ShardKeyJson(step.key)}, {"shards", step.shards}, {"filler", step.filler}});
  }
  Json shards = Json::array();
  for (const ShardPlacement& placement : plan.shards) {
    Json peers = Json::array();
    for (const PeerId peer : placement.peers) peers.push_back(peer.value());
    shards.push_back({{"shard", placement.shard.value()}, {"peers", std::move(peers)}});
  }
  return {{"source", plan.source},
          {"record", plan.record},
          {"target", plan.target},
          {"naming", NamingName(plan.naming)},
          {"replication_factor", plan.replication_factor},
          {"keys", std::move(keys)},
          {"shards", std::move(shards)},
          {"aliases", plan.aliases},
          {"tar_bytes", plan.tar_bytes}};
}

Result<CollectionPlan> CollectionPlanFrom(const Json& document) {
  Reader in(document, "a collection's restore plan");
  CollectionPlan plan;
  plan.source = in.Text("source");
  plan.record = in.Number32("record");
  plan.target = in.Text("target");
  plan.replication_factor = in.Number32("replication_factor");
  plan.tar_bytes = in.Number("tar_bytes");
  const std::string naming = in.Text("naming");
  for (const Json& item : in.Array("keys")) {
    Reader key(item, "a shard key step");
    HF_TRY(ShardKey value, ShardKeyFrom(key.At("key")));
    plan.keys.push_back(
        {.key = std::move(value), .shards = key.Number32("shards"), .filler = key.Flag("filler")});
    HF_RETURN_IF_ERROR(key.status());
  }
  for (const Json& item : in.Array("shards")) {
    Reader shard(item, "a shard placement");
    ShardPlacement placement{.shard = ShardId(shard.Number32("shard")), .peers = {}};
    for (const Json& peer : shard.Array("peers")) {
      if (!peer.is_number_unsigned()) return Error(ErrorCode::kDataLoss, "a peer id is no number");
      placement.peers.push_back(PeerId(peer.get<std::uint64_t>()));
    }
    HF_RETURN_IF_ERROR(shard.status());
    plan.shards.push_back(std::move(placement));
  }
  for (const Json& alias : in.Array("aliases")) {
    if (!alias.is_string()) return Error(ErrorCode::kDataLoss, "an alias is not a text");
    plan.aliases.push_back(alias.get<std::string>());
  }
  HF_RETURN_IF_ERROR(in.status());
  HF_TRY(plan.naming, NamingFrom(naming));
  return plan;
}

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

std::string RestorePlanToJson(const RestorePlan& plan) {
  Json collections = Json::array();
  for (const CollectionPlan& item : plan.collections)
    collections.push_back(CollectionPlanJson(item));
  return json::Dump({{"group", plan.group.value()},
                     {"collections", std::move(collections)},
                     {"metadata", plan.metadata},
                     {"given_up", plan.given_up},
                     {"warnings", plan.warnings}});
}

Result<RestorePlan> RestorePlanFromJson(std::string_view text) {
  HF_TRY(const Json document, json::Parse(text, "the restore plan"));
  Reader in(document, "the restore plan");
  RestorePlan plan;
  plan.group = GroupId(in.Text("group"));
  for (const Json& item : in.Array("collections")) {
    HF_TRY(CollectionPlan collection, CollectionPlanFrom(item));
    plan.collections.push_back(std::move(collection));
  }
  const Json& metadata = in.At("metadata");
  if (!metadata.is_object()) in.Fail("metadata", "object");
  HF_RETURN_IF_ERROR(in.status());
  for (const auto& [key, value] : metadata.items()) {
    if (value.is_string()) plan.metadata[key] = value.get<std::string>();
  }
  for (const char* list : {"given_up", "warnings"}) {
    for (const Json& item : in.Array(list)) {
      if (!item.is_string()) continue;
      (std::string_view(list) == "given_up" ? plan.given_up : plan.warnings)
          .push_back(item.get<std::string>());
    }
  }
  HF_RETURN_IF_ERROR(in.status());
  return plan;
}

}  // namespace holdfast
