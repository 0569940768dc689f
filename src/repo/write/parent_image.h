// An older image of the same label, looked into while its successor is cut.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "repo/list_reader.h"

namespace holdfast {

class Repository;

/// Files of a parent that are looked for; those behind are only found by name.
constexpr std::size_t kParentFilesMax = 262'144;

/// Blocks of one file of the parent.
struct ParentSpan {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

/// The parent's file table and one or two chunks of its block list. Thread-safe.
class ParentImage {
 public:
  /// True for a pack that may be borrowed from.
  using PackFilter = std::function<Result<bool>(const GroupId& attempt, const PackId& pack)>;

  /// Reads the head, the file list and the first chunk of blocks. kDataLoss when they are damaged.
  static Result<std::shared_ptr<ParentImage>> Load(const CallContext& call,
                                                   const Repository& repository,
                                                   const std::string& key,
                                                   const PackFilter& may_borrow);

  const std::string& label() const noexcept { return head_.label; }
  const PackTable& packs() const noexcept { return head_.packs; }
  bool MayBorrow(std::uint32_t pack) const { return may_borrow_[pack]; }

  /// Nothing when the parent has no such file, or it has no blocks.
  std::optional<ParentSpan> FindFile(std::string_view path) const;

  /// The record number `block`, when its chunk is in memory.
  Result<std::optional<BlockRecord>> TryRecord(std::uint64_t block);
  /// True when chunk of that record is in memory.
  bool HasChunkOf(std::uint64_t block) const;
  /// Reads the chunk of that record, in place of one that was not used for longer. Blocks.
  Status LoadChunkOf(const CallContext& call, std::uint64_t block);
  /// The first record of the next chunk, when `block` is so near to it that it should be read now.
  std::optional<std::uint64_t> WorthReading(std::uint64_t block) const;

  /// Nothing of it is to be used any more.
  void Drop() noexcept { dropped_.store(true); }
  bool dropped() const noexcept { return dropped_.load(); }

 private:
  struct FileLine {
    std::uint64_t path_hash = 0;
    ParentSpan span;
  };
  struct CachedChunk {
    std::optional<std::uint64_t> number;
    Bytes bytes;
  };

  ParentImage(const Repository& repository, const std::string& key, ImageHead head);
  Status ReadFiles(const CallContext& call, const Repository& repository, const std::string& key);
  Status FilterPacks(const PackFilter& may_borrow);
  const CachedChunk* FindLocked(std::uint64_t chunk) const;

  const std::string key_;
  ImageHead head_;
  const ListChunks chunks_;
  std::vector<FileLine> files_;
  std::vector<bool> may_borrow_;
  std::atomic<bool> dropped_ = false;

  mutable std::mutex mutex_;
  /// The last one that was loaded is at the back.
  std::array<CachedChunk, 2> cache_;
};

}  // namespace holdfast
