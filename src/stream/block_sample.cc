// The scan for repeats passes over every byte of a backup; GCC's -O2 does not vectorize it.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

#include "stream/block_sample.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

namespace holdfast {
namespace {

constexpr std::size_t kSampleWords = 512;
constexpr std::size_t kSampleWordsMin = 256;

std::uint32_t WordAt(ByteView block, std::size_t index) {
  std::uint32_t word;
  std::memcpy(&word, block.data() + 4 * index, 4);
  return word;
}

/// Chance that two drawn bytes are equal, in units of 1/256: 1 for random bytes, 256 for a
/// constant. Unlike an entropy of counts it needs no correction for the size of the sample.
double Crowding(const std::array<std::uint32_t, 256>& counts, std::size_t drawn) {
  std::uint64_t equal = 0;
  for (const std::uint64_t count : counts) equal += count * (count - (count > 0 ? 1 : 0));
  return 256.0 * static_cast<double>(equal) / static_cast<double>(drawn * (drawn - 1));
}

/// Random bytes give 1 +- 0.1 for the smallest sample.
constexpr double kNoiseMost = 1.3;
/// Exponents of unit vectors give 40 to 60, text 15.
constexpr double kExponentsLeast = 10.0;
/// The mantissa's top byte of float vectors gives 1.0 to 1.1, of bfloat16 values 2.0.
constexpr double kMantissaMost = 3.0;

// Content decides which words are looked up (one in 256), so that both copies of a vector choose
// the same ones wherever they lie.
constexpr std::uint32_t kChosenMask = 0xff;
constexpr std::uint32_t kChosen = 0x2b;

/// Whether a group has a chosen word. Without a branch, so that it is done for many words at once.
constexpr std::size_t kGroup = 32;
bool HasChosen(ByteView block, std::size_t first) {
  std::uint32_t found = 0;
  for (std::size_t i = first; i < first + kGroup; ++i) {
    found |= (WordAt(block, i) & kChosenMask) == kChosen ? 1U : 0U;
  }
  return found != 0;
}

bool HasRepeats(ByteView block) {
  constexpr unsigned kSlotBits = 10;
  std::array<std::uint64_t, std::size_t{1} << kSlotBits> seen{};
  std::uint32_t looked = 0;
  std::uint32_t found = 0;
  const std::size_t words = block.size() / 4 - 1;
  for (std::size_t group = 0; group + kGroup <= words; group += kGroup) {
    if (!HasChosen(block, group)) continue;
    for (std::size_t i = group; i < group + kGroup; ++i) {
      const std::uint32_t word = WordAt(block, i);
      if ((word & kChosenMask) != kChosen) continue;
      const std::uint64_t pair = std::uint64_t{WordAt(block, i + 1)} << 32 | word;
      const std::uint64_t slot = (pair * 0x9e3779b97f4a7c15) >> (64 - kSlotBits);
      ++looked;
      found += seen[slot] == pair ? 1 : 0;
      seen[slot] = pair;
    }
  }
  return found * 16 > looked;
}

}  // namespace

BlockSample TakeSample(ByteView block) {
  BlockSample sample;
  if (block.size() < kSampledBytesMin) return sample;
  std::array<std::array<std::uint32_t, 256>, kPlanes> counts{};
  const std::size_t words = block.size() / 4;
  const std::size_t looks = std::min(words, kSampleWords);
  const std::size_t stride = words / looks;
  std::size_t drawn = 0;
  for (std::size_t i = 0; i < looks; ++i) {
    // Not at even distances: those would meet the same few dimensions of every vector.
    const std::size_t within = (i * 0x9e3779b1 >> 16) % stride;
    const std::uint32_t word = std::rotl(WordAt(block, i * stride + within), 1);
    if (word == 0) continue;
    ++drawn;
    for (std::size_t plane = 0; plane < kPlanes; ++plane) {
      ++counts[plane][word >> (8 * plane) & 0xff];
    }
  }
  sample.zeros = drawn + looks / 16 < looks;
  if (drawn < kSampleWordsMin) return sample;
  std::array<double, kPlanes> crowding{};
  for (std::size_t plane = 0; plane < kPlanes; ++plane) {
    crowding[plane] = Crowding(counts[plane], drawn);
    sample.noise[plane] = crowding[plane] < kNoiseMost;
  }
  sample.vectors = crowding[3] > kExponentsLeast && crowding[2] < kMantissaMost;
  const bool noise =
      std::find(sample.noise.begin(), sample.noise.end(), true) != sample.noise.end();
  sample.repeats = noise && HasRepeats(block);
  return sample;
}

}  // namespace holdfast
