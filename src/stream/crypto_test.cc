#include "stream/crypto.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace holdfast {
namespace {

Bytes Hex(std::string_view text) { return *FromHex(text); }
std::string Shown(const Secret& secret) { return ToHex(secret.Reveal()); }
Bytes Repeated(std::size_t count, int first) {
  Bytes bytes(count);
  for (std::size_t i = 0; i < count; ++i)
    bytes[i] = static_cast<std::byte>(first + static_cast<int>(i));
  return bytes;
}

TEST(KernelRandom, DrawsSomethingElseEveryTime) {
  std::set<std::string> drawn;
  for (int i = 0; i < 100; ++i) drawn.insert(ToHex(KernelRandom().Draw<16>()));
  EXPECT_EQ(drawn.size(), 100U);
  EXPECT_EQ(KernelRandom().DrawSecret(100'000).Reveal().size(), 100'000U);
}

// RFC 5869, test cases 1 to 3.
TEST(Hkdf, HasTheVectorsOfTheSpecification) {
  EXPECT_EQ(Shown(HkdfSha256(Bytes(22, std::byte{0x0b}), Hex("000102030405060708090a0b0c"),
                             Hex("f0f1f2f3f4f5f6f7f8f9"), 42)),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  EXPECT_EQ(Shown(HkdfSha256(Repeated(80, 0x00), Repeated(80, 0x60), Repeated(80, 0xb0), 82)),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41"
            "c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
  EXPECT_EQ(Shown(HkdfSha256(Bytes(22, std::byte{0x0b}), {}, {}, 42)),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
  EXPECT_EQ(HkdfSha256({}, {}, {}, 0).Reveal().size(), 0U);
}

class PasswordTest : public ::testing::Test {
 protected:
  static Result<Secret> Derive(std::string_view password, const Bytes& salt,
                               Argon2Cost cost = kArgon2CostMin) {
    return DeriveKeyFromPassword(Secret::FromText(password), salt, cost);
  }
  const Bytes salt_ = Bytes(16, std::byte{7});
};

TEST_F(PasswordTest, TheKeyDependsOnPasswordSaltAndCost) {
  const std::string key = Shown(*Derive("correct horse", salt_));
  EXPECT_EQ(key.size(), 64U);
  EXPECT_EQ(Shown(*Derive("correct horse", salt_)), key);
  EXPECT_NE(Shown(*Derive("correct horsf", salt_)), key);
  EXPECT_NE(Shown(*Derive("correct horse", Bytes(16, std::byte{8}))), key);
  Argon2Cost cost = kArgon2CostMin;
  ++cost.operations;
  EXPECT_NE(Shown(*Derive("correct horse", salt_, cost)), key);
  cost = kArgon2CostMin;
  cost.memory_bytes *= 2;
  EXPECT_NE(Shown(*Derive("correct horse", salt_, cost)), key);
}

TEST_F(PasswordTest, ACostThatAHostileFileMayAskForIsRefused) {
  for (const Argon2Cost cost :
       {Argon2Cost{.operations = 3, .memory_bytes = std::uint64_t{1} << 40},
        Argon2Cost{.operations = ~std::uint64_t{0}, .memory_bytes = kArgon2CostMin.memory_bytes},
        Argon2Cost{.operations = 0, .memory_bytes = kArgon2CostMin.memory_bytes},
        Argon2Cost{.operations = 1, .memory_bytes = 8192}}) {
    const auto key = Derive("password", salt_, cost);
    ASSERT_FALSE(key.ok());
    EXPECT_EQ(key.error().code(), ErrorCode::kUnsupported);
    EXPECT_NE(key.error().message().find("4.0 GiB"), std::string::npos) << key.error().message();
  }
}

TEST_F(PasswordTest, AnEmptyPasswordOrAWrongSaltIsRefused) {
  EXPECT_EQ(Derive("", salt_).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Derive("password", Bytes(15)).error().code(), ErrorCode::kInvalidArgument);
}

class AesGcmTest : public ::testing::Test {
 protected:
  const AesGcm cipher_{Secret(Bytes(32, std::byte{3}))};
  const AesGcm::Nonce nonce_{};
  const Bytes aad_ = ToBytes(AsBytes("pack 7"));
  const Bytes plain_ = ToBytes(AsBytes("the bytes of a block"));
};

// McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 13 and 14.
TEST_F(AesGcmTest, HasTheVectorsOfItsAuthors) {
  const AesGcm zero(Secret(Bytes(32)));
  Bytes sealed;
  zero.Seal(nonce_, {}, {}, sealed);
  EXPECT_EQ(ToHex(sealed), "530f8afbc74536b9a963b4f1c4cb738b");
  sealed.clear();
  zero.Seal(nonce_, {}, Bytes(16), sealed);
  EXPECT_EQ(ToHex(sealed), "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
}

TEST_F(AesGcmTest, OpensWhatItSealedAndAppends) {
  Bytes sealed = Hex("aa");
  cipher_.Seal(nonce_, aad_, plain_, sealed);
  EXPECT_EQ(sealed.size(), 1 + plain_.size() + AesGcm::kTagBytes);
  Bytes opened = Hex("bb");
  ASSERT_TRUE(cipher_.Open(nonce_, aad_, ByteView(sealed).subspan(1), opened).ok());
  EXPECT_EQ(opened.front(), std::byte{0xbb});
  EXPECT_EQ(Bytes(opened.begin() + 1, opened.end()), plain_);
}

TEST_F(AesGcmTest, EveryFlippedBitIsFound) {
  Bytes sealed;
  cipher_.Seal(nonce_, aad_, plain_, sealed);
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    sealed[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    Bytes opened = Hex("bb");
    EXPECT_EQ(cipher_.Open(nonce_, aad_, sealed, opened).error().code(), ErrorCode::kDataLoss);
    EXPECT_EQ(opened, Hex("bb"));
    sealed[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
}

TEST_F(AesGcmTest, AnotherKeyNonceContextOrLengthDoesNotOpen) {
  Bytes sealed;
  cipher_.Seal(nonce_, aad_, plain_, sealed);
  Bytes opened;
  AesGcm::Nonce other_nonce{};
  other_nonce.back() = std::byte{1};
  EXPECT_FALSE(AesGcm(Secret(Bytes(32))).Open(nonce_, aad_, sealed, opened).ok());
  EXPECT_FALSE(cipher_.Open(other_nonce, aad_, sealed, opened).ok());
  EXPECT_FALSE(cipher_.Open(nonce_, AsBytes("pack 8"), sealed, opened).ok());
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_FALSE(cipher_.Open(nonce_, aad_, ByteView(sealed).first(size), opened).ok()) << size;
  }
  EXPECT_TRUE(opened.empty());
}

}  // namespace
}  // namespace holdfast
