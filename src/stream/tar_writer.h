// Writes a tar in the dialect that the real server accepts, or one that was read before, verbatim.

#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "stream/byte_sink.h"
#include "stream/tar_entry.h"

namespace holdfast {

/// Entry by entry: Begin or BeginVerbatim, Data until all runs are full, End; then Finish. One
/// thread. A call out of order or with more data than announced is a defect (assertion); an End
/// with data missing is an error, since it may come from a source that ended early.
class TarWriter {
 public:
  /// `sink` must outlive the writer.
  explicit TarWriter(ByteSink& sink) : sink_(sink) {}

  /// Headers are made by MakeTarHeaders; its errors.
  Status Begin(const CallContext& call, const TarEntry& entry);
  /// Writes `headers` as they are; `stored_size` bytes of data follow.
  Status BeginVerbatim(const CallContext& call, ByteView headers, std::uint64_t stored_size);
  /// The bytes of the runs back to back; holes are not written.
  Status Data(const CallContext& call, ByteView data);
  /// Pads to the next block: with `padding` (its size must fit) or with zeros when it is empty.
  /// kDataLoss when data is missing, saying how much.
  Status End(const CallContext& call, ByteView padding = {});
  /// A whole regular file of mode 0644 and time 0, as the server writes what it has in memory.
  Status AddFile(const CallContext& call, std::string_view path, ByteView content);

  /// `zero_bytes` zeros behind the last entry: the end marker is 1,024 of them.
  Status Finish(const CallContext& call, std::uint64_t zero_bytes = 2 * kTarBlockBytes);

  /// Bytes written so far.
  std::uint64_t offset() const noexcept { return offset_; }

 private:
  Status Put(const CallContext& call, ByteView bytes);
  Status PutZeros(const CallContext& call, std::uint64_t count);

  ByteSink& sink_;
  std::uint64_t offset_ = 0;
  std::uint64_t missing_ = 0;
  std::uint64_t stored_size_ = 0;
  bool in_entry_ = false;
};

}  // namespace holdfast
