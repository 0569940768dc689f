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

class Lookup {
 public:
  Lookup(const LookupParts& parts, const std::string& collection, const CopyLimits& limits)
      : parts_(parts), collection_(collection), limits_(limits) {}

  Result<LookupResult> Run(const CallContext& call) {
    HF_TRY(const Collection there, Insist(call, parts_.clock, limits_.patience, [&] {
             return parts_.engine.ReadCollection(call, collection_);
           }));
    for (const Shard& shard : there.shards) {
      Target target{.shard = shard.id, .peers = {}};
      for (const Replica& replica : shard.replicas) {
        if (replica.state == ReplicaState::kActive) target.peers.push_back(replica.peer);
      }
      targets_[shard.key].push_back(std::move(target));
    }
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

  Status CheckPage(const CallContext& call, const std::optional<ShardKey>& key,
                   const std::vector<SourcePoint>& points) {
    std::map<std::string_view, const SourcePoint*> wanted;
    std::uint64_t bytes = 0;
    for (const SourcePoint& point : points) {
      wanted[point.id_json] = &point;
      bytes += point.point_json.size();
    }
    std::vector<std::string> changed;
    const auto targets = targets_.find(key);
    for (std::size_t i = 0; targets != targets_.end() && i < targets->second.size(); ++i) {
      if (wanted.empty()) break;
      std::vector<std::string> ids;
      for (const auto& [id, point] : wanted) ids.emplace_back(id);
      HF_TRY(const auto found, Read(call, targets->second[i], ids));
      for (const SampledPoint& point : found) {
        const auto want = wanted.find(point.id_json);
        if (want == wanted.end()) continue;
        if (!parts_.comparer.Same(want->second->point_json, point.point_json)) {
          changed.push_back(point.id_json);
        }
        wanted.erase(want);
      }
    }
    parts_.progress.AddBytes(kLane, bytes);
    const std::scoped_lock lock(mutex_);
    result_.points += points.size();
    result_.missing += wanted.size();
    result_.changed += changed.size();
    for (const auto& [id, point] : wanted) changed.emplace_back(id);
    for (std::string& id : changed) {
      if (result_.some.size() < kSomeIds) result_.some.push_back(std::move(id));
    }
    return {};
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
  std::map<std::optional<ShardKey>, std::vector<Target>> targets_;
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
