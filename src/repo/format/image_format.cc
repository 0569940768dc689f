#include "repo/format/image_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/assert.h"
#include "model/group.h"
#include "model/json.h"
#include "repo/format/config.h"
#include "stream/tar_entry.h"

namespace holdfast {
namespace {

using json::Json;

Error Damaged(std::string_view what, std::string_view why) {
  return Error(ErrorCode::kDataLoss, fmt::format("{} is damaged: {}", what, why));
}

void AppendLong(Bytes& to, ByteView bytes) {
  AppendU32(to, static_cast<std::uint32_t>(bytes.size()));
  Append(to, bytes);
}

Result<ByteView> TakeLong(ByteReader& reader) {
  HF_TRY(const std::uint32_t size, reader.U32());
  return reader.Take(size);
}

void AppendList(Bytes& to, const ListMap& list) {
  AppendU32(to, static_cast<std::uint32_t>(list.parts.size()));
  for (const ListPart& part : list.parts) {
    Append(to, part.salt);
    AppendU32(to, static_cast<std::uint32_t>(part.chunks.size()));
    for (const std::uint32_t size : part.chunks) AppendU32(to, size);
  }
}

Result<ListMap> ReadList(ByteReader& reader, std::string_view what) {
  ListMap list;
  HF_TRY(const std::uint32_t parts, reader.U32());
  // A part takes at least 40 bytes, so that a wrong count cannot make us allocate.
  if (parts > reader.left() / 40) return Damaged(what, "it has too many parts");
  list.parts.resize(parts);
  for (ListPart& part : list.parts) {
    HF_TRY(const ByteView salt, reader.Take(part.salt.size()));
    std::ranges::copy(salt, part.salt.begin());
    HF_TRY(const std::uint32_t chunks, reader.U32());
    if (chunks == 0 || chunks > kPartChunksMax) return Damaged(what, "a part has a wrong size");
    part.chunks.resize(chunks);
    for (std::uint32_t& size : part.chunks) {
      HF_TRY(size, reader.U32());
      // A zstd frame of a chunk is never much larger than the chunk.
      if (size <= Sealer::kTagBytes || size > 2 * kChunkBytes) {
        return Damaged(what, "a chunk has a wrong size");
      }
    }
  }
  return list;
}

Result<std::string> HeadJson(const ImageHead& head) {
  const Json document = {{"format", 1},
                         {"label", head.label},
                         {"bytes", head.bytes},
                         {"sha256", ToHex(head.sha256)},
                         {"files", head.files},
                         {"blocks", head.blocks},
                         {"bytes_new", head.bytes_new},
                         {"note", head.note}};
  try {
    return document.dump();
  } catch (const Json::exception&) {
    return Error(ErrorCode::kInvalidArgument,
                 "the label or note of an image is not valid UTF-8 text");
  }
}

Status ReadHeadJson(ByteView text, std::string_view what, ImageHead& head) {
  HF_TRY(const Json document, json::Parse(AsText(text), what));
  json::Reader reader(document, what);
  const std::uint32_t format = reader.Number32("format");
  if (reader.status().ok() && format != 1) {
    return Error(ErrorCode::kUnsupported, fmt::format("{} has the unknown format {}", what, format),
                 "Use a newer version of holdfast");
  }
  head.label = reader.Text("label");
  head.bytes = reader.Number("bytes");
  const std::string sha256 = reader.Text("sha256");
  head.files = reader.Number("files");
  head.blocks = reader.Number("blocks");
  head.bytes_new = reader.Number("bytes_new");
  head.note = reader.Text("note");
  HF_RETURN_IF_ERROR(reader.status());
  HF_TRY(head.sha256, DigestFromHex(sha256, what));
  return {};
}

}  // namespace

Result<Digest> DigestFromHex(std::string_view text, std::string_view what) {
  const Result<Bytes> bytes = FromHex(text);
  Digest digest;
  if (!bytes.ok() || bytes->size() != digest.size()) return Damaged(what, "a digest is no digest");
  std::ranges::copy(*bytes, digest.begin());
  return digest;
}

void AppendBlockRecord(Bytes& to, const BlockRecord& record) {
  Append(to, record.block.name);
  AppendU32(to, record.pack);
  AppendU32(to, record.place.position);
  AppendU32(to, record.place.offset);
  AppendU32(to, record.place.sealed_size);
  AppendU32(to, record.block.plain_size);
  AppendU64(to, record.file_offset);
  to.push_back(std::byte{record.block.codec});
  to.resize(to.size() + 3);
}

Result<BlockRecord> ParseBlockRecord(ByteView bytes, std::string_view what) {
  HF_ASSERT(bytes.size() == kBlockRecordBytes);
  ByteReader reader(bytes, what);
  BlockRecord record;
  HF_TRY(const ByteView name, reader.Take(record.block.name.size()));
  std::ranges::copy(name, record.block.name.begin());
  HF_TRY(record.pack, reader.U32());
  HF_TRY(record.place.position, reader.U32());
  HF_TRY(record.place.offset, reader.U32());
  HF_TRY(record.place.sealed_size, reader.U32());
  HF_TRY(record.block.plain_size, reader.U32());
  HF_TRY(record.file_offset, reader.U64());
  HF_TRY(record.block.codec, reader.U8());
  HF_TRY(const ByteView zero, reader.Take(3));
  const bool possible =
      record.block.plain_size > 0 && record.block.plain_size <= kBlockBytesMost &&
      record.place.sealed_size > Sealer::kTagBytes && record.place.offset >= kPackHeaderBytes &&
      std::uint64_t{record.place.offset} + record.place.sealed_size <= kPackBytesMax &&
      record.file_offset <= std::numeric_limits<std::uint64_t>::max() - record.block.plain_size &&
      std::ranges::all_of(zero, [](std::byte b) { return b == std::byte{0}; });
  if (!possible) return Damaged(what, "a block record is impossible");
  return record;
}

void AppendFileRecord(Bytes& to, const FileRecord& record) {
  HF_ASSERT(record.path.size() <= std::numeric_limits<std::uint16_t>::max());
  HF_ASSERT(record.padding.size() < 512);
  AppendLong(to, record.headers);
  AppendU16(to, static_cast<std::uint16_t>(record.path.size()));
  Append(to, AsBytes(record.path));
  AppendU64(to, record.real_size);
  AppendU64(to, record.stored_size);
  AppendU64(to, record.first_block);
  AppendU64(to, record.block_count);
  AppendU16(to, static_cast<std::uint16_t>(record.padding.size()));
  Append(to, record.padding);
}

Result<std::optional<TakenFileRecord>> TakeFileRecord(ByteView bytes, std::string_view what) {
  // Reads as long as there are bytes; a read past the end means "not all there yet".
  const auto incomplete = [] { return std::optional<TakenFileRecord>(); };
  ByteReader reader(bytes, what);
  TakenFileRecord taken;
  FileRecord& record = taken.record;
  const auto header_size = reader.U32();
  if (!header_size.ok()) return incomplete();
  if (*header_size > TarLimits{}.header_bytes_max) return Damaged(what, "a tar header is too long");
  const auto headers = reader.Take(*header_size);
  if (!headers.ok()) return incomplete();
  const auto path_size = reader.U16();
  if (!path_size.ok()) return incomplete();
  const auto path = reader.Take(*path_size);
  if (!path.ok()) return incomplete();
  for (std::uint64_t* number :
       {&record.real_size, &record.stored_size, &record.first_block, &record.block_count}) {
    const auto read = reader.U64();
    if (!read.ok()) return incomplete();
    *number = *read;
  }
  const auto padding_size = reader.U16();
  if (!padding_size.ok()) return incomplete();
  if (*padding_size != 0 && *padding_size != TarPaddingBytes(record.stored_size)) {
    return Damaged(what, "a padding has a wrong size");
  }
  const auto padding = reader.Take(*padding_size);
  if (!padding.ok()) return incomplete();
  record.headers = ToBytes(*headers);
  record.path = std::string(AsText(*path));
  record.padding = ToBytes(*padding);
  taken.bytes = bytes.size() - reader.left();
  return std::optional<TakenFileRecord>(std::move(taken));
}

std::uint32_t PackTable::AddGroup(const GroupId& group) {
  const auto found = std::ranges::find(groups_, group);
  if (found != groups_.end()) return static_cast<std::uint32_t>(found - groups_.begin());
  groups_.push_back(group);
  return static_cast<std::uint32_t>(groups_.size() - 1);
}

std::uint32_t PackTable::Add(std::uint32_t group_index, const PackId& id) {
  HF_ASSERT(group_index < groups_.size());
  packs_.push_back({.group = group_index, .id = id});
  return static_cast<std::uint32_t>(packs_.size() - 1);
}

void PackTable::AppendTo(Bytes& out) const {
  AppendU32(out, static_cast<std::uint32_t>(groups_.size()));
  for (const GroupId& group : groups_) {
    out.push_back(static_cast<std::byte>(group.value().size()));
    Append(out, AsBytes(group.value()));
  }
  AppendU32(out, static_cast<std::uint32_t>(packs_.size()));
  for (const Line& line : packs_) {
    AppendU32(out, line.group);
    Append(out, line.id);
  }
}

Result<PackTable> PackTable::Read(ByteReader& reader, std::string_view what) {
  PackTable table;
  HF_TRY(const std::uint32_t groups, reader.U32());
  for (std::uint32_t i = 0; i < groups; ++i) {
    HF_TRY(const std::uint8_t size, reader.U8());
    HF_TRY(const ByteView text, reader.Take(size));
    if (!IsGroupId(AsText(text))) return Damaged(what, "it names an impossible attempt");
    table.groups_.emplace_back(std::string(AsText(text)));
  }
  HF_TRY(const std::uint32_t packs, reader.U32());
  constexpr std::size_t kLineBytes = 36;
  if (packs > reader.left() / kLineBytes) return Damaged(what, "its pack table is cut short");
  table.packs_.resize(packs);
  for (Line& line : table.packs_) {
    HF_TRY(line.group, reader.U32());
    HF_TRY(const ByteView id, reader.Take(line.id.size()));
    std::ranges::copy(id, line.id.begin());
    if (line.group >= groups) return Damaged(what, "its pack table names no attempt");
  }
  return table;
}

std::uint64_t ListMap::chunk_count() const noexcept {
  std::uint64_t count = 0;
  for (const ListPart& part : parts) count += part.chunks.size();
  return count;
}

Result<Bytes> WriteImageHead(const ImageHead& head) {
  HF_ASSERT(head.block_list.rest.size() < kChunkBytes && head.file_list.rest.size() < kChunkBytes);
  HF_TRY(const std::string text, HeadJson(head));
  Bytes out;
  AppendLong(out, AsBytes(text));
  head.packs.AppendTo(out);
  AppendList(out, head.block_list);
  AppendList(out, head.file_list);
  AppendLong(out, head.block_list.rest);
  AppendLong(out, head.file_list.rest);
  AppendU64(out, head.zero_bytes);
  return out;
}

Result<ImageHead> ReadImageHead(ByteView content, std::string_view what) {
  ByteReader reader(content, what);
  ImageHead head;
  HF_TRY(const ByteView text, TakeLong(reader));
  HF_RETURN_IF_ERROR(ReadHeadJson(text, what, head));
  HF_TRY(head.packs, PackTable::Read(reader, what));
  HF_TRY(head.block_list, ReadList(reader, what));
  HF_TRY(head.file_list, ReadList(reader, what));
  HF_TRY(const ByteView blocks, TakeLong(reader));
  HF_TRY(const ByteView files, TakeLong(reader));
  HF_TRY(head.zero_bytes, reader.U64());
  if (reader.left() != 0) return Damaged(what, "something stands behind it");
  if (blocks.size() >= kChunkBytes || files.size() >= kChunkBytes) {
    return Damaged(what, "the rest of a list is too long");
  }
  head.block_list.rest = ToBytes(blocks);
  head.file_list.rest = ToBytes(files);
  const std::uint64_t block_bytes = head.block_list.bytes();
  if (block_bytes % kBlockRecordBytes != 0 || block_bytes / kBlockRecordBytes != head.blocks) {
    return Damaged(what, "it does not have as many blocks as it says");
  }
  return head;
}

}  // namespace holdfast
