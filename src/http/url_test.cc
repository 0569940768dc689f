#include "http/url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

Url Parsed(std::string_view text) {
  auto url = Url::Parse(text);
  EXPECT_TRUE(url.ok()) << text << ": " << (url.ok() ? "" : url.error().ToString());
  return url.ok() ? *url : Url();
}

TEST(Url, IsReadIntoItsParts) {
  const Url url = Parsed("https://Db.Example.org:6333/collections/a%20b?wait=true&x=%26&flag");

  EXPECT_EQ(url.scheme(), "https");
  EXPECT_EQ(url.host(), "db.example.org");
  EXPECT_EQ(url.port(), 6333);
  EXPECT_EQ(url.path(), "/collections/a%20b");
  EXPECT_THAT(url.query(), ElementsAre(Pair("wait", "true"), Pair("x", "&"), Pair("flag", "")));
}

TEST(Url, HasDefaultPortsAndAPath) {
  EXPECT_EQ(Parsed("http://h").port(), 80);
  EXPECT_EQ(Parsed("https://h").port(), 443);
  EXPECT_EQ(Parsed("http://h").path(), "/");
  EXPECT_EQ(Parsed("http://h?a=b").path(), "/");
  EXPECT_EQ(Parsed("http://h:80").Authority(), "h");
  EXPECT_EQ(Parsed("https://h:80").Authority(), "h:80");
  EXPECT_EQ(Parsed("http://h").Origin(), "http://h:80");
}

TEST(Url, KnowsIpv6Addresses) {
  const Url url = Parsed("http://[::1]:6333/x");

  EXPECT_EQ(url.host(), "[::1]");
  EXPECT_EQ(url.port(), 6333);
  EXPECT_EQ(url.ToString(), "http://[::1]:6333/x");
  EXPECT_EQ(Parsed("http://[::1]").port(), 80);
}

TEST(Url, IsBuiltFromPartsThatMayHoldAnything) {
  const Url url = Parsed("http://h:1/base/") / "odd /name?%" / "ü";

  EXPECT_EQ(url.path(), "/base/odd%20%2Fname%3F%25/%C3%BC");
  EXPECT_EQ((Parsed("http://h:1") / "a").With("q", "a b&c=d/+").ToString(),
            "http://h:1/a?q=a%20b%26c%3Dd%2F%2B");
}

TEST(Url, RefusesWhatIsNone) {
  for (const char* text :
       {"", "h:6333", "ftp://h", "http://", "http://:80", "http://h:0", "http://h:65536",
        "http://h:80x", "http://h:", "http://a b", "http://h/a b", "http://h/%zz", "http://h/%2",
        "http://h/x#y", "http://[::1", "http://h?x=%", "http://h\r\nx: y/"}) {
    const auto url = Url::Parse(text);
    ASSERT_FALSE(url.ok()) << text;
    EXPECT_EQ(url.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_FALSE(url.error().hint().empty());
  }
}

TEST(Url, NeverRepeatsUserInfoOrQueryInAnError) {
  for (const char* text :
       {"http://me:hunter2@h:6333/x", "ftp://me:hunter2@h", "me:hunter2@h", "http://me:hun@ter2@h",
        "http://h:bad/?api-key=hunter2", "http://h/#hunter2"}) {
    const auto url = Url::Parse(text);
    ASSERT_FALSE(url.ok()) << text;
    EXPECT_THAT(url.error().ToString(), Not(HasSubstr("hunter2"))) << text;
    EXPECT_THAT(url.error().ToString(), Not(HasSubstr("ter2"))) << text;
  }
}

TEST(Url, RedactsValuesThatMayBeSecret) {
  const Url url = Parsed("http://h/b/k")
                      .With("X-Amz-Signature", "s1")
                      .With("X-Amz-Credential", "s2")
                      .With("api_key", "s3")
                      .With("prefix", "packs/");

  EXPECT_EQ(url.Redacted(),
            "http://h/b/k?X-Amz-Signature=***&X-Amz-Credential=***&api_key=***&prefix=packs%2F");
}

TEST(PercentCoding, GoesThereAndBackForEveryByte) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);

  const auto back = PercentDecode(PercentEncode(all));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, all);
  EXPECT_EQ(*PercentDecode(PercentEncodePath(all)), all);
  EXPECT_EQ(PercentEncodePath("a/b c~"), "a/b%20c~");
  EXPECT_EQ(*PercentDecode("a+b"), "a+b");
}

}  // namespace
}  // namespace holdfast
