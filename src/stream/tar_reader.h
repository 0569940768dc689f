// Reads a tar as it streams by, and knows whether it ended. A stream that breaks off on the server
// looks like a good one (measured fact 2), so the end marker is what counts, not the end of input.

#pragma once

#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "stream/byte_sink.h"
#include "stream/tar_entry.h"

namespace holdfast {

/// Is told what the tar holds, in its order. An error returned ends the reading with that error.
class TarVisitor {
 public:
  virtual ~TarVisitor() = default;
  /// `entry` stays as it is until OnEntryEnd has returned.
  virtual Status OnEntry(const CallContext& call, const TarEntry& entry) = 0;
  /// A piece of the data, in the order of the runs and never crossing from one into the next;
  /// `file_offset` counts from the start of the file, holes included. Never empty.
  virtual Status OnData(const CallContext& call, std::uint64_t file_offset, ByteView data) = 0;
  /// `padding`: the bytes between the data and the next block when they are not all zero, so that
  /// the tar can be written out again byte for byte; else empty.
  virtual Status OnEntryEnd(const CallContext& call, ByteView padding) = 0;
};

/// How a complete tar ended.
struct TarEnd {
  std::uint64_t entries = 0;
  /// All bytes of the tar, marker and zeros behind it included.
  std::uint64_t bytes = 0;
  /// Zero bytes behind the last entry, the marker of 1,024 included (0 without one): what is to be
  /// written behind the entries to get the same tar again.
  std::uint64_t zero_bytes = 0;
};

/// Push parser in constant memory: takes the stream in slices of any size. It checks checksums,
/// numbers, sparse maps (in order, inside the file, sum equal to the stored size, ending at the
/// real size and aligned, as the server's own reader demands) and limits. Headers: kDataLoss when
/// damaged, kUnsupported for another dialect; every message names offset and entry. One thread.
class TarReader final : public ByteSink {
 public:
  /// `visitor` must outlive the reader.
  explicit TarReader(TarVisitor& visitor, const TarLimits& limits = {});
  ~TarReader() override;
  TarReader(TarReader&&) noexcept;
  TarReader& operator=(TarReader&&) noexcept;

  /// The next slice. After an error every later call returns that error again.
  Status Write(const CallContext& call, ByteView slice) override;

  enum class Marker {
    /// Two zero blocks: what a stream must end with.
    kNeeded,
    /// An entry boundary is enough. For a tar whose length is known from outside: the segment tars
    /// inside of a stored snapshot have no marker (Qdrant drops their writer without finishing it).
    kOptional,
  };
  /// To be called once at the end of the input. kDataLoss, saying where exactly, unless the end
  /// marker was seen at an entry boundary; or the error of an earlier Write.
  Result<TarEnd> Finish(Marker marker = Marker::kNeeded);

  /// True once the end marker has been seen; all that may still come is zeros.
  bool ended() const noexcept;
  /// Bytes taken so far.
  std::uint64_t offset() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast
