#include "catalog/mysql_connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include "base/random.h"
#include "catalog/catalog.h"
#include "testing/catalog/child_process.h"
#include "testing/catalog/mariadb_server.h"
#include "testing/catalog/samples.h"
#include "testing/temp_folder.h"

namespace holdfast::sql {
namespace {

using holdfast::testing::ChildProcess;
using holdfast::testing::MariadbServer;
using holdfast::testing::MariadbTls;
using holdfast::testing::TempFolder;
using ::testing::HasSubstr;
using ::testing::Not;

class MysqlCatalog : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = MariadbServer::Shared();
    if (!server.ok() && server.error().code() == ErrorCode::kUnsupported) {
      GTEST_SKIP() << server.error().ToString();
    }
    ASSERT_TRUE(server.ok()) << server.error().ToString();
    server_ = *server;
    auto database = server_->CreateDatabase();
    ASSERT_TRUE(database.ok()) << database.error().ToString();
    database_ = *database;
  }

  CatalogOptions Options() const {
    return {.url = server_->url(database_),
            .password = Secret::FromText(server_->password()),
            .ca_file = {}};
  }

  MariadbServer* server_ = nullptr;
  std::string database_;
  Random random_{3};
};

TEST_F(MysqlCatalog, AWrongPasswordIsRefusedAndNotRepeated) {
  CatalogOptions options = Options();
  options.password = Secret::FromText("s3cret");
  auto catalog = OpenCatalog({}, std::move(options), SystemClock(), random_);
  ASSERT_FALSE(catalog.ok());
  EXPECT_EQ(catalog.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_THAT(catalog.error().ToString(), Not(HasSubstr("s3cret")));
  EXPECT_THAT(catalog.error().ToString(), HasSubstr("password_file"));
}

TEST_F(MysqlCatalog, ADatabaseThatIsNotThereIsNamed) {
  database_ = "nowhere";
  auto catalog = OpenCatalog({}, Options(), SystemClock(), random_);
  ASSERT_FALSE(catalog.ok());
  EXPECT_EQ(catalog.error().code(), ErrorCode::kConfiguration);
  EXPECT_THAT(catalog.error().message(), HasSubstr("nowhere"));
  EXPECT_THAT(catalog.error().hint(), HasSubstr("CREATE DATABASE"));
}

TEST_F(MysqlCatalog, AServerThatIsNotThereIsUnavailable) {
  CatalogOptions options = Options();
  options.url = "mysql://app@127.0.0.1:1/x";
  auto catalog = OpenCatalog({}, std::move(options), SystemClock(), random_);
  ASSERT_FALSE(catalog.ok());
  EXPECT_EQ(catalog.error().code(), ErrorCode::kUnavailable) << catalog.error().ToString();
  EXPECT_THAT(catalog.error().message(), HasSubstr("app@127.0.0.1:1/x"));
}

TEST_F(MysqlCatalog, ItReconnectsWhenTheServerEndsItsConnections) {
  auto catalog = OpenCatalog({}, Options(), SystemClock(), random_);
  ASSERT_TRUE(catalog.ok()) << catalog.error().ToString();
  for (int round = 0; round < 3; ++round) {
    const std::string name = "l" + std::to_string(round);
    HF_EXPECT_OK(server_->KillConnections());
    auto lease = (*catalog)->Acquire({}, name, "me", std::chrono::seconds(30));
    ASSERT_TRUE(lease.ok()) << lease.error().ToString();
    EXPECT_EQ(lease->token, 1U);
    HF_EXPECT_OK(server_->KillConnections());
    HF_EXPECT_OK((*catalog)->Renew({}, *lease, std::chrono::seconds(30)));
  }
}

TEST_F(MysqlCatalog, WritesGoOnWhileConnectionsAreKilled) {
  auto catalog = OpenCatalog({}, Options(), SystemClock(), random_);
  ASSERT_TRUE(catalog.ok()) << catalog.error().ToString();
  constexpr int kWrites = 60;
  {
    std::jthread killer([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        HF_EXPECT_OK(server_->KillConnections());
        (void)SystemClock().SleepFor({.stop = stop, .deadline = {}}, std::chrono::milliseconds(40));
      }
    });
    for (int i = 0; i < kWrites; ++i) {
      holdfast::NewJob job = holdfast::testing::SampleJob("j" + std::to_string(i));
      HF_EXPECT_OK((*catalog)->AddJob({}, job, nullptr));
    }
  }
  auto jobs = (*catalog)->ListJobs({}, {}, kPageRowsMax, std::nullopt);
  ASSERT_TRUE(jobs.ok()) << jobs.error().ToString();
  EXPECT_EQ(jobs->size(), std::size_t{kWrites});
}

TEST_F(MysqlCatalog, ItWorksAgainAfterTheServerWasStartedAgain) {
  auto catalog = OpenCatalog({}, Options(), SystemClock(), random_);
  ASSERT_TRUE(catalog.ok()) << catalog.error().ToString();
  auto lease = (*catalog)->Acquire({}, "l", "me", std::chrono::seconds(300));
  ASSERT_TRUE(lease.ok());
  server_->Stop();
  HF_EXPECT_CODE((*catalog)->Renew({}, *lease, std::chrono::seconds(300)), kUnavailable);
  HF_EXPECT_OK(server_->StartAgain());
  HF_EXPECT_OK((*catalog)->Renew({}, *lease, std::chrono::seconds(300)));
}

TEST_F(MysqlCatalog, AStatementThatWaitsEndsAtOnceWhenItIsStopped) {
  auto connector = server_->Connector(database_);
  auto connection = connector->Connect({});
  ASSERT_TRUE(connection.ok()) << connection.error().ToString();
  std::stop_source stop;
  const CallContext call{.stop = stop.get_token(), .deadline = {}};
  std::jthread stopper([&] {
    // Until the server is at it.
    auto watcher = connector->Connect({});
    ASSERT_TRUE(watcher.ok());
    while (true) {
      auto rows = (*watcher)->Query({},
                                    "SELECT id FROM information_schema.processlist "
                                    "WHERE info LIKE 'SELECT SLEEP%'",
                                    {});
      ASSERT_TRUE(rows.ok());
      if (!rows->empty()) break;
    }
    stop.request_stop();
  });
  // The driver's own limit would come after 8 s with kUnavailable.
  auto slept = (*connection)->Query(call, "SELECT SLEEP(60)", {});
  ASSERT_FALSE(slept.ok());
  EXPECT_EQ(slept.error().code(), ErrorCode::kCancelled);
  EXPECT_EQ((*connection)->fault(), Fault::kLost);
}

TEST_F(MysqlCatalog, ValuesComeBackAsTheyWere) {
  auto connection = server_->Connector(database_)->Connect({});
  ASSERT_TRUE(connection.ok());
  HF_EXPECT_OK((*connection)
                   ->Execute({},
                             Dialect::Mysql().Expand("CREATE TABLE v (n {int}, k {key:64}, "
                                                     "t {text}) {table}"),
                             {}));
  const std::vector<Value> values = {std::int64_t{-9'223'372'036'854'775'807 - 1},
                                     std::string("a\0\xff ", 4), std::string("漢字 \U0001F600")};
  HF_EXPECT_OK((*connection)->Execute({}, "INSERT INTO v VALUES (?, ?, ?)", values));
  const std::vector<Value> nothing = {std::monostate(), std::monostate(), std::string()};
  HF_EXPECT_OK((*connection)->Execute({}, "INSERT INTO v VALUES (?, ?, ?)", nothing));
  auto rows = (*connection)->Query({}, "SELECT n, k, t FROM v ORDER BY n DESC", {});
  ASSERT_TRUE(rows.ok()) << rows.error().ToString();
  ASSERT_EQ(rows->size(), 2U);
  EXPECT_EQ((*rows)[0], values);
  EXPECT_EQ((*rows)[1], nothing);
  // Strict: what does not fit is refused, never cut.
  const std::vector<Value> long_key = {std::monostate(), std::string(65, 'x'), std::string()};
  EXPECT_FALSE((*connection)->Execute({}, "INSERT INTO v VALUES (?, ?, ?)", long_key).ok());
}

TEST_F(MysqlCatalog, AServerWithATrustedCertificateIsTakenAndAnyOtherRefused) {
  const TempFolder folder;
  const std::string at = folder.path();
  const auto openssl = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "/usr/bin/openssl");
    return ChildProcess(arguments, {}, at + "/openssl.log").Wait();
  };
  if (!std::filesystem::exists("/usr/bin/openssl")) GTEST_SKIP() << "there is no openssl program";
  const auto make = [&](const std::string& name, const std::string& subject_name) {
    return openssl({"req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                    "/CN=" + name, "-addext", "subjectAltName=" + subject_name, "-keyout",
                    at + "/" + name + ".key", "-out", at + "/" + name + ".pem"});
  };
  ASSERT_EQ(make("right", "IP:127.0.0.1,DNS:localhost"), 0);
  ASSERT_EQ(make("stranger", "IP:127.0.0.1"), 0);
  const MariadbTls tls{.certificate = at + "/right.pem", .key = at + "/right.key"};
  auto server = MariadbServer::Start(&tls);
  ASSERT_TRUE(server.ok()) << server.error().ToString();
  auto database = (*server)->CreateDatabase();
  ASSERT_TRUE(database.ok());
  const auto open = [&](const std::string& ca) {
    return OpenCatalog({},
                       {.url = (*server)->url(*database),
                        .password = Secret::FromText((*server)->password()),
                        .ca_file = at + "/" + ca},
                       SystemClock(), random_);
  };
  HF_EXPECT_OK(open("right.pem"));
  auto stranger = open("stranger.pem");
  ASSERT_FALSE(stranger.ok()) << "a certificate of an unknown authority was taken";
  EXPECT_EQ(stranger.error().code(), ErrorCode::kPermissionDenied) << stranger.error().ToString();
  EXPECT_THAT(stranger.error().ToString(), HasSubstr("ca_file"));

  ASSERT_EQ(make("elsewhere", "DNS:db.example"), 0);
  const MariadbTls wrong{.certificate = at + "/elsewhere.pem", .key = at + "/elsewhere.key"};
  server = MariadbServer::Start(&wrong);
  ASSERT_TRUE(server.ok()) << server.error().ToString();
  database = (*server)->CreateDatabase();
  ASSERT_TRUE(database.ok());
  auto elsewhere = open("elsewhere.pem");
  ASSERT_FALSE(elsewhere.ok()) << "a certificate of another host was taken";
  EXPECT_EQ(elsewhere.error().code(), ErrorCode::kPermissionDenied) << elsewhere.error().ToString();
}

TEST_F(MysqlCatalog, AServerWithoutTlsIsRefusedWhereAnAuthorityIsNamed) {
  const TempFolder folder;
  CatalogOptions options = Options();
  options.ca_file = "/etc/ssl/certs/ca-certificates.crt";
  auto catalog = OpenCatalog({}, std::move(options), SystemClock(), random_);
  ASSERT_FALSE(catalog.ok());
  EXPECT_EQ(catalog.error().code(), ErrorCode::kPermissionDenied) << catalog.error().ToString();
}

TEST(MysqlFault, TellsConflictsLossesAndDuplicatesApart) {
  EXPECT_EQ(MysqlFault(9007, "HY000"), Fault::kConflict);
  EXPECT_EQ(MysqlFault(8022, "HY000"), Fault::kConflict);
  EXPECT_EQ(MysqlFault(1213, "40001"), Fault::kConflict);
  EXPECT_EQ(MysqlFault(12345, "40001"), Fault::kConflict);
  EXPECT_EQ(MysqlFault(2013, "HY000"), Fault::kLost);
  EXPECT_EQ(MysqlFault(1062, "23000"), Fault::kDuplicate);
  EXPECT_EQ(MysqlFault(1146, "42S02"), Fault::kMissing);
  EXPECT_EQ(MysqlFault(1064, "42000"), Fault::kOther);
}

}  // namespace
}  // namespace holdfast::sql
