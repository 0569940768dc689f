// Sealing of the repository's chunks (docs/design/repository-format.md section 3): every chunk has
// a counter and associated data, so that a swapped, moved or changed chunk does not open.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "base/secret.h"

namespace holdfast {

/// The numbers are those of the format.
enum class Sealing : std::uint8_t {
  /// Nothing is encrypted; the tag is a checksum that finds accidents, not deliberate change.
  kNone = 0,
  kAes256Gcm = 1,
};

/// "none" or "aes-256-gcm", as in holdfast.json.
std::string_view SealingName(Sealing sealing) noexcept;
/// kUnsupported, naming the text, for anything else.
Result<Sealing> ParseSealing(std::string_view name);

/// Seals chunks of one object under one key. Thread-safe.
class Sealer {
 public:
  static constexpr std::size_t kTagBytes = 16;
  virtual ~Sealer() = default;

  /// Appends payload.size() + kTagBytes bytes to `out`. A counter is used once for an object: with
  /// the same key and counter twice, AES-GCM gives its secrets away. `payload` is not in `out`.
  virtual void SealChunk(std::uint64_t counter, ByteView aad, ByteView payload,
                         Bytes& out) const = 0;

  /// Appends the payload to `out`, or returns kDataLoss and leaves `out` as it was. The caller adds
  /// which object and chunk it was.
  virtual Status OpenChunk(std::uint64_t counter, ByteView aad, ByteView sealed,
                           Bytes& out) const = 0;
};

/// `key`: 32 bytes for kAes256Gcm, not looked at for kNone.
std::unique_ptr<Sealer> MakeSealer(Sealing sealing, Secret key);

}  // namespace holdfast
