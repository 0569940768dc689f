// A temporary file without a name, for what does not fit into memory.

#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace holdfast::qdrant {

/// Mode 0600 and unlinked as soon as it is open, so that nothing is left behind after a crash. What
/// was never written reads as zeros. One thread.
class SpoolFile {
 public:
  /// In `directory`, which must exist. Nothing is opened before the first write.
  explicit SpoolFile(std::string directory) : directory_(std::move(directory)) {}
  ~SpoolFile();
  SpoolFile(const SpoolFile&) = delete;
  SpoolFile& operator=(const SpoolFile&) = delete;

  /// kResourceExhausted when the disk is full; kUnavailable naming the folder otherwise.
  Status WriteAt(std::uint64_t offset, ByteView bytes);
  /// Fills `into`; bytes behind the end of the file are zeros.
  Status ReadAt(std::uint64_t offset, std::span<std::byte> into) const;

 private:
  Status Open();
  Error Failed(const char* doing) const;

  const std::string directory_;
  int file_ = -1;
};

}  // namespace holdfast::qdrant
