// The 512-byte header blocks of a tar, one after the other, into entries. Used by TarReader and
// ParseTarHeaders.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "stream/tar_entry.h"

namespace holdfast {

/// True when every byte is zero.
bool IsAllZero(ByteView bytes) noexcept;

/// kDataLoss, saying what is wrong, unless `path` is what TarEntry::path may be.
Status CheckTarPath(std::string_view path, const TarLimits& limits);

/// Collects the header blocks of one entry after the other. After an error it is of no use.
class TarHeaderParser {
 public:
  explicit TarHeaderParser(const TarLimits& limits) : limits_(limits) {}

  enum class Step { kMore, kEntry };
  /// Takes the next block (512 bytes). kEntry: the headers are complete, Take() gives the entry.
  /// Errors say what is wrong, not where. kDataLoss for damage and exceeded limits, kUnsupported
  /// for another dialect.
  Result<Step> Add(ByteView block);
  /// The entry; the parser is then ready for the next one.
  TarEntry Take();

  /// True when no block of an entry has been taken: where an end marker may stand.
  bool at_boundary() const noexcept { return entry_.headers.empty(); }
  /// The path as far as it is known by the blocks so far; may be empty.
  const std::string& path_so_far() const noexcept { return entry_.path; }

 private:
  enum class Expect { kHeader, kLongName, kPax, kSparseMap };

  Status AddHeader(ByteView block);
  Status BeginExtra(Expect what, std::uint64_t size);
  Status EndExtra();
  Status ReadPax();
  Status SetPath(std::string path);
  Status Complete(ByteView header);
  Status AddRuns(ByteView descriptors);
  Status AddRun(std::uint64_t offset, std::uint64_t length);
  Status EndRuns();

  const TarLimits limits_;
  Expect expect_ = Expect::kHeader;
  /// Data of the long name or pax entry being read, and how much of it is still to come.
  std::string extra_;
  std::size_t extra_missing_ = 0;
  bool has_path_ = false;
  bool has_pax_ = false;
  std::optional<std::uint64_t> pax_size_;
  /// While a sparse map is read: end of the last run, sum of the runs.
  std::uint64_t map_end_ = 0;
  std::uint64_t map_sum_ = 0;
  bool complete_ = false;
  TarEntry entry_;
};

}  // namespace holdfast
