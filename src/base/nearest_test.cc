#include "base/nearest.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace holdfast {
namespace {

TEST(Nearest, CountsLettersChangedAddedAndRemoved) {
  EXPECT_EQ(EditDistance("", ""), 0U);
  EXPECT_EQ(EditDistance("", "abc"), 3U);
  EXPECT_EQ(EditDistance("abc", ""), 3U);
  EXPECT_EQ(EditDistance("url", "urls"), 1U);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3U);
}

TEST(Nearest, IsTheFirstOfTheNearest) {
  const std::vector<std::string> known{"url", "urls", "region"};
  EXPECT_EQ(NearestOf("urlz", known), "url");
  EXPECT_EQ(NearestOf("regoin", known), "region");
  EXPECT_EQ(NearestOf("url", std::vector<std::string>()), "");
}

}  // namespace
}  // namespace holdfast
