#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "catalog/catalog.h"
#include "catalog/catalog_url.h"
#include "catalog/migrations.h"
#include "catalog/mysql_connection.h"
#include "catalog/sql_catalog.h"
#include "catalog/sql_rows.h"
#include "catalog/sqlite_connection.h"

namespace holdfast {
namespace sql {

Result<std::unique_ptr<Catalog>> OpenSqlCatalog(const CallContext& call,
                                                std::unique_ptr<Connector> connector,
                                                std::string url, Clock& clock, Random& random) {
  auto catalog = std::make_unique<SqlCatalog>(std::move(connector), std::move(url), clock, random);
  Status migrated = Migrate(call, catalog->store(), CatalogMigrations());
  if (!migrated.ok()) {
    Error error = std::move(migrated).error();
    if (error.code() != ErrorCode::kUnavailable) return error;
    return std::move(error).WithHint("Nothing was changed, try later.");
  }
  return std::unique_ptr<Catalog>(std::move(catalog));
}

Result<CatalogInfo> SqlCatalog::Describe(const CallContext& call) {
  CatalogInfo info{.server = {}, .url = url_, .schema_version = 0, .clock_offset = {}};
  const bool sqlite = &store_.dialect() == &Dialect::Sqlite();
  Status read = store_.Read(call, [&](Session& session) -> Status {
    HF_TRY(const auto rows,
           session.Query(fmt::format("SELECT {}, {{now}}, (SELECT MAX(version) FROM "
                                     "holdfast_schema WHERE state = 'applied')",
                                     sqlite ? "sqlite_version()" : "VERSION()")));
    Columns columns(rows.at(0));
    const std::string version = columns.Text();
    info.clock_offset = columns.Time() - store_.clock().Wall();
    info.schema_version = static_cast<std::uint32_t>(columns.Number());
    // "8.0.11-TiDB-v8.4.0", "10.11.19-MariaDB-0+deb12u1", "8.0.36".
    const std::size_t tidb = version.find("TiDB-");
    if (sqlite) {
      info.server = "SQLite " + version;
    } else if (tidb != std::string::npos) {
      info.server = "TiDB " + version.substr(tidb + 5);
    } else if (version.find("MariaDB") != std::string::npos) {
      info.server = "MariaDB " + version.substr(0, version.find('-'));
    } else {
      info.server = "MySQL " + version;
    }
    return {};
  });
  if (!read.ok()) return std::move(read).error();
  return info;
}

}  // namespace sql

Result<std::unique_ptr<Catalog>> OpenCatalog(const CallContext& call, CatalogOptions options,
                                             Clock& clock, Random& random) {
  HF_TRY(auto address, sql::ParseAddress(options.url));
  if (auto* sqlite = std::get_if<sql::SqliteAddress>(&address)) {
    return sql::OpenSqlCatalog(call, sql::MakeSqliteConnector(std::move(sqlite->path), clock),
                               std::move(options.url), clock, random);
  }
  auto& mysql = std::get<sql::MysqlAddress>(address);
  return sql::OpenSqlCatalog(call,
                             sql::MakeMysqlConnector({.host = std::move(mysql.host),
                                                      .port = mysql.port,
                                                      .user = std::move(mysql.user),
                                                      .password = std::move(options.password),
                                                      .database = std::move(mysql.database),
                                                      .ca_file = std::move(options.ca_file)},
                                                     clock),
                             std::move(options.url), clock, random);
}

}  // namespace holdfast
