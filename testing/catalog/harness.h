// The databases that the catalog's contract runs on.

#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "catalog/catalog.h"
#include "catalog/sql.h"
#include "testing/catalog/wrapped_sql.h"
#include "testing/fake_clock.h"

namespace holdfast::testing {

/// One empty database, and time that a test moves.
class CatalogHarness {
 public:
  virtual ~CatalogHarness() = default;

  /// A driver to this database, without wrappers.
  virtual std::unique_ptr<sql::Connector> NewConnector() = 0;
  /// Every lease is so much older now.
  virtual Status PassTime(Duration length) = 0;
  virtual std::string url() const = 0;

  /// Only for pauses between retries (they take no time), and SQLite's own clock.
  FakeClock& clock() noexcept { return clock_; }
  Random& random() noexcept { return random_; }

  /// A catalog as another process would have it, behind both wrappers. `faults` may be absent.
  Result<std::unique_ptr<Catalog>> Open(std::shared_ptr<SqlFaults> faults = nullptr);

 protected:
  FakeClock clock_;
  Random random_{20261122};
};

enum class CatalogBackend { kSqlite, kMariadb, kExternal };

/// kUnsupported, with the reason, where this machine lacks it.
Result<std::unique_ptr<CatalogHarness>> MakeCatalogHarness(CatalogBackend backend);

inline std::string CatalogBackendName(CatalogBackend backend) {
  switch (backend) {
    case CatalogBackend::kSqlite:
      return "Sqlite";
    case CatalogBackend::kMariadb:
      return "Mariadb";
    default:
      return "External";
  }
}

/// Base of all suites that run on every database; a missing one is skipped with the reason.
class OnEveryCatalog : public ::testing::TestWithParam<CatalogBackend> {
 protected:
  void SetUp() override {
    auto made = MakeCatalogHarness(GetParam());
    if (!made.ok() && made.error().code() == ErrorCode::kUnsupported) {
      GTEST_SKIP() << CatalogBackendName(GetParam()) << ": " << made.error().ToString();
    }
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    harness_ = *std::move(made);
  }

  std::unique_ptr<CatalogHarness> harness_;
};

/// All that can be had here; the external one only where HOLDFAST_TEST_MYSQL_URL names it
/// (catalog_test.cc says so once where it does not).
inline auto EveryCatalog() {
  std::vector<CatalogBackend> backends = {CatalogBackend::kSqlite, CatalogBackend::kMariadb};
  if (std::getenv("HOLDFAST_TEST_MYSQL_URL") != nullptr) {
    backends.push_back(CatalogBackend::kExternal);
  }
  return ::testing::ValuesIn(backends);
}

}  // namespace holdfast::testing
