#include "plan/reshard_plan.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include "plan/plan_findings.h"
#include "plan/restore_names.h"

namespace holdfast {
namespace {

constexpr std::size_t kSuffixHexDigits = 8;
/// No PATCH changes it (reference 2.3).
constexpr std::string_view kFixedForLife = "wal_config";
constexpr std::string_view kQuantization = "quantization_config";

/// Without the suffix that an earlier reshard has put behind it.
std::string BaseName(const std::string& name) {
  if (name.size() <= kSuffixHexDigits + 2) return name;
  const std::size_t at = name.size() - kSuffixHexDigits - 2;
  const std::string_view tail = std::string_view(name).substr(at);
  const bool ours = tail.starts_with("__") && std::ranges::all_of(tail.substr(2), [](char c) {
                      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
                    });
  return ours ? name.substr(0, at) : name;
}

/// Shards by key; without custom sharding all under one.
std::map<std::optional<ShardKey>, std::uint32_t> ShardsByKey(const Collection& collection) {
  std::map<std::optional<ShardKey>, std::uint32_t> shards;
  for (const Shard& shard : collection.shards) ++shards[shard.key];
  return shards;
}

void CheckReadable(const Topology& cluster, const Collection& source, PlanFindings& findings) {
  for (const Shard& shard : source.shards) {
    const bool readable = std::ranges::any_of(shard.replicas, [&](const Replica& replica) {
      const Peer* peer = cluster.FindPeer(replica.peer);
      return replica.state == ReplicaState::kActive && peer != nullptr && peer->answers;
    });
    if (readable) continue;
    findings.Problem("shard " + std::to_string(shard.id.value()) + " of '" + source.name +
                         "' has no active replica on a peer that answers",
                     "start the peer or restore the collection first");
  }
}

void NameTarget(const Topology& cluster, const Collection& source, const ReshardRequest& request,
                const ReshardFacts& facts, ReshardPlan& plan, PlanFindings& findings) {
  plan.aliases = source.aliases;
  std::ranges::sort(plan.aliases);
  if (request.as.empty() && plan.aliases.empty()) {
    findings.Problem(
        "'" + source.name + "' is not read through an alias, so that nobody would find its copy",
        "give its readers an alias first, or make a second collection with --as NAME");
  }
  plan.target = request.as.empty() ? NameBeside(BaseName(source.name), facts.suffix) : request.as;
  if (FindByNameOrAlias(cluster, plan.target) != nullptr) {
    findings.Problem("the cluster already has '" + plan.target + "'",
                     "choose another name with --as, or drop it if nobody needs it");
  }
  if (plan.aliases.empty()) {
    plan.notes.push_back("'" + plan.target + "' is left as a second collection: '" + source.name +
                         "' is read under its own name, which cannot be switched");
  }
}

/// What the servers could do without a copy, and what they cannot do at all.
void NoteSettings(const Topology& cluster, ReshardPlan& plan) {
  if (plan.changes.empty()) return;
  const auto fixed = [](const SettingChange& change) {
    // A PATCH unsets nothing but a quantization (reference 2.4).
    const bool unsets =
        change.after.empty() && change.name.find(kQuantization) == std::string::npos;
    return unsets || change.name.starts_with(kFixedForLife);
  };
  if (plan.shards == plan.shards_now && std::ranges::none_of(plan.changes, fixed)) {
    plan.notes.push_back("the servers would change these settings in place, too, while '" +
                         plan.source + "' is read: PATCH /collections/" + plan.source);
  }
  for (const SettingChange& change : plan.changes) {
    std::size_t replicas = 0;
    std::from_chars(change.after.data(), change.after.data() + change.after.size(), replicas);
    if (change.name != "replication_factor" || replicas <= cluster.peers.size()) continue;
    plan.notes.push_back("a shard gets " + std::to_string(cluster.peers.size()) +
                         " replicas, as there are no more peers; `holdfast rebalance` makes the "
                         "others when there are");
  }
}

void PlanCopy(const Topology& cluster, const Collection& source, const ReshardRequest& request,
              const ReshardFacts& facts, ReshardPlan& plan, PlanFindings& findings) {
  CheckReadable(cluster, source, findings);
  for (const Peer& peer : cluster.peers) {
    if (peer.answers) continue;
    // Run: the server places shards of a new collection there all the same (measured 18).
    findings.Problem(
        FormatPeer(peer.id) + " does not answer, and the server would put new shards on it",
        "start the peer, or remove it from the cluster");
  }
  NameTarget(cluster, source, request, facts, plan, findings);
  NoteSettings(cluster, plan);
  plan.notes.emplace_back(
      "until the old collection is dropped both take room: disk and memory of the points once "
      "more");
}

}  // namespace

const Collection* FindByNameOrAlias(const Topology& cluster, const std::string& name) {
  if (const Collection* found = cluster.FindCollection(name)) return found;
  for (const Collection& collection : cluster.collections) {
    if (std::ranges::find(collection.aliases, name) != collection.aliases.end()) return &collection;
  }
  return nullptr;
}

std::string_view ReshardMethodName(ReshardMethod method) noexcept {
  switch (method) {
    case ReshardMethod::kAuto:
      return "auto";
    case ReshardMethod::kNative:
      return "native";
    case ReshardMethod::kCopy:
      return "copy";
  }
  return "auto";
}

Result<ReshardMethod> ReshardMethodFromName(std::string_view name) {
  for (const ReshardMethod method :
       {ReshardMethod::kAuto, ReshardMethod::kNative, ReshardMethod::kCopy}) {
    if (ReshardMethodName(method) == name) return method;
  }
  return Error(ErrorCode::kInvalidArgument, "there is no method '" + std::string(name) + "'",
               "use auto, native or copy");
}

Result<ReshardPlan> PlanReshard(const Topology& cluster, const ReshardRequest& request,
                                const ReshardFacts& facts) {
  const bool keeps_number = request.shards == 0 && !request.settings_json.empty();
  if (!keeps_number && (request.shards == 0 || request.shards > kReshardShardsMax)) {
    return Error(ErrorCode::kInvalidArgument,
                 std::to_string(request.shards) + " is no number of shards",
                 "use 1 to " + std::to_string(kReshardShardsMax));
  }
  if (!request.as.empty()) HF_RETURN_IF_ERROR(CheckCollectionName(request.as));
  const Collection* const source = FindByNameOrAlias(cluster, request.collection);
  if (source == nullptr) {
    return Error(ErrorCode::kNotFound,
                 "there is no collection or alias '" + request.collection + "'",
                 "`holdfast topology` lists them");
  }
  const auto shards = ShardsByKey(*source);
  ReshardPlan plan;
  plan.source = source->name;
  plan.uuid = source->uuid;
  plan.settings_json = request.settings_json;
  plan.changes = facts.changes;
  plan.keys = source->shard_keys;
  plan.points = source->points;
  plan.bytes = source->bytes;
  for (const auto& [key, count] : shards) plan.shards_now = std::max(plan.shards_now, count);
  plan.shards = keeps_number ? plan.shards_now : request.shards;
  const bool all_there =
      std::ranges::all_of(shards, [&](const auto& entry) { return entry.second == plan.shards; });
  if (shards.empty()) {
    return Error(ErrorCode::kFailedPrecondition,
                 "'" + source->name + "' has no shard key yet, so no shards",
                 "make its shard keys with the number of shards that is wanted");
  }
  if (keeps_number && !all_there) {
    return Error(ErrorCode::kInvalidArgument,
                 "the shard keys of '" + source->name + "' have different numbers of shards",
                 "pass --shards N as well: a copy makes as many of every key");
  }
  // While it is being resharded it shows shards that may go again.
  if (all_there && plan.changes.empty() && source->resharding.empty()) {
    return Error(ErrorCode::kInvalidArgument,
                 "'" + source->name + "' has " + std::to_string(plan.shards) + " shards" +
                     (source->custom_sharding ? " of every shard key" : "") +
                     (request.settings_json.empty() ? "" : " and these settings") + " already");
  }
  plan.method = request.method;
  if (plan.method == ReshardMethod::kAuto) {
    const bool native = facts.native_refusal.empty() && request.as.empty() && plan.changes.empty();
    plan.method = native ? ReshardMethod::kNative : ReshardMethod::kCopy;
    plan.why = native                         ? "the cluster can do it itself"
               : !plan.changes.empty()        ? "only a new collection gets other settings"
               : facts.native_refusal.empty() ? "a new name was asked for"
                                              : facts.native_refusal;
  } else {
    plan.why = "asked for";
  }
  PlanFindings findings;
  if (!source->resharding.empty()) {
    findings.Problem("'" + source->name + "' is being resharded: " + source->resharding,
                     "let it end first, or abort it");
  }
  if (!source->transfers.empty()) {
    findings.Problem("shards of '" + source->name + "' are being transferred",
                     "wait until `holdfast topology` shows no transfers");
  }
  if (plan.method == ReshardMethod::kCopy) {
    PlanCopy(cluster, *source, request, facts, plan, findings);
  } else {
    plan.target = plan.source;
    if (!facts.native_refusal.empty()) {
      findings.Problem("native: " + facts.native_refusal,
                       "once all peers answer, --method copy needs none of it");
    }
    if (!plan.changes.empty()) {
      findings.Problem("native resharding keeps the collection with its settings",
                       "use --method copy; or leave out --settings and have the servers change "
                       "them in place: PATCH /collections/" +
                           source->name);
    }
    if (!request.as.empty()) {
      findings.Problem("native resharding keeps the collection and its name",
                       "leave out --as, or use --method copy");
    }
  }
  if (!findings.problems.empty()) {
    return findings.Refusal("'" + source->name + "' cannot be resharded now: ");
  }
  return plan;
}

}  // namespace holdfast
