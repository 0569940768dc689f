// Numbers of bytes as people write and read them.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace holdfast {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kGiB = 1024 * kMiB;

/// "0 B", "512 B", "1.5 KiB", "64.0 MiB": powers of 1024, one decimal above bytes.
std::string FormatSize(std::uint64_t bytes);

/// "1048576", "64KiB", "64 MiB", "2G" (KMGT, with or without iB or B, always powers of 1024).
/// kInvalidArgument otherwise, or when it does not fit 63 bits.
Result<std::uint64_t> ParseSize(std::string_view text);

/// "12,345,678": for people.
std::string FormatCount(std::uint64_t count);

}  // namespace holdfast
