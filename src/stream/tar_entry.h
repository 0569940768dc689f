// One entry of a tar in the GNU dialect that Qdrant writes and reads (reference 4.5): regular
// files, directories, old GNU sparse files, long names, pax path and size. Headers to values and
// back.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace holdfast {

constexpr std::size_t kTarBlockBytes = 512;

enum class TarEntryType : std::uint8_t { kFile, kSparse, kDirectory };

/// "regular file", "sparse file", "directory".
std::string_view TarEntryTypeName(TarEntryType type) noexcept;

/// Bytes [offset, offset + length) of a file are data; what lies between runs is zeros.
struct DataRun {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  friend bool operator==(const DataRun&, const DataRun&) = default;
};

struct TarEntry {
  /// As it stands in the tar, also for directories ("wal/"). Never empty or absolute, no ".."
  /// component, no zero byte; not necessarily UTF-8.
  std::string path;
  TarEntryType type = TarEntryType::kFile;
  /// Permission bits, and the file type bits if the writer set them.
  std::uint32_t mode = 0;
  /// Seconds since 1970.
  std::uint64_t mtime = 0;
  /// Bytes of data in the tar: the sum of the runs.
  std::uint64_t stored_size = 0;
  /// Size of the file with its holes.
  std::uint64_t real_size = 0;
  /// In order, not overlapping, none empty, all inside the file. A regular file that is not empty
  /// has one that covers it.
  std::vector<DataRun> runs;
  /// Every header block of this entry as it stood in the tar: long name or pax entry with its data
  /// and padding, main header, sparse extensions. A multiple of 512 bytes.
  Bytes headers;
};

/// What a reader takes at most from an input that may be hostile.
struct TarLimits {
  std::size_t path_bytes_max = 4096;
  /// All header blocks of one entry; 16 MiB are 688,000 runs.
  std::size_t header_bytes_max = std::size_t{16} << 20;
};

/// Zero bytes behind `stored_size` bytes of data, up to the next block: 0 to 511.
constexpr std::size_t TarPaddingBytes(std::uint64_t stored_size) noexcept {
  return static_cast<std::size_t>((kTarBlockBytes - stored_size % kTarBlockBytes) % kTarBlockBytes);
}

/// Reads TarEntry::headers back. kDataLoss when a header is damaged, kUnsupported when it is of
/// another dialect, and when `headers` is not exactly the headers of one entry.
Result<TarEntry> ParseTarHeaders(ByteView headers, const TarLimits& limits = {});

/// Makes the headers of an entry as the real server accepts them (sandbox-notes c): `entry.path`,
/// `type`, `mode`, `mtime`, `real_size` and `runs` count, the rest is ignored. kInvalidArgument for
/// what the server would refuse: runs out of order, outside of the file, or (but for the last) not
/// a multiple of 512 bytes long; a path that is empty, absolute, above 4,096 bytes or leaves the
/// tree; runs of a regular file that do not cover it; a directory with a size.
Result<Bytes> MakeTarHeaders(const TarEntry& entry);

}  // namespace holdfast
