#include "base/size.h"

#include <array>
#include <charconv>
#include <cstdio>

namespace holdfast {
namespace {

constexpr std::string_view kUnits = "BKMGTPE";

}  // namespace

std::string FormatSize(std::uint64_t bytes) {
  if (bytes < kKiB) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %ciB", value, kUnits[unit]);
  return text.data();
}

Result<std::uint64_t> ParseSize(std::string_view text) {
  const Error bad(ErrorCode::kInvalidArgument, "'" + std::string(text) + "' is not a size",
                  "write a number of bytes with or without a unit: 1048576, 64MiB, 2G");
  std::uint64_t count = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (code != std::errc()) return bad;
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  unsigned shift = 0;
  if (!unit.empty() && unit != "B") {
    const std::size_t power = kUnits.find(unit.front());
    const std::string_view suffix = unit.substr(1);
    if (power == std::string_view::npos || power == 0) return bad;
    if (!suffix.empty() && suffix != "B" && suffix != "iB") return bad;
    shift = static_cast<unsigned>(power) * 10;
  }
  constexpr std::uint64_t kMost = ~std::uint64_t{0} >> 1;
  if (count > kMost >> shift) return bad;
  return count << shift;
}

std::string FormatCount(std::uint64_t count) {
  std::string text = std::to_string(count);
  for (std::size_t at = text.size(); at > 3;) {
    at -= 3;
    text.insert(at, ",");
  }
  return text;
}

}  // namespace holdfast
