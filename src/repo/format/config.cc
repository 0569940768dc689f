#include "repo/format/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cctype>

#include "base/assert.h"
#include "model/json.h"

namespace holdfast {
namespace {

using json::Json;

constexpr std::string_view kWrapContext = "holdfast key v1";
constexpr std::size_t kDataKeyBytes = 32;

Bytes WrapAad(const RepositoryId& repository, Argon2Cost cost) {
  Bytes aad = ToBytes(AsBytes(kWrapContext));
  Append(aad, repository);
  AppendU64(aad, cost.operations);
  AppendU64(aad, cost.memory_bytes);
  return aad;
}

Error Damaged(std::string_view what) {
  return Error(ErrorCode::kDataLoss, fmt::format("holdfast.json is damaged: {}", what),
               "It is written once, by init: bring the file back from a copy of the repository");
}

/// Sorted by name, no white space: the library's objects are sorted maps.
std::string Canonical(const Json& document) { return document.dump(); }

template <std::size_t kSize>
Result<std::array<std::byte, kSize>> Exactly(Result<Bytes> bytes, std::string_view name) {
  if (!bytes.ok() || bytes->size() != kSize) {
    return Damaged(fmt::format("'{}' is not {} bytes", name, kSize));
  }
  std::array<std::byte, kSize> out;
  std::ranges::copy(*bytes, out.begin());
  return out;
}

Result<WrappedKey> ReadKey(const Json& member) {
  json::Reader reader(member, "the key in holdfast.json");
  const std::string kdf = reader.Text("kdf");
  const std::string salt = reader.Text("salt");
  WrappedKey key;
  key.cost.operations = reader.Number("operations");
  key.cost.memory_bytes = reader.Number("memory_bytes");
  const std::string wrapped = reader.Text("wrapped");
  if (const Status status = reader.status(); !status.ok()) return Damaged(status.error().message());
  if (kdf != "argon2id") {
    return Error(ErrorCode::kUnsupported,
                 fmt::format("holdfast.json names the key derivation '{}'", kdf),
                 "Use a newer version of holdfast");
  }
  HF_TRY(key.salt, Exactly<kArgon2SaltBytes>(FromBase64(salt), "salt"));
  constexpr std::size_t kWrappedBytes = kDataKeyBytes + AesGcm::kTagBytes;
  HF_TRY(const auto bytes, Exactly<kWrappedBytes>(FromBase64(wrapped), "wrapped"));
  key.wrapped = ToBytes(bytes);
  return key;
}

Json KeyToJson(const WrappedKey& key) {
  return {{"kdf", "argon2id"},
          {"salt", ToBase64(key.salt)},
          {"operations", key.cost.operations},
          {"memory_bytes", key.cost.memory_bytes},
          {"wrapped", ToBase64(key.wrapped)}};
}

Status CheckBlockBytes(std::uint32_t block_bytes) {
  if (block_bytes < kBlockBytesLeast || block_bytes > kBlockBytesMost ||
      !std::has_single_bit(block_bytes)) {
    return Error(ErrorCode::kUnsupported,
                 fmt::format("holdfast.json has blocks of {} bytes; this version reads powers of "
                             "two from {} to {}",
                             block_bytes, kBlockBytesLeast, kBlockBytesMost));
  }
  return {};
}

}  // namespace

Result<WrappedKey> WrapKey(const RepositoryId& repository, const Secret& data_key,
                           const Secret& password, Argon2Cost cost, SecureRandom& random) {
  WrappedKey out{.salt = random.Draw<kArgon2SaltBytes>(), .cost = cost, .wrapped = {}};
  HF_TRY(Secret key, DeriveKeyFromPassword(password, out.salt, cost));
  // The salt is new, so the key is, and a nonce of zero is used once.
  AesGcm(std::move(key)).Seal({}, WrapAad(repository, cost), data_key.Reveal(), out.wrapped);
  return out;
}

Result<Secret> UnwrapKey(const RepositoryId& repository, const WrappedKey& key,
                         const Secret& password) {
  HF_TRY(Secret derived, DeriveKeyFromPassword(password, key.salt, key.cost));
  Bytes data_key;
  data_key.reserve(kDataKeyBytes);
  const Status opened =
      AesGcm(std::move(derived)).Open({}, WrapAad(repository, key.cost), key.wrapped, data_key);
  if (!opened.ok()) {
    return Error(ErrorCode::kPermissionDenied, "wrong password",
                 "If the password is surely right, holdfast.json is damaged: bring it back from a "
                 "copy of the repository");
  }
  return Secret(std::move(data_key));
}

std::string WriteConfig(const RepositoryConfig& config, const KeyRing& keys) {
  Json document = {{"format", kFormatVersion},
                   {"repository_id", ToHex(config.repository)},
                   {"created_at", FormatTime(config.created_at)},
                   {"sealing", SealingName(config.sealing)},
                   {"block_bytes", config.block_bytes}};
  if (config.key) document["key"] = KeyToJson(*config.key);
  document["check"] = ToHex(keys.CheckConfig(AsBytes(Canonical(document))));
  // Nothing behind the last brace: whatever is cut off is missed.
  return document.dump(2);
}

Result<ReadConfig> ReadConfig::Parse(std::string_view text) {
  if (text.size() > kConfigBytesMax) return Damaged("it is too large");
  auto parsed = json::Parse(text, "holdfast.json");
  if (!parsed.ok()) return Damaged("it is not JSON");
  Json& document = *parsed;
  json::Reader reader(document, "holdfast.json");
  const std::uint32_t format = reader.Number32("format");
  if (reader.status().ok() && format != kFormatVersion) {
    return Error(ErrorCode::kUnsupported,
                 fmt::format("the repository has format {}, this version reads format {}", format,
                             kFormatVersion),
                 "Use a newer version of holdfast");
  }
  ReadConfig out;
  const std::string repository = reader.Text("repository_id");
  const std::string created_at = reader.Text("created_at");
  const std::string sealing = reader.Text("sealing");
  out.config_.block_bytes = reader.Number32("block_bytes");
  out.check_ = reader.Text("check");
  if (const Status status = reader.status(); !status.ok()) return Damaged(status.error().message());

  HF_TRY(out.config_.repository,
         Exactly<std::tuple_size_v<RepositoryId>>(FromHex(repository), "repository_id"));
  const Result<WallTime> created = ParseTime(created_at);
  if (!created.ok()) return Damaged("'created_at' is no time");
  out.config_.created_at = *created;
  HF_TRY(out.config_.sealing, ParseSealing(sealing));
  HF_RETURN_IF_ERROR(CheckBlockBytes(out.config_.block_bytes));
  const bool has_key = reader.Has("key");
  if (has_key != (out.config_.sealing != Sealing::kNone)) {
    return Damaged(has_key ? "it has a key and no encryption" : "its key is missing");
  }
  if (has_key) {
    HF_TRY(out.config_.key, ReadKey(reader.At("key")));
  }
  document.erase("check");
  out.canonical_ = Canonical(document);
  return out;
}

Status ReadConfig::Check(const KeyRing& keys) const {
  if (ToHex(keys.CheckConfig(AsBytes(canonical_))) == check_) return {};
  return Damaged("a member was changed since it was written");
}

}  // namespace holdfast
