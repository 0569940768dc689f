#include "catalog/sql.h"

#include "base/assert.h"

namespace holdfast::sql {

const Dialect& Dialect::Sqlite() {
  // IMMEDIATE takes the write lock at once: a transaction that reads first and writes later could
  // otherwise only fail with SQLITE_BUSY, whatever the timeout. holdfast_now() is ours.
  static const Dialect dialect("BEGIN IMMEDIATE", "BEGIN", "holdfast_now()", "INTEGER", "TEXT",
                               "TEXT", "STRICT");
  return dialect;
}

const Dialect& Dialect::Mysql() {
  // NOW(6) is the start of the statement; the session's time zone is UTC, so no hour is ambiguous.
  // VARBINARY because collations ignore case or trailing spaces, each product in its own way.
  static const Dialect dialect("START TRANSACTION", "START TRANSACTION",
                               "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)", "BIGINT",
                               "VARBINARY(#)", "MEDIUMTEXT",
                               "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin");
  return dialect;
}

std::string Dialect::Expand(std::string_view sql) const {
  std::string out;
  out.reserve(sql.size() + 64);
  while (true) {
    const std::size_t open = sql.find('{');
    out += sql.substr(0, open);
    if (open == std::string_view::npos) return out;
    const std::size_t close = sql.find('}', open);
    HF_ASSERT(close != std::string_view::npos);
    const std::string_view name = sql.substr(open + 1, close - open - 1);
    if (name == "now") {
      out += now_;
    } else if (name == "int") {
      out += integer_;
    } else if (name == "text") {
      out += text_;
    } else if (name == "table") {
      out += table_;
    } else {
      HF_ASSERT(name.starts_with("key:"));
      for (const char c : key_) {
        if (c == '#') {
          out += name.substr(4);
        } else {
          out += c;
        }
      }
    }
    sql.remove_prefix(close + 1);
  }
}

}  // namespace holdfast::sql
