#include "catalog/migrations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "catalog/sql_catalog.h"
#include "catalog/sqlite_connection.h"
#include "testing/catalog/child_process.h"
#include "testing/catalog/harness.h"
#include "testing/catalog/samples.h"
#include "testing/temp_folder.h"

namespace holdfast::sql {
namespace {

using holdfast::testing::EveryCatalog;
using holdfast::testing::OnEveryCatalog;
using holdfast::testing::RunTestInChild;
using holdfast::testing::SqlFaults;
using holdfast::testing::TempFolder;

std::vector<Migration> WithExtra() {
  const auto released = CatalogMigrations();
  std::vector<Migration> migrations(released.begin(), released.end());
  migrations.push_back(
      {.version = static_cast<std::uint32_t>(migrations.size() + 1),
       .name = "something more",
       .statements = {"CREATE TABLE holdfast_extra (id {int} NOT NULL PRIMARY KEY) {table}",
                      "CREATE INDEX holdfast_extra_id ON holdfast_extra (id)"}});
  return migrations;
}

class Migrations : public OnEveryCatalog {
 protected:
  std::unique_ptr<Store> NewStore(std::shared_ptr<SqlFaults> faults = nullptr) {
    auto connector = holdfast::testing::RefuseWhatTidbLacks(harness_->NewConnector());
    if (faults) connector = holdfast::testing::FailOnDemand(std::move(connector), faults);
    return std::make_unique<Store>(std::move(connector), harness_->clock(), harness_->random());
  }

  Status Execute(const std::string& sql) {
    auto store = NewStore();
    return store->Write({}, [&](Session& session) -> Status {
      HF_RETURN_IF_ERROR(session.Execute(sql));
      return {};
    });
  }

  /// The schema serves everything the catalog does.
  void ExpectUsable() {
    auto catalog = harness_->Open();
    ASSERT_TRUE(catalog.ok()) << catalog.error().ToString();
    auto lease = (*catalog)->Acquire({}, "l", "me", std::chrono::seconds(30));
    ASSERT_TRUE(lease.ok()) << lease.error().ToString();
    holdfast::NewJob job = holdfast::testing::SampleJob("j");
    job.lease_name = "l";
    HF_EXPECT_OK((*catalog)->AddJob({}, job, &*lease));
    HF_EXPECT_OK((*catalog)->PutStep({}, *lease, job.id, {.key = "s"}));
    HF_EXPECT_OK((*catalog)->SeeRepository({}, {.repository_id = "repo", .url = "file:///x"}));
    HF_EXPECT_OK((*catalog)->PutGroup({}, holdfast::testing::SampleGroup("g", {})));
  }
};

TEST_P(Migrations, AnEmptyDatabaseGetsTheSchemaOnce) {
  for (int i = 0; i < 2; ++i) {
    auto store = NewStore();
    HF_EXPECT_OK(Migrate({}, *store, CatalogMigrations()));
  }
  ExpectUsable();
}

TEST_P(Migrations, ALaterOneIsAddedToWhatIsThere) {
  HF_EXPECT_OK(Migrate({}, *NewStore(), CatalogMigrations()));
  HF_EXPECT_OK(
      Execute("INSERT INTO holdfast_leases (name, owner, token, expires_us, writes) "
              "VALUES ('kept', 'x', 7, 0, 0)"));
  HF_EXPECT_OK(Migrate({}, *NewStore(), WithExtra()));
  HF_EXPECT_OK(Execute("INSERT INTO holdfast_extra (id) VALUES (1)"));
  auto store = NewStore();
  std::int64_t token = 0;
  HF_EXPECT_OK(store->Read({}, [&](Session& session) -> Status {
    HF_TRY(const auto rows, session.Query("SELECT token FROM holdfast_leases WHERE name = 'kept'"));
    token = std::get<std::int64_t>(rows.at(0).at(0));
    return {};
  }));
  EXPECT_EQ(token, 7);
}

TEST_P(Migrations, ANewerSchemaIsRefusedAndNothingIsTouched) {
  HF_EXPECT_OK(Migrate({}, *NewStore(), WithExtra()));
  const Status refused = Migrate({}, *NewStore(), CatalogMigrations());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().message(), ::testing::HasSubstr("schema 2, made by a newer"));
  EXPECT_FALSE(refused.error().hint().empty());
}

TEST_P(Migrations, AnEditedMigrationIsRefused) {
  HF_EXPECT_OK(Migrate({}, *NewStore(), WithExtra()));
  std::vector<Migration> edited = WithExtra();
  edited.back().statements.pop_back();
  HF_EXPECT_CODE(Migrate({}, *NewStore(), edited), kFailedPrecondition);
}

TEST_P(Migrations, ATableOfSomebodyElseIsRefusedEveryTime) {
  HF_EXPECT_OK(Migrate({}, *NewStore(), CatalogMigrations()));
  HF_EXPECT_OK(Execute("CREATE TABLE holdfast_extra (other {int}) {table}"));
  for (int i = 0; i < 2; ++i) {
    const Status refused = Migrate({}, *NewStore(), WithExtra());
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), ErrorCode::kFailedPrecondition);
    EXPECT_THAT(refused.error().message(), ::testing::HasSubstr("did not make"));
  }
  HF_EXPECT_OK(Execute("DROP TABLE holdfast_extra"));
  HF_EXPECT_OK(Migrate({}, *NewStore(), WithExtra()));
}

TEST_P(Migrations, OneFaultAtAnyStatementIsOvercome) {
  // Tables are dropped between the runs; a new database for each would take longer.
  constexpr std::array kTables = {"steps",        "job_documents", "jobs",   "leases",     "groups",
                                  "repositories", "operations",    "schema", "schema_lock"};
  for (const auto kind :
       {SqlFaults::Kind::kConflict, SqlFaults::Kind::kLostBefore, SqlFaults::Kind::kLostAfter}) {
    std::uint64_t met = 0;
    for (std::uint64_t n = 1;; ++n) {
      SCOPED_TRACE("statement " + std::to_string(n));
      auto faults = std::make_shared<SqlFaults>();
      auto store = NewStore(faults);
      faults->Fail(n, kind);
      const Status migrated = Migrate({}, *store, CatalogMigrations());
      ASSERT_TRUE(migrated.ok()) << migrated.error().ToString();
      store.reset();
      HF_EXPECT_OK(Migrate({}, *NewStore(), CatalogMigrations()));
      if (!faults->met()) break;
      ++met;
      for (const char* table : kTables) {
        HF_EXPECT_OK(Execute(std::string("DROP TABLE holdfast_") + table));
      }
    }
    EXPECT_GT(met, 30U);
  }
  ExpectUsable();
}

TEST_P(Migrations, AStartThatBrokeOffAtAnyStatementIsFinishedByTheNext) {
  constexpr std::array kTables = {"steps",        "job_documents", "jobs",   "leases",     "groups",
                                  "repositories", "operations",    "schema", "schema_lock"};
  std::uint64_t met = 0;
  for (std::uint64_t n = 1;; ++n) {
    SCOPED_TRACE("from statement " + std::to_string(n) + " on");
    auto faults = std::make_shared<SqlFaults>();
    auto broken = NewStore(faults);
    faults->Fail(n, SqlFaults::Kind::kLostAfter, SqlFaults::Span::kFromThereOn);
    const Status first = Migrate({}, *broken, CatalogMigrations());
    EXPECT_EQ(first.ok(), !faults->met());
    broken.reset();
    // The lock of the dead one expires by the database's clock.
    (void)Execute("UPDATE holdfast_schema_lock SET expires_us = 0");
    const Status second = Migrate({}, *NewStore(), CatalogMigrations());
    ASSERT_TRUE(second.ok()) << second.error().ToString();
    if (!faults->met()) break;
    ++met;
    for (const char* table : kTables) {
      HF_EXPECT_OK(Execute(std::string("DROP TABLE holdfast_") + table));
    }
  }
  EXPECT_GT(met, 30U);
  ExpectUsable();
}

TEST_P(Migrations, ManyFirstStartsAtOnceAllSucceed) {
  std::vector<Status> results(8, Status());
  {
    std::vector<std::jthread> starts;
    for (Status& result : results) {
      starts.emplace_back([this, &result] { result = Migrate({}, *NewStore(), WithExtra()); });
    }
  }
  for (const Status& result : results) {
    EXPECT_TRUE(result.ok()) << result.error().ToString();
  }
}

INSTANTIATE_TEST_SUITE_P(Databases, Migrations, EveryCatalog(), [](const auto& test) {
  return holdfast::testing::CatalogBackendName(test.param);
});

// --- real processes, SQLite --------------------------------------------------------------------

constexpr const char* kFileVariable = "HOLDFAST_TEST_CATALOG_FILE";
constexpr const char* kKillVariable = "HOLDFAST_TEST_KILL_AT";
/// Short, so that the successor of a killed process need not wait for long.
constexpr Duration kShortLock = std::chrono::milliseconds(200);

/// Run by the tests below in a process of its own, which kills itself at a statement.
TEST(MigrationsChild, DISABLED_OpensTheCatalog) {
  const char* file = std::getenv(kFileVariable);
  ASSERT_NE(file, nullptr);
  auto faults = std::make_shared<SqlFaults>();
  if (const char* at = std::getenv(kKillVariable)) {
    faults->Fail(std::strtoull(at, nullptr, 10), SqlFaults::Kind::kKill);
  }
  Random random(1);
  Store store(holdfast::testing::FailOnDemand(MakeSqliteConnector(file, SystemClock()), faults),
              SystemClock(), random);
  HF_EXPECT_OK(Migrate({}, store, WithExtra(), kShortLock));
}

/// The next start after a kill: the schema is whole.
void ExpectFinished(const std::string& file) {
  Random random(2);
  Store store(MakeSqliteConnector(file, SystemClock()), SystemClock(), random);
  const Status finished = Migrate({}, store, WithExtra(), kShortLock);
  ASSERT_TRUE(finished.ok()) << finished.error().ToString();
  HF_EXPECT_OK(store.Write({}, [&](Session& session) -> Status {
    HF_RETURN_IF_ERROR(session.Execute("INSERT INTO holdfast_extra (id) VALUES (1)"));
    return {};
  }));
}

TEST(MigrationsAcrossProcesses, ManyFirstStartsAtOnceAllSucceed) {
  const TempFolder folder;
  const std::string file = folder.path() / "new" / "folder" / "catalog.db";
  std::vector<holdfast::testing::ChildProcess> children;
  for (int i = 0; i < 4; ++i) {
    children.push_back(RunTestInChild("MigrationsChild.DISABLED_OpensTheCatalog",
                                      {std::string(kFileVariable) + "=" + file}));
  }
  for (auto& child : children) EXPECT_EQ(child.Wait(), 0);
}

TEST(MigrationsAcrossProcesses, AStartKilledAtAStatementIsFinishedByTheNext) {
  int killed = 0;
  for (int n = 1;; n += 4) {
    SCOPED_TRACE("statement " + std::to_string(n));
    const TempFolder folder(TempFolder::Place::kMemory);
    const std::string file = folder.path() / "catalog.db";
    auto child = RunTestInChild("MigrationsChild.DISABLED_OpensTheCatalog",
                                {std::string(kFileVariable) + "=" + file,
                                 std::string(kKillVariable) + "=" + std::to_string(n)});
    const int ended = child.Wait();
    ExpectFinished(file);
    if (HasFatalFailure()) return;
    if (ended == 0) break;
    ASSERT_EQ(ended, -SIGKILL);
    ++killed;
  }
  EXPECT_GT(killed, 10);
}

TEST(MigrationsAcrossProcesses, AStartKilledAtAnyMomentIsFinishedByTheNext) {
  Random random(7);
  for (int round = 0; round < 12; ++round) {
    const TempFolder folder(TempFolder::Place::kMemory);
    const std::string file = folder.path() / "catalog.db";
    auto child = RunTestInChild("MigrationsChild.DISABLED_OpensTheCatalog",
                                {std::string(kFileVariable) + "=" + file});
    // From when the file is there, somewhere within the time that a whole start takes here.
    while (child.running() && !std::filesystem::exists(file)) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds(random.Between(0, 6'000)));
    child.Kill();
    ExpectFinished(file);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace holdfast::sql
