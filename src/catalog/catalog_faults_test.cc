// Every statement that the catalog sends fails once, in every way; nothing is lost, done twice or
// done by half.

#include <gmock/gmock.h>

#include <functional>
#include <memory>
#include <string>

#include "testing/catalog/harness.h"
#include "testing/catalog/samples.h"

namespace holdfast::testing {
namespace {

using Kind = SqlFaults::Kind;

constexpr const char* kLease = "cluster/prod/restore";

std::string KindName(Kind kind) {
  switch (kind) {
    case Kind::kConflict:
      return "conflict";
    case Kind::kLostBefore:
      return "lost before";
    default:
      return "lost after";
  }
}

/// One life of a worker: everything the catalog does, in an order that occurs. `id` keeps the runs
/// apart.
Status Work(Catalog& catalog, const std::string& id) {
  const CallContext call;
  const std::string name = std::string(kLease) + id;
  const RepositoryRecord repository{.repository_id = "repo" + id, .url = "file:///srv/repo"};
  HF_RETURN_IF_ERROR(catalog.SeeRepository(call, repository));
  HF_TRY(const Lease lease, catalog.Acquire(call, name, "worker", kTerm));
  NewJob job = SampleJob("job" + id);
  job.lease_name = name;
  HF_RETURN_IF_ERROR(catalog.AddJob(call, job, nullptr));
  HF_RETURN_IF_ERROR(catalog.StartJob(call, lease, job.id));
  HF_RETURN_IF_ERROR(catalog.UpdateJob(call, lease, job.id, {.subject = "g", .plan_json = "[1]"}));
  HF_RETURN_IF_ERROR(
      catalog.PutStep(call, lease, job.id, {.key = "one", .detail_json = "{\"n\":1}"}));
  HF_RETURN_IF_ERROR(catalog.Renew(call, lease, kTerm));
  GroupRecord group = SampleGroup("g" + id, std::chrono::seconds(1));
  group.repository_id = repository.repository_id;
  HF_RETURN_IF_ERROR(catalog.PutGroup(call, group));
  group.id = GroupId("stale" + id);
  HF_RETURN_IF_ERROR(catalog.PutGroup(call, group));
  HF_RETURN_IF_ERROR(catalog.FinishJob(call, lease, job.id,
                                       {.state = JobState::kComplete, .result_json = "{\"r\":1}"}));
  HF_RETURN_IF_ERROR(catalog.Release(call, lease));
  HF_TRY(const std::uint64_t rebuild, catalog.BeginRebuild(call, repository.repository_id));
  group.id = GroupId("g" + id);
  HF_RETURN_IF_ERROR(catalog.PutGroup(call, group));
  HF_TRY(const std::uint64_t removed,
         catalog.FinishRebuild(call, repository.repository_id, rebuild));
  if (removed != 1 || rebuild != 1) {
    return Error(ErrorCode::kInternal, "the rebuild was not done exactly once");
  }
  return {};
}

/// What must be there after one whole life, however it went.
void ExpectDoneOnce(Catalog& catalog, const std::string& id) {
  const CallContext call;
  auto job = catalog.FindJob(call, JobId("job" + id));
  ASSERT_TRUE(job.ok() && job->has_value());
  EXPECT_EQ((*job)->record.state, JobState::kComplete);
  EXPECT_EQ((*job)->record.attempt, 1U);
  EXPECT_EQ((*job)->record.subject, "g");
  EXPECT_EQ((*job)->documents.plan_json, "[1]");
  EXPECT_EQ((*job)->documents.result_json, "{\"r\":1}");
  auto step = catalog.FindStep(call, JobId("job" + id), "one");
  ASSERT_TRUE(step.ok() && step->has_value());
  EXPECT_EQ((*step)->detail_json, "{\"n\":1}");
  auto lease = catalog.FindLease(call, kLease + id);
  ASSERT_TRUE(lease.ok() && lease->has_value());
  EXPECT_FALSE((*lease)->held);
  // One grant and one release, each of which moved the token on once.
  EXPECT_EQ((*lease)->lease.token, 2U);
  GroupFilter filter;
  filter.repository_id = "repo" + id;
  auto groups = catalog.ListGroups(call, filter, 10, std::nullopt);
  ASSERT_TRUE(groups.ok());
  EXPECT_THAT(IdsOf(*groups), ::testing::ElementsAre("g" + id));
}

class CatalogFaults : public OnEveryCatalog {};

TEST_P(CatalogFaults, OneFaultAtAnyStatementIsOvercome) {
  auto healthy = harness_->Open();
  ASSERT_TRUE(healthy.ok()) << healthy.error().ToString();
  for (const Kind kind : {Kind::kConflict, Kind::kLostBefore, Kind::kLostAfter}) {
    std::uint64_t met = 0;
    for (std::uint64_t n = 1;; ++n) {
      SCOPED_TRACE("statement " + std::to_string(n) + ", " + KindName(kind));
      const std::string id = "/" + KindName(kind) + "/" + std::to_string(n);
      auto faults = std::make_shared<SqlFaults>();
      auto catalog = harness_->Open(faults);
      ASSERT_TRUE(catalog.ok()) << catalog.error().ToString();
      faults->Fail(n, kind);
      const Status worked = Work(**catalog, id);
      ASSERT_TRUE(worked.ok()) << worked.error().ToString();
      ExpectDoneOnce(**healthy, id);
      if (HasFatalFailure() || HasNonfatalFailure()) return;
      if (!faults->met()) break;
      ++met;
    }
    EXPECT_GT(met, 50U) << "the faults were not met";
  }
}

TEST_P(CatalogFaults, ADatabaseThatGoesAwayAtAnyStatementLeavesWholeRecords) {
  auto healthy = harness_->Open();
  ASSERT_TRUE(healthy.ok()) << healthy.error().ToString();
  const CallContext call;
  std::uint64_t met = 0;
  for (std::uint64_t n = 1;; ++n) {
    SCOPED_TRACE("from statement " + std::to_string(n) + " on");
    const std::string id = "/" + std::to_string(n);
    auto faults = std::make_shared<SqlFaults>();
    auto catalog = harness_->Open(faults);
    ASSERT_TRUE(catalog.ok()) << catalog.error().ToString();
    faults->Fail(n, Kind::kLostAfter, SqlFaults::Span::kFromThereOn);
    const Status worked = Work(**catalog, id);
    if (!faults->met()) {
      EXPECT_TRUE(worked.ok());
      break;
    }
    ++met;
    ASSERT_FALSE(worked.ok());
    EXPECT_EQ(worked.error().code(), ErrorCode::kUnavailable) << worked.error().ToString();
    // What is there is whole: a job has its request, a job that ended has its result.
    auto job = (*healthy)->FindJob(call, JobId("job" + id));
    ASSERT_TRUE(job.ok()) << job.error().ToString();
    if (*job) {
      EXPECT_EQ((*job)->documents.request_json, SampleJob("").request_json);
      EXPECT_EQ((*job)->documents.plan_json.empty(), (*job)->record.subject.empty());
      EXPECT_EQ((*job)->documents.result_json.empty(), (*job)->record.state != JobState::kComplete);
    }
  }
  EXPECT_GT(met, 50U);
}

TEST_P(CatalogFaults, ACatalogOutOfReachSaysSoAndWorksAgainAfterwards) {
  auto faults = std::make_shared<SqlFaults>();
  auto catalog = harness_->Open(faults);
  ASSERT_TRUE(catalog.ok()) << catalog.error().ToString();
  faults->Fail(1, Kind::kLostBefore, SqlFaults::Span::kFromThereOn);
  const Status refused = Work(**catalog, "");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kUnavailable);
  faults->Heal();
  const Status worked = Work(**catalog, "");
  EXPECT_TRUE(worked.ok()) << worked.error().ToString();
}

TEST_P(CatalogFaults, ConflictsThatDoNotStopAreReportedAsUnavailableNotAsALostLease) {
  auto faults = std::make_shared<SqlFaults>();
  auto catalog = harness_->Open(faults);
  ASSERT_TRUE(catalog.ok()) << catalog.error().ToString();
  faults->Fail(1, Kind::kConflict, SqlFaults::Span::kFromThereOn);
  const Status refused = Work(**catalog, "");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kUnavailable);
}

INSTANTIATE_TEST_SUITE_P(Databases, CatalogFaults, EveryCatalog(),
                         [](const auto& test) { return CatalogBackendName(test.param); });

// --- the wrapper itself ------------------------------------------------------------------------

TEST(RefuseWhatTidbLacks, RefusesEachOfIt) {
  auto harness = MakeCatalogHarness(CatalogBackend::kSqlite);
  ASSERT_TRUE(harness.ok());
  auto connector = RefuseWhatTidbLacks((*harness)->NewConnector());
  auto connection = connector->Connect({});
  ASSERT_TRUE(connection.ok()) << connection.error().ToString();
  HF_EXPECT_OK((*connection)->Execute({}, "CREATE TABLE t (a TEXT)", {}));
  for (const char* sql : {
           "SELECT a FROM t FOR UPDATE SKIP LOCKED",
           "delete from t returning a",
           "SELECT GET_LOCK('x', 1)",
           "INSERT INTO t VALUES (1) AS n ON DUPLICATE KEY UPDATE a = n.a",
           "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
           "SELECT @@transaction_isolation",
       }) {
    HF_EXPECT_CODE((*connection)->Execute({}, sql, {}), kUnsupported);
    EXPECT_EQ((*connection)->fault(), sql::Fault::kOther);
  }
  const std::vector<sql::Value> large = {std::string(6'291'456, 'x')};
  HF_EXPECT_CODE((*connection)->Execute({}, "INSERT INTO t VALUES (?)", large), kUnsupported);
  const std::vector<sql::Value> fits = {std::string(6'000'000, 'x')};
  HF_EXPECT_OK((*connection)->Execute({}, "INSERT INTO t VALUES (?)", fits));
}

}  // namespace
}  // namespace holdfast::testing
