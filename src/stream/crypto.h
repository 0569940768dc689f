// Keys: where they come from, and sealing bytes under them. OpenSSL and libsodium do the work.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "base/secret.h"

namespace holdfast {

/// Source of keys, salts and ids. An interface so that a simulation can replay a run. Thread-safe.
class SecureRandom {
 public:
  virtual ~SecureRandom() = default;
  /// Never fails: a machine without randomness ends the process rather than give a weak key.
  virtual void Fill(std::span<std::byte> out) = 0;

  template <std::size_t kSize>
  std::array<std::byte, kSize> Draw() {
    std::array<std::byte, kSize> bytes;
    Fill(bytes);
    return bytes;
  }
  /// For keys: the bytes are wiped when the Secret dies.
  Secret DrawSecret(std::size_t size);
};

/// The kernel's randomness (getrandom). Lives as long as the process.
SecureRandom& KernelRandom();

/// `size` bytes (at most 255 * 32) of HKDF-SHA256 (RFC 5869, extract and expand).
Secret HkdfSha256(ByteView input, ByteView salt, ByteView info, std::size_t size);

/// What a password costs to try. The limits are those of the repository format (section 2.1): they
/// come from a file that an attacker may have written.
struct Argon2Cost {
  std::uint64_t operations = 3;
  std::uint64_t memory_bytes = std::uint64_t{256} << 20;
};
constexpr Argon2Cost kArgon2CostMin{.operations = 1, .memory_bytes = std::uint64_t{8} << 20};
constexpr Argon2Cost kArgon2CostMax{.operations = 64, .memory_bytes = std::uint64_t{4} << 30};
constexpr std::size_t kArgon2SaltBytes = 16;

/// The argon2id key of 32 bytes. kUnsupported for a cost outside the limits, naming the limit;
/// kInvalidArgument for an empty password or a salt that is not 16 bytes; kResourceExhausted when
/// this machine does not have the memory.
Result<Secret> DeriveKeyFromPassword(const Secret& password, ByteView salt, Argon2Cost cost);

/// AES-256-GCM with a 96-bit nonce that the caller never repeats under one key; the tag of 16
/// bytes stands behind the ciphertext. Thread-safe after construction.
class AesGcm {
 public:
  static constexpr std::size_t kKeyBytes = 32;
  static constexpr std::size_t kTagBytes = 16;
  using Nonce = std::array<std::byte, 12>;

  /// `key` has 32 bytes.
  explicit AesGcm(Secret key);

  /// Appends plain.size() + 16 bytes to `out`. `plain` must not lie in `out`.
  void Seal(const Nonce& nonce, ByteView aad, ByteView plain, Bytes& out) const;
  /// Appends the plain bytes to `out`, or returns kDataLoss ("does not open") and leaves `out` as
  /// it was: wrong key, nonce or associated data, or changed bytes; which of them cannot be told.
  Status Open(const Nonce& nonce, ByteView aad, ByteView sealed, Bytes& out) const;

 private:
  Secret key_;
};

}  // namespace holdfast
