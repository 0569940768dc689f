#include "store/s3_signer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stream/digest.h"

namespace holdfast {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

/// The keys, requests and signatures of the examples in Amazon's API reference, "Signature
/// Calculations for the Authorization Header: Transferring Payload in a Single Chunk".
class S3SignerTest : public ::testing::Test {
 protected:
  static S3Credentials Example() {
    return {.access_key = "AKIAIOSFODNN7EXAMPLE",
            .secret_key = Secret::FromText("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            .session_token = {}};
  }
  static Url At(std::string_view path_and_query) {
    return *Url::Parse("https://examplebucket.s3.amazonaws.com" + std::string(path_and_query));
  }
  static std::string Authorization(HttpRequest request,
                                   std::string_view payload_hash = kEmptyPayloadHash,
                                   const S3Credentials& credentials = Example()) {
    SignS3Request(request, credentials, "us-east-1", payload_hash,
                  *ParseTime("2013-05-24T00:00:00Z"));
    return std::string(request.headers.Find("authorization").value_or("none"));
  }
};

TEST_F(S3SignerTest, SignsTheExampleOfGetObject) {
  HttpRequest request{.method = HttpMethod::kGet, .url = At("/test.txt")};
  request.headers.Add("Range", "bytes=0-9");

  EXPECT_EQ(Authorization(request),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST_F(S3SignerTest, SignsTheExampleOfPutObject) {
  HttpRequest request{.method = HttpMethod::kPut, .url = At("") / "test$file.text"};
  request.headers.Add("Date", "Fri, 24 May 2013 00:00:00 GMT");
  request.headers.Add("x-amz-storage-class", "REDUCED_REDUNDANCY");
  const std::string hash = ToHex(Sha256Of(AsBytes("Welcome to Amazon S3.")));

  EXPECT_THAT(
      Authorization(request, hash),
      EndsWith("Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"));
}

TEST_F(S3SignerTest, SignsTheExampleOfAQueryWithoutAValue) {
  EXPECT_THAT(
      Authorization({.method = HttpMethod::kGet, .url = At("/?lifecycle")}),
      EndsWith("Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
}

TEST_F(S3SignerTest, SignsTheExampleOfListObjectsWhateverTheOrder) {
  for (const char* query : {"/?max-keys=2&prefix=J", "/?prefix=J&max-keys=2"}) {
    EXPECT_THAT(
        Authorization({.method = HttpMethod::kGet, .url = At(query)}),
        EndsWith("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
  }
}

TEST_F(S3SignerTest, KnowsTheHashOfNothing) { EXPECT_EQ(kEmptyPayloadHash, ToHex(Sha256Of({}))); }

TEST_F(S3SignerTest, SignsASessionTokenAndKeepsItSecret) {
  S3Credentials credentials = Example();
  credentials.session_token = Secret::FromText("hunter2");
  HttpRequest request{.method = HttpMethod::kGet, .url = At("/test.txt")};

  const std::string authorization = Authorization(request, kEmptyPayloadHash, credentials);

  EXPECT_THAT(authorization,
              HasSubstr("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token"));
  EXPECT_NE(authorization, Authorization(request));
  SignS3Request(request, credentials, "us-east-1", kEmptyPayloadHash, WallTime());
  ASSERT_EQ(request.secret_headers.size(), 1U);
  for (const auto& [name, value] : request.headers.all()) {
    EXPECT_THAT(value, Not(HasSubstr("hunter2"))) << name;
  }
}

TEST_F(S3SignerTest, CountsRunsOfBlanksInAHeaderAsOne) {
  HttpRequest one{.method = HttpMethod::kGet, .url = At("/x")};
  one.headers.Add("x-amz-meta-a", "b c");
  HttpRequest many{.method = HttpMethod::kGet, .url = At("/x")};
  many.headers.Add("x-amz-meta-a", "  b   c  ");

  EXPECT_EQ(Authorization(one), Authorization(many));
}

TEST_F(S3SignerTest, WritesTimesAsAmazonDoes) {
  EXPECT_EQ(AmzDate(*ParseTime("2013-05-24T01:02:03.999Z")), "20130524T010203Z");
}

}  // namespace
}  // namespace holdfast
