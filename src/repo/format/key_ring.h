// The keys of one repository, and what is sealed and named under them (format, section 3).

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/secret.h"
#include "repo/format/keys.h"
#include "stream/digest.h"
#include "stream/sealer.h"

namespace holdfast {

using RepositoryId = std::array<std::byte, 16>;
using Salt = std::array<std::byte, 32>;

/// What stands for a block in a pack, besides where it is.
struct BlockIdentity {
  Digest name{};
  std::uint8_t codec = 0;
  std::uint32_t plain_size = 0;
};

/// Thread-safe; holds the data key.
class KeyRing {
 public:
  /// `data_key`: 32 bytes, empty for Sealing::kNone.
  KeyRing(Sealing sealing, const RepositoryId& repository, Secret data_key);
  ~KeyRing();
  KeyRing(const KeyRing&) = delete;
  KeyRing& operator=(const KeyRing&) = delete;

  Sealing sealing() const noexcept { return sealing_; }
  const RepositoryId& repository() const noexcept { return repository_; }
  const Secret& data_key() const noexcept { return data_key_; }

  /// Name of a block: keyed, so that equal blocks of two repositories cannot be matched.
  Digest NameBlock(ByteView plain) const;

  /// First half of the id of an image (format, section 2): 16 hexadecimal digits.
  std::string ImagePrefix(const GroupId& group, std::string_view label) const;

  /// `check` of holdfast.json.
  Digest CheckConfig(ByteView canonical) const;

  std::unique_ptr<Sealer> PackSealer(const PackId& pack) const;
  std::unique_ptr<Sealer> DocumentSealer(const Salt& salt) const;

 private:
  Secret Derive(ByteView salt, std::string_view info) const;

  const Sealing sealing_;
  const RepositoryId repository_;
  const Secret data_key_;
  const HmacSha256 block_names_;
  const HmacSha256 image_labels_;
};

}  // namespace holdfast
