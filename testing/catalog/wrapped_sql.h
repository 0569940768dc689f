// Wrappers around a driver of the catalog: one refuses what TiDB lacks, one fails statements on
// demand.

#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "catalog/sql.h"

namespace holdfast::testing {

/// Fails every statement that TiDB rejects or, worse, accepts and ignores (measured): SKIP LOCKED,
/// RETURNING, GET_LOCK, row aliases in ON DUPLICATE KEY, anything the other product does not have
/// either, and every statement that carries more than TiDB's largest row, 6,291,456 bytes.
std::unique_ptr<sql::Connector> RefuseWhatTidbLacks(std::unique_ptr<sql::Connector> connector);

/// Which statement fails, and how. Shared by the wrapper and the test; thread-safe. Statements
/// count from 1 over all connections; connecting counts as one.
class SqlFaults {
 public:
  enum class Kind {
    /// A deadlock or write conflict: the transaction is rolled back.
    kConflict,
    /// The connection ends before the statement reaches the server.
    kLostBefore,
    /// The connection ends after the statement took effect, its reply is lost.
    kLostAfter,
    /// This process ends by kill -9 in place of the statement.
    kKill,
  };
  enum class Span { kOnce, kFromThereOn };

  void Fail(std::uint64_t statement, Kind kind, Span span = Span::kOnce);
  /// No more faults.
  void Heal();
  std::uint64_t statements() const;
  /// Whether the planned fault has happened.
  bool met() const;

 private:
  friend class FaultyConnection;
  friend class FaultyConnector;
  /// The fault of the next statement, if any.
  bool Next(Kind& kind);

  mutable std::mutex mutex_;
  std::uint64_t statements_ = 0;
  std::uint64_t fail_at_ = 0;
  Kind kind_ = Kind::kConflict;
  Span span_ = Span::kOnce;
  bool met_ = false;
};

std::unique_ptr<sql::Connector> FailOnDemand(std::unique_ptr<sql::Connector> connector,
                                             std::shared_ptr<SqlFaults> faults);

}  // namespace holdfast::testing
