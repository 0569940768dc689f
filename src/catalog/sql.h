// The driver seam of the catalog: one statement at a time on one connection, and what kind of
// failure it was. Two drivers (SQLite, MySQL) and the tests' wrappers implement it; nothing above
// knows which.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace holdfast::sql {

using Value = std::variant<std::monostate, std::int64_t, std::string>;
using Row = std::vector<Value>;

/// What the layer that retries must know of a failed statement; the Error beside it is for people.
enum class Fault {
  /// The last statement succeeded, or was never sent.
  kNone,
  /// Two transactions got in each other's way: roll back and run the whole transaction again.
  kConflict,
  /// A row with this key is there.
  kDuplicate,
  /// A table or index of this name is there.
  kExists,
  /// No such table.
  kMissing,
  /// The connection is gone or the server cannot serve it: whether the statement took effect is
  /// unknown. Connect anew, look, run the whole transaction again.
  kLost,
  kOther,
};

/// Where the products differ; all else is one set of SQL. In SQL texts stand
///   {now}    microseconds since 1970 by the database's clock
///   {int}    a 64-bit integer column
///   {key:N}  a column of at most N bytes, compared byte by byte, that can be indexed
///   {text}   a column for a document
///   {table}  what follows the closing bracket of CREATE TABLE
class Dialect {
 public:
  static const Dialect& Sqlite();
  static const Dialect& Mysql();

  std::string Expand(std::string_view sql) const;
  /// Begins a transaction that is going to write.
  std::string_view begin() const noexcept { return begin_; }
  /// Begins one that only reads, all of it as of one instant.
  std::string_view begin_read() const noexcept { return begin_read_; }

 private:
  Dialect(std::string_view begin, std::string_view begin_read, std::string_view now,
          std::string_view integer, std::string_view key, std::string_view text,
          std::string_view table)
      : begin_(begin),
        begin_read_(begin_read),
        now_(now),
        integer_(integer),
        key_(key),
        text_(text),
        table_(table) {}

  std::string_view begin_, begin_read_, now_, integer_, key_, text_, table_;
};

/// Used by one thread at a time. Rows are held in memory: callers bound them with LIMIT.
class Connection {
 public:
  virtual ~Connection() = default;

  /// Returns the number of rows that matched (also those that an UPDATE left as they were).
  /// `sql` is already expanded; one `?` stands for each parameter. kCancelled or kDeadlineExceeded
  /// when `call` has ended.
  virtual Result<std::uint64_t> Execute(const CallContext& call, std::string_view sql,
                                        std::span<const Value> parameters) = 0;
  virtual Result<std::vector<Row>> Query(const CallContext& call, std::string_view sql,
                                         std::span<const Value> parameters) = 0;
  /// Of the last statement on this connection.
  virtual Fault fault() const noexcept = 0;
};

/// Thread-safe.
class Connector {
 public:
  virtual ~Connector() = default;
  virtual const Dialect& dialect() const noexcept = 0;
  /// kUnavailable when trying again later may help.
  virtual Result<std::unique_ptr<Connection>> Connect(const CallContext& call) = 0;
};

}  // namespace holdfast::sql
