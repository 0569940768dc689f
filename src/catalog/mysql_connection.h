// The driver of the catalog for TiDB, MySQL and MariaDB.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/secret.h"
#include "catalog/sql.h"

namespace holdfast::sql {

struct MysqlOptions {
  std::string host;
  std::uint16_t port = 4000;
  std::string user;
  Secret password;
  std::string database;
  /// Empty: a plain connection.
  std::string ca_file;
};

/// A stop of the call ends a statement at once (the connection is then gone); a deadline is kept
/// within kNetworkWaitMax.
std::unique_ptr<Connector> MakeMysqlConnector(MysqlOptions options, Clock& clock);

/// Longest wait for the server to take or send a piece of a statement or its answer. Short enough
/// that a connection which went silent is replaced while a lease of 30 s, due after 10, still
/// holds.
constexpr Duration kNetworkWaitMax = std::chrono::seconds(8);

/// What error number `code` of a server or of the client library means for the one who retries.
Fault MysqlFault(unsigned code, std::string_view sqlstate) noexcept;

}  // namespace holdfast::sql
