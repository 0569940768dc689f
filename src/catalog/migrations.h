// The schema of the catalog and how a database gets there: forward only, by several processes at
// once, across a kill -9 at any point, also where DDL cannot be rolled back (MySQL, TiDB).

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "catalog/sql_store.h"

namespace holdfast::sql {

/// One step of the schema. Released migrations never change; a new one is added behind them.
struct Migration {
  std::uint32_t version = 0;
  std::string_view name;
  /// Each creates one thing, so that "is there already" means that a crashed run had done it.
  std::vector<std::string_view> statements;
};

/// All of them, from version 1 on without a gap.
std::span<const Migration> CatalogMigrations();

/// Sixteen hexadecimal digits (FNV-1a) over the statements: shows an edited migration, no more.
std::string Checksum(const Migration& migration);

/// How long one process may be at work on the schema without a sign of life. Safety does not rest
/// on it: two at once do no harm, because every statement may run again.
constexpr Duration kSchemaLockTerm = std::chrono::seconds(10);
/// How long to wait for another process that is at work on the schema.
constexpr Duration kSchemaPatience = std::chrono::minutes(2);

/// Brings the schema to the last of `migrations`. kFailedPrecondition: it is newer, or a migration
/// was edited, or a table of that name is there that holdfast did not make. kUnavailable: somebody
/// else works on it for too long.
Status Migrate(const CallContext& call, Store& store, std::span<const Migration> migrations,
               Duration lock_term = kSchemaLockTerm);

}  // namespace holdfast::sql
