#include "catalog/sqlite_connection.h"

#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

namespace holdfast::sql {
namespace {

/// How long one statement waits for another process's write; then the transaction runs again.
constexpr Duration kBusyWaitMax = std::chrono::seconds(2);
constexpr Duration kBusyPause = std::chrono::milliseconds(1);

struct CloseDatabase {
  void operator()(sqlite3* database) const noexcept { sqlite3_close_v2(database); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

void Now(sqlite3_context* context, int, sqlite3_value**) {
  auto& clock = *static_cast<Clock*>(sqlite3_user_data(context));
  sqlite3_result_int64(context, clock.Wall().time_since_epoch().count());
}

class SqliteConnection final : public Connection {
 public:
  SqliteConnection(std::string path, Clock& clock) : path_(std::move(path)), clock_(clock) {}

  Status Open(const CallContext& call) {
    sqlite3* raw = nullptr;
    // One thread at a time uses a connection, so SQLite needs no mutex of its own.
    const int code =
        sqlite3_open_v2(path_.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
    database_.reset(raw);
    if (code != SQLITE_OK) return Failure(code);
    sqlite3_extended_result_codes(raw, 1);
    sqlite3_busy_handler(raw, &SqliteConnection::OnBusy, this);
    sqlite3_create_function(raw, "holdfast_now", 0, SQLITE_UTF8, &clock_, &Now, nullptr, nullptr);
    HF_TRY(auto mode, Query(call, "PRAGMA journal_mode=WAL", {}));
    if (mode.size() != 1 || mode[0].size() != 1 || mode[0][0] != Value(std::string("wal"))) {
      return Error(ErrorCode::kFailedPrecondition,
                   fmt::format("the catalog {} cannot use a write-ahead log", path_),
                   "Put it on a local file system; network file systems cannot share one.");
    }
    // FULL: a token that was granted must never be granted again, also not after a power loss.
    HF_RETURN_IF_ERROR(Execute(call, "PRAGMA synchronous=FULL", {}));
    HF_RETURN_IF_ERROR(Execute(call, "PRAGMA foreign_keys=ON", {}));
    return {};
  }

  Result<std::uint64_t> Execute(const CallContext& call, std::string_view sql,
                                std::span<const Value> parameters) override {
    HF_RETURN_IF_ERROR(Step(call, sql, parameters, nullptr));
    return static_cast<std::uint64_t>(sqlite3_changes64(database_.get()));
  }

  Result<std::vector<Row>> Query(const CallContext& call, std::string_view sql,
                                 std::span<const Value> parameters) override {
    std::vector<Row> rows;
    HF_RETURN_IF_ERROR(Step(call, sql, parameters, &rows));
    return rows;
  }

  Fault fault() const noexcept override { return fault_; }

 private:
  static int OnBusy(void* self, int) {
    return static_cast<SqliteConnection*>(self)->WaitForOthers() ? 1 : 0;
  }

  /// Real time, whatever the catalog's clock is: the other process runs in real time too.
  bool WaitForOthers() {
    if (waited_ >= kBusyWaitMax || call_ == nullptr || call_->stop.stop_requested()) return false;
    waited_ += kBusyPause;
    return SystemClock().SleepFor({.stop = call_->stop, .deadline = {}}, kBusyPause).ok();
  }

  Status Step(const CallContext& call, std::string_view sql, std::span<const Value> parameters,
              std::vector<Row>* rows) {
    fault_ = Fault::kNone;
    HF_RETURN_IF_ERROR(clock_.Check(call));
    call_ = &call;
    waited_ = {};
    const int code = StepAll(sql, parameters, rows);
    call_ = nullptr;
    if (code != SQLITE_DONE) return Failure(code);
    return {};
  }

  int StepAll(std::string_view sql, std::span<const Value> parameters, std::vector<Row>* rows) {
    sqlite3_stmt* raw = nullptr;
    int code = sqlite3_prepare_v2(database_.get(), sql.data(), static_cast<int>(sql.size()), &raw,
                                  nullptr);
    const Statement statement(raw);
    if (code != SQLITE_OK) return code;
    int index = 0;
    for (const Value& value : parameters) {
      ++index;
      if (const auto* number = std::get_if<std::int64_t>(&value)) {
        code = sqlite3_bind_int64(raw, index, *number);
      } else if (const auto* text = std::get_if<std::string>(&value)) {
        code =
            sqlite3_bind_text64(raw, index, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
      } else {
        code = sqlite3_bind_null(raw, index);
      }
      if (code != SQLITE_OK) return code;
    }
    while ((code = sqlite3_step(raw)) == SQLITE_ROW) {
      if (rows != nullptr) rows->push_back(Read(raw));
    }
    return code;
  }

  static Row Read(sqlite3_stmt* statement) {
    Row row;
    const int columns = sqlite3_column_count(statement);
    row.reserve(static_cast<std::size_t>(columns));
    for (int i = 0; i < columns; ++i) {
      switch (sqlite3_column_type(statement, i)) {
        case SQLITE_NULL:
          row.emplace_back(std::monostate());
          break;
        case SQLITE_INTEGER:
          row.emplace_back(std::int64_t{sqlite3_column_int64(statement, i)});
          break;
        default: {
          const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, i));
          const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, i));
          row.emplace_back(text == nullptr ? std::string() : std::string(text, size));
        }
      }
    }
    return row;
  }

  Error Failure(int code) {
    const std::string text =
        database_ ? sqlite3_errmsg(database_.get()) : std::string(sqlite3_errstr(code));
    const std::string message = fmt::format("catalog {}: {}", path_, text);
    fault_ = Fault::kOther;
    switch (code & 0xff) {
      case SQLITE_BUSY:
      case SQLITE_LOCKED:
      // Others changed the schema twice while one statement was prepared: SQLite prepares it anew
      // only once. The text is that of the first attempt, often "no such table".
      case SQLITE_SCHEMA:
        fault_ = Fault::kConflict;
        return Error(ErrorCode::kUnavailable, message);
      case SQLITE_CONSTRAINT:
        if (code == SQLITE_CONSTRAINT_PRIMARYKEY || code == SQLITE_CONSTRAINT_UNIQUE) {
          fault_ = Fault::kDuplicate;
          return Error(ErrorCode::kAlreadyExists, message);
        }
        return Error(ErrorCode::kInternal, message);
      case SQLITE_ERROR:
        if (text.ends_with("already exists")) fault_ = Fault::kExists;
        if (text.starts_with("no such table")) fault_ = Fault::kMissing;
        return Error(ErrorCode::kInternal, message);
      case SQLITE_IOERR:
        // A COMMIT that ends so may have been written.
        fault_ = Fault::kLost;
        return Error(ErrorCode::kUnavailable, message, "Look at the disk below the catalog.");
      case SQLITE_FULL:
        return Error(ErrorCode::kResourceExhausted, message, "Make room on the catalog's disk.");
      case SQLITE_NOTADB:
      case SQLITE_CORRUPT:
        return Error(ErrorCode::kDataLoss, message,
                     "Move the file away and run `holdfast catalog rebuild`: the repositories "
                     "hold everything that protects data.");
      case SQLITE_CANTOPEN:
      case SQLITE_PERM:
      case SQLITE_AUTH:
      case SQLITE_READONLY:
        return Error(ErrorCode::kPermissionDenied, message,
                     "The file and its folder must be writable by the user that runs holdfast.");
      default:
        return Error(ErrorCode::kInternal, message);
    }
  }

  const std::string path_;
  Clock& clock_;
  Database database_;
  Fault fault_ = Fault::kNone;
  const CallContext* call_ = nullptr;
  Duration waited_{};
};

class SqliteConnector final : public Connector {
 public:
  SqliteConnector(std::string path, Clock& clock) : path_(std::move(path)), clock_(clock) {}

  const Dialect& dialect() const noexcept override { return Dialect::Sqlite(); }

  Result<std::unique_ptr<Connection>> Connect(const CallContext& call) override {
    HF_RETURN_IF_ERROR(CreateFile());
    auto connection = std::make_unique<SqliteConnection>(path_, clock_);
    if (Status opened = connection->Open(call); !opened.ok()) {
      // The first switch to WAL needs the file for itself; with several first starts it is a
      // conflict like any other.
      if (connection->fault() != Fault::kConflict) return std::move(opened).error();
      return std::move(opened).error().As(ErrorCode::kUnavailable);
    }
    return std::unique_ptr<Connection>(std::move(connection));
  }

 private:
  /// SQLite itself would create the file with the rights of the umask; -wal and -shm inherit ours.
  /// mknod, because closing a descriptor of the file would drop the locks that other connections of
  /// this process hold on it (POSIX advisory locks).
  Status CreateFile() const {
    HF_RETURN_IF_ERROR(CreateFolder(std::filesystem::path(path_).parent_path()));
    if (::mknod(path_.c_str(), S_IFREG | 0600, 0) == 0 || errno == EEXIST) return {};
    const int reason = errno;
    return Error(reason == EACCES || reason == EPERM || reason == EROFS
                     ? ErrorCode::kPermissionDenied
                     : ErrorCode::kConfiguration,
                 fmt::format("catalog {}: {}", path_, std::strerror(reason)),
                 "Name a file in a writable folder: [catalog] url = \"sqlite:///path/to/file\".");
  }

  Status CreateFolder(const std::filesystem::path& folder) const {
    std::error_code failed;
    if (std::filesystem::is_directory(folder, failed)) return {};
    if (folder.has_parent_path() && folder != folder.parent_path()) {
      HF_RETURN_IF_ERROR(CreateFolder(folder.parent_path()));
    }
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
      return Error(errno == EACCES || errno == EPERM || errno == EROFS
                       ? ErrorCode::kPermissionDenied
                       : ErrorCode::kConfiguration,
                   fmt::format("catalog {}: cannot create the folder {}: {}", path_,
                               folder.string(), std::strerror(errno)));
    }
    return {};
  }

  const std::string path_;
  Clock& clock_;
};

}  // namespace

std::unique_ptr<Connector> MakeSqliteConnector(std::string path, Clock& clock) {
  return std::make_unique<SqliteConnector>(std::move(path), clock);
}

}  // namespace holdfast::sql
