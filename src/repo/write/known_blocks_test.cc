#include "repo/write/known_blocks.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace holdfast {
namespace {

Digest Name(std::uint64_t number) {
  Bytes bytes;
  AppendU64(bytes, number);
  return Sha256Of(bytes);
}

TEST(KnownBlocksTest, FindsWhatWasInserted) {
  KnownBlocks known(1'000);
  for (std::uint32_t i = 0; i < 200; ++i) {
    known.Insert(Name(i), {.place = {.position = i, .offset = 2 * i, .sealed_size = 3 * i},
                           .pack = 4 * i,
                           .plain_size = 5 * i,
                           .codec = 1});
  }
  for (std::uint32_t i = 0; i < 200; ++i) {
    const auto found = known.Find(Name(i));
    ASSERT_TRUE(found.has_value()) << i;
    EXPECT_EQ(found->place.position, i);
    EXPECT_EQ(found->place.offset, 2 * i);
    EXPECT_EQ(found->place.sealed_size, 3 * i);
    EXPECT_EQ(found->pack, 4 * i);
    EXPECT_EQ(found->plain_size, 5 * i);
  }
  EXPECT_FALSE(known.Find(Name(1'000)).has_value());
}

TEST(KnownBlocksTest, KeepsTheFirstPlaceOfAName) {
  KnownBlocks known(100);
  known.Insert(Name(1), {.place = {}, .pack = 1, .plain_size = 1, .codec = 0});
  known.Insert(Name(1), {.place = {}, .pack = 2, .plain_size = 1, .codec = 0});
  EXPECT_EQ(known.Find(Name(1))->pack, 1U);
  EXPECT_EQ(known.size(), 1U);
}

TEST(KnownBlocksTest, ForgetsOlderBlocksWhenItIsFull) {
  KnownBlocks known(1'024);
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    known.Insert(Name(i), {.place = {}, .pack = i, .plain_size = 1, .codec = 0});
  }
  EXPECT_LE(known.size(), known.blocks_max());
  std::size_t old = 0;
  std::size_t young = 0;
  for (std::uint32_t i = 0; i < 500; ++i) {
    old += known.Find(Name(i)).has_value() ? 1 : 0;
    young += known.Find(Name(9'500 + i)).has_value() ? 1 : 0;
  }
  EXPECT_EQ(old, 0U);
  EXPECT_GT(young, 450U);
}

}  // namespace
}  // namespace holdfast
