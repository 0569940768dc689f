// Taking one shard: from the plan's step to an image that is complete and whose deletes stay
// deleted, or an error that says why no replica could give one.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"
#include "job/progress.h"
#include "model/group.h"
#include "ops/staged.h"
#include "ops/wave_gate.h"
#include "plan/backup_plan.h"
#include "repo/group_writer.h"

namespace holdfast {

/// How shards are taken; the same for all of a backup.
struct CaptureSettings {
  ModeChoice mode = ModeChoice::kAuto;
  StreamLimits limits;
  /// How long to wait for a replica that is being optimized to come to rest.
  Duration settle = std::chrono::seconds(10);
  /// Tries on each source before the next one is used.
  int tries_per_source = 2;
  /// For unlinked files.
  std::string spool_directory;
};

/// What captures share. All outlive them; all thread-safe.
struct CaptureTools {
  Engine& engine;
  GroupWriter& writer;
  Clock& clock;
  Progress& progress;
};

/// A shard that was taken. Cut instants are monotonic; `image` has no cut interval yet.
struct CapturedShard {
  ShardImage image;
  MonotonicTime begin;
  MonotonicTime end;
  /// From this instant until after the cut nothing was written to the shard; absent: not known.
  std::optional<MonotonicTime> quiet_since;
  std::vector<std::string> warnings;
};

/// The label that ties images of one replica together over groups.
std::string ImageLabel(const Collection& collection, ShardId shard, PeerId peer);

/// Reads a label back into the key and peer of a parent; false for other labels (attachments).
bool ParseImageLabel(std::string_view label, ParentKey& key, PeerId& peer);

/// Runs on a thread of its own. Tries streams of all sources, then a staged snapshot (design.md,
/// "Deletes stay deleted"); passes `gate` with the others of its wave.
/// kDataLoss, kUnavailable, …: no source gave a complete image. kFailedPrecondition: every replica
/// is suspect and nothing resolves it. Names the shard.
Result<CapturedShard> CaptureShard(const CallContext& call, const CaptureTools& tools,
                                   const CaptureSettings& settings, const Collection& collection,
                                   const CaptureStep& step, StagedSnapshots& staged,
                                   GatePass& gate);

}  // namespace holdfast
