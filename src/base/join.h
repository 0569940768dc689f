// Lists in messages.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace holdfast {

/// The parts with `between` after each but the last.
inline std::string Join(const std::vector<std::string>& parts, std::string_view between = ", ") {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) text += between;
    text += part;
  }
  return text;
}

}  // namespace holdfast
