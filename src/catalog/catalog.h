// The catalog: what happened and who works on what. A cache of the repositories that also
// coordinates the workers. One set of portable SQL for SQLite, TiDB, MySQL and MariaDB.

#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "base/secret.h"
#include "catalog/group_catalog.h"
#include "catalog/job_journal.h"
#include "catalog/lease_table.h"

namespace holdfast {

/// What is at the other end, for `check` and bug reports.
struct CatalogInfo {
  /// "SQLite 3.40.1", "MariaDB 10.11.19", "TiDB v8.4.0", "MySQL 8.0.36".
  std::string server;
  /// As configured, without a password: it never holds one.
  std::string url;
  /// The schema's version, which is the program's own after a successful open.
  std::uint32_t schema_version = 0;
  /// The database's clock minus this machine's: a hint to a clock that is off.
  Duration clock_offset{};
};

/// One database object behind three roles. Hand out the narrowest role that does.
class Catalog : public GroupCatalog, public JobJournal, public LeaseTable {
 public:
  /// Asks the database, so it also proves that it can be reached.
  virtual Result<CatalogInfo> Describe(const CallContext& call) = 0;
};

struct CatalogOptions {
  /// "sqlite:///absolute/path.db" or "mysql://user@host:port/database" (default port 4000, TiDB's).
  /// User and database may be percent-encoded; a password in it is refused.
  std::string url;
  /// Of the MySQL user; empty for none. Never part of an error.
  Secret password;
  /// A PEM file of the authorities to trust: TLS is then required and the server's certificate and
  /// name are verified. Without it the connection is plain.
  std::string ca_file;
};

/// Opens the catalog, creating the SQLite file (mode 0600) and its folder (0700) where needed, and
/// brings the schema up to date; several processes may do so at once. `clock` and `random` outlive
/// the catalog.
/// kConfiguration: the URL or the database name is wrong. kPermissionDenied: the user, the file's
/// rights, the server's certificate. kUnavailable: the server cannot be reached; nothing was
/// changed, try later. kFailedPrecondition: the schema is newer than this program, or was changed
/// by hand. kDataLoss: the file is damaged or no catalog.
Result<std::unique_ptr<Catalog>> OpenCatalog(const CallContext& call, CatalogOptions options,
                                             Clock& clock, Random& random);

}  // namespace holdfast
