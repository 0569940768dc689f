// The points of a live collection, each shard from one of its active replicas.

#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"
#include "engine/point_source.h"

namespace holdfast {

/// Reads a shard from the same replica for as long as it answers, then from another active one.
/// Thread-safe.
class LivePoints final : public PointSource {
 public:
  /// `engine` must outlive the object.
  LivePoints(Engine& engine, std::string collection)
      : engine_(engine), collection_(std::move(collection)) {}

  /// Fails with kFailedPrecondition when the shards are not those of the first look any more.
  Result<std::vector<SourceShard>> Shards(const CallContext& call) override;
  Result<PointPage> ReadPage(const CallContext& call, ShardId shard, const std::string& after,
                             const PageLimits& limits) override;
  /// Looks again which replicas are active: one that has missed writes is so no longer.
  Status Refresh(const CallContext& call);

 private:
  std::vector<PeerId> Replicas(ShardId shard);
  void Prefer(ShardId shard, PeerId peer);

  Engine& engine_;
  const std::string collection_;
  std::mutex mutex_;
  bool known_ = false;
  std::vector<SourceShard> shards_;
  /// Active ones; the first is asked first.
  std::map<ShardId, std::vector<PeerId>> replicas_;
};

}  // namespace holdfast
