#include "stream/sealer.h"

#include <gtest/gtest.h>

#include "stream/crypto.h"
#include "stream/digest.h"

namespace holdfast {
namespace {

class SealerTest : public ::testing::TestWithParam<Sealing> {
 protected:
  std::unique_ptr<Sealer> NewSealer(int key = 1) const {
    return MakeSealer(GetParam(), Secret(Bytes(32, static_cast<std::byte>(key))));
  }
  Bytes Seal(std::uint64_t counter, std::string_view aad, std::string_view payload) const {
    Bytes sealed;
    NewSealer()->SealChunk(counter, AsBytes(aad), AsBytes(payload), sealed);
    return sealed;
  }
  ErrorCode OpenFails(std::uint64_t counter, std::string_view aad, ByteView sealed) const {
    Bytes out = ToBytes(AsBytes("kept"));
    const Status status = NewSealer()->OpenChunk(counter, AsBytes(aad), sealed, out);
    EXPECT_EQ(AsText(out), "kept");
    return status.ok() ? ErrorCode::kInternal : status.error().code();
  }
};

INSTANTIATE_TEST_SUITE_P(Both, SealerTest, ::testing::Values(Sealing::kNone, Sealing::kAes256Gcm),
                         [](const auto& tested) {
                           return tested.param == Sealing::kNone ? "None" : "Aes256Gcm";
                         });

TEST_P(SealerTest, OpensWhatItSealed) {
  for (const std::string& payload : {std::string(), std::string("x"), std::string(100'000, 'y')}) {
    const Bytes sealed = Seal(5, "object 1", payload);
    EXPECT_EQ(sealed.size(), payload.size() + Sealer::kTagBytes);
    Bytes opened = ToBytes(AsBytes("before "));
    ASSERT_TRUE(NewSealer()->OpenChunk(5, AsBytes("object 1"), sealed, opened).ok());
    EXPECT_EQ(AsText(opened), "before " + payload);
  }
}

TEST_P(SealerTest, AMovedSwappedOrChangedChunkDoesNotOpen) {
  Bytes sealed = Seal(5, "object 1", "payload");
  EXPECT_EQ(OpenFails(6, "object 1", sealed), ErrorCode::kDataLoss);
  EXPECT_EQ(OpenFails(5, "object 2", sealed), ErrorCode::kDataLoss);
  // Nothing is gained by moving bytes between associated data and payload.
  EXPECT_EQ(OpenFails(5, "object 1p", ByteView(sealed).subspan(1)), ErrorCode::kDataLoss);
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    sealed[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_EQ(OpenFails(5, "object 1", sealed), ErrorCode::kDataLoss);
    sealed[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_EQ(OpenFails(5, "object 1", ByteView(sealed).first(size)), ErrorCode::kDataLoss);
  }
}

// docs/design/repository-format.md section 3.
TEST(Sealer, TheFormsAreThoseOfTheFormatDocument) {
  Bytes plain;
  MakeSealer(Sealing::kNone, {})->SealChunk(0x0102, AsBytes("aad"), AsBytes("payload"), plain);
  Bytes tagged = ToBytes(AsBytes("holdfast tag v1"));
  AppendU64(tagged, 3);
  Append(tagged, AsBytes("aad"));
  AppendU64(tagged, 0x0102);
  Append(tagged, AsBytes("payload"));
  const Digest digest = Sha256Of(tagged);
  EXPECT_EQ(AsText(ByteView(plain).first(7)), "payload");
  EXPECT_TRUE(EqualInConstantTime(ByteView(plain).subspan(7), ByteView(digest).first(16)));

  Bytes sealed;
  const Bytes key(32, std::byte{9});
  MakeSealer(Sealing::kAes256Gcm, Secret(key))
      ->SealChunk(0x0102, AsBytes("aad"), AsBytes("payload"), sealed);
  AesGcm::Nonce nonce{};
  nonce[4] = std::byte{2};
  nonce[5] = std::byte{1};
  Bytes wanted;
  AesGcm(Secret(key)).Seal(nonce, AsBytes("aad"), AsBytes("payload"), wanted);
  EXPECT_EQ(sealed, wanted);
}

TEST(Sealer, AnotherKeyDoesNotOpen) {
  Bytes sealed;
  MakeSealer(Sealing::kAes256Gcm, Secret(Bytes(32)))->SealChunk(0, {}, AsBytes("payload"), sealed);
  Bytes opened;
  const auto other = MakeSealer(Sealing::kAes256Gcm, Secret(Bytes(32, std::byte{1})));
  EXPECT_EQ(other->OpenChunk(0, {}, sealed, opened).error().code(), ErrorCode::kDataLoss);
}

TEST(Sealer, NamesGoThereAndBack) {
  EXPECT_EQ(*ParseSealing("none"), Sealing::kNone);
  EXPECT_EQ(*ParseSealing("aes-256-gcm"), Sealing::kAes256Gcm);
  EXPECT_EQ(ParseSealing("rot13").error().code(), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace holdfast
