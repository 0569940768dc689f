// Snapshots that nodes store for us: made once each, shared by the shards that need them, deleted
// afterwards, and known to the next run if this one dies.

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"

namespace holdfast {

/// What must be remembered of a snapshot before it is asked for.
struct StagedNote {
  PeerId peer;
  std::string collection;
  std::optional<ShardId> shard;
  /// Names that were there before: not ours.
  std::vector<std::string> before;
  /// When it was asked for.
  WallTime asked_at{};
};

/// How far a node's clock may be off for a snapshot to be recognised as the one that was asked for.
inline constexpr Duration kNodeClockTolerance = std::chrono::seconds(30);

/// Where the notes are kept: something that survives this process.
class StagedJournal {
 public:
  virtual ~StagedJournal() = default;
  virtual Status Creating(const StagedNote& note) = 0;
  /// The note's snapshot is gone.
  virtual Status Removed(const StagedNote& note) = 0;
};

std::string StagedNoteToJson(const StagedNote& note);
Result<StagedNote> StagedNoteFromJson(std::string_view json);

/// A stored snapshot with its cut interval.
struct StagedCut {
  StoredSnapshot snapshot;
  MonotonicTime begin;
  MonotonicTime end;
};

/// All staged snapshots of one wave. Thread-safe.
class StagedSnapshots {
 public:
  StagedSnapshots(Engine& engine, StagedJournal& journal, Clock& clock)
      : engine_(engine), journal_(journal), clock_(clock) {}

  /// The snapshot of a shard, or of a collection (`shard` absent), made on the first call and
  /// shared by later ones. An error is kept for later callers too.
  Result<StagedCut> Get(const CallContext& call, PeerId peer, const std::string& collection,
                        std::optional<ShardId> shard);
  /// Deletes them all. What could not be deleted stays in the journal and is returned as texts for
  /// a warning. Not stopped by a cancelled operation.
  std::vector<std::string> RemoveAll();

 private:
  using Key = std::tuple<PeerId, std::string, std::optional<ShardId>>;
  struct Entry {
    std::mutex mutex;
    StagedNote note;
    bool noted = false;
    std::optional<Result<StagedCut>> made;
  };

  Result<StagedCut> Make(const CallContext& call, Entry& entry);
  Result<bool> Remove(const CallContext& call, const Entry& entry);

  Engine& engine_;
  StagedJournal& journal_;
  Clock& clock_;
  std::mutex mutex_;
  std::map<Key, std::shared_ptr<Entry>> entries_;
};

/// Removes what the note's run left on the node: the one snapshot that was not there before and was
/// begun when ours was asked for. False when there is none (yet: a node may still be making what
/// nobody waits for any more). Anything else may be somebody's: it is left and named
/// (kFailedPrecondition).
Result<bool> RemoveLeftover(const CallContext& call, ShardSource& source, const StagedNote& note);

}  // namespace holdfast
