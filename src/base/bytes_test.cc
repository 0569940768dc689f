#include "base/bytes.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace holdfast {
namespace {

TEST(Bytes, HexGoesThereAndBack) {
  const Bytes bytes{std::byte{0x00}, std::byte{0x7f}, std::byte{0xa5}, std::byte{0xff}};
  EXPECT_EQ(ToHex(bytes), "007fa5ff");
  EXPECT_EQ(*FromHex("007FA5ff"), bytes);
  EXPECT_EQ(*FromHex(""), Bytes());
}

TEST(Bytes, WhatIsNotHexIsRefused) {
  for (const char* text : {"0", "0g", "zz", " 0", "0x10", "abc"}) {
    EXPECT_EQ(FromHex(text).error().code(), ErrorCode::kInvalidArgument) << text;
  }
}

TEST(Bytes, Base64HasTheVectorsOfTheSpecification) {
  // RFC 4648 section 10.
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, coded] : vectors) {
    EXPECT_EQ(ToBase64(AsBytes(plain)), coded);
    EXPECT_EQ(AsText(*FromBase64(coded)), plain);
  }
}

TEST(Bytes, Base64ThatIsNotCanonicalIsRefused) {
  for (const char* text : {"Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==",
                           "Zm9v\n", "Zm 9", "Zm-v", "Zm_v"}) {
    EXPECT_EQ(FromBase64(text).error().code(), ErrorCode::kInvalidArgument) << text;
  }
}

TEST(Bytes, AnythingGoesThroughHexAndBase64) {
  Random random(11);
  for (int round = 0; round < 200; ++round) {
    Bytes bytes(static_cast<std::size_t>(random.Between(0, 70)));
    for (std::byte& b : bytes) b = static_cast<std::byte>(random.Next() & 0xff);
    EXPECT_EQ(*FromHex(ToHex(bytes)), bytes);
    EXPECT_EQ(*FromBase64(ToBase64(bytes)), bytes);
  }
}

TEST(Bytes, NumbersAreLittleEndianAndComeBack) {
  Bytes bytes;
  AppendU16(bytes, 0x0102);
  AppendU32(bytes, 0x03040506);
  AppendU64(bytes, 0xf708090a0b0c0d0e);
  EXPECT_EQ(ToHex(bytes),
            "020106050403"
            "0e0d0c0b0a0908f7");
  ByteReader reader(bytes, "the record");
  EXPECT_EQ(*reader.U16(), 0x0102);
  EXPECT_EQ(*reader.U32(), 0x03040506U);
  EXPECT_EQ(*reader.U64(), 0xf708090a0b0c0d0eU);
  EXPECT_EQ(reader.left(), 0U);
}

TEST(Bytes, ReadingPastTheEndNamesWhatWasRead) {
  const Bytes bytes{std::byte{1}, std::byte{2}, std::byte{3}};
  ByteReader reader(bytes, "image head 77aa");
  EXPECT_EQ(*reader.U8(), 1);
  const auto number = reader.U32();
  ASSERT_FALSE(number.ok());
  EXPECT_EQ(number.error().code(), ErrorCode::kDataLoss);
  EXPECT_NE(number.error().message().find("image head 77aa"), std::string::npos);
  EXPECT_EQ(reader.left(), 2U);
  EXPECT_EQ(reader.Take(2)->size(), 2U);
  EXPECT_FALSE(reader.Take(1).ok());
  EXPECT_TRUE(reader.Take(0).ok());
}

}  // namespace
}  // namespace holdfast
