// Packs: many blocks in one object (format, section 4).

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/size.h"
#include "repo/format/key_ring.h"
#include "stream/codec.h"

namespace holdfast {

constexpr std::size_t kPackHeaderBytes = 16;
constexpr std::size_t kPackTrailerBytes = 8;
constexpr std::size_t kPackEntryBytes = 45;
/// A pack is closed before it would exceed this, footer included.
constexpr std::size_t kPackBytesWanted = 16 * kMiB;
constexpr std::size_t kPackBytesMax = 64 * kMiB;

/// Where a block lies in a pack.
struct BlockPlace {
  std::uint32_t position = 0;
  std::uint32_t offset = 0;
  std::uint32_t sealed_size = 0;
  friend bool operator==(const BlockPlace&, const BlockPlace&) = default;
};

/// One line of a footer.
struct PackEntry {
  BlockIdentity block;
  BlockPlace place;
};

/// The entries of an opened footer. `footer_offset`: where its sealed bytes begin in the pack;
/// every byte before it must belong to a block. kDataLoss naming `key`.
Result<std::vector<PackEntry>> ParsePackFooter(std::string_view key, ByteView footer,
                                               std::uint64_t footer_offset);

/// Fills one pack. The buffer is the caller's, so that it can be used again. One thread.
class PackBuilder {
 public:
  /// Clears `buffer` and writes the header; `buffer` must outlive the builder.
  PackBuilder(const KeyRing& keys, const PackId& id, Bytes& buffer);

  /// True when a block of `coded_size` still fits below kPackBytesWanted. An empty pack takes any.
  bool Fits(std::size_t coded_size) const noexcept;
  /// Seals a coded block behind the others.
  BlockPlace Add(const BlockIdentity& block, ByteView coded);
  /// Writes the footer; the buffer is the object then. At least one block.
  void Finish();

  const PackId& id() const noexcept { return id_; }
  std::size_t block_count() const noexcept { return entries_.size(); }

 private:
  const KeyRing& keys_;
  const PackId id_;
  const std::unique_ptr<Sealer> sealer_;
  Bytes& buffer_;
  std::vector<PackEntry> entries_;
};

/// Opens blocks of one pack. Every error is kDataLoss naming the pack's key and the block.
/// Thread-safe.
class PackOpener {
 public:
  PackOpener(const KeyRing& keys, const PackId& id, std::string_view key);

  /// The footer of a whole pack; checks header and trailer and that every byte is accounted for.
  Result<std::vector<PackEntry>> ReadFooter(ByteView pack) const;

  /// The footer from the last bytes of a pack of `pack_size` bytes. Fails with kResourceExhausted
  /// and the number of bytes needed in `needed` when `end` does not hold all of it.
  Result<std::vector<PackEntry>> ReadFooterFromEnd(ByteView end, std::uint64_t pack_size,
                                                   std::size_t& needed) const;

  /// Opens, decodes and names one block and appends its plain bytes to `out`, which is left as it
  /// was on errors.
  Status OpenBlock(const BlockIdentity& block, const BlockPlace& place, ByteView sealed,
                   Codec& codec, Bytes& out) const;

 private:
  const KeyRing& keys_;
  const PackId id_;
  const std::string key_;
  const std::unique_ptr<Sealer> sealer_;
};

}  // namespace holdfast
