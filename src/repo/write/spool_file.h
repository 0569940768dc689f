// A file without a name for sealed bytes that the store cannot take yet.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace holdfast {

/// Pieces of at most `bytes_max` in all in one unlinked file (mode 0600): it is gone with the
/// process, however that ends. Freed space is used again. Thread-safe.
class SpoolFile {
 public:
  struct Piece {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
  };

  /// kNotFound, kPermissionDenied or kResourceExhausted naming `directory`.
  static Result<std::unique_ptr<SpoolFile>> Create(const std::string& directory,
                                                   std::uint64_t bytes_max);
  ~SpoolFile();
  SpoolFile(const SpoolFile&) = delete;
  SpoolFile& operator=(const SpoolFile&) = delete;

  /// True when `size` more bytes may be written.
  bool HasRoom(std::uint64_t size) const;
  /// kResourceExhausted when the file system is full.
  Result<Piece> Write(ByteView bytes);
  /// Replaces `out` with the piece.
  Status Read(const Piece& piece, Bytes& out) const;
  void Free(const Piece& piece);

  std::uint64_t bytes() const;

 private:
  SpoolFile(int fd, std::string directory, std::uint64_t bytes_max)
      : fd_(fd), directory_(std::move(directory)), bytes_max_(bytes_max) {}
  std::uint64_t Allocate(std::uint64_t size);
  Error Failed(const char* doing, int error_number) const;

  const int fd_;
  const std::string directory_;
  const std::uint64_t bytes_max_;
  mutable std::mutex mutex_;
  /// Offset and size of what is free below `end_`.
  std::map<std::uint64_t, std::uint64_t> free_;
  std::uint64_t end_ = 0;
  std::uint64_t bytes_ = 0;
};

/// A new file without a name in `directory`, open for reading and writing, mode 0600. The caller
/// closes it.
Result<int> OpenUnlinkedFile(const std::string& directory);

}  // namespace holdfast
