#include "repo/read/elements.h"

#include <fmt/format.h>

#include <utility>

#include "stream/tar_entry.h"

namespace holdfast {
namespace {

std::optional<Element> Literal(Bytes bytes) {
  return Element{.literal = std::move(bytes), .zeros = 0, .block = std::nullopt};
}
std::optional<Element> Zeros(std::uint64_t count) {
  return Element{.literal = {}, .zeros = count, .block = std::nullopt};
}
std::optional<Element> Block(const BlockRecord& record) {
  return Element{.literal = {}, .zeros = 0, .block = record};
}

}  // namespace

TarElements::TarElements(const Repository& repository, const std::string& image_key,
                         const ImageHead& head)
    : image_key_(image_key),
      head_(head),
      files_(repository, image_key, head.file_list),
      blocks_(repository, image_key, head) {}

Error TarElements::Damaged(std::string_view why) const {
  return Error(ErrorCode::kDataLoss, fmt::format("{} is damaged: {}", image_key_, why));
}

Result<std::optional<Element>> TarElements::Count(Element element) {
  bytes_ += element.size();
  if (bytes_ > head_.bytes) return Damaged("it is longer than it says");
  return std::optional(std::move(element));
}

Result<std::optional<Element>> TarElements::NextBlock(const CallContext& call) {
  HF_TRY(const BlockRecord record, blocks_.Next(call));
  ++next_block_;
  --blocks_left_;
  if (record.block.plain_size > bytes_left_) return Damaged("a file has more bytes than it says");
  bytes_left_ -= record.block.plain_size;
  return Count(*Block(record));
}

Result<std::optional<Element>> TarElements::Next(const CallContext& call) {
  for (;;) {
    switch (state_) {
      case State::kNextFile: {
        HF_TRY(auto file, files_.Next(call));
        if (!file) {
          state_ = State::kZeros;
          continue;
        }
        file_ = *std::move(file);
        if (file_.first_block != next_block_) return Damaged("its files are out of order");
        blocks_left_ = file_.block_count;
        bytes_left_ = file_.stored_size;
        state_ = State::kBlocks;
        if (!file_.headers.empty()) return Count(*Literal(file_.headers));
        continue;
      }
      case State::kBlocks:
        if (blocks_left_ > 0) return NextBlock(call);
        if (bytes_left_ > 0) return Damaged("a file has fewer bytes than it says");
        state_ = State::kPadding;
        continue;
      case State::kPadding: {
        state_ = State::kNextFile;
        const std::size_t padding = file_.headers.empty() ? 0 : TarPaddingBytes(file_.stored_size);
        if (padding == 0) continue;
        return Count(file_.padding.empty() ? *Zeros(padding) : *Literal(file_.padding));
      }
      case State::kZeros:
        state_ = State::kEnd;
        if (next_block_ != head_.blocks) return Damaged("it has blocks of no file");
        if (head_.zero_bytes > 0) return Count(*Zeros(head_.zero_bytes));
        continue;
      case State::kEnd:
        if (bytes_ != head_.bytes) return Damaged("it is shorter than it says");
        return std::optional<Element>();
    }
  }
}

FileElements::FileElements(const Repository& repository, const std::string& image_key,
                           const ImageHead& head, FileRecord file)
    : image_key_(image_key),
      file_(std::move(file)),
      blocks_(repository, image_key, head),
      blocks_left_(file_.block_count) {
  blocks_.Seek(file_.first_block);
}

Result<std::optional<Element>> FileElements::Next(const CallContext& call) {
  if (behind_hole_) {
    offset_ += behind_hole_->block.plain_size;
    return Block(*std::exchange(behind_hole_, std::nullopt));
  }
  if (blocks_left_ == 0) {
    if (offset_ == file_.real_size) return std::optional<Element>();
    return Zeros(file_.real_size - std::exchange(offset_, file_.real_size));
  }
  HF_TRY(const BlockRecord record, blocks_.Next(call));
  --blocks_left_;
  if (record.file_offset < offset_ ||
      record.file_offset + record.block.plain_size > file_.real_size) {
    return Error(
        ErrorCode::kDataLoss,
        fmt::format("{} is damaged: the blocks of {} are out of order", image_key_, file_.path));
  }
  if (record.file_offset > offset_) {
    const std::uint64_t hole = record.file_offset - offset_;
    offset_ = record.file_offset;
    behind_hole_ = record;
    return Zeros(hole);
  }
  offset_ += record.block.plain_size;
  return Block(record);
}

}  // namespace holdfast
