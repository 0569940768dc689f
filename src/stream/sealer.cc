#include "stream/sealer.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "stream/crypto.h"
#include "stream/digest.h"

namespace holdfast {
namespace {

constexpr std::string_view kNames[] = {"none", "aes-256-gcm"};
static_assert(AesGcm::kTagBytes == Sealer::kTagBytes);

class AesGcmSealer final : public Sealer {
 public:
  explicit AesGcmSealer(Secret key) : cipher_(std::move(key)) {}

  void SealChunk(std::uint64_t counter, ByteView aad, ByteView payload, Bytes& out) const override {
    cipher_.Seal(NonceOf(counter), aad, payload, out);
  }
  Status OpenChunk(std::uint64_t counter, ByteView aad, ByteView sealed,
                   Bytes& out) const override {
    return cipher_.Open(NonceOf(counter), aad, sealed, out);
  }

 private:
  /// Four zero bytes and the counter, little-endian.
  static AesGcm::Nonce NonceOf(std::uint64_t counter) {
    AesGcm::Nonce nonce{};
    for (std::size_t i = 0; i < 8; ++i) {
      nonce[4 + i] = static_cast<std::byte>((counter >> (8 * i)) & 0xff);
    }
    return nonce;
  }

  AesGcm cipher_;
};

/// Keeps the payload as it is; the tag is a checksum of all that AES-GCM would authenticate.
class PlainSealer final : public Sealer {
 public:
  void SealChunk(std::uint64_t counter, ByteView aad, ByteView payload, Bytes& out) const override {
    const Digest digest = TagOf(counter, aad, payload);
    out.reserve(out.size() + payload.size() + kTagBytes);
    Append(out, payload);
    Append(out, ByteView(digest).first(kTagBytes));
  }
  Status OpenChunk(std::uint64_t counter, ByteView aad, ByteView sealed,
                   Bytes& out) const override {
    if (sealed.size() < kTagBytes) {
      return Error(ErrorCode::kDataLoss, "does not open: " + std::to_string(sealed.size()) +
                                             " bytes are shorter than a tag");
    }
    const ByteView payload = sealed.first(sealed.size() - kTagBytes);
    const Digest digest = TagOf(counter, aad, payload);
    if (!EqualInConstantTime(ByteView(digest).first(kTagBytes), sealed.last(kTagBytes))) {
      return Error(ErrorCode::kDataLoss, "its checksum is wrong");
    }
    Append(out, payload);
    return {};
  }

 private:
  static Digest TagOf(std::uint64_t counter, ByteView aad, ByteView payload) {
    thread_local Sha256 hash;
    Bytes number;
    AppendU64(number, aad.size());
    hash.Update(AsBytes("holdfast tag v1"));
    hash.Update(number);
    hash.Update(aad);
    number.clear();
    AppendU64(number, counter);
    hash.Update(number);
    hash.Update(payload);
    return hash.Finish();
  }
};

}  // namespace

std::string_view SealingName(Sealing sealing) noexcept {
  return kNames[static_cast<std::size_t>(sealing)];
}

Result<Sealing> ParseSealing(std::string_view name) {
  for (const Sealing sealing : {Sealing::kNone, Sealing::kAes256Gcm}) {
    if (name == SealingName(sealing)) return sealing;
  }
  return Error(ErrorCode::kUnsupported,
               "sealing '" + std::string(name) + "' is not known to this version");
}

std::unique_ptr<Sealer> MakeSealer(Sealing sealing, Secret key) {
  if (sealing == Sealing::kNone) return std::make_unique<PlainSealer>();
  return std::make_unique<AesGcmSealer>(std::move(key));
}

}  // namespace holdfast
