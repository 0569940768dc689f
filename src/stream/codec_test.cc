#include "stream/codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/random.h"
#include "stream/float_planes.h"

namespace holdfast {
namespace {

constexpr std::size_t kBlock = 128 * 1024;

Bytes Noise(std::size_t size, Random& random) {
  Bytes bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.Next() & 0xff);
  return bytes;
}

/// Unit vectors of normally distributed components, as embeddings are.
Bytes Vectors(std::size_t size, Random& random) {
  constexpr std::size_t kDimensions = 64;
  std::vector<float> values(size / 4 / kDimensions * kDimensions);
  for (std::size_t at = 0; at < values.size(); at += kDimensions) {
    double square = 0;
    for (std::size_t i = at; i < at + kDimensions; ++i) {
      double sum = -6;  // Of twelve uniform values: close enough to a normal one.
      for (int k = 0; k < 12; ++k) sum += static_cast<double>(random.Next() >> 11) * 0x1p-53;
      values[i] = static_cast<float>(sum);
      square += sum * sum;
    }
    for (std::size_t i = at; i < at + kDimensions; ++i) {
      values[i] = static_cast<float>(values[i] / std::sqrt(square));
    }
  }
  return ToBytes(std::as_bytes(std::span(values)));
}

Bytes Text(std::size_t size) {
  std::string text;
  for (int i = 0; text.size() < size; ++i) {
    text += "{\"id\":" + std::to_string(i * 7919 % 100'003) + ",\"lang\":\"en\"}";
  }
  text.resize(size);
  return ToBytes(AsBytes(text));
}

struct Coded {
  CodecId codec;
  Bytes bytes;
};

Coded EncodeAndCheck(Codec& codec, ByteView plain) {
  Coded coded{.codec = CodecId::kStored, .bytes = ToBytes(AsBytes("before"))};
  coded.codec = codec.Encode(plain, coded.bytes);
  EXPECT_EQ(AsText(ByteView(coded.bytes).first(6)), "before");
  coded.bytes.erase(coded.bytes.begin(), coded.bytes.begin() + 6);
  EXPECT_LE(coded.bytes.size(), plain.size());
  Bytes decoded = ToBytes(AsBytes("before"));
  const Status status =
      codec.Decode(static_cast<std::uint8_t>(coded.codec), coded.bytes, plain.size(), decoded);
  EXPECT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_TRUE(std::equal(plain.begin(), plain.end(), decoded.begin() + 6, decoded.end()));
  return coded;
}

TEST(Codec, VectorsAreSplitIntoPlanes) {
  Random random(1);
  Codec codec;
  const Bytes plain = Vectors(kBlock, random);
  const Coded coded = EncodeAndCheck(codec, plain);
  EXPECT_EQ(coded.codec, CodecId::kFloatPlanes);
  // Measured fact 6: 0.845 with zstd on all planes, 0.83 is the floor.
  EXPECT_LT(coded.bytes.size(), plain.size() * 84 / 100);
}

TEST(Codec, TextIsCompressedAndNoiseIsStored) {
  Random random(2);
  Codec codec;
  const Coded text = EncodeAndCheck(codec, Text(kBlock));
  EXPECT_EQ(text.codec, CodecId::kZstd);
  EXPECT_LT(text.bytes.size(), kBlock / 4);
  EXPECT_EQ(EncodeAndCheck(codec, Noise(kBlock, random)).codec, CodecId::kStored);
  EXPECT_EQ(EncodeAndCheck(codec, Bytes(kBlock)).codec, CodecId::kZstd);
}

TEST(Codec, RepeatedVectorsAreFoundThoughTheyLookLikeNoise) {
  Random random(3);
  Codec codec;
  const Bytes once = Vectors(kBlock / 2, random);
  Bytes twice = once;
  Append(twice, once);
  EXPECT_LT(EncodeAndCheck(codec, twice).bytes.size(), twice.size() * 45 / 100);
  Bytes noise = Noise(kBlock / 2, random);
  Append(noise, ToBytes(noise));
  EXPECT_LT(EncodeAndCheck(codec, noise).bytes.size(), noise.size() * 55 / 100);
}

TEST(Codec, VectorsBetweenZerosShrinkByTheZeros) {
  Random random(4);
  Codec codec;
  Bytes plain = Vectors(kBlock / 2, random);
  plain.resize(kBlock);
  EXPECT_LT(EncodeAndCheck(codec, plain).bytes.size(), kBlock * 44 / 100);
}

TEST(Codec, EverySizeComesBack) {
  Random random(5);
  Codec codec;
  const Bytes vectors = Vectors(8192, random);
  const Bytes text = Text(8192);
  const Bytes noise = Noise(8192, random);
  for (std::size_t size = 0; size < 8192; size += 1 + size / 40) {
    for (const Bytes* bytes : {&vectors, &text, &noise}) {
      EncodeAndCheck(codec, ByteView(*bytes).first(size));
      EncodeAndCheck(codec, ByteView(*bytes).last(size));
    }
  }
  EncodeAndCheck(codec, Vectors(1 << 20, random));
}

TEST(Codec, TheSameInputGivesTheSameOutput) {
  Random random(6);
  const Bytes vectors = Vectors(kBlock, random);
  const Bytes text = Text(kBlock);
  Codec used;
  EncodeAndCheck(used, text);
  for (const Bytes* plain : {&vectors, &text}) {
    Codec fresh;
    EXPECT_EQ(EncodeAndCheck(used, *plain).bytes, EncodeAndCheck(fresh, *plain).bytes);
  }
}

TEST(Codec, AnUnknownCodecIsUnsupported) {
  Codec codec;
  Bytes out;
  const Status status = codec.Decode(3, AsBytes("x"), 1, out);
  EXPECT_EQ(status.error().code(), ErrorCode::kUnsupported);
  EXPECT_NE(status.error().message().find("codec 3"), std::string::npos);
}

TEST(Codec, DamageNeverGivesOtherSizesAndIsMostlyFound) {
  Random random(7);
  Codec codec;
  for (const Bytes& plain : {Vectors(16'384, random), Text(16'384), Noise(512, random)}) {
    const Coded good = EncodeAndCheck(codec, plain);
    for (int round = 0; round < 500; ++round) {
      Coded bad = good;
      const auto at = static_cast<std::size_t>(
          random.Between(0, static_cast<std::int64_t>(bad.bytes.size()) - 1));
      if (random.Between(0, 1) == 0) {
        bad.bytes.resize(at);
      } else {
        bad.bytes[at] ^= static_cast<std::byte>(1 << random.Between(0, 7));
      }
      Bytes out = ToBytes(AsBytes("kept"));
      const Status status =
          codec.Decode(static_cast<std::uint8_t>(bad.codec), bad.bytes, plain.size(), out);
      // A flipped bit of a raw plane or a literal gives other bytes: that is for the block's name.
      EXPECT_EQ(out.size(), status.ok() ? 4 + plain.size() : 4);
      if (!status.ok()) {
        EXPECT_EQ(status.error().code(), ErrorCode::kDataLoss);
      }
      if (bad.bytes.size() < good.bytes.size()) {
        EXPECT_FALSE(status.ok());
      }
    }
    Bytes out;
    const auto id = static_cast<std::uint8_t>(good.codec);
    Bytes longer = good.bytes;
    longer.push_back(std::byte{0});
    EXPECT_FALSE(codec.Decode(id, longer, plain.size(), out).ok());
    EXPECT_FALSE(codec.Decode(id, good.bytes, plain.size() - 1, out).ok());
    EXPECT_FALSE(codec.Decode(id, good.bytes, plain.size() + 1, out).ok());
    EXPECT_FALSE(codec.Decode(id, good.bytes, ~std::size_t{0}, out).ok());
    EXPECT_TRUE(out.empty());
  }
}

TEST(FloatPlanes, TheExponentIsOneWholePlane) {
  const float value = -0.15625F;  // Sign 1, exponent 124, mantissa 0x200000.
  Bytes words(4);
  std::memcpy(words.data(), &value, 4);
  Bytes planes(4);
  SplitPlanes(words, {&planes[0], &planes[1], &planes[2], &planes[3]});
  EXPECT_EQ(planes[3], std::byte{124});
  EXPECT_EQ(planes[2], std::byte{0x40});
  EXPECT_EQ(planes[0], std::byte{1});
  Bytes back(4);
  JoinPlanes({&planes[0], &planes[1], &planes[2], &planes[3]}, back);
  EXPECT_EQ(back, words);
}

TEST(Zstd, GoesThereAndBackWithinALimit) {
  const Bytes plain = Text(100'000);
  Bytes frame = ToBytes(AsBytes("before"));
  ZstdCompress(plain, 3, frame);
  const ByteView coded = ByteView(frame).subspan(6);
  Bytes out;
  ASSERT_TRUE(ZstdDecompress(coded, plain.size(), out).ok());
  EXPECT_EQ(out, plain);
  EXPECT_EQ(ZstdDecompress(coded, plain.size() - 1, out).error().code(), ErrorCode::kDataLoss);
  EXPECT_EQ(ZstdDecompress(coded.first(coded.size() - 1), plain.size(), out).error().code(),
            ErrorCode::kDataLoss);
  EXPECT_EQ(ZstdDecompress(AsBytes("no frame"), 100, out).error().code(), ErrorCode::kDataLoss);
  EXPECT_EQ(out, plain);
}

}  // namespace
}  // namespace holdfast
