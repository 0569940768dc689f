#include "stream/crypto.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <memory>
#include <string>

#include "base/assert.h"
#include "base/size.h"
#include "stream/digest.h"

namespace holdfast {
namespace {

class KernelRandomSource final : public SecureRandom {
 public:
  void Fill(std::span<std::byte> out) override {
    while (!out.empty()) {
      const ssize_t got = getrandom(out.data(), out.size(), 0);
      if (got < 0 && errno == EINTR) continue;
      HF_ASSERT(got > 0);
      out = out.subspan(static_cast<std::size_t>(got));
    }
  }
};

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const noexcept { EVP_CIPHER_CTX_free(context); }
};

/// Working memory of this thread, which keeps the schedule of the last key until the next call or
/// the thread's end (OpenSSL wipes it then).
EVP_CIPHER_CTX& ThreadContext() {
  thread_local const std::unique_ptr<EVP_CIPHER_CTX, FreeContext> context(EVP_CIPHER_CTX_new());
  HF_ASSERT(context != nullptr);
  return *context;
}

/// Fetched once, as for SHA-256.
const EVP_CIPHER* Algorithm() {
  static EVP_CIPHER* const algorithm = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  HF_ASSERT(algorithm != nullptr);
  return algorithm;
}

const unsigned char* Raw(ByteView bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

unsigned char* Raw(std::byte* bytes) { return reinterpret_cast<unsigned char*>(bytes); }

/// Lengths of OpenSSL's update calls are int.
constexpr std::size_t kPieceMax = std::size_t{1} << 30;

/// EVP_CipherUpdate for any length; `out` is null for associated data.
void Update(EVP_CIPHER_CTX& context, ByteView in, std::byte* out) {
  while (!in.empty()) {
    const ByteView piece = in.first(std::min(in.size(), kPieceMax));
    int written = 0;
    HF_ASSERT(EVP_CipherUpdate(&context, out == nullptr ? nullptr : Raw(out), &written, Raw(piece),
                               static_cast<int>(piece.size())) == 1);
    HF_ASSERT(static_cast<std::size_t>(written) == piece.size());
    if (out != nullptr) out += piece.size();
    in = in.subspan(piece.size());
  }
}

Error OutsideTheLimits(const Argon2Cost& cost) {
  const auto range = [](const Argon2Cost& limit) {
    return std::to_string(limit.operations) + " operations and " + FormatSize(limit.memory_bytes);
  };
  return {ErrorCode::kUnsupported, "argon2id with " + range(cost) + " is outside the limits of " +
                                       range(kArgon2CostMin) + " to " + range(kArgon2CostMax)};
}

}  // namespace

Secret SecureRandom::DrawSecret(std::size_t size) {
  Bytes bytes(size);
  Fill(bytes);
  return Secret(std::move(bytes));
}

SecureRandom& KernelRandom() {
  static KernelRandomSource source;
  return source;
}

Secret HkdfSha256(ByteView input, ByteView salt, ByteView info, std::size_t size) {
  HF_ASSERT(size <= 255 * sizeof(Digest));
  Digest extracted = HmacSha256(salt).Of(input);
  const HmacSha256 expand{ByteView(extracted)};
  Bytes out;
  out.reserve(size);
  Digest last{};
  Bytes message;
  message.reserve(last.size() + info.size() + 1);  // Never grows, so no copy is left behind.
  for (unsigned round = 1; out.size() < size; ++round) {
    message.clear();
    if (round > 1) Append(message, last);
    Append(message, info);
    message.push_back(static_cast<std::byte>(round));
    last = expand.Of(message);
    Append(out, ByteView(last).first(std::min(last.size(), size - out.size())));
  }
  sodium_memzero(message.data(), message.size());
  sodium_memzero(last.data(), last.size());
  sodium_memzero(extracted.data(), extracted.size());
  return Secret(std::move(out));
}

Result<Secret> DeriveKeyFromPassword(const Secret& password, ByteView salt, Argon2Cost cost) {
  if (password.empty()) return Error(ErrorCode::kInvalidArgument, "the password is empty");
  if (salt.size() != kArgon2SaltBytes) {
    return Error(ErrorCode::kInvalidArgument,
                 "the salt of the password has " + std::to_string(salt.size()) + " bytes, not 16");
  }
  const bool within = cost.operations >= kArgon2CostMin.operations &&
                      cost.operations <= kArgon2CostMax.operations &&
                      cost.memory_bytes >= kArgon2CostMin.memory_bytes &&
                      cost.memory_bytes <= kArgon2CostMax.memory_bytes;
  if (!within) return OutsideTheLimits(cost);
  static_assert(crypto_pwhash_SALTBYTES == kArgon2SaltBytes);
  HF_ASSERT(sodium_init() >= 0);
  Bytes key(AesGcm::kKeyBytes);
  const int failed = crypto_pwhash(Raw(key.data()), key.size(),
                                   reinterpret_cast<const char*>(password.Reveal().data()),
                                   password.Reveal().size(), Raw(salt), cost.operations,
                                   cost.memory_bytes, crypto_pwhash_ALG_ARGON2ID13);
  if (failed != 0) {
    return Error(ErrorCode::kResourceExhausted,
                 "the password needs " + FormatSize(cost.memory_bytes) + " of memory to check",
                 "free that much memory, or raise the memory limit of this process");
  }
  return Secret(std::move(key));
}

AesGcm::AesGcm(Secret key) : key_(std::move(key)) { HF_ASSERT(key_.Reveal().size() == kKeyBytes); }

void AesGcm::Seal(const Nonce& nonce, ByteView aad, ByteView plain, Bytes& out) const {
  EVP_CIPHER_CTX& context = ThreadContext();
  const std::size_t start = out.size();
  out.resize(start + plain.size() + kTagBytes);
  HF_ASSERT(EVP_EncryptInit_ex2(&context, Algorithm(), Raw(key_.Reveal()), Raw(ByteView(nonce)),
                                nullptr) == 1);
  Update(context, aad, nullptr);
  Update(context, plain, out.data() + start);
  std::byte* const tag = out.data() + start + plain.size();
  int written = 0;
  HF_ASSERT(EVP_EncryptFinal_ex(&context, Raw(tag), &written) == 1 && written == 0);
  HF_ASSERT(EVP_CIPHER_CTX_ctrl(&context, EVP_CTRL_AEAD_GET_TAG, kTagBytes, tag) == 1);
}

Status AesGcm::Open(const Nonce& nonce, ByteView aad, ByteView sealed, Bytes& out) const {
  if (sealed.size() < kTagBytes) {
    return Error(ErrorCode::kDataLoss, "does not open: " + std::to_string(sealed.size()) +
                                           " bytes are shorter than a tag");
  }
  EVP_CIPHER_CTX& context = ThreadContext();
  const ByteView cipher = sealed.first(sealed.size() - kTagBytes);
  auto tag = std::array<std::byte, kTagBytes>();
  std::copy_n(sealed.end() - kTagBytes, kTagBytes, tag.begin());
  const std::size_t start = out.size();
  out.resize(start + cipher.size());
  HF_ASSERT(EVP_DecryptInit_ex2(&context, Algorithm(), Raw(key_.Reveal()), Raw(ByteView(nonce)),
                                nullptr) == 1);
  Update(context, aad, nullptr);
  Update(context, cipher, out.data() + start);
  HF_ASSERT(EVP_CIPHER_CTX_ctrl(&context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag.data()) == 1);
  int written = 0;
  std::byte none{};
  if (EVP_DecryptFinal_ex(&context, Raw(&none), &written) != 1) {
    sodium_memzero(out.data() + start, cipher.size());  // Nobody sees what was not authentic.
    out.resize(start);
    return Error(ErrorCode::kDataLoss, "does not open");
  }
  return {};
}

}  // namespace holdfast
