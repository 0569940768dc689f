#include "testing/catalog/harness.h"

#include <fmt/format.h>

#include <cstdlib>

#include "catalog/catalog_url.h"
#include "catalog/mysql_connection.h"
#include "catalog/sql_catalog.h"
#include "catalog/sqlite_connection.h"
#include "testing/catalog/mariadb_server.h"
#include "testing/temp_folder.h"

namespace holdfast::testing {
namespace {

class SqliteHarness final : public CatalogHarness {
 public:
  std::unique_ptr<sql::Connector> NewConnector() override {
    return sql::MakeSqliteConnector(path(), clock_);
  }
  Status PassTime(Duration length) override {
    clock_.Advance(length);
    return {};
  }
  std::string url() const override { return "sqlite://" + path(); }

 private:
  std::string path() const { return folder_.path() / "catalog.db"; }

  TempFolder folder_{TempFolder::Place::kMemory};
};

/// A server keeps its own time, so the leases are moved instead.
Status AgeLeases(sql::Connector& connector, Duration length) {
  HF_TRY(auto connection, connector.Connect({}));
  HF_RETURN_IF_ERROR(connection->Execute({},
                                         "UPDATE holdfast_leases SET expires_us = expires_us - ?",
                                         std::vector<sql::Value>{std::int64_t{length.count()}}));
  return {};
}

class MariadbHarness final : public CatalogHarness {
 public:
  MariadbHarness(MariadbServer& server, std::string database)
      : server_(server), database_(std::move(database)) {}

  std::unique_ptr<sql::Connector> NewConnector() override { return server_.Connector(database_); }
  Status PassTime(Duration length) override {
    clock_.Advance(length);
    return AgeLeases(*NewConnector(), length);
  }
  std::string url() const override { return server_.url(database_); }

 private:
  MariadbServer& server_;
  const std::string database_;
};

/// HOLDFAST_TEST_MYSQL_URL: an empty database of the tests' own, whose name says so.
class ExternalHarness final : public CatalogHarness {
 public:
  static Result<std::unique_ptr<CatalogHarness>> Make() {
    const char* url = std::getenv("HOLDFAST_TEST_MYSQL_URL");
    if (url == nullptr) {
      return Error(ErrorCode::kUnsupported, "HOLDFAST_TEST_MYSQL_URL names no server",
                   "set it to mysql://user@host:4000/holdfast_test, with the password in "
                   "HOLDFAST_TEST_MYSQL_PASSWORD");
    }
    HF_TRY(auto address, sql::ParseAddress(url));
    auto* mysql = std::get_if<sql::MysqlAddress>(&address);
    if (mysql == nullptr || !mysql->database.starts_with("holdfast_test")) {
      return Error(ErrorCode::kConfiguration,
                   "HOLDFAST_TEST_MYSQL_URL must name a database holdfast_test...: its tables are "
                   "dropped");
    }
    std::unique_ptr<ExternalHarness> harness(new ExternalHarness(std::move(*mysql), url));
    HF_RETURN_IF_ERROR(harness->DropTables());
    return std::unique_ptr<CatalogHarness>(std::move(harness));
  }

  std::unique_ptr<sql::Connector> NewConnector() override {
    const char* password = std::getenv("HOLDFAST_TEST_MYSQL_PASSWORD");
    return sql::MakeMysqlConnector(
        {.host = address_.host,
         .port = address_.port,
         .user = address_.user,
         .password = Secret::FromText(password == nullptr ? "" : password),
         .database = address_.database,
         .ca_file = {}},
        SystemClock());
  }
  Status PassTime(Duration length) override {
    clock_.Advance(length);
    return AgeLeases(*NewConnector(), length);
  }
  std::string url() const override { return url_; }

 private:
  ExternalHarness(sql::MysqlAddress address, std::string url)
      : address_(std::move(address)), url_(std::move(url)) {}

  Status DropTables() {
    HF_TRY(auto connection, NewConnector()->Connect({}));
    // Those that refer to others first.
    for (const char* table : {"steps", "job_documents", "jobs", "leases", "groups", "repositories",
                              "operations", "schema", "schema_lock", "extra"}) {
      HF_RETURN_IF_ERROR(
          connection->Execute({}, fmt::format("DROP TABLE IF EXISTS holdfast_{}", table), {}));
    }
    return {};
  }

  const sql::MysqlAddress address_;
  const std::string url_;
};

}  // namespace

Result<std::unique_ptr<Catalog>> CatalogHarness::Open(std::shared_ptr<SqlFaults> faults) {
  auto connector = RefuseWhatTidbLacks(NewConnector());
  if (faults) connector = FailOnDemand(std::move(connector), std::move(faults));
  return sql::OpenSqlCatalog({}, std::move(connector), url(), clock_, random_);
}

Result<std::unique_ptr<CatalogHarness>> MakeCatalogHarness(CatalogBackend backend) {
  switch (backend) {
    case CatalogBackend::kSqlite:
      return std::unique_ptr<CatalogHarness>(std::make_unique<SqliteHarness>());
    case CatalogBackend::kMariadb: {
      HF_TRY(MariadbServer* const server, MariadbServer::Shared());
      HF_TRY(auto database, server->CreateDatabase());
      return std::unique_ptr<CatalogHarness>(
          std::make_unique<MariadbHarness>(*server, std::move(database)));
    }
    default:
      return ExternalHarness::Make();
  }
}

}  // namespace holdfast::testing
