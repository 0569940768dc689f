// What can be made to go wrong with the scripted engine, and when.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/ids.h"

namespace holdfast::testing {

/// The calls of an Engine that talk to the cluster.
enum class EngineCall {
  kReadTopology,
  kReadCollection,
  kReadHealth,
  kCheckRights,
  kStreamShard,
  kCreateSnapshot,
  kDownloadSnapshot,
  kDeleteSnapshot,
  kListSnapshots,
  kCountPoints,
  kListIds,
  kReadPoints,
  kReadPage,
  kProposeQueries,
  kAsk,
  kCreateCollection,
  kDropCollection,
  kCreateShardKey,
  kDropShardKey,
  kCreateIndex,
  kSendShard,
  kDropReplica,
  kDeletePoints,
  kUpsertPoints,
  kSwitchAliases,
  kFinishCollection,
  kSetMetadata,
  kStartTransfer,
  kAbortTransfer,
  kCanReshard,
  kReadResharding,
  kStartResharding,
  kMigratePoints,
  kFinishMigration,
  kTakeStep,
  kCleanReplica,
};

/// Fails calls with `error`.
struct CallFault {
  /// Absent: any call.
  std::optional<EngineCall> call;
  /// Matching calls that pass before the first one fails.
  int skip = 0;
  /// Calls that fail; -1 for all from then on.
  int times = 1;
  Error error{ErrorCode::kUnavailable, "connection reset (scripted)"};
  /// The call takes effect and only its reply is lost.
  bool after_effect = false;
};

/// Spoils the bytes of a stream (StreamShard and DownloadSnapshot).
struct StreamFault {
  enum class Kind {
    /// Ends early with OK, as the server does when it fails in the middle (measured 2).
    kShort,
    /// kUnavailable in the middle.
    kReset,
    /// No byte any more: kUnavailable after limits.between_bytes (first_byte at offset 0).
    kStall,
    /// One flipped bit, nothing else.
    kFlip,
    /// As kShort, but cut at the last entry boundary before `at`.
    kShortAtEntry,
  };
  Kind kind = Kind::kShort;
  /// Byte of the stream at which it happens; beyond the end: at its middle.
  std::uint64_t at = ~std::uint64_t{0};
  /// Which streams; absent members match all.
  std::optional<PeerId> peer;
  std::optional<std::string> collection;
  std::optional<ShardId> shard;
  int skip = 0;
  int times = 1;
};

/// Where a stream is when a hook is called, on the calling thread and outside of all locks.
enum class StreamMoment {
  /// The request is on its way; what is written from now on may be in or not.
  kRequested,
  /// Headers are in, no body byte.
  kHeaders,
  /// The first body byte is in; what is written from now on is not in.
  kFirstByte,
  /// About half of the bytes are out.
  kHalf,
  kEnd,
};

}  // namespace holdfast::testing
