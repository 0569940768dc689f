#include "base/size.h"

#include <gtest/gtest.h>

#include "base/ids.h"
#include "base/random.h"
#include "base/secret.h"

namespace holdfast {
namespace {

TEST(Size, IsWrittenForPeople) {
  EXPECT_EQ(FormatSize(0), "0 B");
  EXPECT_EQ(FormatSize(1023), "1023 B");
  EXPECT_EQ(FormatSize(1536), "1.5 KiB");
  EXPECT_EQ(FormatSize(64 * kMiB), "64.0 MiB");
  EXPECT_EQ(FormatSize(~std::uint64_t{0}), "16.0 EiB");
}

TEST(Size, IsReadWithAndWithoutUnits) {
  EXPECT_EQ(*ParseSize("1048576"), kMiB);
  EXPECT_EQ(*ParseSize("0"), 0U);
  EXPECT_EQ(*ParseSize("12B"), 12U);
  EXPECT_EQ(*ParseSize("64KiB"), 64 * kKiB);
  EXPECT_EQ(*ParseSize("64 MiB"), 64 * kMiB);
  EXPECT_EQ(*ParseSize("2G"), 2 * kGiB);
  EXPECT_EQ(*ParseSize("2GB"), 2 * kGiB);
}

TEST(Size, WhatIsNoSizeOrTooLargeIsRefused) {
  for (const char* text : {"", "MiB", "-1", "1.5G", "1X", "1Ki", "1 iB", "8E",
                           "9223372036854775808", "18446744073709551616", "1Bi"}) {
    EXPECT_EQ(ParseSize(text).error().code(), ErrorCode::kInvalidArgument) << text;
  }
  EXPECT_EQ(*ParseSize("7E"), std::uint64_t{7} << 60);
}

TEST(Size, CountsAreGrouped) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1'000), "1,000");
  EXPECT_EQ(FormatCount(12'345'678), "12,345,678");
}

TEST(Ids, CompareAndHashByValue) {
  EXPECT_EQ(PeerId(3), PeerId(3));
  EXPECT_LT(GroupId("20261122T032438Z-00"), GroupId("20261122T032439Z-00"));
  EXPECT_EQ(std::hash<ShardId>()(ShardId(7)), std::hash<std::uint32_t>()(7));
}

TEST(Random, OneSeedReplaysARun) {
  Random first(42);
  Random second(42);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(first.Next(), second.Next());
    const std::int64_t drawn = first.Between(-3, 3);
    EXPECT_EQ(drawn, second.Between(-3, 3));
    EXPECT_GE(drawn, -3);
    EXPECT_LE(drawn, 3);
  }
}

TEST(Secret, IsGoneFromWhereItWasMoved) {
  Secret secret = Secret::FromText("password");
  Secret moved = std::move(secret);
  EXPECT_TRUE(secret.empty());  // NOLINT(bugprone-use-after-move): what is tested.
  EXPECT_EQ(AsText(moved.Reveal()), "password");
  const Secret copy = moved.Copy();
  moved = Secret::FromText("other");
  EXPECT_EQ(AsText(copy.Reveal()), "password");
  EXPECT_EQ(AsText(moved.Reveal()), "other");
}

}  // namespace
}  // namespace holdfast
