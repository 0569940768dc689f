#include "catalog/catalog_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::sql {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ParseAddress, ReadsAFile) {
  auto address = ParseAddress("sqlite:///var/lib/hold%20fast/./catalog.db");
  ASSERT_TRUE(address.ok()) << address.error().ToString();
  EXPECT_EQ(std::get<SqliteAddress>(*address).path, "/var/lib/hold fast/catalog.db");
}

TEST(ParseAddress, ReadsAServer) {
  auto address = ParseAddress("mysql://back%40up@db.example:3306/hold%2Dfast");
  ASSERT_TRUE(address.ok()) << address.error().ToString();
  const auto& mysql = std::get<MysqlAddress>(*address);
  EXPECT_EQ(mysql.user, "back@up");
  EXPECT_EQ(mysql.host, "db.example");
  EXPECT_EQ(mysql.port, 3306);
  EXPECT_EQ(mysql.database, "hold-fast");
}

TEST(ParseAddress, TheDefaultPortIsTidbs) {
  auto address = ParseAddress("mysql://u@[::1]/d");
  ASSERT_TRUE(address.ok()) << address.error().ToString();
  EXPECT_EQ(std::get<MysqlAddress>(*address).host, "::1");
  EXPECT_EQ(std::get<MysqlAddress>(*address).port, 4000);
}

TEST(ParseAddress, APasswordIsRefusedAndNotRepeated) {
  for (const char* url :
       {"mysql://u:s3cret@host/d", "mysql://u:s3cret@@host/d", "mysql://u:s3@cret@host:1/d"}) {
    auto address = ParseAddress(url);
    ASSERT_FALSE(address.ok()) << url;
    EXPECT_EQ(address.error().code(), ErrorCode::kConfiguration);
    EXPECT_THAT(address.error().ToString(), Not(HasSubstr("cret")));
    EXPECT_THAT(address.error().hint(), HasSubstr("password_file"));
  }
}

TEST(ParseAddress, WhatIsWrongIsNamed) {
  for (const auto& [url, word] : std::initializer_list<std::pair<const char*, const char*>>{
           {"", "neither"},
           {"postgres://u@h/d", "neither"},
           {"sqlite://relative.db", "absolute"},
           {"sqlite:///", "absolute"},
           {"sqlite:///a/b/", "absolute"},
           {"sqlite:///a%2", "percent"},
           {"sqlite:///a%00", "percent"},
           {"mysql://host/d", "user"},
           {"mysql://@host/d", "user"},
           {"mysql://u@/d", "host"},
           {"mysql://u@host", "database"},
           {"mysql://u@host/", "database"},
           {"mysql://u@host/d?ssl=1", "follow"},
           {"mysql://u@host:0/d", "port"},
           {"mysql://u@host:65536/d", "port"},
           {"mysql://u@host:33x/d", "port"},
           {"mysql://u@[::1/d", "IPv6"},
           {"mysql://u@[::1]x/d", "port"},
       }) {
    auto address = ParseAddress(url);
    ASSERT_FALSE(address.ok()) << url;
    EXPECT_EQ(address.error().code(), ErrorCode::kConfiguration) << url;
    EXPECT_THAT(address.error().message(), HasSubstr(word)) << url;
  }
}

}  // namespace
}  // namespace holdfast::sql
