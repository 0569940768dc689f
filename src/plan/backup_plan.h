// What one backup will do, decided from what was observed. Pure: no I/O, no clock, no chance.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "model/group.h"
#include "model/topology.h"

namespace holdfast {

/// How shards are taken. kAuto streams, and stages what a stream cannot serve.
enum class ModeChoice { kAuto, kStream, kStaged };

struct BackupRequest {
  /// Names of collections; empty means all. Aliases are resolved by the caller.
  std::vector<std::string> collections;
  /// Leave out collections that cannot be taken now instead of refusing the backup.
  bool skip_unhealthy = false;
  /// Take clusters older than kOldestVersion.
  bool allow_old = false;
  ModeChoice mode = ModeChoice::kAuto;
  /// Bounds on streams open at once. A collection whose shards alone exceed them is refused.
  std::uint32_t streams_per_peer_max = 32;
  std::uint32_t streams_max = 128;
  /// Room in the spool for what the store cannot take yet, bytes.
  std::uint64_t spool_bytes_max = 0;
};

/// The oldest release whose behaviour was read and run (issue 3: "versions below 1.17").
inline constexpr const char* kOldestVersion = "1.17.0";

/// What a replica's own peer said of it just now.
struct ReplicaFacts {
  bool idle = false;
  /// Exact count of points; absent when it could not be asked.
  std::optional<std::uint64_t> points;
  /// Predicted size of its tar; 0 when unknown.
  std::uint64_t bytes = 0;
};

/// Names one replica within a topology.
struct ReplicaKey {
  std::string collection;
  ShardId shard;
  PeerId peer;
  friend auto operator<=>(const ReplicaKey&, const ReplicaKey&) = default;
};

/// Images of earlier groups by collection uuid and shard: where blocks can be found again.
struct ParentImage {
  PeerId peer;
  std::uint64_t tar_bytes = 0;
};
using ParentKey = std::pair<std::string, ShardId>;

/// One shard to take.
struct CaptureStep {
  std::string collection;
  ShardId shard;
  std::optional<ShardKey> key;
  /// Peers that hold a healthy replica, best first; never empty.
  std::vector<PeerId> sources;
  std::uint64_t predicted_bytes = 0;
  std::uint32_t wave = 0;
  CaptureMode mode = CaptureMode::kStream;
};

struct BackupPlan {
  /// Ascending by wave, collection, shard. A wave never splits a collection.
  std::vector<CaptureStep> steps;
  std::uint32_t waves = 0;
  /// Collections taken, ascending.
  std::vector<std::string> collections;
  std::vector<SkippedCollection> skipped;
  /// What a person should know; does not stop the backup.
  std::vector<std::string> warnings;
};

/// Lists every reason at once when something cannot be taken and `skip_unhealthy` is not set, or
/// nothing would be left: kBusy when all of them pass by themselves (transfers, resharding), else
/// kFailedPrecondition. kNotFound for a collection that is not there; kUnsupported for an old
/// version. An empty cluster gives an empty plan.
Result<BackupPlan> PlanBackup(const Topology& topology,
                              const std::map<ReplicaKey, ReplicaFacts>& facts,
                              const std::map<ParentKey, ParentImage>& parents,
                              const BackupRequest& request);

struct Obstacle {
  std::string reason;
  /// It goes away by itself.
  bool passing = false;
};

/// Why `collection` cannot be taken now; empty when it can.
std::vector<Obstacle> ObstaclesTo(const Topology& topology, const Collection& collection,
                                  const std::map<ReplicaKey, ReplicaFacts>& facts);

/// -1, 0, 1 by the numbers of "1.18.3"; a suffix such as "-dev" is ignored. Unreadable is oldest.
int CompareVersions(std::string_view left, std::string_view right);

/// What differs between two observations of one collection and matters to a backup of it: uuid,
/// configuration, indexes, aliases, shards, replica states, transfers. Empty: nothing.
std::string WhatChanged(const Collection& before, const Collection& after);

/// JSON for `--dry-run --json` and the job's journal.
std::string BackupPlanToJson(const BackupPlan& plan);

}  // namespace holdfast
