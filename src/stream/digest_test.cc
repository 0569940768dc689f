#include "stream/digest.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace holdfast {
namespace {

std::string Hmac(std::string_view key, std::string_view text) {
  return ToHex(HmacSha256(AsBytes(key)).Of(AsBytes(text)));
}

// FIPS 180-4, examples of SHA-256.
TEST(Sha256, HasTheVectorsOfTheStandard) {
  EXPECT_EQ(ToHex(Sha256Of(AsBytes(""))),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(ToHex(Sha256Of(AsBytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(ToHex(Sha256Of(AsBytes(std::string(1'000'000, 'a')))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, GivesTheSameInPiecesAndStartsAnewAfterFinish) {
  Sha256 hash;
  hash.Update(AsBytes("a"));
  hash.Update({});
  hash.Update(AsBytes("bc"));
  EXPECT_EQ(hash.Finish(), Sha256Of(AsBytes("abc")));
  EXPECT_EQ(hash.Finish(), Sha256Of({}));
  Sha256 moved = std::move(hash);
  moved.Update(AsBytes("abc"));
  EXPECT_EQ(moved.Finish(), Sha256Of(AsBytes("abc")));
}

// RFC 4231, test cases 1, 2, 6 and 7.
TEST(HmacSha256, HasTheVectorsOfTheSpecification) {
  EXPECT_EQ(Hmac(std::string(20, '\x0b'), "Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(Hmac("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  const std::string long_key(131, '\xaa');
  EXPECT_EQ(Hmac(long_key, "Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  EXPECT_EQ(Hmac(long_key,
                 "This is a test using a larger than block-size key and a larger than block-size "
                 "data. The key needs to be hashed before being used by the HMAC algorithm."),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

TEST(HmacSha256, OneKeyServesManyThreads) {
  const HmacSha256 key(AsBytes("key"));
  const std::string text(10'000, 'x');
  const Digest wanted = key.Of(AsBytes(text));
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) ASSERT_EQ(key.Of(AsBytes(text)), wanted);
    });
  }
}

TEST(EqualInConstantTime, ComparesSizeAndBytes) {
  EXPECT_TRUE(EqualInConstantTime(AsBytes("same"), AsBytes("same")));
  EXPECT_FALSE(EqualInConstantTime(AsBytes("same"), AsBytes("sane")));
  EXPECT_FALSE(EqualInConstantTime(AsBytes("same"), AsBytes("samey")));
  EXPECT_TRUE(EqualInConstantTime({}, {}));
}

}  // namespace
}  // namespace holdfast
