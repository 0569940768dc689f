// Reads the two lists of an image, chunk by chunk, in constant memory.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "repo/format/image_format.h"

namespace holdfast {

class Repository;

/// Gets and opens the head of the image under `key`. kDataLoss when it is missing or damaged.
Result<ImageHead> GetImageHead(const CallContext& call, const Repository& repository,
                               std::string_view key);

enum class ImageList { kBlocks, kFiles };

/// Chunks of one list by number, each with one ranged get. Thread-safe; `repository` and `map` must
/// outlive it.
class ListChunks {
 public:
  ListChunks(const Repository& repository, std::string image_key, ImageList list,
             const ListMap& map);

  /// Chunks, the rest in the head being the last one if it is not empty.
  std::uint64_t count() const noexcept { return full_chunks_ + (map_.rest.empty() ? 0 : 1); }
  Result<Bytes> Read(const CallContext& call, std::uint64_t chunk) const;

 private:
  const Repository& repository_;
  const std::string image_key_;
  const ImageList list_;
  const ListMap& map_;
  const std::uint64_t full_chunks_;
};

/// Goes through the files in order. One thread.
class FileListReader {
 public:
  FileListReader(const Repository& repository, std::string image_key, const ListMap& map);
  /// Nothing behind the last file. kDataLoss when the list is cut short.
  Result<std::optional<FileRecord>> Next(const CallContext& call);

 private:
  const std::string image_key_;
  const ListChunks chunks_;
  std::uint64_t next_chunk_ = 0;
  Bytes buffer_;
  std::size_t used_ = 0;
};

/// Goes through the block records from any one on. One thread.
class BlockListReader {
 public:
  /// `image_key` stands in errors.
  BlockListReader(const Repository& repository, std::string image_key, const ImageHead& head);
  /// Continues with record `block`.
  void Seek(std::uint64_t block) noexcept { next_ = block; }
  /// kDataLoss behind the last record, or when it names no pack of the table.
  Result<BlockRecord> Next(const CallContext& call);

 private:
  const std::string image_key_;
  const ImageHead& head_;
  const ListChunks chunks_;
  std::uint64_t next_ = 0;
  std::optional<std::uint64_t> loaded_;
  Bytes chunk_;
};

}  // namespace holdfast
