// What a tar or a file of an image is made of, in order.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "repo/list_reader.h"

namespace holdfast {

/// A piece of the bytes that come out: literal bytes, zeros, or a block.
struct Element {
  Bytes literal;
  std::uint64_t zeros = 0;
  std::optional<BlockRecord> block;

  std::uint64_t size() const noexcept {
    return block ? block->block.plain_size : literal.size() + zeros;
  }
};

/// A string of elements. One thread.
class ElementSource {
 public:
  virtual ~ElementSource() = default;
  /// Nothing at the end. kDataLoss when the lists of the image contradict each other.
  virtual Result<std::optional<Element>> Next(const CallContext& call) = 0;
};

/// The tar that the image was made from.
class TarElements final : public ElementSource {
 public:
  /// What is referred to must outlive it.
  TarElements(const Repository& repository, const std::string& image_key, const ImageHead& head);
  Result<std::optional<Element>> Next(const CallContext& call) override;

 private:
  enum class State { kNextFile, kBlocks, kPadding, kZeros, kEnd };
  Error Damaged(std::string_view why) const;
  Result<std::optional<Element>> NextBlock(const CallContext& call);
  Result<std::optional<Element>> Count(Element element);

  const std::string image_key_;
  const ImageHead& head_;
  FileListReader files_;
  BlockListReader blocks_;
  State state_ = State::kNextFile;
  FileRecord file_;
  std::uint64_t blocks_left_ = 0;
  std::uint64_t bytes_left_ = 0;
  std::uint64_t next_block_ = 0;
  std::uint64_t bytes_ = 0;
};

/// One file, its holes as zeros.
class FileElements final : public ElementSource {
 public:
  FileElements(const Repository& repository, const std::string& image_key, const ImageHead& head,
               FileRecord file);
  Result<std::optional<Element>> Next(const CallContext& call) override;

 private:
  const std::string image_key_;
  const FileRecord file_;
  BlockListReader blocks_;
  std::uint64_t blocks_left_;
  std::uint64_t offset_ = 0;
  std::optional<BlockRecord> behind_hole_;
};

}  // namespace holdfast
