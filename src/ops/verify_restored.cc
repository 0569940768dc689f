#include "ops/verify_restored.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "base/size.h"
#include "ops/parallel.h"
#include "ops/witnesses.h"

namespace holdfast {
namespace {

/// Between two looks at the replicas: longer and longer, since most are as planned by the second.
constexpr Duration kStatePollMin = std::chrono::milliseconds(50);
constexpr Duration kStatePollMax = std::chrono::milliseconds(500);
constexpr std::size_t kCheckAtOnce = 8;
constexpr std::size_t kBuriedPerCall = 1000;

class Check {
 public:
  Check(const CallContext& call, Engine& engine, Clock& clock, const VerifyInput& input)
      : call_(call), engine_(engine), clock_(clock), input_(input) {
    for (const ShardPlacement& placement : input.plan.shards) {
      for (const PeerId peer : placement.peers) {
        replicas_.push_back(
            {.peer = peer, .collection = input.plan.target, .shard = placement.shard});
      }
    }
  }

  Result<VerifiedCollection> Run() {
    HF_TRY(const Collection now, AwaitReplicas());
    if (copied()) {
      TakeReplicas(now);
      HF_TRY(comparer_, engine_.NewComparer(input_.record.collection));
    }
    CompareCollection(now);
    HF_RETURN_IF_ERROR(copied() ? CompareCopiedCounts() : CompareCounts());
    HF_RETURN_IF_ERROR(CompareSamples());
    HF_RETURN_IF_ERROR(CompareQueries());
    HF_RETURN_IF_ERROR(CompareBuried());
    if (!differences_.empty()) return Failed();
    verified_.shards = static_cast<std::uint32_t>(now.shards.size());
    verified_.replicas = static_cast<std::uint32_t>(replicas_.size());
    return verified_;
  }

 private:
  bool copied() const { return input_.plan.copy_shards != 0; }

  void TakeReplicas(const Collection& now) {
    for (const Shard& shard : now.shards) {
      for (const Replica& replica : shard.replicas) {
        replicas_.push_back(
            {.peer = replica.peer, .collection = input_.plan.target, .shard = shard.id});
      }
    }
  }

  void Differs(std::string text) {
    const std::scoped_lock lock(mutex_);
    ++difference_count_;
    if (differences_.size() < kDifferencesMax) differences_.push_back(std::move(text));
  }

  /// For what may have been otherwise at the cut, while writers were at work.
  void WitnessDiffers(std::string text) {
    if (input_.record.witnesses_proven) return Differs(std::move(text));
    const std::scoped_lock lock(mutex_);
    if (verified_.warnings.size() >= kDifferencesMax) return;
    verified_.warnings.push_back(
        std::move(text) + " (writers were at work then, so this may have been so at the cut)");
  }

  Error Failed() {
    std::ranges::sort(differences_);
    std::string text = "'" + input_.plan.target + "' is not what the group holds: ";
    for (std::size_t i = 0; i < differences_.size(); ++i) {
      text += (i == 0 ? "" : "; ") + differences_[i];
    }
    if (difference_count_ > differences_.size()) {
      text += "; and " + std::to_string(difference_count_ - differences_.size()) + " more";
    }
    return Error(ErrorCode::kDataLoss, text);
  }

  /// The same for a collection whose shards the server has placed.
  std::string CopiedTrouble(const Collection& now) const {
    std::map<std::optional<ShardKey>, std::uint32_t> shards;
    for (const Shard& shard : now.shards) {
      ++shards[shard.key];
      const std::string which = "shard " + std::to_string(shard.id.value());
      if (shard.replicas.size() < input_.plan.replication_factor) {
        return which + " has " + std::to_string(shard.replicas.size()) + " of " +
               std::to_string(input_.plan.replication_factor) + " replicas";
      }
      for (const Replica& replica : shard.replicas) {
        if (replica.state == ReplicaState::kActive) continue;
        return "the replica of " + which + " on peer " + std::to_string(replica.peer.value()) +
               " is " + std::string(ReplicaStateName(replica.state));
      }
    }
    std::vector<std::optional<ShardKey>> keys(1);
    if (input_.record.collection.custom_sharding) keys.clear();
    for (const KeyStep& step : input_.plan.keys) keys.emplace_back(step.key);
    for (const std::optional<ShardKey>& key : keys) {
      if (shards[key] == input_.plan.copy_shards) continue;
      return "there are " + std::to_string(shards[key]) + " of " +
             std::to_string(input_.plan.copy_shards) + " shards" +
             (key ? " of key " + FormatShardKey(*key) : "");
    }
    return {};
  }

  /// What is wrong with the replicas of `now`; empty when they are as planned.
  std::string ReplicaTrouble(const Collection& now) const {
    if (copied()) return CopiedTrouble(now);
    std::map<ShardId, std::set<PeerId>> planned;
    for (const ReplicaRef& replica : replicas_) planned[replica.shard].insert(replica.peer);
    std::set<ShardId> there;
    for (const Shard& shard : now.shards) {
      there.insert(shard.id);
      std::set<PeerId> missing = planned[shard.id];
      for (const Replica& replica : shard.replicas) {
        const std::string which = "the replica of shard " + std::to_string(shard.id.value()) +
                                  " on peer " + std::to_string(replica.peer.value());
        if (missing.erase(replica.peer) == 0) return which + " was not planned";
        if (replica.state != ReplicaState::kActive) {
          return which + " is " + std::string(ReplicaStateName(replica.state));
        }
      }
      if (!missing.empty()) {
        return "shard " + std::to_string(shard.id.value()) + " lacks its replica on peer " +
               std::to_string(missing.begin()->value());
      }
    }
    for (const auto& [shard, peers] : planned) {
      if (!there.contains(shard)) return "shard " + std::to_string(shard.value()) + " is missing";
    }
    return {};
  }

  Result<Collection> AwaitReplicas() {
    const MonotonicTime until = clock_.Monotonic() + input_.patience;
    for (Duration pause = kStatePollMin;; pause = std::min(pause * 2, kStatePollMax)) {
      HF_TRY(Collection now, engine_.ReadCollection(call_, input_.plan.target));
      const std::string trouble = ReplicaTrouble(now);
      if (trouble.empty()) return now;
      if (clock_.Monotonic() >= until) {
        return Error(ErrorCode::kUnavailable,
                     "'" + input_.plan.target + "' could not be verified: " + trouble,
                     "`holdfast topology` shows the replicas; restore again when all peers answer");
      }
      HF_RETURN_IF_ERROR(clock_.SleepFor(call_, pause));
    }
  }

  void CompareCollection(const Collection& now) {
    const Collection& then = input_.record.collection;
    for (const PayloadIndex& index : then.indexes) {
      if (std::ranges::find(now.indexes, index) == now.indexes.end()) {
        Differs("the payload index on '" + index.field + "' is missing or another one");
      }
    }
    for (const Shard& shard : copied() ? std::vector<Shard>() : then.shards) {
      const Shard* const found = now.FindShard(shard.id);
      if (found != nullptr && found->key != shard.key) {
        Differs("shard " + std::to_string(shard.id.value()) + " belongs to another shard key");
      }
    }
    if (now.shard_keys != then.shard_keys) Differs("the shard keys are not the same");
  }

  Status CompareCounts() {
    std::map<ShardId, const ShardImage*> images;
    for (const ShardImage& image : input_.record.shards) images[image.shard] = &image;
    // All replicas of a shard were sent one image.
    std::map<ShardId, std::uint64_t> counted;
    HF_RETURN_IF_ERROR(ForEachIndex(
        call_, replicas_.size(), kCheckAtOnce,
        [&](const CallContext& inner, std::size_t i) -> Status {
          const ReplicaRef& replica = replicas_[i];
          HF_TRY(const PointCounts counts, engine_.CountPoints(inner, replica));
          const ShardImage& image = *images.at(replica.shard);
          if (image.counts_known) {
            CompareCount(replica, "points", counts.all, image.points_min, image.points_max);
            CompareCount(replica, "points that belong to it", counts.in_ring, image.ring_points_min,
                         image.ring_points_max);
          } else {
            CheckBelongs(replica, counts, image);
            CheckSent(replica, counts, image);
          }
          std::uint64_t other = 0;
          {
            const std::scoped_lock lock(mutex_);
            other = counted.try_emplace(replica.shard, counts.all).first->second;
          }
          if (other != counts.all) {
            Differs(Describe(replica) + " counts " + FormatCount(counts.all) +
                    " points, another replica of it " + FormatCount(other));
          }
          return {};
        }));
    for (const auto& [shard, points] : counted) verified_.points += points;
    return {};
  }

  Status CompareCopiedCounts() {
    std::map<ShardId, std::uint64_t> counted;
    HF_RETURN_IF_ERROR(ForEachIndex(
        call_, replicas_.size(), kCheckAtOnce,
        [&](const CallContext& inner, std::size_t i) -> Status {
          HF_TRY(const PointCounts counts, engine_.CountPoints(inner, replicas_[i]));
          if (counts.all != counts.in_ring) {
            Differs(Describe(replicas_[i]) + " counts " + FormatCount(counts.all) +
                    " points, only " + FormatCount(counts.in_ring) + " of which belong to it");
          }
          const std::scoped_lock lock(mutex_);
          counted[replicas_[i].shard] = counts.all;
          counts_[replicas_[i].shard].insert(counts.all);
          return {};
        }));
    for (const auto& [shard, points] : counted) verified_.points += points;
    for (const auto& [shard, counts] : counts_) {
      if (counts.size() == 1) continue;
      Differs("the replicas of shard " + std::to_string(shard.value()) + " count " +
              FormatCount(*counts.begin()) + " to " + FormatCount(*counts.rbegin()) + " points");
    }
    if (verified_.points != input_.copied) {
      Differs("it counts " + FormatCount(verified_.points) + " points, " +
              FormatCount(input_.copied) + " were copied");
    }
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    for (const ShardImage& image : input_.record.shards) {
      if (!image.counts_known) return {};
      low += image.ring_points_min;
      high += image.ring_points_max;
    }
    if (verified_.points >= low && verified_.points <= high) return {};
    Differs("it counts " + FormatCount(verified_.points) + " points, the group " +
            FormatCount(low) + (low == high ? std::string() : " to " + FormatCount(high)));
    return {};
  }

  /// Where the group does not know the number: an image that was sent to the wrong shard shows all
  /// the same (measured 16).
  void CheckBelongs(const ReplicaRef& replica, const PointCounts& counts, const ShardImage& image) {
    const std::uint64_t strays_max =
        image.points_max - std::min(image.points_max, image.ring_points_min);
    if (counts.all - std::min(counts.all, counts.in_ring) > strays_max) {
      Differs(Describe(replica) + " counts " + FormatCount(counts.all) + " points, only " +
              FormatCount(counts.in_ring) + " of which belong to it");
    }
  }

  void CheckSent(const ReplicaRef& replica, const PointCounts& counts, const ShardImage& image) {
    const auto sent = input_.sent.find(replica.shard);
    if (sent == input_.sent.end()) return;
    const std::uint64_t least = sent->second - std::min(sent->second, image.tombstones);
    if (counts.all >= least && counts.all <= sent->second) return;
    Differs(Describe(replica) + " counts " + FormatCount(counts.all) + " points, and had " +
            FormatCount(sent->second) + " when it had been sent");
  }

  void CompareCount(const ReplicaRef& replica, std::string_view what, std::uint64_t now,
                    std::uint64_t low, std::uint64_t high) {
    if (now >= low && now <= high) return;
    Differs(Describe(replica) + " counts " + FormatCount(now) + " " + std::string(what) +
            ", the group " + FormatCount(low) +
            (low == high ? std::string() : " to " + FormatCount(high)));
  }

  bool IsOneOf(const std::set<std::string>& sampled, const std::string& point) const {
    if (!comparer_) return sampled.contains(point);
    return std::ranges::any_of(
        sampled, [&](const std::string& then) { return comparer_->Same(then, point); });
  }

  /// Every replica that has a sampled point must have it as it was, and some replica must have it.
  Status CompareSamples() {
    std::vector<std::string> ids;
    std::map<std::string, std::set<std::string>> expected;
    for (const SampledPoint& sample : input_.record.samples) {
      if (!expected.contains(sample.id_json)) ids.push_back(sample.id_json);
      expected[sample.id_json].insert(sample.point_json);
    }
    if (ids.empty()) return {};
    std::set<std::string> found;
    HF_RETURN_IF_ERROR(
        ForEachIndex(call_, replicas_.size(), kCheckAtOnce,
                     [&](const CallContext& inner, std::size_t i) -> Status {
                       HF_TRY(const auto points, engine_.ReadPoints(inner, replicas_[i], ids));
                       for (const SampledPoint& point : points) {
                         const bool same = IsOneOf(expected.at(point.id_json), point.point_json);
                         if (!same)
                           WitnessDiffers("point " + point.id_json + " on " +
                                          Describe(replicas_[i]) + " is not as it was");
                         const std::scoped_lock lock(mutex_);
                         found.insert(point.id_json);
                       }
                       return {};
                     }));
    for (const std::string& id : ids) {
      if (!found.contains(id)) WitnessDiffers("sampled point " + id + " is missing");
    }
    return {};
  }

  Status CompareQueries() {
    std::size_t left_out = 0;
    for (const GoldenQuery& query : input_.record.queries) {
      if (copied() && engine_.DependsOnShards(input_.record.collection, query)) {
        ++left_out;
        continue;
      }
      HF_TRY(const GoldenQuery now, engine_.Ask(call_, input_.plan.target, query));
      if (const std::string difference = CompareAnswers(query, now); !difference.empty()) {
        WitnessDiffers("a golden query is answered differently: " + difference);
      }
    }
    if (left_out > 0) {
      verified_.warnings.push_back(std::to_string(left_out) +
                                   " golden queries were not asked, as their scores depend on the "
                                   "number of shards (idf)");
    }
    return {};
  }

  Status CompareBuried() {
    for (const ReplicaRef& replica : replicas_) {
      std::vector<std::string> all;
      for (const auto& [shard, ids] : input_.buried) {
        // Where a copy would have put them is anybody's guess.
        if (copied() || shard == replica.shard) all.insert(all.end(), ids.begin(), ids.end());
      }
      for (std::size_t at = 0; at < all.size(); at += kBuriedPerCall) {
        const auto begin = all.begin() + static_cast<std::ptrdiff_t>(at);
        const std::vector<std::string> ids(
            begin, begin + static_cast<std::ptrdiff_t>(std::min(kBuriedPerCall, all.size() - at)));
        HF_TRY(const auto alive, engine_.ReadPoints(call_, replica, ids));
        for (const SampledPoint& point : alive) {
          Differs("deleted point " + point.id_json + " answers on " + Describe(replica));
        }
      }
    }
    return {};
  }

  const CallContext& call_;
  Engine& engine_;
  Clock& clock_;
  const VerifyInput& input_;
  std::vector<ReplicaRef> replicas_;
  /// Only for what was copied.
  std::unique_ptr<PointComparer> comparer_;
  std::mutex mutex_;
  /// Of copied shards: what their replicas count.
  std::map<ShardId, std::set<std::uint64_t>> counts_;
  std::vector<std::string> differences_;
  std::size_t difference_count_ = 0;
  VerifiedCollection verified_;
};

}  // namespace

Result<VerifiedCollection> VerifyRestored(const CallContext& call, Engine& engine, Clock& clock,
                                          const VerifyInput& input) {
  Result<VerifiedCollection> verified = Check(call, engine, clock, input).Run();
  if (verified.ok() || verified.error().code() != ErrorCode::kDataLoss) return verified;
  // A replica that failed since it was seen in its place; what is lost is lost at the second look.
  return Check(call, engine, clock, input).Run();
}

}  // namespace holdfast
