#include "repo/format/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/json.h"
#include "testing/repo/test_repository.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Made {
  RepositoryConfig config;
  std::unique_ptr<KeyRing> keys;
  std::string text;
};

Made Make(Sealing sealing) {
  Made made;
  made.config.repository[3] = std::byte{7};
  made.config.sealing = sealing;
  Secret data_key;
  if (sealing != Sealing::kNone) {
    data_key = KernelRandom().DrawSecret(32);
    made.config.key = *WrapKey(made.config.repository, data_key, Secret::FromText("pass"),
                               testing::kCheapKdf, KernelRandom());
  }
  made.keys = std::make_unique<KeyRing>(sealing, made.config.repository, std::move(data_key));
  made.text = WriteConfig(made.config, *made.keys);
  return made;
}

std::string With(const std::string& text, const std::function<void(json::Json&)>& change) {
  json::Json document = json::Json::parse(text);
  change(document);
  return document.dump();
}

class ConfigTest : public ::testing::TestWithParam<Sealing> {};
INSTANTIATE_TEST_SUITE_P(Both, ConfigTest, ::testing::Values(Sealing::kNone, Sealing::kAes256Gcm));

TEST_P(ConfigTest, IsReadAsItWasWritten) {
  const Made made = Make(GetParam());
  const auto read = ReadConfig::Parse(made.text);
  ASSERT_TRUE(read.ok()) << read.error().ToString();
  EXPECT_TRUE(read->Check(*made.keys).ok());
  EXPECT_EQ(read->config().repository, made.config.repository);
  EXPECT_EQ(read->config().sealing, GetParam());
  EXPECT_EQ(read->config().block_bytes, kBlockBytes);
  EXPECT_EQ(read->config().key.has_value(), GetParam() != Sealing::kNone);
}

TEST_P(ConfigTest, NoBitOfItCanBeFlippedUnseen) {
  const Made made = Make(GetParam());
  for (std::size_t bit = 0; bit < made.text.size() * 8; ++bit) {
    std::string changed = made.text;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    const auto read = ReadConfig::Parse(changed);
    if (!read.ok()) continue;
    EXPECT_FALSE(read->Check(*made.keys).ok()) << "bit " << bit << " of " << made.text;
  }
}

TEST(ConfigTest, MembersOfNewerVersionsAreCoveredByTheCheck) {
  const Made made = Make(Sealing::kNone);
  const auto read = ReadConfig::Parse(With(made.text, [](auto& json) { json["extra"] = 1; }));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->Check(*made.keys).error().code(), ErrorCode::kDataLoss);
}

TEST(ConfigTest, ANewerFormatIsNamed) {
  const Made made = Make(Sealing::kNone);
  const auto read = ReadConfig::Parse(With(made.text, [](auto& json) { json["format"] = 2; }));
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code(), ErrorCode::kUnsupported);
  EXPECT_THAT(read.error().message(), HasSubstr("format 2"));
}

TEST(ConfigTest, RefusesWhatItCannotRead) {
  const Made made = Make(Sealing::kAes256Gcm);
  const struct {
    std::function<void(json::Json&)> change;
    ErrorCode code;
  } cases[] = {
      {[](auto& json) { json["sealing"] = "rot13"; }, ErrorCode::kUnsupported},
      {[](auto& json) { json["key"]["kdf"] = "scrypt"; }, ErrorCode::kUnsupported},
      {[](auto& json) { json["block_bytes"] = 100'000; }, ErrorCode::kUnsupported},
      {[](auto& json) { json["block_bytes"] = 2 << 20; }, ErrorCode::kUnsupported},
      {[](auto& json) { json.erase("key"); }, ErrorCode::kDataLoss},
      {[](auto& json) { json["repository_id"] = "00"; }, ErrorCode::kDataLoss},
      {[](auto& json) { json["key"]["wrapped"] = "AAAA"; }, ErrorCode::kDataLoss},
      {[](auto& json) { json["created_at"] = "yesterday"; }, ErrorCode::kDataLoss},
      {[](auto& json) { json.erase("check"); }, ErrorCode::kDataLoss},
  };
  for (const auto& [change, code] : cases) {
    const auto read = ReadConfig::Parse(With(made.text, change));
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.error().code(), code) << read.error().ToString();
  }
  EXPECT_EQ(ReadConfig::Parse("{").error().code(), ErrorCode::kDataLoss);
  EXPECT_EQ(ReadConfig::Parse(std::string(100'000, ' ')).error().code(), ErrorCode::kDataLoss);
}

TEST(WrappedKeyTest, OpensWithItsPasswordOnly) {
  const RepositoryId repository{};
  const Secret data_key = KernelRandom().DrawSecret(32);
  const auto wrapped =
      WrapKey(repository, data_key, Secret::FromText("right"), testing::kCheapKdf, KernelRandom());
  ASSERT_TRUE(wrapped.ok());
  const auto opened = UnwrapKey(repository, *wrapped, Secret::FromText("right"));
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE(EqualInConstantTime(opened->Reveal(), data_key.Reveal()));

  const auto wrong = UnwrapKey(repository, *wrapped, Secret::FromText("wrong"));
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_THAT(wrong.error().ToString(), Not(HasSubstr("wrong password wrong")));
  EXPECT_THAT(wrong.error().hint(), HasSubstr("holdfast.json"));
}

TEST(WrappedKeyTest, RefusesCostsBeyondTheLimits) {
  const RepositoryId repository{};
  auto wrapped = *WrapKey(repository, KernelRandom().DrawSecret(32), Secret::FromText("p"),
                          testing::kCheapKdf, KernelRandom());
  wrapped.cost.memory_bytes = std::uint64_t{5} << 30;
  EXPECT_EQ(UnwrapKey(repository, wrapped, Secret::FromText("p")).error().code(),
            ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace holdfast
