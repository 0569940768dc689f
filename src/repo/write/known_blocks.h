// Blocks known by name, in bounded memory (format, section 6).

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "repo/format/pack.h"
#include "stream/digest.h"

namespace holdfast {

/// Where a known block lies.
struct KnownBlock {
  BlockPlace place;
  /// Index into the attempt's PackDirectory.
  std::uint32_t pack = 0;
  std::uint32_t plain_size = 0;
  std::uint8_t codec = 0;
};

/// Forgets older blocks when it is full; never wrong, sometimes ignorant. Memory is touched only as
/// it fills. Thread-safe.
class KnownBlocks {
 public:
  /// 64 bytes each.
  explicit KnownBlocks(std::size_t blocks_max);

  std::optional<KnownBlock> Find(const Digest& name) const;
  /// A name that is there already keeps its place.
  void Insert(const Digest& name, const KnownBlock& block);
  std::size_t size() const;
  std::size_t blocks_max() const noexcept { return bucket_count_ * kBucketSlots; }

 private:
  static constexpr std::size_t kBucketSlots = 8;
  struct Slot {
    Digest name;
    KnownBlock block;
    /// When it was inserted; 0: free.
    std::uint32_t stamp;
  };
  struct Free {
    void operator()(Slot* slots) const noexcept;
  };

  Slot* BucketOf(const Digest& name) const noexcept;

  const std::size_t bucket_count_;
  const std::unique_ptr<Slot[], Free> slots_;
  mutable std::mutex mutex_;
  std::uint32_t next_stamp_ = 1;
  std::size_t size_ = 0;
};

}  // namespace holdfast
