// A cheap look at a block, by which the codec decides what is worth doing with it.

#pragma once

#include <array>

#include "base/bytes.h"
#include "stream/float_planes.h"

namespace holdfast {

struct BlockSample {
  /// Looks like float32 values: exponents crowd together and the highest bits of the mantissas do
  /// not.
  bool vectors = false;
  /// Which planes (see SplitPlanes) are indistinguishable from random bytes, zero words aside.
  std::array<bool, kPlanes> noise{};
  /// More than one word in 16 is zero.
  bool zeros = false;
  /// The same 8 bytes come again often (a vector that is stored twice), so that a search for
  /// matches pays even where the bytes are noise.
  bool repeats = false;

  /// Nothing in the block can be made smaller.
  bool IsNoise() const noexcept {
    return noise[0] && noise[1] && noise[2] && noise[3] && !zeros && !repeats;
  }
};

/// Says nothing (all false) of a block below this size.
constexpr std::size_t kSampledBytesMin = 4096;

/// Looks at 512 words of the block, and once over all of it for repeats (0.1 ns a byte).
BlockSample TakeSample(ByteView block);

}  // namespace holdfast
