#include "stream/codec.h"

// For the mode that compresses literals at negative levels; in zstd since 1.4, still marked
// experimental. Frames are ordinary ones.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "base/assert.h"
#include "stream/block_sample.h"
#include "stream/float_planes.h"

// Layout of kFloatPlanes: docs/design/repository-format.md section 4.1. Raw planes come first, so
// that they are split straight into the output.

namespace holdfast {
namespace {

constexpr int kLevel = 1;
/// Steps over so much that no match is looked for: only the Huffman coder is left. On exponents of
/// real vectors (0.343 of the plane, 560 MB/s) it beats level 1 (0.376, 105 MB/s) in both.
constexpr int kHuffmanOnly = -1000;

struct FreeCompressor {
  void operator()(ZSTD_CCtx* context) const noexcept { ZSTD_freeCCtx(context); }
};
struct FreeDecompressor {
  void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
};
using Compressor = std::unique_ptr<ZSTD_CCtx, FreeCompressor>;
using Decompressor = std::unique_ptr<ZSTD_DCtx, FreeDecompressor>;

Compressor NewCompressor(int level) {
  Compressor context(ZSTD_createCCtx());
  HF_ASSERT(context != nullptr);
  const bool set =
      ZSTD_isError(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, level)) == 0 &&
      ZSTD_isError(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_literalCompressionMode,
                                          ZSTD_ps_enable)) == 0;
  HF_ASSERT(set);
  return context;
}

Decompressor NewDecompressor() {
  Decompressor context(ZSTD_createDCtx());
  HF_ASSERT(context != nullptr);
  return context;
}

Error Damaged(std::string what) { return {ErrorCode::kDataLoss, std::move(what)}; }

/// Exactly one frame of exactly out.size() bytes.
Status Decompress(ZSTD_DCtx& context, ByteView frame, std::span<std::byte> out) {
  const std::size_t length = ZSTD_findFrameCompressedSize(frame.data(), frame.size());
  if (ZSTD_isError(length) != 0 || length != frame.size()) {
    return Damaged("is not one whole zstd frame");
  }
  const std::size_t size =
      ZSTD_decompressDCtx(&context, out.data(), out.size(), frame.data(), frame.size());
  if (ZSTD_isError(size) != 0) {
    return Damaged(std::string("does not decompress: ") + ZSTD_getErrorName(size));
  }
  if (size != out.size()) {
    return Damaged("gives " + std::to_string(size) + " bytes instead of " +
                   std::to_string(out.size()));
  }
  return {};
}

}  // namespace

struct Codec::State {
  Compressor matches = NewCompressor(kLevel);
  Compressor huffman = NewCompressor(kHuffmanOnly);
  Decompressor decompressor = NewDecompressor();
  Bytes planes;
  Bytes frame;

  /// Compresses into `frame`; its size, or nothing when it would not be below `limit`.
  std::size_t Compress(ZSTD_CCtx& context, ByteView plain, std::size_t limit) {
    if (frame.size() < limit) frame.resize(limit);
    const std::size_t size =
        ZSTD_compress2(&context, frame.data(), limit, plain.data(), plain.size());
    if (ZSTD_isError(size) == 0) return size;
    HF_ASSERT(ZSTD_getErrorCode(size) == ZSTD_error_dstSize_tooSmall);
    return 0;
  }

  void EncodePlanes(ByteView plain, const BlockSample& sample, Bytes& out);
  Status DecodePlanes(ByteView coded, std::span<std::byte> out);
};

void Codec::State::EncodePlanes(ByteView plain, const BlockSample& sample, Bytes& out) {
  const std::size_t size = plain.size() / kPlanes;
  const bool matches_pay = sample.repeats || sample.zeros;
  if (planes.size() < size * kPlanes) planes.resize(size * kPlanes);

  std::uint8_t mask = 0;
  std::size_t raw = 0;
  for (std::size_t k = 0; k < kPlanes; ++k) {
    if (matches_pay || !sample.noise[k]) mask = static_cast<std::uint8_t>(mask | 1U << k);
    if ((mask >> k & 1) == 0) ++raw;
  }
  out.push_back(static_cast<std::byte>(mask));
  const std::size_t raw_at = out.size();
  out.resize(raw_at + raw * size);
  std::array<std::byte*, kPlanes> plane{};
  std::byte* next_raw = out.data() + raw_at;
  for (std::size_t k = 0; k < kPlanes; ++k) {
    const bool compress = (mask >> k & 1) != 0;
    plane[k] = compress ? planes.data() + k * size : std::exchange(next_raw, next_raw + size);
  }
  SplitPlanes(plain.first(size * kPlanes), plane);

  for (std::size_t k = 0; k < kPlanes; ++k) {
    if ((mask >> k & 1) == 0) continue;
    // The exponents of values that do not repeat have no matches worth looking for; planes that are
    // neither noise nor exponents (rounded values) may be anything.
    const bool search = matches_pay || k + 1 < kPlanes;
    const ByteView bytes(plane[k], size);
    const std::size_t length =
        Compress(search ? *matches : *huffman, bytes, ZSTD_compressBound(size));
    AppendU32(out, static_cast<std::uint32_t>(length));
    Append(out, ByteView(frame).first(length));
  }
  Append(out, plain.subspan(size * kPlanes));
}

Status Codec::State::DecodePlanes(ByteView coded, std::span<std::byte> out) {
  const std::size_t size = out.size() / kPlanes;
  if (planes.size() < size * kPlanes) planes.resize(size * kPlanes);
  ByteReader reader(coded, "a block of float planes");
  HF_TRY(const std::uint8_t mask, reader.U8());
  if (mask >> kPlanes != 0) return Damaged("is not a block of float planes");
  std::array<const std::byte*, kPlanes> plane{};
  for (std::size_t k = 0; k < kPlanes; ++k) {
    if ((mask >> k & 1) != 0) continue;
    HF_TRY(const ByteView raw, reader.Take(size));
    plane[k] = raw.data();
  }
  for (std::size_t k = 0; k < kPlanes; ++k) {
    if ((mask >> k & 1) == 0) continue;
    HF_TRY(const std::uint32_t length, reader.U32());
    HF_TRY(const ByteView bytes, reader.Take(length));
    const std::span<std::byte> to(planes.data() + k * size, size);
    HF_RETURN_IF_ERROR(Decompress(*decompressor, bytes, to));
    plane[k] = to.data();
  }
  HF_TRY(const ByteView rest, reader.Take(out.size() % kPlanes));
  if (reader.left() != 0) return Damaged("has bytes behind the float planes");
  JoinPlanes(plane, out.first(size * kPlanes));
  std::copy(rest.begin(), rest.end(), out.begin() + static_cast<std::ptrdiff_t>(size * kPlanes));
  return {};
}

Codec::Codec() : state_(std::make_unique<State>()) {}
Codec::~Codec() = default;
Codec::Codec(Codec&&) noexcept = default;
Codec& Codec::operator=(Codec&&) noexcept = default;

CodecId Codec::Encode(ByteView plain, Bytes& out) {
  HF_ASSERT(plain.size() <= kBlockBytesMax);
  const std::size_t start = out.size();
  const BlockSample sample = TakeSample(plain);
  if (sample.vectors) {
    state_->EncodePlanes(plain, sample, out);
    if (out.size() - start < plain.size()) return CodecId::kFloatPlanes;
    out.resize(start);
  } else if (!sample.IsNoise()) {
    const std::size_t size = state_->Compress(*state_->matches, plain, plain.size());
    if (size != 0) {
      Append(out, ByteView(state_->frame).first(size));
      return CodecId::kZstd;
    }
  }
  Append(out, plain);
  return CodecId::kStored;
}

Status Codec::Decode(std::uint8_t codec, ByteView coded, std::size_t plain_size, Bytes& out) {
  if (codec > static_cast<std::uint8_t>(CodecId::kFloatPlanes)) {
    return Error(ErrorCode::kUnsupported,
                 "codec " + std::to_string(codec) + " is not known to this version");
  }
  if (plain_size > kBlockBytesMax) {
    return Damaged("claims " + std::to_string(plain_size) + " bytes, more than a block has");
  }
  if (static_cast<CodecId>(codec) == CodecId::kStored) {
    if (coded.size() != plain_size) {
      return Damaged("has " + std::to_string(coded.size()) + " bytes instead of " +
                     std::to_string(plain_size));
    }
    Append(out, coded);
    return {};
  }
  const std::size_t start = out.size();
  out.resize(start + plain_size);
  const std::span<std::byte> into(out.data() + start, plain_size);
  Status status = static_cast<CodecId>(codec) == CodecId::kZstd
                      ? Decompress(*state_->decompressor, coded, into)
                      : state_->DecodePlanes(coded, into);
  if (!status.ok()) out.resize(start);
  return status;
}

void ZstdCompress(ByteView plain, int level, Bytes& out) {
  thread_local const Compressor context(ZSTD_createCCtx());
  HF_ASSERT(context != nullptr);
  const std::size_t start = out.size();
  out.resize(start + ZSTD_compressBound(plain.size()));
  const std::size_t size = ZSTD_compressCCtx(context.get(), out.data() + start, out.size() - start,
                                             plain.data(), plain.size(), level);
  HF_ASSERT(ZSTD_isError(size) == 0);
  out.resize(start + size);
}

Status ZstdDecompress(ByteView frame, std::size_t plain_bytes_max, Bytes& out) {
  thread_local const Decompressor context = NewDecompressor();
  const unsigned long long size = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN) {
    return Damaged("is not a zstd frame that says its size");
  }
  if (size > plain_bytes_max) {
    return Damaged("claims " + std::to_string(size) + " bytes, more than the " +
                   std::to_string(plain_bytes_max) + " allowed");
  }
  const std::size_t start = out.size();
  out.resize(start + static_cast<std::size_t>(size));
  Status status = Decompress(*context, frame, {out.data() + start, static_cast<std::size_t>(size)});
  if (!status.ok()) out.resize(start);
  return status;
}

}  // namespace holdfast
