// A real MariaDB on 127.0.0.1 with a folder of its own, started by the test that needs it.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "catalog/sql.h"
#include "testing/catalog/child_process.h"
#include "testing/temp_folder.h"

namespace holdfast::testing {

struct MariadbTls {
  /// PEM files.
  std::string certificate;
  std::string key;
};

class MariadbServer {
 public:
  /// kUnsupported, saying what to install, when this machine has no MariaDB.
  static Result<std::unique_ptr<MariadbServer>> Start(const MariadbTls* tls = nullptr);

  /// One for the whole test binary, started on first use.
  static Result<MariadbServer*> Shared();

  /// Ends it in order (SIGTERM) and starts it again on the same port and folder.
  void Stop();
  Status StartAgain();

  /// A new empty database; returns its name.
  Result<std::string> CreateDatabase();
  /// Ends every connection but the one that says so.
  Status KillConnections();

  std::uint16_t port() const noexcept { return port_; }
  const std::string& user() const noexcept { return user_; }
  const std::string& password() const noexcept { return password_; }
  std::string url(const std::string& database) const;
  std::unique_ptr<sql::Connector> Connector(const std::string& database) const;

 private:
  MariadbServer() = default;
  Status Install();
  Status Launch();

  TempFolder folder_{TempFolder::Place::kMemory};
  std::uint16_t port_ = 0;
  std::string user_ = "app";
  std::string password_;
  std::string certificate_;
  std::string key_;
  ChildProcess process_;
};

}  // namespace holdfast::testing
