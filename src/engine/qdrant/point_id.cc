#include "engine/qdrant/point_id.h"

#include <charconv>
#include <limits>

#include "base/bytes.h"

namespace holdfast::qdrant {
namespace {

// Where the canonical text has hyphens.
constexpr bool IsHyphenPlace(std::size_t at) { return at == 8 || at == 13 || at == 18 || at == 23; }
constexpr std::size_t kUuidTextSize = 36;

Error NotAnId(std::string_view text) {
  return {ErrorCode::kInvalidArgument,
          "not a point id (a number or a UUID in quotes): " + std::string(text.substr(0, 64))};
}

}  // namespace

Result<PointId> ParsePointId(std::string_view json) {
  if (json.empty()) return NotAnId(json);
  if (json.front() != '"') {
    std::uint64_t number = 0;
    const auto [end, failure] = std::from_chars(json.data(), json.data() + json.size(), number);
    if (failure != std::errc() || end != json.data() + json.size()) return NotAnId(json);
    return PointId::OfNumber(number);
  }
  if (json.size() < 2 || json.back() != '"') return NotAnId(json);
  const std::string_view text = json.substr(1, json.size() - 2);
  std::string digits;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.size() == kUuidTextSize && IsHyphenPlace(i)) {
      if (text[i] != '-') return NotAnId(json);
      continue;
    }
    digits += text[i];
  }
  if (digits.size() != 32) return NotAnId(json);
  const Result<Bytes> bytes = FromHex(digits);
  if (!bytes.ok()) return NotAnId(json);
  PointId id{.is_uuid = true};
  std::copy(bytes->begin(), bytes->end(), id.uuid.begin());
  return id;
}

std::string FormatPointId(const PointId& id) {
  if (!id.is_uuid) return std::to_string(id.number);
  const std::string digits = ToHex(ByteView(id.uuid));
  std::string text = "\"";
  for (const char digit : digits) {
    if (IsHyphenPlace(text.size() - 1)) text += '-';
    text += digit;
  }
  return text + '"';
}

std::optional<PointId> NextPointId(const PointId& id) {
  if (!id.is_uuid) {
    if (id.number < std::numeric_limits<std::uint64_t>::max()) {
      return PointId::OfNumber(id.number + 1);
    }
    return PointId{.is_uuid = true};
  }
  PointId next = id;
  for (std::size_t i = next.uuid.size(); i-- > 0;) {
    next.uuid[i] = static_cast<std::byte>(std::to_integer<unsigned>(next.uuid[i]) + 1U);
    if (next.uuid[i] != std::byte{0}) return next;
  }
  return std::nullopt;
}

}  // namespace holdfast::qdrant
