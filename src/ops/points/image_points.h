// Points of a group's images, for a logical copy that needs no source cluster.

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/size.h"
#include "engine/edge/engine_process.h"
#include "engine/point_source.h"
#include "exec/memory_budget.h"
#include "model/group.h"
#include "repo/image_reader.h"

namespace holdfast {

class Repository;

struct ImagePointsOptions {
  edge::EngineSettings engine;
  /// Where images are unpacked.
  std::string scratch_directory;
  /// Bytes of unpacked images at once: a shard waits for its turn. An image that needs more is
  /// refused.
  std::uint64_t scratch_bytes_max = 64 * kGiB;
  ImageReadOptions read;
};

/// Each shard is unpacked into a scratch folder when its first page is asked for, served by a
/// process of its own, and removed behind its last page. Tombstones are left out. A process that
/// ended is kUnavailable; the next page starts another one. Whoever relies on the group holds an
/// Intent.
class ImagePoints final : public PointSource {
 public:
  /// All must outlive it; `images` are those of one collection.
  ImagePoints(Repository& repository, Clock& clock, const std::vector<ShardImage>& images,
              ImagePointsOptions options);
  ~ImagePoints() override;
  ImagePoints(const ImagePoints&) = delete;
  ImagePoints& operator=(const ImagePoints&) = delete;

  Result<std::vector<SourceShard>> Shards(const CallContext& call) override;
  Result<PointPage> ReadPage(const CallContext& call, ShardId shard, const std::string& after,
                             const PageLimits& limits) override;

  /// Bytes of scratch room that the image of `tar_bytes` takes: the tar, what is in it, and the
  /// engine's own files.
  static std::uint64_t ScratchBytes(std::uint64_t tar_bytes) noexcept;

 private:
  class OpenShard;
  struct Lane {
    const ShardImage* image = nullptr;
    /// One page of a shard at a time.
    std::mutex mutex;
    std::unique_ptr<OpenShard> open;
  };
  Result<std::unique_ptr<OpenShard>> Open(const CallContext& call, const ShardImage& image);

  Repository& repository_;
  Clock& clock_;
  const ImagePointsOptions options_;
  MemoryBudget room_;
  std::map<ShardId, Lane> lanes_;
};

/// Starts a holdfast-engine and ends it again: what is missing is told before anything is made.
Status CheckEngine(const CallContext& call, Clock& clock, const ImagePointsOptions& options);

}  // namespace holdfast
