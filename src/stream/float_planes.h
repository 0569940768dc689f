// The transform behind CodecId::kFloatPlanes: float32 values as four planes of bytes.

#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "base/bytes.h"

namespace holdfast {

constexpr std::size_t kPlanes = 4;

/// Rotates each little-endian 32-bit word of `words` (a multiple of 4 bytes) left by one bit, so
/// that the eight exponent bits of a float32 are its top byte, and writes byte k of word i to
/// planes[k][i]. Each plane has words.size() / 4 bytes.
void SplitPlanes(ByteView words, const std::array<std::byte*, kPlanes>& planes);

/// The inverse. `words` has four times the bytes of a plane.
void JoinPlanes(const std::array<const std::byte*, kPlanes>& planes, std::span<std::byte> words);

}  // namespace holdfast
