#include "repo/list_reader.h"

#include <fmt/format.h>

#include "base/assert.h"
#include "repo/repository.h"
#include "store/object_store.h"

namespace holdfast {
namespace {

Error Missing(std::string_view key) {
  return Error(ErrorCode::kDataLoss, fmt::format("{} is missing", key));
}

}  // namespace

Result<ImageHead> GetImageHead(const CallContext& call, const Repository& repository,
                               std::string_view key) {
  const auto content = ReadDocument(call, repository.store(), repository.keys(), key);
  if (!content.ok()) {
    if (content.error().code() == ErrorCode::kNotFound) return Missing(key);
    return content.error();
  }
  return ReadImageHead(*content, key);
}

ListChunks::ListChunks(const Repository& repository, std::string image_key, ImageList list,
                       const ListMap& map)
    : repository_(repository),
      image_key_(std::move(image_key)),
      list_(list),
      map_(map),
      full_chunks_(map.chunk_count()) {}

Result<Bytes> ListChunks::Read(const CallContext& call, std::uint64_t chunk) const {
  HF_ASSERT(chunk < count());
  if (chunk == full_chunks_) return map_.rest;
  std::uint32_t number = 0;
  while (chunk >= map_.parts[number].chunks.size()) chunk -= map_.parts[number++].chunks.size();
  const ListPart& part = map_.parts[number];
  const std::string key = list_ == ImageList::kBlocks ? BlockPartKey(image_key_, number)
                                                      : FilePartKey(image_key_, number);
  std::uint64_t offset = kDocumentHeaderBytes + sizeof(std::uint32_t);
  for (std::uint64_t i = 0; i < chunk; ++i) offset += part.chunks[i] + sizeof(std::uint32_t);
  const auto sealed =
      repository_.store().Get(call, key, ByteRange{.offset = offset, .size = part.chunks[chunk]});
  if (!sealed.ok()) {
    if (sealed.error().code() == ErrorCode::kNotFound) return Missing(key);
    if (sealed.error().code() == ErrorCode::kInvalidArgument) {
      return Error(ErrorCode::kDataLoss, fmt::format("{} is shorter than recorded", key));
    }
    return sealed.error();
  }
  return OpenDocumentChunk(
      repository_.keys(), key,
      {.salt = part.salt, .number = chunk, .last = chunk + 1 == part.chunks.size()}, *sealed);
}

FileListReader::FileListReader(const Repository& repository, std::string image_key,
                               const ListMap& map)
    : image_key_(image_key), chunks_(repository, std::move(image_key), ImageList::kFiles, map) {}

Result<std::optional<FileRecord>> FileListReader::Next(const CallContext& call) {
  for (;;) {
    HF_TRY(auto taken, TakeFileRecord(ByteView(buffer_).subspan(used_), image_key_));
    if (taken) {
      used_ += taken->bytes;
      return std::optional<FileRecord>(std::move(taken->record));
    }
    if (next_chunk_ == chunks_.count()) {
      if (used_ == buffer_.size()) return std::optional<FileRecord>();
      return Error(ErrorCode::kDataLoss,
                   fmt::format("{} is damaged: its file list is cut short", image_key_));
    }
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(used_));
    used_ = 0;
    HF_TRY(const Bytes chunk, chunks_.Read(call, next_chunk_));
    ++next_chunk_;
    Append(buffer_, chunk);
  }
}

BlockListReader::BlockListReader(const Repository& repository, std::string image_key,
                                 const ImageHead& head)
    : image_key_(image_key),
      head_(head),
      chunks_(repository, std::move(image_key), ImageList::kBlocks, head.block_list) {}

Result<BlockRecord> BlockListReader::Next(const CallContext& call) {
  if (next_ >= head_.blocks) {
    return Error(ErrorCode::kDataLoss,
                 fmt::format("{} is damaged: its files need more blocks than it has", image_key_));
  }
  const std::uint64_t wanted = next_ / kRecordsPerChunk;
  if (loaded_ != wanted) {
    HF_TRY(chunk_, chunks_.Read(call, wanted));
    loaded_ = wanted;
  }
  const std::size_t offset = next_ % kRecordsPerChunk * kBlockRecordBytes;
  HF_ASSERT(offset + kBlockRecordBytes <= chunk_.size());
  HF_TRY(const BlockRecord record,
         ParseBlockRecord(ByteView(chunk_).subspan(offset, kBlockRecordBytes), image_key_));
  if (record.pack >= head_.packs.size()) {
    return Error(ErrorCode::kDataLoss,
                 fmt::format("{} is damaged: block {} lies in no pack", image_key_, next_));
  }
  ++next_;
  return record;
}

}  // namespace holdfast
