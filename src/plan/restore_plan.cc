#include "plan/restore_plan.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "model/json.h"
#include "plan/backup_plan.h"
#include "plan/plan_findings.h"
#include "plan/reshard_plan.h"
#include "plan/restore_names.h"
#include "plan/restore_places.h"

namespace holdfast {
namespace {

using json::Json;

/// Whether `name` matches `pattern`, in which '*' stands for any run of characters.
bool Matches(std::string_view name, std::string_view pattern) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return name == pattern;
  if (!name.starts_with(pattern.substr(0, star))) return false;
  const std::string_view rest = pattern.substr(star + 1);
  for (std::size_t at = star; at <= name.size(); ++at) {
    if (Matches(name.substr(at), rest)) return true;
  }
  return false;
}

class Planner {
 public:
  Planner(const GroupManifest& manifest, const std::map<std::string, CollectionRecord>& records,
          const Topology& target, const RestoreRequest& request)
      : manifest_(manifest),
        records_(records),
        target_(target),
        request_(request),
        namer_(manifest.id, target, request, findings_),
        placer_(records, target, request, findings_) {
    plan_.group = manifest.id;
  }

  Result<RestorePlan> Plan() {
    HF_RETURN_IF_ERROR(placer_.FindPeers(/*begun=*/false));
    HF_RETURN_IF_ERROR(CheckRequest());
    for (const CollectionSummary* summary : InOrder()) {
      const auto record = records_.find(summary->name);
      if (record == records_.end()) {
        return Error(ErrorCode::kInternal, "the record of '" + summary->name + "' was not read");
      }
      CollectionPlan plan;
      plan.source = summary->name;
      plan.record = summary->record;
      HF_RETURN_IF_ERROR(namer_.Name(record->second.collection, plan));
      PlanShards(record->second, plan);
      namer_.PlanKeys(record->second, plan);
      plan_.collections.push_back(std::move(plan));
    }
    namer_.CheckNamesTogether(plan_.collections);
    placer_.Place(plan_.collections, /*stay=*/false);
    PlanMetadata();
    if (!findings_.problems.empty()) return findings_.Refusal("cannot restore: ");
    plan_.given_up = std::move(findings_.given_up);
    plan_.warnings = std::move(findings_.warnings);
    return std::move(plan_);
  }

  Result<std::optional<RevisedPlan>> Revise(const CollectionPlan& plan) {
    HF_RETURN_IF_ERROR(placer_.FindPeers(/*begun=*/true));
    findings_.warnings.clear();
    std::map<PeerId, std::string> lost;
    for (const ShardPlacement& placement : plan.shards) {
      for (const PeerId id : placement.peers) {
        const Peer* const peer = target_.FindPeer(id);
        if (peer != nullptr && peer->answers) continue;
        lost[id] = FormatPeer(id) + (peer == nullptr ? " has left the cluster"
                                                     : " does not answer (" + peer->trouble + ")");
      }
    }
    if (lost.empty()) return std::optional<RevisedPlan>();
    std::vector<CollectionPlan> plans = {plan};
    placer_.Place(plans, /*stay=*/true);
    if (!findings_.problems.empty()) return findings_.Refusal("cannot go on: ");
    for (ShardPlacement& placement : plans.front().shards) {
      const auto before = std::ranges::find(plan.shards, placement.shard, &ShardPlacement::shard);
      placement.revision = before->revision + (placement.peers == before->peers ? 0 : 1);
    }
    RevisedPlan revised{.collection = std::move(plans.front()),
                        .lost = {},
                        .given_up = std::move(findings_.given_up),
                        .warnings = std::move(findings_.warnings)};
    for (auto& [id, text] : lost) revised.lost.push_back(std::move(text));
    return std::optional(std::move(revised));
  }

 private:
  bool Asked(const std::string& name) const {
    return request_.collections.empty() ||
           std::ranges::find(request_.collections, name) != request_.collections.end();
  }

  /// The collections asked for, in the order in which they are to be usable again.
  std::vector<const CollectionSummary*> InOrder() const {
    std::vector<const CollectionSummary*> wanted;
    for (const CollectionSummary& summary : manifest_.collections) {
      if (Asked(summary.name)) wanted.push_back(&summary);
    }
    std::ranges::stable_sort(wanted, {}, [&](const CollectionSummary* summary) {
      return std::ranges::find_if(
                 request_.first,
                 [&](const std::string& pattern) { return Matches(summary->name, pattern); }) -
             request_.first.begin();
    });
    return wanted;
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
      if (!Asked(from)) {
        return Error(ErrorCode::kInvalidArgument,
                     "--as names '" + from + "', which --collections leaves out");
      }
      HF_RETURN_IF_ERROR(CheckCollectionName(to));
    }
    HF_RETURN_IF_ERROR(CheckShardNumbers());
    for (const PeerId peer : request_.avoid) {
      if (target_.FindPeer(peer) != nullptr) continue;
      return Error(ErrorCode::kInvalidArgument,
                   "--avoid names " + FormatPeer(peer) + ", which the target has not",
                   "`holdfast topology` lists the peers");
    }
    CheckVersions();
    return {};
  }

  Status CheckShardNumbers() const {
    const auto check = [](std::uint32_t shards, const std::string& text) -> Status {
      if (shards >= 1 && shards <= kReshardShardsMax) return {};
      return Error(ErrorCode::kInvalidArgument, "--shards " + text + " is not between 1 and " +
                                                    std::to_string(kReshardShardsMax));
    };
    for (const auto& [name, shards] : request_.shards) {
      if (std::ranges::find(manifest_.collections, name, &CollectionSummary::name) ==
          manifest_.collections.end()) {
        return Error(ErrorCode::kNotFound, "--shards names '" + name + "', which the group has not",
                     "`holdfast show " + manifest_.id.value() + "` lists its collections");
      }
      if (!Asked(name)) {
        return Error(ErrorCode::kInvalidArgument,
                     "--shards names '" + name + "', which --collections leaves out");
      }
      HF_RETURN_IF_ERROR(check(shards, name + "=" + std::to_string(shards)));
    }
    if (request_.shards_of_all == 0) return {};
    return check(request_.shards_of_all, std::to_string(request_.shards_of_all));
  }

  /// Whether the points have to be copied, and what is in the way of that.
  void PlanShards(const CollectionRecord& record, CollectionPlan& plan) {
    const auto named = request_.shards.find(plan.source);
    const std::uint32_t wanted =
        named == request_.shards.end() ? request_.shards_of_all : named->second;
    std::map<std::optional<ShardKey>, std::uint32_t> had;
    for (const ShardImage& image : record.shards) ++had[image.key];
    const bool same =
        std::ranges::all_of(had, [&](const auto& entry) { return entry.second == wanted; });
    if (wanted == 0 || same) return;
    plan.copy_shards = wanted;
    for (const ShardImage& image : record.shards) {
      if (image.points_min <= image.ring_points_max) continue;
      findings_.Problem("shard " + std::to_string(image.shard.value()) + " of '" + plan.source +
                            "' has points that belong to other shards (left by a resharding), "
                            "which a copy would bring to life again",
                        "restore it without --shards");
    }
    if (!record.collection.custom_sharding) CheckServerPlaces(plan);
  }

  /// A new collection's shards go wherever the server likes, to dead peers too (measured 18).
  void CheckServerPlaces(const CollectionPlan& plan) {
    for (const Peer& peer : target_.peers) {
      if (placer_.Uses(peer.id)) continue;
      findings_.Problem("the server itself places the new shards of '" + plan.source + "', also " +
                            "on " + FormatPeer(peer.id) + ", which is not to get any",
                        "remove that peer from the cluster, or restore without --shards");
    }
  }

  void PlanMetadata() {
    if (!request_.collections.empty() || manifest_.topology.metadata.empty()) return;
    if (!target_.distributed) {
      findings_.warnings.push_back("the group has " +
                                   std::to_string(manifest_.topology.metadata.size()) +
                                   " cluster metadata keys; a stand-alone server keeps none");
      return;
    }
    for (const auto& [key, value] : manifest_.topology.metadata) {
      const auto there = target_.metadata.find(key);
      if (there == target_.metadata.end()) {
        plan_.metadata[key] = value;
      } else if (Json::parse(there->second, nullptr, false) != Json::parse(value, nullptr, false)) {
        findings_.warnings.push_back("cluster metadata key '" + key +
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
      findings_.Problem(FormatPeer(peer.id) + " runs " + peer.version +
                        ", older than the group's " + newest);
    }
  }

  const GroupManifest& manifest_;
  const std::map<std::string, CollectionRecord>& records_;
  const Topology& target_;
  const RestoreRequest& request_;
  RestorePlan plan_;
  PlanFindings findings_;
  RestoreNamer namer_;
  RestorePlacer placer_;
};

}  // namespace

std::string_view RestoreLayoutName(RestoreLayout layout) noexcept {
  switch (layout) {
    case RestoreLayout::kSpread:
      return "spread";
    case RestoreLayout::kSame:
      return "same";
    case RestoreLayout::kConsolidate:
      return "consolidate";
  }
  return "spread";
}

Result<RestorePlan> PlanRestore(const GroupManifest& manifest,
                                const std::map<std::string, CollectionRecord>& records,
                                const Topology& target, const RestoreRequest& request) {
  return Planner(manifest, records, target, request).Plan();
}

Result<std::optional<RevisedPlan>> RevisePlan(
    const GroupManifest& manifest, const std::map<std::string, CollectionRecord>& records,
    const Topology& target, const RestoreRequest& request, const CollectionPlan& plan) {
  return Planner(manifest, records, target, request).Revise(plan);
}

}  // namespace holdfast
