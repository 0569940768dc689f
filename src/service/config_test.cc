#include "service/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "service/parts.h"
#include "testing/paths.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kWhole = R"(
[cluster.prod]
urls = ["http://10.0.0.1:6333", "http://10.0.0.2:6333"]
freeze = "systemctl stop writer"
thaw = "systemctl start writer"
fence_limit = "30s"

[repository.main]
url = "file:///srv/backups"
encryption = "password"
password_file = "/etc/holdfast/key"

[catalog]
url = "sqlite:///var/lib/holdfast/catalog.db"

[backup]
spool_bytes_max = "2GiB"
streams_max = 7
)";

TEST(ConfigTest, ReadsAWholeFile) {
  const auto config = ParseConfig(kWhole, "holdfast.toml", {});
  ASSERT_TRUE(config.ok()) << config.error().ToString();
  EXPECT_EQ(config->clusters.at("prod").fence_limit, std::chrono::seconds(30));
  EXPECT_EQ(config->backup.spool_bytes_max, 2 * kGiB);
  EXPECT_EQ(ChooseCluster(*config, "")->name, "prod");
  EXPECT_EQ(ChooseRepository(*config, "main")->url, "file:///srv/backups");
}

TEST(ConfigTest, TheEngineIsACommandWithItsArguments) {
  EXPECT_THAT(ParseConfig("", "f", {})->engine.command, ElementsAre("holdfast-engine"));
  const auto config = ParseConfig(
      "[engine]\ncommand = [\"/opt/python\", \"-m\", \"holdfast_engine\"]\nmemory_bytes = "
      "\"1GiB\"\n"
      "[restore]\nscratch_directory = \"/srv/scratch\"\n",
      "f", {{"HOLDFAST__RESTORE__SCRATCH_BYTES_MAX", "7GiB"}});
  ASSERT_TRUE(config.ok()) << config.error().ToString();
  EXPECT_THAT(config->engine.command, ElementsAre("/opt/python", "-m", "holdfast_engine"));
  EXPECT_EQ(config->engine.memory_bytes, kGiB);
  EXPECT_EQ(config->restore.scratch_directory, "/srv/scratch");
  EXPECT_EQ(config->restore.scratch_bytes_max, 7 * kGiB);
}

TEST(ConfigTest, TheEngineGetsNothingSecretOfTheEnvironment) {
  EXPECT_THAT(EngineEnvironment({{"AWS_SECRET_ACCESS_KEY", "hunter2"},
                                 {"HOLDFAST__CLUSTER__PROD__URLS", "http://key@host"},
                                 {"PATH", "/usr/bin"},
                                 {"VIRTUAL_ENV", "/opt/venv"}}),
              ElementsAre("PATH=/usr/bin", "VIRTUAL_ENV=/opt/venv"));
}

TEST(ConfigTest, AnUnknownKeyNamesTheNearestAndTheLine) {
  const auto config =
      ParseConfig("[cluster.prod]\nurls = [\"http://a\"]\nread_keyfile = \"x\"\n", "f.toml", {});
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.error().code(), ErrorCode::kConfiguration);
  EXPECT_THAT(config.error().message(), HasSubstr("f.toml:3"));
  EXPECT_THAT(config.error().hint(), HasSubstr("read_key_file"));
  EXPECT_THAT(ParseConfig("[clusters.prod]\n", "f", {}).error().hint(), HasSubstr("cluster"));
}

TEST(ConfigTest, TheEnvironmentWins) {
  const auto config = ParseConfig(kWhole, "f",
                                  {{"HOLDFAST__CLUSTER__PROD__URLS", "http://x:1,http://y:2"},
                                   {"HOLDFAST__CLUSTER__PROD__INSECURE", "true"},
                                   {"HOLDFAST__BACKUP__STREAMS_MAX", "9"},
                                   {"OTHER", "1"}});
  ASSERT_TRUE(config.ok()) << config.error().ToString();
  EXPECT_THAT(config->clusters.at("prod").urls, ElementsAre("http://x:1", "http://y:2"));
  EXPECT_TRUE(config->clusters.at("prod").insecure);
  EXPECT_EQ(config->backup.streams_max, 9U);
}

TEST(ConfigTest, AVariableMeansTheSectionOfThatNameInAnyCase) {
  const auto config = ParseConfig("[cluster.Prod]\nurls = [\"http://a\"]\n", "f",
                                  {{"HOLDFAST__CLUSTER__PROD__INSECURE", "true"}});
  ASSERT_TRUE(config.ok()) << config.error().ToString();
  EXPECT_EQ(config->clusters.size(), 1U);
  EXPECT_TRUE(config->clusters.at("Prod").insecure);
}

TEST(ConfigTest, AVariableThatNamesNothingIsAnError) {
  EXPECT_FALSE(ParseConfig("", "f", {{"HOLDFAST__CLUSTER__URLS", "x"}}).ok());
  EXPECT_FALSE(ParseConfig(kWhole, "f", {{"HOLDFAST__BACKUP__STREAMS_MAX", "many"}}).ok());
}

TEST(ConfigTest, EncryptionMustBeSaid) {
  const auto config = ParseConfig("[repository.r]\nurl = \"file:///x\"\n", "f", {});
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.error().message(), HasSubstr("encryption"));
}

TEST(ConfigTest, SeveralNeedAChoice) {
  Config config;
  config.clusters["a"].name = "a";
  config.clusters["b"].name = "b";
  EXPECT_THAT(ChooseCluster(config, "").error().message(), HasSubstr("a, b"));
  EXPECT_EQ(ChooseCluster(config, "c").error().code(), ErrorCode::kConfiguration);
  EXPECT_EQ(ExitStatus(ErrorCode::kConfiguration), 2);
}

TEST(ConfigTest, AWrongTypeSaysWhatIsWanted) {
  const auto config = ParseConfig("[cluster.p]\nurls = \"http://a\"\n", "f", {});
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.error().message(), HasSubstr("list of texts"));
}

TEST(ConfigTest, PeersHaveSectionsOfTheirOwn) {
  const auto config = ParseConfig(
      "[cluster.p]\nurls = [\"http://a\"]\n[cluster.p.peer.\"17\"]\nzone = \"a\"\n"
      "disk_free = \"20GiB\"\ndraining = true\n[restore]\nfirst = [\"orders\", \"doc*\"]\n",
      "f", {});
  ASSERT_TRUE(config.ok()) << config.error().ToString();
  const PeerLimits& peer = config->clusters.at("p").peers.at(PeerId(17));
  EXPECT_EQ(peer.zone, "a");
  EXPECT_EQ(peer.disk_free, 20 * kGiB);
  EXPECT_FALSE(peer.memory_free.has_value());
  EXPECT_TRUE(peer.draining);
  EXPECT_EQ(config->restore.first.size(), 2U);
  for (const char* bad : {"[cluster.p.peer.x]\nzone = \"a\"\n", "[cluster.p.peer.\"1\"]\nzon = 1\n",
                          "[cluster.p]\npeer = 1\n"}) {
    EXPECT_FALSE(ParseConfig(bad, "f", {}).ok()) << bad;
  }
}

TEST(ConfigTest, EveryKeyIsExplained) {
  std::ifstream file(testing::SourceDir() / "docs" / "configuration.md");
  std::map<std::string, std::string> explained;
  std::string section;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#")) section = line.substr(line.find_first_not_of("# "));
    explained[section] += line + "\n";
  }
  for (const auto& [name, keys] : ConfigurationKeys()) {
    for (const std::string& key : keys) {
      if (key == "peer") continue;  // A section of its own.
      EXPECT_THAT(explained[name], HasSubstr("`" + key + "`")) << name;
    }
  }
}

}  // namespace
}  // namespace holdfast
