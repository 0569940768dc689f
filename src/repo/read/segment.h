// Elements gathered into what one ranged get brings, and turned into bytes.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "repo/read/elements.h"
#include "stream/codec.h"

namespace holdfast {

class Repository;

/// Elements whose blocks lie in one stretch of one pack.
struct Segment {
  std::vector<Element> elements;
  /// Plain bytes of all elements.
  std::uint64_t size = 0;
  /// Pack of the blocks, and the stretch of it that holds them; only when there are blocks.
  std::optional<std::uint32_t> pack;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// Cuts a string of elements into segments. One thread.
class Segmenter {
 public:
  /// Segments have about `bytes_max` plain bytes at most, one block more if need be.
  Segmenter(std::unique_ptr<ElementSource> source, std::uint64_t bytes_max)
      : source_(std::move(source)), bytes_max_(bytes_max) {}
  /// Nothing at the end.
  Result<std::optional<Segment>> Next(const CallContext& call);

 private:
  bool Take(Segment& segment);

  const std::unique_ptr<ElementSource> source_;
  const std::uint64_t bytes_max_;
  /// Read and not yet part of a segment.
  std::optional<Element> ahead_;
};

/// Gets the stretch, opens the blocks and writes all elements out, in the memory of `out` (empty).
/// kDataLoss naming pack and block.
Result<Bytes> ReadSegment(const CallContext& call, const Repository& repository,
                          const PackTable& packs, const Segment& segment, Codec& codec, Bytes out);

}  // namespace holdfast
