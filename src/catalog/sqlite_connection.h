// The SQLite driver of the catalog.

#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "catalog/sql.h"

namespace holdfast::sql {

/// Connects to one database file (absolute path), creating it (mode 0600) and its folders (0700).
/// Its clock is `clock`, which outlives it: all processes that share the file share the machine.
std::unique_ptr<Connector> MakeSqliteConnector(std::string path, Clock& clock);

}  // namespace holdfast::sql
