// Object keys of a repository (docs/design/repository-format.md section 2), made and read here
// only.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "stream/digest.h"

namespace holdfast {

inline constexpr std::string_view kConfigKey = "holdfast.json";
inline constexpr std::string_view kGroupsFolder = "groups/";
inline constexpr std::string_view kRecordsFolder = "collections/";
inline constexpr std::string_view kImagesFolder = "images/";
inline constexpr std::string_view kPacksFolder = "packs/";
inline constexpr std::string_view kIntentsFolder = "intents/";
inline constexpr std::string_view kForgottenFolder = "forgotten/";
inline constexpr std::string_view kVerificationsFolder = "verifications/";

/// A pack's id is the salt of its key.
using PackId = Digest;

std::string ManifestKey(const GroupId& group);
std::string RecordKey(const GroupId& group, std::uint32_t number);
/// `image`: 32 hexadecimal digits.
std::string ImageKey(const GroupId& group, std::string_view image);
/// `image_key`: what ImageKey gave.
std::string BlockPartKey(std::string_view image_key, std::uint32_t part);
std::string FilePartKey(std::string_view image_key, std::uint32_t part);
std::string PackKey(const GroupId& group, const PackId& pack);
std::string ForgottenKey(const GroupId& group);
/// All packs of one attempt: "packs/<group>/".
std::string PacksFolderOf(const GroupId& group);
/// All images of one attempt: "images/<group>/".
std::string ImagesFolderOf(const GroupId& group);

enum class KeyKind {
  kConfig,
  kManifest,
  kRecord,
  kImage,
  kBlockPart,
  kFilePart,
  kPack,
  kIntent,
  kForgotten,
  kVerification,
};

/// What a key says.
struct ParsedKey {
  KeyKind kind = KeyKind::kConfig;
  /// The attempt or group, where the key names one.
  GroupId group{};
  /// Number of a record or part.
  std::uint32_t number = 0;
  /// Of a pack.
  PackId pack{};
  /// For kImage, kBlockPart, kFilePart: key of the image's head.
  std::string image_key{};
};

/// Nothing for a key that the format does not have.
std::optional<ParsedKey> ParseKey(std::string_view key);

}  // namespace holdfast
