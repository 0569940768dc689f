#include "catalog/mysql_connection.h"

#include <fmt/format.h>
#include <mysql.h>
#include <sys/socket.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <stop_token>
#include <utility>

namespace holdfast::sql {
namespace {

constexpr unsigned kConnectSecondsMax = 5;
// Below kNetworkWaitMax, so that the server's answer comes first.
constexpr unsigned kLockWaitSeconds = 3;

struct CloseMysql {
  void operator()(MYSQL* mysql) const noexcept { mysql_close(mysql); }
};
struct CloseStatement {
  void operator()(MYSQL_STMT* statement) const noexcept { mysql_stmt_close(statement); }
};
struct FreeResult {
  void operator()(MYSQL_RES* result) const noexcept { mysql_free_result(result); }
};
using Mysql = std::unique_ptr<MYSQL, CloseMysql>;
using Statement = std::unique_ptr<MYSQL_STMT, CloseStatement>;
using ResultSet = std::unique_ptr<MYSQL_RES, FreeResult>;

bool IsInteger(enum_field_types type) {
  switch (type) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_YEAR:
      return true;
    default:
      return false;
  }
}

ErrorCode CodeOf(unsigned code, Fault fault) {
  switch (fault) {
    case Fault::kConflict:
    case Fault::kLost:
      return ErrorCode::kUnavailable;
    case Fault::kDuplicate:
      return ErrorCode::kAlreadyExists;
    default:
      break;
  }
  switch (code) {
    case 1044:  // Access denied to the database.
    case 1045:  // Access denied.
    case 1142:  // Command denied on the table.
    case 1227:  // A privilege is missing.
    case 1698:  // Access denied, no password is used.
    case 2026:  // TLS failed: not encrypted, or the certificate is not the one asked for.
      return ErrorCode::kPermissionDenied;
    case 1049:  // Unknown database.
    case 2005:  // Unknown host.
    case 2059:  // An authentication plugin is missing.
      return ErrorCode::kConfiguration;
    case 1021:  // Disk full.
    case 1114:  // Table full.
      return ErrorCode::kResourceExhausted;
    case 1153:  // Packet too large for the server.
    case 8025:  // TiDB: entry too large.
      return ErrorCode::kInvalidArgument;
    default:
      return ErrorCode::kInternal;
  }
}

std::string HintOf(unsigned code) {
  switch (code) {
    case 1044:
    case 1142:
    case 1227:
      return "The user needs all rights on the catalog's database, CREATE and INDEX included.";
    case 1045:
    case 1698:
      return "Check the user in [catalog] url and what password_file holds.";
    case 1049:
      return "Create the database first: CREATE DATABASE <name>.";
    case 2005:
      return "Check the host in [catalog] url.";
    case 2026:
      return "Check that the server speaks TLS and that ca_file holds the authority of its "
             "certificate, which must carry the host's name.";
    case 1153:
      return "Raise max_allowed_packet on the server to 16M or more.";
    default:
      return {};
  }
}

/// Ends a statement that waits for the server when the call is stopped: the other side of a shut
/// down socket is gone at once.
class StopGuard {
 public:
  StopGuard(const CallContext& call, MYSQL* mysql)
      : callback_(call.stop, Shut{static_cast<int>(mysql_get_socket(mysql))}) {}

 private:
  struct Shut {
    int socket;
    void operator()() const noexcept { ::shutdown(socket, SHUT_RDWR); }
  };
  std::stop_callback<Shut> callback_;
};

class MysqlConnection final : public Connection {
 public:
  explicit MysqlConnection(Clock& clock) : clock_(clock) {}

  Status Open(const CallContext& call, const MysqlOptions& options) {
    HF_RETURN_IF_ERROR(clock_.Check(call));
    mysql_.reset(mysql_init(nullptr));
    if (!mysql_) return Error(ErrorCode::kResourceExhausted, "no memory for a connection");
    MYSQL* mysql = mysql_.get();
    const unsigned wait = static_cast<unsigned>(
        std::chrono::duration_cast<std::chrono::seconds>(kNetworkWaitMax).count());
    const unsigned connect = kConnectSecondsMax;
    mysql_optionsv(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &connect);
    mysql_optionsv(mysql, MYSQL_OPT_READ_TIMEOUT, &wait);
    mysql_optionsv(mysql, MYSQL_OPT_WRITE_TIMEOUT, &wait);
    mysql_optionsv(mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    // A server must not be able to ask for files of this machine.
    const unsigned off = 0;
    mysql_optionsv(mysql, MYSQL_OPT_LOCAL_INFILE, &off);
    if (!options.ca_file.empty()) {
      const my_bool on = 1;
      mysql_optionsv(mysql, MYSQL_OPT_SSL_CA, options.ca_file.c_str());
      mysql_optionsv(mysql, MYSQL_OPT_SSL_ENFORCE, &on);
      mysql_optionsv(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &on);
    }
    const unsigned protocol = MYSQL_PROTOCOL_TCP;
    mysql_optionsv(mysql, MYSQL_OPT_PROTOCOL, &protocol);
    // FOUND_ROWS: an UPDATE counts the rows that matched, also those it left as they were.
    std::string password(AsText(options.password.Reveal()));
    const bool connected = mysql_real_connect(mysql, options.host.c_str(), options.user.c_str(),
                                              password.c_str(), options.database.c_str(),
                                              options.port, nullptr, CLIENT_FOUND_ROWS) != nullptr;
    // The library keeps its own copy and wipes it no better; ours is gone at least.
    std::fill(password.begin(), password.end(), '\0');
    if (!connected)
      return Failure(call, mysql_errno(mysql), mysql_sqlstate(mysql), mysql_error(mysql));
    return Status();
  }

  Status SetUp(const CallContext& call) {
    HF_RETURN_IF_ERROR(
        Execute(call,
                fmt::format("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', "
                            "time_zone = '+00:00', autocommit = 1, innodb_lock_wait_timeout = {}",
                            kLockWaitSeconds),
                {}));
    return {};
  }

  Result<std::uint64_t> Execute(const CallContext& call, std::string_view sql,
                                std::span<const Value> parameters) override {
    fault_ = Fault::kNone;
    HF_RETURN_IF_ERROR(clock_.Check(call));
    const StopGuard guard(call, mysql_.get());
    if (parameters.empty()) {
      // START TRANSACTION and its like cannot be prepared on every server.
      MYSQL* mysql = mysql_.get();
      if (mysql_real_query(mysql, sql.data(), sql.size()) != 0) {
        return Failure(call, mysql_errno(mysql), mysql_sqlstate(mysql), mysql_error(mysql));
      }
      const ResultSet unread(mysql_store_result(mysql));
      return unread ? std::uint64_t{0} : mysql_affected_rows(mysql);
    }
    HF_TRY(const Statement statement, Run(call, sql, parameters));
    return std::uint64_t{mysql_stmt_affected_rows(statement.get())};
  }

  Result<std::vector<Row>> Query(const CallContext& call, std::string_view sql,
                                 std::span<const Value> parameters) override {
    fault_ = Fault::kNone;
    HF_RETURN_IF_ERROR(clock_.Check(call));
    const StopGuard guard(call, mysql_.get());
    HF_TRY(const Statement statement, Run(call, sql, parameters));
    return Fetch(call, statement.get());
  }

  Fault fault() const noexcept override { return fault_; }

 private:
  Result<Statement> Run(const CallContext& call, std::string_view sql,
                        std::span<const Value> parameters) {
    Statement statement(mysql_stmt_init(mysql_.get()));
    if (!statement) return Error(ErrorCode::kResourceExhausted, "no memory for a statement");
    MYSQL_STMT* stmt = statement.get();
    std::vector<MYSQL_BIND> binds(parameters.size());
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      MYSQL_BIND& bind = binds[i];
      if (const auto* number = std::get_if<std::int64_t>(&parameters[i])) {
        bind.buffer_type = MYSQL_TYPE_LONGLONG;
        bind.buffer = const_cast<std::int64_t*>(number);
      } else if (const auto* text = std::get_if<std::string>(&parameters[i])) {
        bind.buffer_type = MYSQL_TYPE_STRING;
        bind.buffer = const_cast<char*>(text->data());
        bind.buffer_length = static_cast<unsigned long>(text->size());
      } else {
        bind.buffer_type = MYSQL_TYPE_NULL;
      }
    }
    if (mysql_stmt_prepare(stmt, sql.data(), sql.size()) != 0 ||
        (!binds.empty() && mysql_stmt_bind_param(stmt, binds.data()) != 0) ||
        mysql_stmt_execute(stmt) != 0) {
      return Failure(call, stmt);
    }
    return statement;
  }

  Result<std::vector<Row>> Fetch(const CallContext& call, MYSQL_STMT* stmt) {
    const ResultSet described(mysql_stmt_result_metadata(stmt));
    if (!described) return Failure(call, stmt);
    const unsigned columns = mysql_num_fields(described.get());
    const MYSQL_FIELD* fields = mysql_fetch_fields(described.get());
    struct Cell {
      std::int64_t number = 0;
      unsigned long length = 0;
      my_bool null = 0;
      my_bool error = 0;
    };
    std::vector<Cell> cells(columns);
    std::vector<MYSQL_BIND> binds(columns);
    for (unsigned i = 0; i < columns; ++i) {
      MYSQL_BIND& bind = binds[i];
      bind.is_null = &cells[i].null;
      bind.length = &cells[i].length;
      bind.error = &cells[i].error;
      if (IsInteger(fields[i].type)) {
        bind.buffer_type = MYSQL_TYPE_LONGLONG;
        bind.buffer = &cells[i].number;
      } else {
        // No room yet: the length comes with the row, the bytes with a second call.
        bind.buffer_type = MYSQL_TYPE_STRING;
      }
    }
    if (mysql_stmt_bind_result(stmt, binds.data()) != 0 || mysql_stmt_store_result(stmt) != 0) {
      return Failure(call, stmt);
    }
    std::vector<Row> rows;
    rows.reserve(static_cast<std::size_t>(mysql_stmt_num_rows(stmt)));
    while (true) {
      const int code = mysql_stmt_fetch(stmt);
      if (code == MYSQL_NO_DATA) return rows;
      if (code != 0 && code != MYSQL_DATA_TRUNCATED) return Failure(call, stmt);
      Row row(columns);
      for (unsigned i = 0; i < columns; ++i) {
        if (cells[i].null) continue;
        if (binds[i].buffer_type == MYSQL_TYPE_LONGLONG) {
          row[i] = cells[i].number;
          continue;
        }
        std::string text(cells[i].length, '\0');
        if (!text.empty()) {
          MYSQL_BIND whole{};
          unsigned long length = 0;
          my_bool null = 0;
          whole.buffer_type = MYSQL_TYPE_STRING;
          whole.buffer = text.data();
          whole.buffer_length = cells[i].length;
          whole.length = &length;
          whole.is_null = &null;
          if (mysql_stmt_fetch_column(stmt, &whole, i, 0) != 0) return Failure(call, stmt);
        }
        row[i] = std::move(text);
      }
      rows.push_back(std::move(row));
    }
  }

  Error Failure(const CallContext& call, MYSQL_STMT* stmt) {
    return Failure(call, mysql_stmt_errno(stmt), mysql_stmt_sqlstate(stmt), mysql_stmt_error(stmt));
  }

  Error Failure(const CallContext& call, unsigned code, std::string_view sqlstate,
                std::string_view text) {
    fault_ = MysqlFault(code, sqlstate);
    if (fault_ == Fault::kLost && call.stop.stop_requested()) {
      return Error(ErrorCode::kCancelled, "stopped while the catalog's server was at work");
    }
    return Error(CodeOf(code, fault_), fmt::format("{} (error {})", text, code), HintOf(code));
  }

  Clock& clock_;
  Mysql mysql_;
  Fault fault_ = Fault::kNone;
};

class MysqlConnector final : public Connector {
 public:
  MysqlConnector(MysqlOptions options, Clock& clock) : options_(std::move(options)), clock_(clock) {
    static std::once_flag once;
    std::call_once(once, [] { mysql_library_init(0, nullptr, nullptr); });
  }

  const Dialect& dialect() const noexcept override { return Dialect::Mysql(); }

  Result<std::unique_ptr<Connection>> Connect(const CallContext& call) override {
    auto connection = std::make_unique<MysqlConnection>(clock_);
    Status opened = connection->Open(call, options_);
    if (opened.ok()) opened = connection->SetUp(call);
    if (!opened.ok()) {
      return std::move(opened).error().While(fmt::format(
          "catalog {}@{}:{}/{}", options_.user, options_.host, options_.port, options_.database));
    }
    return std::unique_ptr<Connection>(std::move(connection));
  }

 private:
  const MysqlOptions options_;
  Clock& clock_;
};

}  // namespace

std::unique_ptr<Connector> MakeMysqlConnector(MysqlOptions options, Clock& clock) {
  return std::make_unique<MysqlConnector>(std::move(options), clock);
}

Fault MysqlFault(unsigned code, std::string_view sqlstate) noexcept {
  switch (code) {
    case 1020:  // Record has changed since last read (MariaDB's snapshot isolation).
    case 1205:  // Lock wait timeout.
    case 1213:  // Deadlock.
    case 8002:  // TiDB: write conflict of SELECT FOR UPDATE.
    case 8022:  // TiDB: COMMIT failed and was rolled back.
    case 8028:  // TiDB: the schema changed while the transaction was under way.
    case 9007:  // TiDB: write conflict, found at COMMIT in optimistic mode.
      return Fault::kConflict;
    case 1062:  // Duplicate entry.
    case 1586:
      return Fault::kDuplicate;
    case 1050:  // Table exists.
    case 1060:  // Column exists.
    case 1061:  // Index exists.
      return Fault::kExists;
    case 1146:
      return Fault::kMissing;
    case 1040:  // Too many connections.
    case 1053:  // Server shutdown in progress.
    case 1077:  // Normal shutdown.
    case 1152:  // Aborted connection.
    case 1158:  // Network errors, seen from the server.
    case 1159:
    case 1160:
    case 1161:
    case 1203:  // Too many connections of this user.
    case 1290:  // The server runs with --read-only: the primary has moved.
    case 1792:  // Read-only transaction.
    case 1836:  // Read-only mode.
    case 1927:  // Connection was killed.
    case 4031:  // Disconnected by the server because of inactivity.
    case 2002:  // Cannot connect.
    case 2003:
    case 2006:  // Server has gone away.
    case 2012:  // Error in the handshake.
    case 2013:  // Lost connection during a statement.
    case 2055:
    case 8501:  // TiDB: the result of COMMIT is undetermined.
    case 9001:  // TiDB: placement driver or storage time out or are busy.
    case 9002:
    case 9003:
    case 9004:
    case 9005:
    case 9006:
      return Fault::kLost;
    default:
      return sqlstate == "40001" ? Fault::kConflict : Fault::kOther;
  }
}

}  // namespace holdfast::sql
