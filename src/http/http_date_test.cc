#include "http/http_date.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(HttpDate, IsRead) {
  const auto time = ParseHttpDate("Sun, 22 Nov 2026 03:24:38 GMT");

  ASSERT_TRUE(time.ok());
  EXPECT_EQ(FormatTime(*time), "2026-11-22T03:24:38.000Z");
}

TEST(HttpDate, AnythingElseIsRefused) {
  for (const char* text : {"", "2026-11-22T03:24:38Z", "Sun, 22 Nov 2026 03:24:38 CET",
                           "Sun, 32 Nov 2026 03:24:38 GMT", "Sun, 22 Foo 2026 03:24:38 GMT",
                           "Sun, 22 Nov 2026 24:24:38 GMT", "Sun, 22 Nov 2026 03:60:38 GMT",
                           "Sun, -2 Nov 2026 03:24:38 GMT", "Sunday, 22-Nov-26 03:24:38 GMT",
                           "Sun, 29 Feb 2027 03:24:38 GMT"}) {
    EXPECT_FALSE(ParseHttpDate(text).ok()) << text;
  }
}

}  // namespace
}  // namespace holdfast
