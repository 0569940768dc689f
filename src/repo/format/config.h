// holdfast.json: what a repository is, and its data key under a password (format, section 2.1).

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "repo/format/key_ring.h"
#include "stream/crypto.h"

namespace holdfast {

constexpr std::uint32_t kFormatVersion = 1;
constexpr std::uint32_t kBlockBytes = 128 * 1024;
constexpr std::uint32_t kBlockBytesLeast = 4096;
constexpr std::uint32_t kBlockBytesMost = 1024 * 1024;
/// Nobody's configuration is larger.
constexpr std::size_t kConfigBytesMax = 64 * 1024;

/// The data key under the key of a password.
struct WrappedKey {
  std::array<std::byte, kArgon2SaltBytes> salt{};
  Argon2Cost cost;
  Bytes wrapped;
};

/// The members of holdfast.json.
struct RepositoryConfig {
  RepositoryId repository{};
  WallTime created_at{};
  Sealing sealing = Sealing::kAes256Gcm;
  std::uint32_t block_bytes = kBlockBytes;
  /// Absent without encryption.
  std::optional<WrappedKey> key;
};

/// Wraps `data_key` under `password` with a new salt. Errors are DeriveKeyFromPassword's.
Result<WrappedKey> WrapKey(const RepositoryId& repository, const Secret& data_key,
                           const Secret& password, Argon2Cost cost, SecureRandom& random);

/// kPermissionDenied when the password does not open it.
Result<Secret> UnwrapKey(const RepositoryId& repository, const WrappedKey& key,
                         const Secret& password);

/// The text of holdfast.json.
std::string WriteConfig(const RepositoryConfig& config, const KeyRing& keys);

/// A configuration that was read and whose `check` is not yet compared: that needs the keys.
class ReadConfig {
 public:
  /// kDataLoss when it is not a configuration, kUnsupported for what this version cannot read.
  static Result<ReadConfig> Parse(std::string_view text);

  const RepositoryConfig& config() const noexcept { return config_; }
  /// kDataLoss when a member was changed since it was written.
  Status Check(const KeyRing& keys) const;

 private:
  RepositoryConfig config_;
  std::string canonical_;
  std::string check_;
};

}  // namespace holdfast
