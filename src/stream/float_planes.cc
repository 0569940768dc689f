// These loops are the hot path of a backup; GCC's -O2 does not vectorize them, clang's does.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

#include "stream/float_planes.h"

#include <bit>
#include <cstdint>
#include <cstring>

namespace holdfast {

static_assert(std::endian::native == std::endian::little, "words are read as they lie in memory");

void SplitPlanes(ByteView words, const std::array<std::byte*, kPlanes>& planes) {
  const std::byte* const in = words.data();
  const std::size_t count = words.size() / 4;
  auto* const __restrict p0 = reinterpret_cast<std::uint8_t*>(planes[0]);
  auto* const __restrict p1 = reinterpret_cast<std::uint8_t*>(planes[1]);
  auto* const __restrict p2 = reinterpret_cast<std::uint8_t*>(planes[2]);
  auto* const __restrict p3 = reinterpret_cast<std::uint8_t*>(planes[3]);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t word;
    std::memcpy(&word, in + 4 * i, 4);
    word = word << 1 | word >> 31;
    p0[i] = static_cast<std::uint8_t>(word & 0xff);
    p1[i] = static_cast<std::uint8_t>(word >> 8 & 0xff);
    p2[i] = static_cast<std::uint8_t>(word >> 16 & 0xff);
    p3[i] = static_cast<std::uint8_t>(word >> 24);
  }
}

void JoinPlanes(const std::array<const std::byte*, kPlanes>& planes, std::span<std::byte> words) {
  std::byte* const __restrict out = words.data();
  const std::size_t count = words.size() / 4;
  const auto* const __restrict p0 = reinterpret_cast<const std::uint8_t*>(planes[0]);
  const auto* const __restrict p1 = reinterpret_cast<const std::uint8_t*>(planes[1]);
  const auto* const __restrict p2 = reinterpret_cast<const std::uint8_t*>(planes[2]);
  const auto* const __restrict p3 = reinterpret_cast<const std::uint8_t*>(planes[3]);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t word = std::uint32_t{p0[i]} | std::uint32_t{p1[i]} << 8 |
                         std::uint32_t{p2[i]} << 16 | std::uint32_t{p3[i]} << 24;
    word = word >> 1 | word << 31;
    std::memcpy(out + 4 * i, &word, 4);
  }
}

}  // namespace holdfast
