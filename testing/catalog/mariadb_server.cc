#include "testing/catalog/mariadb_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "catalog/mysql_connection.h"

namespace holdfast::testing {
namespace {

namespace fs = std::filesystem;
constexpr const char* kServer = "/usr/sbin/mariadbd";
constexpr const char* kInstaller = "/usr/bin/mariadb-install-db";
constexpr Duration kStartMax = std::chrono::seconds(60);

std::uint16_t FreePort() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  HF_ASSERT(socket >= 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  HF_ASSERT(::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0);
  HF_ASSERT(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

std::string ReadAll(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// As root the server must be told to stay root: the folder is ours.
void AddUser(std::vector<std::string>& arguments) {
  if (::getuid() == 0) arguments.emplace_back("--user=root");
}

}  // namespace

Result<std::unique_ptr<MariadbServer>> MariadbServer::Start(const MariadbTls* tls) {
  if (!fs::exists(kServer) || !fs::exists(kInstaller)) {
    return Error(ErrorCode::kUnsupported, fmt::format("there is no {} on this machine", kServer),
                 "apt-get install mariadb-server");
  }
  std::unique_ptr<MariadbServer> server(new MariadbServer);
  if (tls != nullptr) {
    server->certificate_ = tls->certificate;
    server->key_ = tls->key;
  }
  server->password_ = fmt::format("{:x}", std::random_device()());
  HF_RETURN_IF_ERROR(server->Install());
  HF_RETURN_IF_ERROR(server->Launch());
  return server;
}

Result<MariadbServer*> MariadbServer::Shared() {
  static Result<std::unique_ptr<MariadbServer>> server = Start();
  if (!server.ok()) return server.error();
  return server->get();
}

Status MariadbServer::Install() {
  const std::string log = folder_.path() / "install.log";
  std::vector<std::string> arguments = {
      kInstaller, "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db",
      fmt::format("--datadir={}/data", folder_.path().string())};
  AddUser(arguments);
  ChildProcess installer(arguments, {}, log);
  if (const int status = installer.Wait(); status != 0) {
    return Error(ErrorCode::kInternal,
                 fmt::format("mariadb-install-db ended with {}: {}", status, ReadAll(log)));
  }
  std::ofstream(folder_.path() / "init.sql") << fmt::format(
      "CREATE USER IF NOT EXISTS '{0}'@'127.0.0.1' IDENTIFIED BY '{1}';\n"
      "GRANT ALL ON *.* TO '{0}'@'127.0.0.1';\n"
      "CREATE DATABASE IF NOT EXISTS harness;\n",
      user_, password_);
  return {};
}

Status MariadbServer::Launch() {
  const std::string folder = folder_.path();
  Error last(ErrorCode::kInternal, "");
  // Somebody else may take the free port in between.
  for (int tries = 0; tries < 3; ++tries) {
    if (port_ == 0) port_ = FreePort();
    std::vector<std::string> arguments = {
        kServer, "--no-defaults", fmt::format("--datadir={}/data", folder),
        fmt::format("--socket={}/s.sock", folder), fmt::format("--pid-file={}/pid", folder),
        fmt::format("--init-file={}/init.sql", folder), fmt::format("--port={}", port_),
        "--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin",
        "--performance-schema=OFF", "--innodb-buffer-pool-size=64M",
        "--innodb-flush-log-at-trx-commit=0",
        // What is written need not survive the machine.
        "--innodb-flush-method=nosync", "--skip-innodb-doublewrite"};
    AddUser(arguments);
    if (!certificate_.empty()) {
      arguments.push_back("--ssl-cert=" + certificate_);
      arguments.push_back("--ssl-key=" + key_);
    }
    process_ = ChildProcess(arguments, {}, folder + "/server.log");
    const MonotonicTime until = SystemClock().Monotonic() + kStartMax;
    while (process_.running() && SystemClock().Monotonic() < until) {
      auto connector = Connector("harness");
      auto connection = connector->Connect({});
      if (connection.ok()) return {};
      last = std::move(connection).error();
      if (Status slept = SystemClock().SleepFor({}, std::chrono::milliseconds(50)); !slept.ok()) {
        return slept;
      }
    }
    process_.Kill();
    port_ = 0;
  }
  return Error(ErrorCode::kInternal, fmt::format("MariaDB did not start: {}; log: {}",
                                                 last.ToString(), ReadAll(folder + "/server.log")));
}

void MariadbServer::Stop() {
  process_.Signal(SIGTERM);
  process_.Wait();
}

Status MariadbServer::StartAgain() { return Launch(); }

Result<std::string> MariadbServer::CreateDatabase() {
  static std::atomic<int> next = 0;
  const std::string name = fmt::format("t{}", next++);
  auto connector = Connector("harness");
  HF_TRY(auto connection, connector->Connect({}));
  // Latin-1, so that a table which forgets its own character set is found out.
  HF_RETURN_IF_ERROR(
      connection->Execute({}, fmt::format("CREATE DATABASE {} CHARACTER SET latin1", name), {}));
  return name;
}

Status MariadbServer::KillConnections() {
  auto connector = Connector("harness");
  HF_TRY(auto connection, connector->Connect({}));
  HF_TRY(const auto rows, connection->Query({},
                                            "SELECT id FROM information_schema.processlist "
                                            "WHERE user = 'app' AND id <> CONNECTION_ID()",
                                            {}));
  for (const sql::Row& row : rows) {
    // One that has just ended by itself is fine.
    auto killed = connection->Execute(
        {}, fmt::format("KILL CONNECTION {}", std::get<std::int64_t>(row[0])), {});
    if (!killed.ok() && killed.error().message().find("1094") == std::string::npos) {
      return std::move(killed).error();
    }
  }
  return {};
}

std::unique_ptr<sql::Connector> MariadbServer::Connector(const std::string& database) const {
  return sql::MakeMysqlConnector({.host = "127.0.0.1",
                                  .port = port_,
                                  .user = user_,
                                  .password = Secret::FromText(password_),
                                  .database = database,
                                  .ca_file = {}},
                                 SystemClock());
}

std::string MariadbServer::url(const std::string& database) const {
  return fmt::format("mysql://{}@127.0.0.1:{}/{}", user_, port_, database);
}

}  // namespace holdfast::testing
