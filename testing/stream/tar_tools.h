// Tars in tests: the recorded ones, made ones, and everything that a reader says of them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"
#include "base/result.h"
#include "stream/tar_entry.h"
#include "stream/tar_reader.h"

namespace holdfast::testing {

/// The bytes of tests/data/<name>; a missing file ends the test program.
Bytes ReadTestData(std::string_view name);

/// The recorded tars that are whole, e.g. "shard-stream.tar".
std::vector<std::string> WholeTars();

/// An entry as it was read, with its data runs back to back.
struct ReadEntry {
  TarEntry entry;
  Bytes data;
  Bytes padding;
};

/// Keeps everything. Fails the test when pieces of data come out of order or cross a run.
class TarCollector final : public TarVisitor {
 public:
  Status OnEntry(const CallContext& call, const TarEntry& entry) override;
  Status OnData(const CallContext& call, std::uint64_t file_offset, ByteView data) override;
  Status OnEntryEnd(const CallContext& call, ByteView padding) override;

  std::vector<ReadEntry> entries;

 private:
  bool open_ = false;
};

/// Gives `bytes` to `sink` in slices of `slice` bytes; 0 means of random sizes, seeded.
Status Feed(ByteSink& sink, ByteView bytes, std::size_t slice);

/// Reads a whole tar; the entries that came before an error are lost with it.
Result<std::vector<ReadEntry>> ReadTar(ByteView tar, std::size_t slice = 64 * 1024);

/// Writes entries with their headers verbatim and an end of `zero_bytes`.
Bytes WriteVerbatim(const std::vector<ReadEntry>& entries, std::uint64_t zero_bytes);

/// Writes entries with new headers, made from path, type, mode, time, size and runs.
Bytes WriteNew(const std::vector<ReadEntry>& entries);

/// A regular file.
ReadEntry MakeFile(std::string_view path, std::string_view content);
/// A sparse file; data is filled from `random` (never zero bytes only).
ReadEntry MakeSparse(std::string_view path, std::uint64_t real_size, std::vector<DataRun> runs,
                     Random& random);
/// A directory, a regular or a sparse file with any legal path, size and map.
ReadEntry MakeRandomEntry(std::size_t number, Random& random);

/// The file with its holes as zeros; only for small ones.
Bytes Expand(const ReadEntry& entry);

/// Puts the right checksum into a header block that a test has changed.
void FixChecksum(std::span<std::byte> block);

}  // namespace holdfast::testing
