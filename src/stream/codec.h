// Making blocks smaller: zstd, with a transform of float32 vectors before it where that pays.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "base/result.h"

namespace holdfast {

/// How a block is coded. The numbers are those of the repository format (section 4.1).
enum class CodecId : std::uint8_t {
  /// The plain bytes.
  kStored = 0,
  /// One zstd frame (level 1, with its content size).
  kZstd = 1,
  /// float32 values, each rotated left by one bit (so that its exponent is one whole byte), split
  /// into four byte planes; each plane raw or a zstd frame. Measured fact 6: the exponents are what
  /// shrinks, the mantissas are noise. Layout: section 4.1.
  kFloatPlanes = 2,
};

/// Largest plain block. Bounds what a decoder allocates for a block.
constexpr std::size_t kBlockBytesMax = std::size_t{64} << 20;

/// Codes blocks; keeps its working memory between calls. One thread at a time, one for each thread.
class Codec {
 public:
  Codec();
  ~Codec();
  Codec(Codec&&) noexcept;
  Codec& operator=(Codec&&) noexcept;

  /// Appends the coded form of `plain` (at most kBlockBytesMax bytes) to `out` and says which codec
  /// it took: what a look at a sample promises, or kStored when that does not shrink it. Never
  /// appends more than plain.size() bytes. The same input always gives the same output.
  CodecId Encode(ByteView plain, Bytes& out);

  /// Appends exactly `plain_size` bytes to `out`. kUnsupported for a codec this version does not
  /// know (naming it), kDataLoss when `coded` is damaged or is not `plain_size` bytes; `out` is
  /// then as it was. Never allocates more than plain_size bytes for output.
  Status Decode(std::uint8_t codec, ByteView coded, std::size_t plain_size, Bytes& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A whole buffer as one zstd frame at `level`, and back, for documents that are not vectors.
/// Appends to `out`.
void ZstdCompress(ByteView plain, int level, Bytes& out);
/// kDataLoss when damaged or when it would give more than `plain_bytes_max` bytes.
Status ZstdDecompress(ByteView frame, std::size_t plain_bytes_max, Bytes& out);

}  // namespace holdfast
