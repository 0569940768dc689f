#include "ops/points/point_lookup.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "ops/insist.h"
#include "ops/parallel.h"

namespace holdfast {
namespace {

constexpr const char* kLane = "compared points";
constexpr std::size_t kSomeIds = 10;

/// One shard of the collection and the peers that have an active replica of it.
struct Target {
  ShardId shard;
  std::vector<PeerId> peers;
};

using Targets = std::map<std::optional<ShardKey>, std::vector<Target>>;
/// By id; of the page that is being checked.
using Wanted = std::map<std::string_view, const SourcePoint*>;

struct Differing {
  Wanted missing;
  Wanted changed;
};

class Lookup {
 public:
  Lookup(const LookupParts& parts, const std::string& collection, const CopyLimits& limits)
      : parts_(parts), collection_(collection), limits_(limits) {}

  Result<LookupResult> Run(const CallContext& call) {
    HF_TRY(targets_, FindTargets(call));
    HF_TRY(const auto shards, Insist(call, parts_.clock, limits_.patience,
                                     [&] { return parts_.source.Shards(call); }));
    parts_.progress.Expect(kLane, 0, shards.size());
    HF_RETURN_IF_ERROR(ForEachIndex(
        call, shards.size(), limits_.shards_at_once,
        [&](const CallContext& inner, std::size_t i) { return CheckShard(inner, shards[i]); }));
    return std::move(result_);
  }

 private:
  Status CheckShard(const CallContext& call, const SourceShard& shard) {
    std::string after;
    for (bool end = false; !end;) {
      HF_TRY(const PointPage page, Insist(call, parts_.clock, limits_.patience, [&] {
               return parts_.source.ReadPage(call, shard.shard, after, limits_.page);
             }));
      end = page.end || page.points.empty();
      if (page.points.empty()) break;
      HF_RETURN_IF_ERROR(parts_.rate.Acquire(call, page.points.size()));
      after = page.points.back().id_json;
      HF_RETURN_IF_ERROR(CheckPage(call, shard.key, page.points));
    }
    parts_.progress.AddItem(kLane);
    return {};
  }

  Result<Targets> FindTargets(const CallContext& call) {
    HF_TRY(const Collection there, Insist(call, parts_.clock, limits_.patience, [&] {
             return parts_.engine.ReadCollection(call, collection_);
           }));
    Targets targets;
    for (const Shard& shard : there.shards) {
      Target target{.shard = shard.id, .peers = {}};
      for (const Replica& replica : shard.replicas) {
        if (replica.state == ReplicaState::kActive) target.peers.push_back(replica.peer);
      }
      targets[shard.key].push_back(std::move(target));
    }
    return targets;
  }

  Status CheckPage(const CallContext& call, const std::optional<ShardKey>& key,
                   const std::vector<SourcePoint>& points) {
    Wanted wanted;
    std::uint64_t bytes = 0;
    for (const SourcePoint& point : points) {
      wanted[point.id_json] = &point;
      bytes += point.point_json.size();
    }
    HF_TRY(Differing differing, Compare(call, targets_, key, std::move(wanted)));
    if (!differing.missing.empty() || !differing.changed.empty()) {
      // A replica that was asked may have turned Dead since its state was read.
      HF_TRY(const Targets now, FindTargets(call));
      Wanted again = std::move(differing.missing);
      again.merge(differing.changed);
      HF_TRY(differing, Compare(call, now, key, std::move(again)));
    }
    parts_.progress.AddBytes(kLane, bytes);
    const std::scoped_lock lock(mutex_);
    result_.points += points.size();
    result_.missing += differing.missing.size();
    result_.changed += differing.changed.size();
    for (const Wanted* const some : {&differing.changed, &differing.missing}) {
      for (const auto& [id, point] : *some) {
        if (result_.some.size() < kSomeIds) result_.some.emplace_back(id);
      }
    }
    return {};
  }

  Result<Differing> Compare(const CallContext& call, const Targets& all,
                            const std::optional<ShardKey>& key, Wanted wanted) {
    Differing differing;
    const auto targets = all.find(key);
    for (std::size_t i = 0; targets != all.end() && i < targets->second.size(); ++i) {
      if (wanted.empty()) break;
      std::vector<std::string> ids;
      for (const auto& [id, point] : wanted) ids.emplace_back(id);
      HF_TRY(const auto found, Read(call, targets->second[i], ids));
      for (const SampledPoint& point : found) {
        const auto want = wanted.find(point.id_json);
        if (want == wanted.end()) continue;
        if (!parts_.comparer.Same(want->second->point_json, point.point_json)) {
          differing.changed.insert(*want);
        }
        wanted.erase(want);
      }
    }
    differing.missing = std::move(wanted);
    return differing;
  }

  Result<std::vector<SampledPoint>> Read(const CallContext& call, const Target& target,
                                         const std::vector<std::string>& ids) {
    return Insist(call, parts_.clock, limits_.patience, [&]() -> Result<std::vector<SampledPoint>> {
      Error last(ErrorCode::kUnavailable, "shard " + std::to_string(target.shard.value()) +
                                              " of '" + collection_ + "' has no active replica");
      const std::size_t first = turn_++;
      for (std::size_t i = 0; i < target.peers.size(); ++i) {
        const PeerId peer = target.peers[(first + i) % target.peers.size()];
        auto found = parts_.engine.ReadPoints(
            call, {.peer = peer, .collection = collection_, .shard = target.shard}, ids);
        if (found.ok() || !AnotherMayAnswer(found.error().code())) return found;
        last = std::move(found).error();
      }
      return last;
    });
  }

  const LookupParts& parts_;
  const std::string& collection_;
  const CopyLimits& limits_;
  /// Not changed while it is asked.
  Targets targets_;
  std::atomic<std::size_t> turn_ = 0;
  std::mutex mutex_;
  LookupResult result_;
};

}  // namespace

Result<LookupResult> LookUpPoints(const CallContext& call, const LookupParts& parts,
                                  const std::string& collection, const CopyLimits& limits) {
  return Lookup(parts, collection, limits).Run(call);
}

}  // namespace holdfast
