#include "store/s3_credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "base/bytes.h"
#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class S3CredentialsTest : public ::testing::Test {
 protected:
  std::string File(std::string_view text) {
    std::ofstream(path_) << text;
    return path_;
  }

  testing::TempFolder folder_;
  const std::string path_ = (folder_.path() / "credentials").string();
};

TEST_F(S3CredentialsTest, AreReadFromTheSectionAskedFor) {
  const auto source = S3CredentialsFromFile(File("# comment\n"
                                                 "[default]\n"
                                                 "aws_access_key_id=AK1\n"
                                                 "aws_secret_access_key=S1\n"
                                                 "\n"
                                                 "[ backup ]\r\n"
                                                 "region = eu-central-1\r\n"
                                                 "aws_access_key_id = AK2\r\n"
                                                 "aws_secret_access_key = S2/with+signs=\r\n"
                                                 "aws_session_token = T2"),
                                            "backup");

  ASSERT_TRUE(source.ok()) << source.error().ToString();
  const auto credentials = (*source)->Get();
  ASSERT_TRUE(credentials.ok());
  EXPECT_EQ((*credentials)->access_key, "AK2");
  EXPECT_EQ(AsText((*credentials)->secret_key.Reveal()), "S2/with+signs=");
  EXPECT_EQ(AsText((*credentials)->session_token.Reveal()), "T2");
}

TEST_F(S3CredentialsTest, AreReadAgainWhenTheFileHasChanged) {
  const auto source =
      S3CredentialsFromFile(File("[default]\naws_access_key_id=AK1\naws_secret_access_key=S1\n"));
  ASSERT_TRUE(source.ok()) << source.error().ToString();
  const auto before = (*source)->Get();
  ASSERT_TRUE(before.ok());
  EXPECT_EQ(*(*source)->Get(), *before);  // The same object: nothing was read again.

  File("[default]\naws_access_key_id=AK-new\naws_secret_access_key=S2\n");

  const auto after = (*source)->Get();
  ASSERT_TRUE(after.ok());
  EXPECT_EQ((*after)->access_key, "AK-new");
}

TEST_F(S3CredentialsTest, WhatIsMissingIsNamedAndNothingIsShown) {
  const auto error = [&](std::string_view text) {
    const auto source = S3CredentialsFromFile(File(text));
    EXPECT_FALSE(source.ok());
    return source.ok() ? "" : source.error().ToString();
  };

  EXPECT_THAT(error("aws_secret_access_key=hunter2\n"),
              AllOf(HasSubstr("[default]"), HasSubstr(path_), Not(HasSubstr("hunter2"))));
  EXPECT_THAT(error("[default]\naws_secret_access_key=hunter2\n"),
              AllOf(HasSubstr("aws_access_key_id"), Not(HasSubstr("hunter2"))));
  EXPECT_THAT(error("[default]\naws_access_key_id=AK1\n"), HasSubstr("aws_secret_access_key"));
  EXPECT_THAT(S3CredentialsFromFile("/no/such/file").error().ToString(),
              AllOf(HasSubstr("configuration"), HasSubstr("/no/such/file")));
}

TEST_F(S3CredentialsTest, ComeFromTheEnvironment) {
  unsetenv("AWS_SECRET_ACCESS_KEY");
  setenv("AWS_ACCESS_KEY_ID", "AK", 1);
  const auto missing = S3CredentialsFromEnvironment();
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message(), HasSubstr("AWS_SECRET_ACCESS_KEY"));

  setenv("AWS_SECRET_ACCESS_KEY", "S", 1);
  const auto source = S3CredentialsFromEnvironment();
  unsetenv("AWS_SECRET_ACCESS_KEY");
  unsetenv("AWS_ACCESS_KEY_ID");
  ASSERT_TRUE(source.ok());
  const auto credentials = (*source)->Get();
  EXPECT_EQ((*credentials)->access_key, "AK");
  EXPECT_EQ(AsText((*credentials)->secret_key.Reveal()), "S");
  EXPECT_TRUE((*credentials)->session_token.empty());
}

}  // namespace
}  // namespace holdfast
