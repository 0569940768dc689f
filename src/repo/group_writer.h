// One attempt to write a backup group.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/size.h"
#include "repo/group.h"
#include "repo/image_writer.h"
#include "stream/byte_source.h"

namespace holdfast {

class CpuPool;
class Intent;
class Repository;

/// Room in the spool that one stream may fill however slow the store is. Moved, never copied; gives
/// its room back when it dies (or to the image it is moved into). Must not outlive its GroupWriter.
class SpoolLease {
 public:
  SpoolLease() = default;
  SpoolLease(SpoolLease&& other) noexcept;
  SpoolLease& operator=(SpoolLease&& other) noexcept;
  SpoolLease(const SpoolLease&) = delete;
  SpoolLease& operator=(const SpoolLease&) = delete;
  ~SpoolLease();

  std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  friend class GroupWriter;
  friend struct ImageWriterState;
  class SpoolRoom* room_ = nullptr;
  std::uint64_t bytes_ = 0;
};

struct GroupWriterOptions {
  /// Id of this attempt; new for every attempt.
  GroupId group = {};
  /// Groups to look for known blocks in, newest first. Those that the intent does not rely on are
  /// left out.
  std::vector<GroupId> parents = {};
  /// Attempts that broke off, newest first: their packs and finished images serve as well.
  std::vector<GroupId> broken_attempts = {};
  /// Where sealed bytes wait that the store cannot take yet, in files without a name. Empty: no
  /// spool, only memory.
  std::string spool_directory = {};
  std::uint64_t spool_bytes_max = 8 * kGiB;
  /// Put calls at once.
  std::size_t upload_threads = 4;
  /// Ceiling of the buffers of this attempt, for up to ten images at once; 96 MiB at least.
  std::uint64_t memory_bytes_max = 160 * kMiB;
  /// Blocks that are known by name beside those found beside the file (64 bytes each).
  std::size_t known_blocks_max = 256 * 1024;
};

/// What to do when the store is slower than the stream and the room for it is used up.
enum class WhenFull {
  /// The image fails with kResourceExhausted: for streams that hold a server's locks.
  kFail,
  /// The feeding thread waits: for what was staged.
  kWait,
};

struct ImageOptions {
  /// Whose image it is (for shards: collection uuid, shard id, peer id).
  std::string label = {};
  /// Room reserved before the stream was opened; may be empty, then the image takes free room as it
  /// needs it.
  SpoolLease room = {};
  WhenFull when_full = WhenFull::kFail;
};

/// Numbers of an attempt so far.
struct GroupStats {
  std::uint64_t bytes_read = 0;    ///< Tar bytes taken in, of finished images and of those at work.
  std::uint64_t bytes_new = 0;     ///< Plain bytes of blocks that nothing knew.
  std::uint64_t bytes_stored = 0;  ///< Bytes of all objects that were put.
  std::uint64_t blocks = 0;
  std::uint64_t blocks_known = 0;  ///< Of them found, beside the file or by name.
  std::uint64_t packs = 0;
  std::uint64_t spool_bytes = 0;      ///< Waiting in the spool now.
  std::uint64_t spool_bytes_top = 0;  ///< The most that ever waited there.
  std::uint64_t images = 0;           ///< Finished.
};

/// Writes one group: images at once from many threads, then records, then the manifest. Nothing it
/// writes is a group before Commit has put the manifest. Thread-safe; every image is one thread's.
///
/// The first object that the store refuses ends the attempt: every later call returns that error.
class GroupWriter {
 public:
  /// Reads what the parents and the broken attempts know. `repository`, `intent` and `pool` must
  /// outlive the writer; `intent` names `options.group` as its own.
  static Result<std::unique_ptr<GroupWriter>> Begin(const CallContext& call, Repository& repository,
                                                    const Intent& intent, CpuPool& pool,
                                                    GroupWriterOptions options);
  /// Abandon(). All images must be gone.
  ~GroupWriter();
  GroupWriter(const GroupWriter&) = delete;
  GroupWriter& operator=(const GroupWriter&) = delete;

  /// Waits until `bytes` of room are free in the spool. kResourceExhausted at once when there will
  /// never be that much. Sealed bytes of a stream are never more than its tar's size.
  Result<SpoolLease> ReserveSpool(const CallContext& call, std::uint64_t bytes);

  /// Begins an image; reads its parent's head first, so call it before the stream is opened.
  Result<std::unique_ptr<ImageWriter>> BeginImage(const CallContext& call, ImageOptions options);

  /// Stores a file as it is, as an image of one file, waiting for the store as needed.
  Result<ImageRef> PutFile(const CallContext& call, std::string_view label, ByteSource& content);

  /// Hands in record `number` (each once). It is written after everything handed in before.
  Status PutCollection(const CallContext& call, std::uint32_t number, std::string_view json);

  /// Packs what is there and waits until all of it is durable: stats() then lack nothing but the
  /// manifest. Every image must be finished or abandoned before.
  Status Flush(const CallContext& call);

  /// Makes the group: waits until all else is durable, looks for the borrowed packs, checks the
  /// intent, writes the manifest. Every image must be finished or abandoned (kFailedPrecondition).
  /// kDeadlineExceeded or kUnavailable from the last put mean that the group may or may not exist;
  /// any other error means it does not. Once only.
  Status Commit(const CallContext& call, std::string_view body_json);

  /// Stops all work; nothing more is written. Idempotent; a no-op after Commit.
  void Abandon() noexcept;

  GroupStats stats() const;
  const GroupId& group() const noexcept;
  /// Things a person should hear of, e.g. a parent that could not be read.
  std::vector<std::string> warnings() const;

 private:
  struct State;
  explicit GroupWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace holdfast
