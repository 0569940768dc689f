#include "repo/format/keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/bytes.h"
#include "model/group.h"

namespace holdfast {
namespace {

bool IsLowerHex(std::string_view text, std::size_t size) {
  return text.size() == size && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

/// The canonical form of <nnnnn> only: five digits, or more without a leading zero.
std::optional<std::uint32_t> ParseNumber(std::string_view text) {
  if (text.size() < 5 || (text.size() > 5 && text.front() == '0')) return std::nullopt;
  std::uint32_t number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool TakePrefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

/// "<group>/" off the front.
std::optional<GroupId> TakeGroup(std::string_view& text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos || !IsGroupId(text.substr(0, slash))) return std::nullopt;
  GroupId group{std::string(text.substr(0, slash))};
  text.remove_prefix(slash + 1);
  return group;
}

std::optional<ParsedKey> ParseImageKey(std::string_view key, std::string_view rest) {
  ParsedKey parsed;
  const auto group = TakeGroup(rest);
  if (!group || rest.size() < 32 || !IsLowerHex(rest.substr(0, 32), 32)) return std::nullopt;
  parsed.group = *group;
  parsed.image_key = std::string(key.substr(0, key.size() - rest.size() + 32));
  rest.remove_prefix(32);
  if (rest.empty()) {
    parsed.kind = KeyKind::kImage;
    return parsed;
  }
  if (rest.starts_with(".b")) {
    parsed.kind = KeyKind::kBlockPart;
  } else if (rest.starts_with(".f")) {
    parsed.kind = KeyKind::kFilePart;
  } else {
    return std::nullopt;
  }
  const auto number = ParseNumber(rest.substr(2));
  if (!number) return std::nullopt;
  parsed.number = *number;
  return parsed;
}

std::optional<ParsedKey> ParsePackKey(std::string_view rest) {
  ParsedKey parsed{.kind = KeyKind::kPack};
  const auto group = TakeGroup(rest);
  if (!group || !IsLowerHex(rest, 64)) return std::nullopt;
  parsed.group = *group;
  const Result<Bytes> id = FromHex(rest);
  if (!id.ok() || id->size() != parsed.pack.size()) return std::nullopt;
  std::ranges::copy(*id, parsed.pack.begin());
  return parsed;
}

std::optional<ParsedKey> ParseRecordKey(std::string_view rest) {
  ParsedKey parsed{.kind = KeyKind::kRecord};
  const auto group = TakeGroup(rest);
  if (!group) return std::nullopt;
  const auto number = ParseNumber(rest);
  if (!number) return std::nullopt;
  parsed.group = *group;
  parsed.number = *number;
  return parsed;
}

}  // namespace

std::string ManifestKey(const GroupId& group) {
  return fmt::format("{}{}", kGroupsFolder, group.value());
}
std::string RecordKey(const GroupId& group, std::uint32_t number) {
  return fmt::format("{}{}/{:05}", kRecordsFolder, group.value(), number);
}
std::string ImageKey(const GroupId& group, std::string_view image) {
  return fmt::format("{}{}/{}", kImagesFolder, group.value(), image);
}
std::string BlockPartKey(std::string_view image_key, std::uint32_t part) {
  return fmt::format("{}.b{:05}", image_key, part);
}
std::string FilePartKey(std::string_view image_key, std::uint32_t part) {
  return fmt::format("{}.f{:05}", image_key, part);
}
std::string PackKey(const GroupId& group, const PackId& pack) {
  return fmt::format("{}{}/{}", kPacksFolder, group.value(), ToHex(pack));
}
std::string ForgottenKey(const GroupId& group) {
  return fmt::format("{}{}", kForgottenFolder, group.value());
}
std::string PacksFolderOf(const GroupId& group) {
  return fmt::format("{}{}/", kPacksFolder, group.value());
}
std::string ImagesFolderOf(const GroupId& group) {
  return fmt::format("{}{}/", kImagesFolder, group.value());
}

std::optional<ParsedKey> ParseKey(std::string_view key) {
  if (key == kConfigKey) return ParsedKey{};
  std::string_view rest = key;
  if (TakePrefix(rest, kImagesFolder)) return ParseImageKey(key, rest);
  if (TakePrefix(rest, kPacksFolder)) return ParsePackKey(rest);
  if (TakePrefix(rest, kRecordsFolder)) return ParseRecordKey(rest);
  if (TakePrefix(rest, kIntentsFolder)) {
    if (!IsLowerHex(rest, 32)) return std::nullopt;
    return ParsedKey{.kind = KeyKind::kIntent};
  }
  ParsedKey parsed;
  if (TakePrefix(rest, kGroupsFolder)) {
    parsed.kind = KeyKind::kManifest;
  } else if (TakePrefix(rest, kForgottenFolder)) {
    parsed.kind = KeyKind::kForgotten;
  } else if (TakePrefix(rest, kVerificationsFolder)) {
    parsed.kind = KeyKind::kVerification;
  } else {
    return std::nullopt;
  }
  if (!IsGroupId(rest)) return std::nullopt;
  parsed.group = GroupId(std::string(rest));
  return parsed;
}

}  // namespace holdfast
