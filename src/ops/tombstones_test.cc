#include "ops/tombstones.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(TombstonesTest, NumbersComeBeforeUuidsAndByValue) {
  EXPECT_TRUE(IdLess("9", "10"));
  EXPECT_FALSE(IdLess("10", "9"));
  EXPECT_FALSE(IdLess("7", "7"));
  EXPECT_TRUE(IdLess("18446744073709551615", "\"00000000-0000-0000-0000-000000000000\""));
  EXPECT_FALSE(IdLess("\"00000000-0000-0000-0000-000000000000\"", "0"));
  EXPECT_TRUE(IdLess("\"0a\"", "\"0b\""));
}

}  // namespace
}  // namespace holdfast
