// Images as bytes: block records, file records and the head (format, section 5.1).

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "repo/format/document.h"
#include "repo/format/pack.h"
#include "stream/digest.h"

namespace holdfast {

constexpr std::size_t kBlockRecordBytes = 64;
constexpr std::size_t kRecordsPerChunk = kChunkBytes / kBlockRecordBytes;
/// Chunks in a part that a reader takes.
constexpr std::size_t kPartChunksMax = 32;

/// One block of an image.
struct BlockRecord {
  BlockIdentity block;
  /// Index into the head's pack table.
  std::uint32_t pack = 0;
  BlockPlace place;
  std::uint64_t file_offset = 0;
};

void AppendBlockRecord(Bytes& to, const BlockRecord& record);
/// `bytes` has kBlockRecordBytes. kDataLoss naming `what` for a record that nobody writes.
Result<BlockRecord> ParseBlockRecord(ByteView bytes, std::string_view what);

/// One file of an image.
struct FileRecord {
  Bytes headers;
  std::string path;
  std::uint64_t real_size = 0;
  std::uint64_t stored_size = 0;
  std::uint64_t first_block = 0;
  std::uint64_t block_count = 0;
  /// As it stands in the tar when it is not all zero, else empty.
  Bytes padding;
};

void AppendFileRecord(Bytes& to, const FileRecord& record);
/// The record at the front of `bytes`, and how many of them it took; nothing when it is not all
/// there. kDataLoss naming `what` when it can never be.
struct TakenFileRecord {
  FileRecord record;
  std::size_t bytes = 0;
};
Result<std::optional<TakenFileRecord>> TakeFileRecord(ByteView bytes, std::string_view what);

/// Where the pack of a block lies.
struct PackRef {
  GroupId group;
  PackId id{};
};

/// The pack table: few attempts, many packs. 36 bytes a pack.
class PackTable {
 public:
  /// Index of `group`, which is added when it is new.
  std::uint32_t AddGroup(const GroupId& group);
  /// Index of the new line.
  std::uint32_t Add(std::uint32_t group_index, const PackId& id);

  std::size_t size() const noexcept { return packs_.size(); }
  const GroupId& group(std::uint32_t pack) const { return groups_[packs_[pack].group]; }
  const PackId& id(std::uint32_t pack) const { return packs_[pack].id; }
  std::string KeyOf(std::uint32_t pack) const { return PackKey(group(pack), id(pack)); }
  const std::vector<GroupId>& groups() const noexcept { return groups_; }

  void AppendTo(Bytes& out) const;
  static Result<PackTable> Read(ByteReader& reader, std::string_view what);

 private:
  struct Line {
    std::uint32_t group = 0;
    PackId id{};
  };
  std::vector<GroupId> groups_;
  std::vector<Line> packs_;
};

/// A part of a list, as the head knows it.
struct ListPart {
  Salt salt{};
  /// Length of the sealed bytes of each chunk.
  std::vector<std::uint32_t> chunks;
};

/// One of the two lists of an image.
struct ListMap {
  std::vector<ListPart> parts;
  /// What remains behind the last full chunk.
  Bytes rest;

  /// Full chunks in all parts.
  std::uint64_t chunk_count() const noexcept;
  std::uint64_t bytes() const noexcept { return chunk_count() * kChunkBytes + rest.size(); }
};

/// The head of an image.
struct ImageHead {
  std::string label;
  std::uint64_t bytes = 0;
  Digest sha256{};
  std::uint64_t files = 0;
  std::uint64_t blocks = 0;
  std::uint64_t bytes_new = 0;
  std::string note;
  PackTable packs;
  ListMap block_list;
  ListMap file_list;
  std::uint64_t zero_bytes = 0;
};

/// The content of the head's document. kInvalidArgument when label or note are not UTF-8.
Result<Bytes> WriteImageHead(const ImageHead& head);
/// kDataLoss naming `what`.
Result<ImageHead> ReadImageHead(ByteView content, std::string_view what);

/// "<32 hex>" of `text`, or kDataLoss naming `what`.
Result<Digest> DigestFromHex(std::string_view text, std::string_view what);

}  // namespace holdfast
