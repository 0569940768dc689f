#include "repo/write/parent_image.h"

#include <algorithm>
#include <functional>

#include "base/assert.h"
#include "repo/repository.h"

namespace holdfast {
namespace {

std::uint64_t HashPath(std::string_view path) { return std::hash<std::string_view>()(path); }

}  // namespace

ParentImage::ParentImage(const Repository& repository, const std::string& key, ImageHead head)
    : key_(key),
      head_(std::move(head)),
      chunks_(repository, key, ImageList::kBlocks, head_.block_list) {}

Result<std::shared_ptr<ParentImage>> ParentImage::Load(const CallContext& call,
                                                       const Repository& repository,
                                                       const std::string& key,
                                                       const PackFilter& may_borrow) {
  HF_TRY(ImageHead head, GetImageHead(call, repository, key));
  std::shared_ptr<ParentImage> parent(new ParentImage(repository, key, std::move(head)));
  HF_RETURN_IF_ERROR(parent->ReadFiles(call, repository, key));
  HF_RETURN_IF_ERROR(parent->FilterPacks(may_borrow));
  if (parent->head_.blocks > 0) HF_RETURN_IF_ERROR(parent->LoadChunkOf(call, 0));
  return parent;
}

Status ParentImage::ReadFiles(const CallContext& call, const Repository& repository,
                              const std::string& key) {
  FileListReader files(repository, key, head_.file_list);
  while (files_.size() < kParentFilesMax) {
    HF_TRY(const auto file, files.Next(call));
    if (!file) break;
    if (file->block_count == 0) continue;
    if (file->first_block > head_.blocks || file->block_count > head_.blocks - file->first_block) {
      return Error(ErrorCode::kDataLoss, key + " is damaged: a file has blocks that are not there");
    }
    files_.push_back({.path_hash = HashPath(file->path),
                      .span = {.first = file->first_block, .count = file->block_count}});
  }
  files_.shrink_to_fit();
  std::ranges::sort(files_, {}, &FileLine::path_hash);
  // What was needed of it is in `files_`.
  head_.file_list = ListMap();
  return {};
}

Status ParentImage::FilterPacks(const PackFilter& may_borrow) {
  may_borrow_.reserve(head_.packs.size());
  for (std::uint32_t pack = 0; pack < head_.packs.size(); ++pack) {
    HF_TRY(const bool may, may_borrow(head_.packs.group(pack), head_.packs.id(pack)));
    may_borrow_.push_back(may);
  }
  return {};
}

std::optional<ParentSpan> ParentImage::FindFile(std::string_view path) const {
  // Two paths with one hash only cost a comparison in vain: names of blocks decide.
  const auto found = std::ranges::lower_bound(files_, HashPath(path), {}, &FileLine::path_hash);
  if (found == files_.end() || found->path_hash != HashPath(path)) return std::nullopt;
  return found->span;
}

const ParentImage::CachedChunk* ParentImage::FindLocked(std::uint64_t chunk) const {
  const auto found = std::ranges::find(cache_, std::optional(chunk), &CachedChunk::number);
  return found == cache_.end() ? nullptr : &*found;
}

Result<std::optional<BlockRecord>> ParentImage::TryRecord(std::uint64_t block) {
  const std::scoped_lock lock(mutex_);
  const CachedChunk* chunk = FindLocked(block / kRecordsPerChunk);
  if (chunk == nullptr) return std::optional<BlockRecord>();
  const std::size_t offset = block % kRecordsPerChunk * kBlockRecordBytes;
  HF_ASSERT(offset + kBlockRecordBytes <= chunk->bytes.size());
  HF_TRY(const BlockRecord record,
         ParseBlockRecord(ByteView(chunk->bytes).subspan(offset, kBlockRecordBytes), key_));
  if (record.pack >= head_.packs.size()) {
    return Error(ErrorCode::kDataLoss, key_ + " is damaged: a block lies in no pack");
  }
  return std::optional(record);
}

bool ParentImage::HasChunkOf(std::uint64_t block) const {
  const std::scoped_lock lock(mutex_);
  return FindLocked(block / kRecordsPerChunk) != nullptr;
}

Status ParentImage::LoadChunkOf(const CallContext& call, std::uint64_t block) {
  const std::uint64_t number = block / kRecordsPerChunk;
  if (HasChunkOf(block)) return {};
  HF_TRY(Bytes bytes, chunks_.Read(call, number));
  bytes.shrink_to_fit();
  const std::scoped_lock lock(mutex_);
  std::swap(cache_[0], cache_[1]);
  cache_[1] = {.number = number, .bytes = std::move(bytes)};
  return {};
}

std::optional<std::uint64_t> ParentImage::WorthReading(std::uint64_t block) const {
  const std::uint64_t next = (block / kRecordsPerChunk + 1) * kRecordsPerChunk;
  if (next >= head_.blocks || block % kRecordsPerChunk < kRecordsPerChunk / 4 * 3) {
    return std::nullopt;
  }
  if (HasChunkOf(next)) return std::nullopt;
  return next;
}

}  // namespace holdfast
