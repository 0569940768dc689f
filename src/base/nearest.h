// "Did you mean": the known word that a mistyped one is nearest to.

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast {

/// Letters that must be changed, added or removed to get from one word to the other.
std::size_t EditDistance(std::string_view a, std::string_view b);

/// The word of the range `known` with the least EditDistance from `word`, the first of several;
/// empty when there is none.
template <class Words>
std::string NearestOf(std::string_view word, const Words& known) {
  std::optional<std::size_t> least;
  std::string nearest;
  for (const auto& candidate : known) {
    const std::size_t distance = EditDistance(word, candidate);
    if (least && *least <= distance) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest;
}

}  // namespace holdfast
