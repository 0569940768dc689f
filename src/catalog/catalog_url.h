// The catalog's address as the configuration writes it.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"

namespace holdfast::sql {

struct SqliteAddress {
  std::string path;
};

struct MysqlAddress {
  std::string user;
  std::string host;
  std::uint16_t port = 4000;
  std::string database;
};

using Address = std::variant<SqliteAddress, MysqlAddress>;

/// kConfiguration with what is wrong and an example. A password in the URL is refused and is not
/// part of the error.
Result<Address> ParseAddress(std::string_view url);

}  // namespace holdfast::sql
