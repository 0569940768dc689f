#include "stream/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <utility>

#include "base/assert.h"

namespace holdfast {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_MD_CTX, FreeContext>;

/// Fetched once: EVP_sha256() is looked up again at every init (OpenSSL 3 "implicit fetch").
const EVP_MD* Algorithm() {
  static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  HF_ASSERT(algorithm != nullptr);
  return algorithm;
}

Context NewContext() {
  Context context(EVP_MD_CTX_new());
  HF_ASSERT(context != nullptr);
  return context;
}

// None of these can fail once the algorithm is there, but for lack of memory.

void Begin(EVP_MD_CTX& context) {
  HF_ASSERT(EVP_DigestInit_ex(&context, Algorithm(), nullptr) == 1);
}

void Add(EVP_MD_CTX& context, ByteView bytes) {
  HF_ASSERT(EVP_DigestUpdate(&context, bytes.data(), bytes.size()) == 1);
}

Digest End(EVP_MD_CTX& context) {
  Digest digest;
  unsigned int size = 0;
  HF_ASSERT(EVP_DigestFinal_ex(&context, reinterpret_cast<unsigned char*>(digest.data()), &size) ==
            1);
  HF_ASSERT(size == digest.size());
  return digest;
}

void CopyState(const EVP_MD_CTX& from, EVP_MD_CTX& to) {
  HF_ASSERT(EVP_MD_CTX_copy_ex(&to, &from) == 1);
}

/// Working memory of the one-shot functions.
EVP_MD_CTX& ThreadContext() {
  thread_local const Context context = NewContext();
  return *context;
}

}  // namespace

struct Sha256::State {
  Context context = NewContext();
};

Sha256::Sha256() : state_(std::make_unique<State>()) { Begin(*state_->context); }
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(ByteView bytes) { Add(*state_->context, bytes); }

Digest Sha256::Finish() {
  const Digest digest = End(*state_->context);
  Begin(*state_->context);
  return digest;
}

Digest Sha256Of(ByteView bytes) {
  EVP_MD_CTX& context = ThreadContext();
  Begin(context);
  Add(context, bytes);
  return End(context);
}

/// The states after the padded key, from which every call goes on. Only read after construction, so
/// that threads may share them.
struct HmacSha256::State {
  Context inner = NewContext();
  Context outer = NewContext();
};

HmacSha256::HmacSha256(ByteView key) : state_(std::make_unique<State>()) {
  // RFC 2104 with the block size of SHA-256.
  constexpr std::size_t kBlock = 64;
  std::array<std::byte, kBlock> padded{};
  Digest hashed{};
  if (key.size() > kBlock) {
    hashed = Sha256Of(key);
    key = hashed;
  }
  for (std::size_t i = 0; i < key.size(); ++i) padded[i] = key[i];
  for (std::byte& b : padded) b ^= std::byte{0x36};
  Begin(*state_->inner);
  Add(*state_->inner, padded);
  for (std::byte& b : padded) b ^= std::byte{0x36 ^ 0x5c};
  Begin(*state_->outer);
  Add(*state_->outer, padded);
  OPENSSL_cleanse(padded.data(), padded.size());
  OPENSSL_cleanse(hashed.data(), hashed.size());
}

HmacSha256::~HmacSha256() = default;
HmacSha256::HmacSha256(HmacSha256&&) noexcept = default;
HmacSha256& HmacSha256::operator=(HmacSha256&&) noexcept = default;

Digest HmacSha256::Of(ByteView bytes) const {
  EVP_MD_CTX& context = ThreadContext();
  CopyState(*state_->inner, context);
  Add(context, bytes);
  const Digest inner = End(context);
  CopyState(*state_->outer, context);
  Add(context, inner);
  return End(context);
}

bool EqualInConstantTime(ByteView a, ByteView b) noexcept {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace holdfast
