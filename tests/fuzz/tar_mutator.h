// Mutates inputs that are one byte and then a tar, and puts the checksums of its headers right, so
// that most mutants get past the first check.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace holdfast::fuzz {

inline void FixChecksums(std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kBlock = 512;
  constexpr std::size_t kChecksum = 148;
  for (std::size_t at = 1; at + kBlock <= size; at += kBlock) {
    std::uint8_t* const block = data + at;
    if (std::memcmp(block + 257, "ustar", 5) != 0) continue;
    unsigned sum = 8 * ' ';
    for (std::size_t i = 0; i < kBlock; ++i) {
      if (i < kChecksum || i >= kChecksum + 8) sum += block[i];
    }
    for (std::size_t digit = 6; digit > 0; --digit, sum /= 8) {
      block[kChecksum + digit - 1] = static_cast<std::uint8_t>('0' + sum % 8);
    }
    block[kChecksum + 6] = 0;
    block[kChecksum + 7] = ' ';
  }
}

}  // namespace holdfast::fuzz

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  const std::size_t mutated = LLVMFuzzerMutate(data, size, max_size);
  // One in 16 keeps its wrong checksums: those have to be refused.
  if (seed % 16 != 0) holdfast::fuzz::FixChecksums(data, mutated);
  return mutated;
}
