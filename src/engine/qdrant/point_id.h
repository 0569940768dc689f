// The id of a point: a number or a UUID (reference 6.2), with the order in which Qdrant scrolls.

#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace holdfast::qdrant {

/// Numbers come before UUIDs; UUIDs are ordered by their bytes. A plain value.
struct PointId {
  bool is_uuid = false;
  std::uint64_t number = 0;
  /// In network order; zeros for a number.
  std::array<std::byte, 16> uuid{};

  friend auto operator<=>(const PointId&, const PointId&) = default;

  static PointId OfNumber(std::uint64_t number) { return {.number = number}; }
  static PointId OfUuid(const std::array<std::byte, 16>& uuid) {
    return {.is_uuid = true, .uuid = uuid};
  }
};

/// Reads `17` or `"936da01f-9abd-4d9d-80c7-02af85c822a8"` (hyphens optional, either case).
/// kInvalidArgument otherwise.
Result<PointId> ParsePointId(std::string_view json);

/// The JSON text: 17, or the UUID in quotes, lower case, with hyphens.
std::string FormatPointId(const PointId& id);

/// The least id that is larger; nothing after the largest UUID.
std::optional<PointId> NextPointId(const PointId& id);

}  // namespace holdfast::qdrant
