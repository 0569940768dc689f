#include "ops/points/live_points.h"

#include <algorithm>
#include <utility>

#include "ops/insist.h"

namespace holdfast {
namespace {

bool SameShards(const std::vector<SourceShard>& a, const std::vector<SourceShard>& b) {
  return std::ranges::equal(a, b, [](const SourceShard& x, const SourceShard& y) {
    return x.shard == y.shard && x.key == y.key;
  });
}

}  // namespace

Status LivePoints::Refresh(const CallContext& call) {
  HF_TRY(const Collection now, engine_.ReadCollection(call, collection_));
  std::vector<SourceShard> shards;
  std::map<ShardId, std::vector<PeerId>> replicas;
  for (const Shard& shard : now.shards) {
    shards.push_back({.shard = shard.id,
                      .key = shard.key,
                      .points = now.points / std::max<std::size_t>(now.shards.size(), 1)});
    std::vector<PeerId>& active = replicas[shard.id];
    for (const Replica& replica : shard.replicas) {
      if (replica.state == ReplicaState::kActive) active.push_back(replica.peer);
    }
  }
  std::ranges::sort(shards, {}, &SourceShard::shard);
  const std::scoped_lock lock(mutex_);
  if (known_ && !SameShards(shards, shards_)) {
    return Error(ErrorCode::kFailedPrecondition,
                 "the shards of '" + collection_ + "' have changed meanwhile",
                 "begin anew when nothing else works on the collection");
  }
  // Whoever answered before is asked first again.
  for (auto& [shard, active] : replicas) {
    const auto before = replicas_.find(shard);
    if (active.empty()) continue;
    if (before == replicas_.end() || before->second.empty()) {
      // So that the shards are read from different peers.
      const auto turn = static_cast<std::ptrdiff_t>(shard.value() % active.size());
      std::ranges::rotate(active, active.begin() + turn);
      continue;
    }
    const auto first = std::ranges::find(active, before->second.front());
    if (first != active.end()) std::rotate(active.begin(), first, first + 1);
  }
  if (!known_) shards_ = std::move(shards);
  known_ = true;
  replicas_ = std::move(replicas);
  return {};
}

Result<std::vector<SourceShard>> LivePoints::Shards(const CallContext& call) {
  HF_RETURN_IF_ERROR(Refresh(call));
  const std::scoped_lock lock(mutex_);
  return shards_;
}

std::vector<PeerId> LivePoints::Replicas(ShardId shard) {
  const std::scoped_lock lock(mutex_);
  const auto found = replicas_.find(shard);
  return found == replicas_.end() ? std::vector<PeerId>() : found->second;
}

void LivePoints::Prefer(ShardId shard, PeerId peer) {
  const std::scoped_lock lock(mutex_);
  std::vector<PeerId>& active = replicas_[shard];
  const auto found = std::ranges::find(active, peer);
  if (found != active.end()) std::rotate(active.begin(), found, found + 1);
}

Result<PointPage> LivePoints::ReadPage(const CallContext& call, ShardId shard,
                                       const std::string& after, const PageLimits& limits) {
  Error last(ErrorCode::kUnavailable, "shard " + std::to_string(shard.value()) + " of '" +
                                          collection_ + "' has no active replica");
  for (int look = 0; look < 2; ++look) {
    // The second time after a look at what has become of the replicas.
    std::vector<PeerId> peers = Replicas(shard);
    if (look > 0 || peers.empty()) {
      HF_RETURN_IF_ERROR(Refresh(call));
      peers = Replicas(shard);
    }
    for (std::size_t i = 0; i < peers.size(); ++i) {
      Result<PointPage> page = engine_.ReadPage(
          call, {.peer = peers[i], .collection = collection_, .shard = shard}, after, limits);
      if (page.ok() && i > 0) Prefer(shard, peers[i]);
      if (page.ok() || !AnotherMayAnswer(page.error().code())) return page;
      last = std::move(page).error();
    }
  }
  if (last.code() == ErrorCode::kNotFound) last = std::move(last).As(ErrorCode::kUnavailable);
  return last;
}

}  // namespace holdfast
