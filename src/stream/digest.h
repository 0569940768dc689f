// SHA-256 and HMAC-SHA-256.

#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>

#include "base/bytes.h"

namespace holdfast {

using Digest = std::array<std::byte, 32>;

inline std::string ToHex(const Digest& digest) { return ToHex(ByteView(digest)); }

/// SHA-256 of bytes that come piece by piece. One thread at a time; movable.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(ByteView bytes);
  /// The digest of everything since construction or the last Finish(); starts anew.
  Digest Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest Sha256Of(ByteView bytes);

/// HMAC-SHA-256 (RFC 2104) under one key. The key is taken in once, so that a call costs little
/// more than a plain SHA-256. Thread-safe after construction.
class HmacSha256 {
 public:
  explicit HmacSha256(ByteView key);
  ~HmacSha256();
  HmacSha256(HmacSha256&&) noexcept;
  HmacSha256& operator=(HmacSha256&&) noexcept;

  Digest Of(ByteView bytes) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Equal without telling by its time where they differ. Views of different size are never equal.
bool EqualInConstantTime(ByteView a, ByteView b) noexcept;

}  // namespace holdfast
