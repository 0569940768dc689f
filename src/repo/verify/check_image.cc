// The part of a verification that compares an image's lists with the packs they name.

#include <fmt/format.h>

#include <set>
#include <unordered_map>
#include <utility>

#include "repo/list_reader.h"
#include "repo/verify/verifier.h"
#include "store/object_store.h"
#include "stream/tar_entry.h"

namespace holdfast {
namespace {

/// Packs whose marks are kept at hand.
constexpr std::size_t kMarksKept = 256;

/// Goes through the data runs of a file along with its blocks: together they must be the same
/// bytes.
class RunWalk {
 public:
  explicit RunWalk(const std::vector<DataRun>& runs) : runs_(runs) {}

  bool Covers(const BlockRecord& record) {
    std::uint64_t offset = record.file_offset;
    std::uint64_t left = record.block.plain_size;
    while (left > 0) {
      if (run_ == runs_.size() || runs_[run_].offset + used_ != offset) return false;
      const std::uint64_t size = std::min(left, runs_[run_].length - used_);
      offset += size;
      left -= size;
      used_ += size;
      if (used_ == runs_[run_].length) {
        ++run_;
        used_ = 0;
      }
    }
    return true;
  }
  bool AtEnd() const { return run_ == runs_.size(); }

 private:
  const std::vector<DataRun>& runs_;
  std::size_t run_ = 0;
  std::uint64_t used_ = 0;
};

/// Compares the block records of one image with what was found in the packs.
class RecordCheck {
 public:
  RecordCheck(PackContents& packs, DamageList& damages, const ImageHead& head,
              const ImageRef& image, const AffectedImage& affected)
      : packs_(packs), damages_(damages), head_(head), image_(image), affected_(affected) {
    for (std::uint32_t pack = 0; pack < head.packs.size(); ++pack) {
      numbers_.push_back(packs.Add(head.packs.group(pack), head.packs.id(pack)));
    }
  }

  Status Check(const BlockRecord& record) {
    const std::uint32_t pack = numbers_[record.pack];
    const PackContents::State state = packs_.StateOf(pack);
    if (state == PackContents::State::kListed) return {};
    if (state == PackContents::State::kDamaged) {
      Hit(record.pack, std::nullopt);
      return {};
    }
    HF_TRY(const std::vector<std::uint64_t>* marks, MarksOf(pack));
    if (record.place.position < marks->size()) {
      const std::uint64_t mark = (*marks)[record.place.position];
      if (mark == PackEntryMark(record.block, record.place)) return {};
      if (mark == kDamagedMark) {
        Hit(record.pack, record.place.position);
        return {};
      }
    }
    damages_.Add(image_.key, std::nullopt,
                 fmt::format("a block record disagrees with block {} of {}", record.place.position,
                             head_.packs.KeyOf(record.pack)),
                 affected_);
    return {};
  }

 private:
  Result<const std::vector<std::uint64_t>*> MarksOf(std::uint32_t pack) {
    if (const auto found = marks_.find(pack); found != marks_.end()) return &found->second;
    if (marks_.size() >= kMarksKept) marks_.clear();
    HF_TRY(std::vector<std::uint64_t> marks, packs_.MarksOf(pack));
    return static_cast<const std::vector<std::uint64_t>*>(
        &marks_.emplace(pack, std::move(marks)).first->second);
  }

  void Hit(std::uint32_t local_pack, std::optional<std::uint32_t> block) {
    if (!told_.emplace(local_pack, block).second) return;
    damages_.Affects(head_.packs.KeyOf(local_pack), block, affected_);
  }

  PackContents& packs_;
  DamageList& damages_;
  const ImageHead& head_;
  const ImageRef& image_;
  const AffectedImage& affected_;
  std::vector<std::uint32_t> numbers_;
  std::unordered_map<std::uint32_t, std::vector<std::uint64_t>> marks_;
  std::set<std::pair<std::uint32_t, std::optional<std::uint32_t>>> told_;
};

Error Damaged(std::string_view key, std::string_view what) {
  return Error(ErrorCode::kDataLoss, fmt::format("{} is damaged: {}", key, what));
}

/// The headers of one file against its record.
Result<TarEntry> CheckHeaders(const std::string& key, const FileRecord& file) {
  TarEntry entry;
  if (file.headers.empty()) {
    // Not from a tar: one stretch of data.
    entry.stored_size = file.stored_size;
    entry.real_size = file.real_size;
    if (file.stored_size > 0) entry.runs.push_back({.offset = 0, .length = file.stored_size});
  } else {
    HF_TRY(entry, ParseTarHeaders(file.headers));
    if (entry.path != file.path) return Damaged(key, "a file has another path than its header");
  }
  if (entry.stored_size != file.stored_size || entry.real_size != file.real_size) {
    return Damaged(key, fmt::format("'{}' has another size than its header says", file.path));
  }
  return entry;
}

/// Goes through all files and blocks of an image; `check` is told of every block.
Status WalkImage(const CallContext& call, const Repository& repository, const std::string& key,
                 const ImageHead& head, const std::function<Status(const BlockRecord&)>& check) {
  FileListReader files(repository, key, head.file_list);
  BlockListReader blocks(repository, key, head);
  std::uint64_t file_count = 0;
  std::uint64_t next_block = 0;
  std::uint64_t bytes = head.zero_bytes;
  for (;;) {
    HF_TRY(const auto file, files.Next(call));
    if (!file) break;
    ++file_count;
    HF_TRY(const TarEntry entry, CheckHeaders(key, *file));
    if (file->first_block != next_block) return Damaged(key, "its files are out of order");
    RunWalk runs(entry.runs);
    for (std::uint64_t i = 0; i < file->block_count; ++i) {
      HF_TRY(const BlockRecord record, blocks.Next(call));
      if (!runs.Covers(record)) {
        return Damaged(
            key, fmt::format("block {} is not where '{}' has data", next_block + i, file->path));
      }
      HF_RETURN_IF_ERROR(check(record));
    }
    if (!runs.AtEnd()) return Damaged(key, fmt::format("'{}' lacks blocks", file->path));
    next_block += file->block_count;
    bytes += file->headers.size() + file->stored_size;
    if (!file->headers.empty()) bytes += TarPaddingBytes(file->stored_size);
  }
  if (file_count != head.files || next_block != head.blocks || bytes != head.bytes) {
    return Damaged(key, "it does not add up to what it says");
  }
  return {};
}

}  // namespace

Status Verifier::CheckImage(const CallContext& call, const GroupId& group, const ImageRef& image) {
  const AffectedImage affected{.group = group, .label = image.label};
  const auto head = GetImageHead(call, repository_, image.key);
  if (!head.ok()) {
    if (!IsDamage(head.error())) return head.error();
    damages_.Add(image.key, std::nullopt, head.error().message(), affected);
    return {};
  }
  ++images_done_;
  if (head->label != image.label || head->bytes != image.bytes || head->sha256 != image.sha256 ||
      head->blocks != image.blocks || head->files != image.files) {
    damages_.Add(image.key, std::nullopt, "it is not the image that the manifest names", affected);
    return {};
  }
  bool whole = true;
  HF_RETURN_IF_ERROR(CheckParts(call, affected, image, *head, whole));
  return whole ? CheckLists(call, affected, image, *head) : Status();
}

Status Verifier::CheckParts(const CallContext& call, const AffectedImage& affected,
                            const ImageRef& image, const ImageHead& head, bool& whole) {
  const auto check_part = [&](const std::string& key, const ListPart& part) -> Status {
    const auto object = repository_.store().Get(call, key);
    Status status = object.ok() ? Status() : Status(object.error());
    if (status.ok()) {
      const auto content = OpenDocument(repository_.keys(), key, *object);
      if (!content.ok()) {
        status = content.error();
      } else if (content->size() != part.chunks.size() * kChunkBytes) {
        status = Damaged(key, "it has a wrong size");
      }
    }
    if (status.ok()) return {};
    if (!IsDamage(status.error())) return status;
    whole = false;
    damages_.Add(key, std::nullopt, status.error().message(), affected);
    return {};
  };
  for (std::uint32_t i = 0; i < head.block_list.parts.size(); ++i) {
    HF_RETURN_IF_ERROR(check_part(BlockPartKey(image.key, i), head.block_list.parts[i]));
  }
  for (std::uint32_t i = 0; i < head.file_list.parts.size(); ++i) {
    HF_RETURN_IF_ERROR(check_part(FilePartKey(image.key, i), head.file_list.parts[i]));
  }
  return {};
}

Status Verifier::CheckLists(const CallContext& call, const AffectedImage& affected,
                            const ImageRef& image, const ImageHead& head) {
  RecordCheck records(*packs_, damages_, head, image, affected);
  const Status walked = WalkImage(call, repository_, image.key, head,
                                  [&](const BlockRecord& record) { return records.Check(record); });
  if (walked.ok()) return {};
  if (!IsDamage(walked.error())) return walked;
  damages_.Add(image.key, std::nullopt, walked.error().message(), affected);
  return {};
}

}  // namespace holdfast
