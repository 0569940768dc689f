#include "catalog/sqlite_connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "base/random.h"
#include "catalog/catalog.h"
#include "testing/catalog/child_process.h"
#include "testing/catalog/samples.h"
#include "testing/fake_clock.h"
#include "testing/temp_folder.h"

namespace holdfast::sql {
namespace {

namespace fs = std::filesystem;
using holdfast::testing::FakeClock;
using holdfast::testing::TempFolder;

Result<std::unique_ptr<Catalog>> Open(const fs::path& file) {
  static Random random(1);
  return OpenCatalog({}, {.url = "sqlite://" + file.string(), .password = {}, .ca_file = {}},
                     SystemClock(), random);
}

unsigned ModeOf(const fs::path& path) {
  struct stat found{};
  EXPECT_EQ(::stat(path.c_str(), &found), 0) << path;
  return found.st_mode & 0777;
}

TEST(SqliteCatalog, TheFileAndItsFoldersAreItsUsersAlone) {
  const TempFolder folder;
  const mode_t before = ::umask(0);
  {
    auto catalog = Open(folder.path() / "a" / "b" / "catalog.db");
    ::umask(before);
    ASSERT_TRUE(catalog.ok()) << catalog.error().ToString();
    EXPECT_EQ(ModeOf(folder.path() / "a"), 0700U);
    EXPECT_EQ(ModeOf(folder.path() / "a" / "b"), 0700U);
    for (const char* name : {"catalog.db", "catalog.db-wal", "catalog.db-shm"}) {
      EXPECT_EQ(ModeOf(folder.path() / "a" / "b" / name), 0600U) << name;
    }
  }
  auto again = Open(folder.path() / "a" / "b" / "catalog.db");
  EXPECT_TRUE(again.ok());
}

TEST(SqliteCatalog, AFileThatIsNoCatalogIsNamedAndLeftAlone) {
  const TempFolder folder;
  const fs::path file = folder.path() / "catalog.db";
  const std::string text(10'000, 'x');
  std::ofstream(file) << text;
  auto catalog = Open(file);
  ASSERT_FALSE(catalog.ok());
  EXPECT_EQ(catalog.error().code(), ErrorCode::kDataLoss);
  EXPECT_THAT(catalog.error().message(), ::testing::HasSubstr(file.string()));
  EXPECT_THAT(catalog.error().hint(), ::testing::HasSubstr("catalog rebuild"));
  std::ifstream read(file);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(read), {}), text);
}

TEST(SqliteCatalog, APlaceThatCannotHoldAFileIsAnError) {
  const TempFolder folder;
  fs::create_directory(folder.path() / "catalog.db");
  EXPECT_FALSE(Open(folder.path() / "catalog.db").ok());
  std::ofstream(folder.path() / "file") << "x";
  auto below_a_file = Open(folder.path() / "file" / "catalog.db");
  ASSERT_FALSE(below_a_file.ok());
  EXPECT_THAT(below_a_file.error().message(), ::testing::HasSubstr("Not a directory"));
}

TEST(SqliteCatalog, ForeignKeysAndTypesAreEnforced) {
  const TempFolder folder;
  FakeClock clock;
  Random random(1);
  {
    auto catalog = Open(folder.path() / "catalog.db");
    ASSERT_TRUE(catalog.ok()) << catalog.error().ToString();
  }
  auto connection = MakeSqliteConnector(folder.path() / "catalog.db", clock)->Connect({});
  ASSERT_TRUE(connection.ok());
  EXPECT_FALSE((*connection)
                   ->Execute({},
                             "INSERT INTO holdfast_steps (job_id, step_key, state, attempt, "
                             "ended_us, detail) VALUES ('no such job', 's', 'complete', 1, 1, '')",
                             {})
                   .ok());
  EXPECT_FALSE((*connection)
                   ->Execute({},
                             "INSERT INTO holdfast_leases (name, owner, token, expires_us, writes) "
                             "VALUES ('l', 'o', 'not a number', 1, 1)",
                             {})
                   .ok());
}

TEST(SqliteCatalog, AWriterThatWaitsForAnotherOneEndsWhenItIsStopped) {
  const TempFolder folder;
  FakeClock clock;
  auto connector = MakeSqliteConnector(folder.path() / "catalog.db", clock);
  auto first = connector->Connect({});
  auto second = connector->Connect({});
  ASSERT_TRUE(first.ok() && second.ok());
  HF_EXPECT_OK((*first)->Execute({}, "BEGIN IMMEDIATE", {}));
  std::stop_source stop;
  const CallContext call{.stop = stop.get_token(), .deadline = {}};
  Result<std::uint64_t> waited = std::uint64_t{0};
  std::jthread waiter([&] { waited = (*second)->Execute(call, "BEGIN IMMEDIATE", {}); });
  stop.request_stop();
  waiter.join();
  ASSERT_FALSE(waited.ok());
  HF_EXPECT_OK((*first)->Execute({}, "COMMIT", {}));
  HF_EXPECT_OK((*second)->Execute({}, "BEGIN IMMEDIATE", {}));
}

// --- several processes -------------------------------------------------------------------------

constexpr const char* kFileVariable = "HOLDFAST_TEST_CATALOG_FILE";

/// Takes a lease as often as it can for a while; while it holds it, nobody else may be in.
TEST(SqliteCatalogChild, DISABLED_TakesTurns) {
  const char* file = std::getenv(kFileVariable);
  ASSERT_NE(file, nullptr);
  auto catalog = Open(file);
  ASSERT_TRUE(catalog.ok()) << catalog.error().ToString();
  const fs::path inside = std::string(file) + ".inside";
  for (int turns = 0; turns < 20;) {
    auto lease = (*catalog)->Acquire({}, "turn", "pid " + std::to_string(::getpid()),
                                     std::chrono::seconds(60));
    if (!lease.ok()) {
      ASSERT_EQ(lease.error().code(), ErrorCode::kBusy) << lease.error().ToString();
      std::this_thread::yield();
      continue;
    }
    ++turns;
    ASSERT_TRUE(fs::create_directory(inside)) << "two processes hold the lease";
    fs::remove(inside);
    HF_EXPECT_OK((*catalog)->Release({}, *lease));
  }
}

TEST(SqliteCatalog, OfTwoProcessesOneHoldsTheLease) {
  const TempFolder folder;
  const std::string file = folder.path() / "catalog.db";
  std::vector<holdfast::testing::ChildProcess> children;
  for (int i = 0; i < 2; ++i) {
    children.push_back(holdfast::testing::RunTestInChild(
        "SqliteCatalogChild.DISABLED_TakesTurns", {std::string(kFileVariable) + "=" + file}));
  }
  for (auto& child : children) EXPECT_EQ(child.Wait(), 0);
  auto catalog = Open(file);
  ASSERT_TRUE(catalog.ok());
  auto view = (*catalog)->FindLease({}, "turn");
  ASSERT_TRUE(view.ok() && view->has_value());
  // Twenty grants and twenty releases each.
  EXPECT_EQ((*view)->lease.token, 80U);
}

}  // namespace
}  // namespace holdfast::sql
