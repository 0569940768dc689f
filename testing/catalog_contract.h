#pragma once

// What every Catalog promises, run on every database. Include it in one test file and instantiate:
//   INSTANTIATE_TEST_SUITE_P(Databases, CatalogContract, EveryCatalog(), ...);

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "testing/catalog/harness.h"
#include "testing/catalog/samples.h"

namespace holdfast::testing {

class CatalogContract : public OnEveryCatalog {
 protected:
  void SetUp() override {
    OnEveryCatalog::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    auto opened = harness_->Open();
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    catalog_ = *std::move(opened);
  }

  void SeeRepository(const std::string& id = "repo") {
    const Status seen =
        catalog_->SeeRepository(call_, {.repository_id = id, .url = "file:///srv/" + id});
    ASSERT_TRUE(seen.ok()) << seen.error().ToString();
  }

  void Put(const GroupRecord& group) {
    const Status put = catalog_->PutGroup(call_, group);
    ASSERT_TRUE(put.ok()) << put.error().ToString();
  }

  std::vector<std::string> List(const GroupFilter& filter) {
    auto groups = catalog_->ListGroups(call_, filter, 100, std::nullopt);
    EXPECT_TRUE(groups.ok()) << groups.error().ToString();
    return groups.ok() ? IdsOf(*groups) : std::vector<std::string>();
  }

  Lease Grant(const std::string& name = "cluster/prod/restore", const std::string& owner = "me") {
    auto lease = catalog_->Acquire(call_, name, owner, kTerm);
    EXPECT_TRUE(lease.ok()) << lease.error().ToString();
    return lease.ok() ? *lease : Lease();
  }

  JobDetails Find(const std::string& id) {
    auto job = catalog_->FindJob(call_, JobId(id));
    EXPECT_TRUE(job.ok() && job->has_value());
    return job.ok() && *job ? **job : JobDetails();
  }

  /// The lease's holder says no more and somebody else takes it.
  Lease TakeOver(const std::string& name = "cluster/prod/restore") {
    const Status passed = harness_->PassTime(kTerm + std::chrono::seconds(1));
    EXPECT_TRUE(passed.ok());
    return Grant(name, "successor");
  }

  std::size_t CountSteps(const JobId& id) {
    std::size_t count = 0;
    std::string after;
    while (true) {
      auto page = catalog_->ListSteps(call_, id, kPageRowsMax, after);
      EXPECT_TRUE(page.ok()) << page.error().ToString();
      if (!page.ok() || page->empty()) return count;
      count += page->size();
      after = page->back().key;
    }
  }

  const CallContext call_;
  std::unique_ptr<Catalog> catalog_;
};

// --- groups ------------------------------------------------------------------------------------

TEST_P(CatalogContract, AGroupComesBackAsItWasPut) {
  SeeRepository();
  GroupRecord group =
      SampleGroup("20261122T032438Z-9f8a7b6c5d4e3f2a", std::chrono::microseconds(1));
  group.cluster = "Prod's \"größe\" % _ \\ ";
  Put(group);
  auto found = catalog_->FindGroup(call_, "repo", group.id);
  ASSERT_TRUE(found.ok()) << found.error().ToString();
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ(**found, group);
  GroupRecord listed = group;
  listed.summary_json.clear();
  auto groups = catalog_->ListGroups(call_, {}, 10, std::nullopt);
  ASSERT_TRUE(groups.ok());
  EXPECT_THAT(*groups, ::testing::ElementsAre(listed));
}

TEST_P(CatalogContract, PuttingAGroupAgainReplacesItsRecord) {
  SeeRepository();
  GroupRecord group = SampleGroup("g", std::chrono::seconds(1));
  Put(group);
  Put(group);
  group.state = GroupState::kForgotten;
  group.consistency = Consistency::kFenced;
  Put(group);
  EXPECT_THAT(List({}), ::testing::ElementsAre("g"));
  auto found = catalog_->FindGroup(call_, "repo", group.id);
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ(**found, group);
}

TEST_P(CatalogContract, AGroupOfAnUnknownRepositoryIsRefused) {
  HF_EXPECT_CODE(catalog_->PutGroup(call_, SampleGroup("g", {})), kFailedPrecondition);
}

TEST_P(CatalogContract, AGroupThatIsNotThereIsNotFoundAndDroppingItIsFine) {
  SeeRepository();
  auto found = catalog_->FindGroup(call_, "repo", GroupId("none"));
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(found->has_value());
  HF_EXPECT_OK(catalog_->DropGroup(call_, "repo", GroupId("none")));
  Put(SampleGroup("g", {}));
  HF_EXPECT_OK(catalog_->DropGroup(call_, "repo", GroupId("g")));
  EXPECT_THAT(List({}), ::testing::IsEmpty());
}

TEST_P(CatalogContract, NamesThatDifferInCaseOrInASpaceAtTheEndAreDifferent) {
  SeeRepository("repo");
  SeeRepository("Repo");
  SeeRepository("repo ");
  for (const char* repository : {"repo", "Repo", "repo "}) {
    for (const char* id : {"g", "G", "g "}) {
      GroupRecord group = SampleGroup(id, {});
      group.repository_id = repository;
      Put(group);
    }
  }
  EXPECT_EQ(List({}).size(), 9U);
  GroupFilter filter;
  filter.repository_id = "Repo";
  EXPECT_EQ(List(filter).size(), 3U);
  filter.cluster = "PROD";
  EXPECT_THAT(List(filter), ::testing::IsEmpty());
}

TEST_P(CatalogContract, GroupsAreListedNewestCutFirstInPages) {
  SeeRepository();
  SeeRepository("copy");
  std::vector<std::string> expected;
  for (int i = 0; i < 7; ++i) {
    // Cuts in pairs, so that the page's edge falls between equal ones.
    GroupRecord group = SampleGroup("g" + std::to_string(i), std::chrono::seconds(i / 2));
    Put(group);
    group.repository_id = "copy";
    Put(group);
    expected.insert(expected.begin(), {group.id.value(), group.id.value()});
  }
  for (const std::size_t limit : {1U, 3U, 5U, 100U}) {
    std::vector<std::string> got;
    std::optional<GroupCursor> after;
    while (true) {
      auto page = catalog_->ListGroups(call_, {}, limit, after);
      ASSERT_TRUE(page.ok()) << page.error().ToString();
      EXPECT_LE(page->size(), limit);
      if (page->empty()) break;
      for (const std::string& id : IdsOf(*page)) got.push_back(id);
      after = GroupCursor::After(page->back());
    }
    EXPECT_EQ(got, expected) << "pages of " << limit;
  }
}

TEST_P(CatalogContract, AListingIsNarrowedByTimeClusterStateAndPrefix) {
  SeeRepository();
  for (int i = 0; i < 6; ++i) {
    GroupRecord group = SampleGroup("2026112" + std::to_string(i) + "T0", std::chrono::seconds(i));
    if (i % 2 == 1) group.cluster = "test";
    if (i == 4) group.state = GroupState::kForgotten;
    Put(group);
  }
  const WallTime begin = SampleGroup("", {}).cut_at;
  GroupFilter filter;
  filter.cut_not_after = begin + std::chrono::seconds(4);
  EXPECT_EQ(List(filter).front(), "20261124T0");
  filter.cut_not_after = begin + std::chrono::seconds(4) - std::chrono::microseconds(1);
  EXPECT_EQ(List(filter).front(), "20261123T0");
  filter.cluster = "prod";
  EXPECT_EQ(List(filter).front(), "20261122T0");
  filter = {};
  filter.state = GroupState::kForgotten;
  EXPECT_THAT(List(filter), ::testing::ElementsAre("20261124T0"));
  filter = {};
  filter.id_prefix = "20261123";
  EXPECT_THAT(List(filter), ::testing::ElementsAre("20261123T0"));
  filter.id_prefix = "2026112%";
  EXPECT_THAT(List(filter), ::testing::IsEmpty());
}

TEST_P(CatalogContract, ADocumentOfTheLargestSizeIsKeptAndALargerOneIsRefusedByName) {
  SeeRepository();
  GroupRecord group = SampleGroup("g", {});
  group.summary_json = LongJson(kDocumentBytesMax);
  Put(group);
  auto found = catalog_->FindGroup(call_, "repo", group.id);
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_TRUE((*found)->summary_json == group.summary_json);
  group.summary_json = LongJson(kDocumentBytesMax + 1);
  const Status refused = catalog_->PutGroup(call_, group);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(refused.error().message(), ::testing::HasSubstr("summary of the group"));
}

TEST_P(CatalogContract, WhatIsNoJsonOrTooLongOrEmptyIsRefused) {
  SeeRepository();
  GroupRecord group = SampleGroup("g", {});
  group.summary_json = "{\"a\":}";
  HF_EXPECT_CODE(catalog_->PutGroup(call_, group), kInvalidArgument);
  group.summary_json = "\"\xff\"";
  HF_EXPECT_CODE(catalog_->PutGroup(call_, group), kInvalidArgument);
  group.summary_json.clear();
  group.points = std::uint64_t{1} << 63;
  HF_EXPECT_CODE(catalog_->PutGroup(call_, group), kInvalidArgument);
  group = SampleGroup(std::string(kNameBytesMax + 1, 'x'), {});
  HF_EXPECT_CODE(catalog_->PutGroup(call_, group), kInvalidArgument);
  HF_EXPECT_CODE(catalog_->Acquire(call_, "", "me", kTerm), kInvalidArgument);
  HF_EXPECT_CODE(catalog_->Acquire(call_, "a", "me", Duration(1)), kInvalidArgument);
  HF_EXPECT_CODE(catalog_->ListGroups(call_, {}, 0, std::nullopt), kInvalidArgument);
  HF_EXPECT_CODE(catalog_->ListGroups(call_, {}, kPageRowsMax + 1, std::nullopt), kInvalidArgument);
}

TEST_P(CatalogContract, ARebuildLeavesWhatItPutAndWhatABackupPutMeanwhile) {
  SeeRepository();
  SeeRepository("other");
  for (const char* id : {"kept", "gone", "gone too"}) Put(SampleGroup(id, {}));
  GroupRecord elsewhere = SampleGroup("elsewhere", {});
  elsewhere.repository_id = "other";
  Put(elsewhere);
  auto rebuild = catalog_->BeginRebuild(call_, "repo");
  ASSERT_TRUE(rebuild.ok()) << rebuild.error().ToString();
  EXPECT_EQ(List({}).size(), 4U);
  const std::vector<GroupRecord> listed = {SampleGroup("kept", {}), SampleGroup("found", {})};
  HF_EXPECT_OK(catalog_->PutGroups(call_, listed));
  Put(SampleGroup("meanwhile", {}));
  auto removed = catalog_->FinishRebuild(call_, "repo", *rebuild);
  ASSERT_TRUE(removed.ok()) << removed.error().ToString();
  EXPECT_EQ(*removed, 2U);
  EXPECT_THAT(List({}), ::testing::UnorderedElementsAre("kept", "found", "meanwhile", "elsewhere"));
}

TEST_P(CatalogContract, AnOlderRebuildCannotFinishAndAnUnfinishedOneDoesNoHarm) {
  SeeRepository();
  Put(SampleGroup("g", {}));
  auto first = catalog_->BeginRebuild(call_, "repo");
  ASSERT_TRUE(first.ok());
  auto second = catalog_->BeginRebuild(call_, "repo");
  ASSERT_TRUE(second.ok());
  EXPECT_THAT(List({}), ::testing::ElementsAre("g"));
  HF_EXPECT_CODE(catalog_->FinishRebuild(call_, "repo", *first), kAborted);
  EXPECT_THAT(List({}), ::testing::ElementsAre("g"));
  HF_EXPECT_CODE(catalog_->BeginRebuild(call_, "unknown"), kFailedPrecondition);
}

TEST_P(CatalogContract, ARebuildRemovesMoreThanOneTransactionHolds) {
  SeeRepository();
  std::vector<GroupRecord> groups;
  for (std::size_t i = 0; i < kPageRowsMax; ++i) {
    groups.push_back(SampleGroup("g" + std::to_string(i), {}));
  }
  HF_EXPECT_OK(catalog_->PutGroups(call_, groups));
  Put(SampleGroup("one more", {}));
  auto rebuild = catalog_->BeginRebuild(call_, "repo");
  ASSERT_TRUE(rebuild.ok());
  auto removed = catalog_->FinishRebuild(call_, "repo", *rebuild);
  ASSERT_TRUE(removed.ok()) << removed.error().ToString();
  EXPECT_EQ(*removed, kPageRowsMax + 1);
}

TEST_P(CatalogContract, RepositoriesAreRememberedWithTheirLatestUrl) {
  SeeRepository("b");
  SeeRepository("a");
  HF_EXPECT_OK(catalog_->SeeRepository(call_, {.repository_id = "b", .url = "s3://moved/here"}));
  auto repositories = catalog_->ListRepositories(call_);
  ASSERT_TRUE(repositories.ok());
  ASSERT_EQ(repositories->size(), 2U);
  EXPECT_EQ((*repositories)[0].repository_id, "a");
  EXPECT_EQ((*repositories)[1].url, "s3://moved/here");
  EXPECT_GE((*repositories)[1].last_seen_at, (*repositories)[1].first_seen_at);
}

// --- leases ------------------------------------------------------------------------------------

TEST_P(CatalogContract, AHeldLeaseIsRefusedNamingItsOwnerAndTheTimeLeft) {
  const Lease lease = Grant("l", "job 1 on host a, pid 7");
  EXPECT_EQ(lease.token, 1U);
  auto refused = catalog_->Acquire(call_, "l", "somebody", kTerm);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kBusy);
  EXPECT_THAT(refused.error().message(), ::testing::HasSubstr("job 1 on host a, pid 7"));
  EXPECT_FALSE(refused.error().hint().empty());
  HF_EXPECT_CODE(catalog_->Acquire(call_, "l", lease.owner, kTerm), kBusy);
  auto view = catalog_->FindLease(call_, "l");
  ASSERT_TRUE(view.ok() && view->has_value());
  EXPECT_TRUE((*view)->held);
  EXPECT_EQ((*view)->lease, lease);
  EXPECT_GT((*view)->expires_in, Duration(0));
  EXPECT_LE((*view)->expires_in, kTerm);
}

TEST_P(CatalogContract, ALeaseIsRenewedAndTakenOverOnlyAfterItsTerm) {
  const Lease lease = Grant("l");
  HF_EXPECT_OK(harness_->PassTime(kTerm - std::chrono::seconds(5)));
  HF_EXPECT_CODE(catalog_->Acquire(call_, "l", "other", kTerm), kBusy);
  HF_EXPECT_OK(catalog_->Renew(call_, lease, kTerm));
  HF_EXPECT_OK(harness_->PassTime(kTerm - std::chrono::seconds(5)));
  HF_EXPECT_CODE(catalog_->Acquire(call_, "l", "other", kTerm), kBusy);
  HF_EXPECT_OK(harness_->PassTime(std::chrono::seconds(6)));
  auto taken = catalog_->Acquire(call_, "l", "other", kTerm);
  ASSERT_TRUE(taken.ok()) << taken.error().ToString();
  EXPECT_EQ(taken->token, lease.token + 1);
  HF_EXPECT_CODE(catalog_->Renew(call_, lease, kTerm), kAborted);
  HF_EXPECT_OK(catalog_->Release(call_, lease));
  auto view = catalog_->FindLease(call_, "l");
  ASSERT_TRUE(view.ok() && view->has_value());
  EXPECT_TRUE((*view)->held) << "the former owner released what was no longer its own";
}

TEST_P(CatalogContract, AnExpiredLeaseThatNobodyTookIsRenewed) {
  const Lease lease = Grant("l");
  HF_EXPECT_OK(harness_->PassTime(kTerm * 2));
  auto view = catalog_->FindLease(call_, "l");
  ASSERT_TRUE(view.ok() && view->has_value());
  EXPECT_FALSE((*view)->held);
  HF_EXPECT_OK(catalog_->Renew(call_, lease, kTerm));
  HF_EXPECT_CODE(catalog_->Acquire(call_, "l", "other", kTerm), kBusy);
}

TEST_P(CatalogContract, AReleasedLeaseIsFreeAtOnceAndNeverComesBackToItsOwner) {
  const Lease lease = Grant("l");
  HF_EXPECT_OK(catalog_->Release(call_, lease));
  HF_EXPECT_OK(catalog_->Release(call_, lease));
  HF_EXPECT_CODE(catalog_->Renew(call_, lease, kTerm), kAborted);
  const Lease next = Grant("l", "me");
  EXPECT_GT(next.token, lease.token);
  HF_EXPECT_CODE(catalog_->Renew(call_, lease, kTerm), kAborted);
  auto none = catalog_->FindLease(call_, "never granted");
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->has_value());
}

TEST_P(CatalogContract, OfManyThatRaceForALeaseOneGetsIt) {
  constexpr int kRounds = 5;
  constexpr int kRacers = 8;
  for (int round = 0; round < kRounds; ++round) {
    const std::string name = "race/" + std::to_string(round);
    std::vector<std::unique_ptr<Catalog>> catalogs;
    for (int i = 0; i < 2; ++i) {
      auto opened = harness_->Open();
      ASSERT_TRUE(opened.ok()) << opened.error().ToString();
      catalogs.push_back(*std::move(opened));
    }
    std::atomic<int> granted = 0;
    std::atomic<int> busy = 0;
    {
      std::vector<std::jthread> racers;
      for (int i = 0; i < kRacers; ++i) {
        racers.emplace_back([&, i] {
          auto lease = catalogs[static_cast<std::size_t>(i % 2)]->Acquire(
              call_, name, "racer " + std::to_string(i), kTerm);
          if (lease.ok()) {
            ++granted;
          } else if (lease.error().code() == ErrorCode::kBusy) {
            ++busy;
          } else {
            ADD_FAILURE() << lease.error().ToString();
          }
        });
      }
    }
    EXPECT_EQ(granted, 1);
    EXPECT_EQ(busy, kRacers - 1);
  }
}

// --- jobs --------------------------------------------------------------------------------------

TEST_P(CatalogContract, AQueuedJobStartsIsUpdatedAndEnds) {
  HF_EXPECT_OK(catalog_->AddJob(call_, SampleJob("j"), nullptr));
  EXPECT_EQ(Find("j").record.state, JobState::kQueued);
  EXPECT_EQ(Find("j").record.attempt, 0U);
  EXPECT_FALSE(Find("j").record.started_at.has_value());
  const Lease lease = Grant();
  HF_EXPECT_OK(catalog_->StartJob(call_, lease, JobId("j")));
  HF_EXPECT_OK(catalog_->UpdateJob(call_, lease, JobId("j"),
                                   {.subject = "group 7", .plan_json = R"({"steps":[]})"}));
  JobDetails job = Find("j");
  EXPECT_EQ(job.record.state, JobState::kRunning);
  EXPECT_EQ(job.record.attempt, 1U);
  EXPECT_EQ(job.record.owner, "me");
  EXPECT_EQ(job.record.subject, "group 7");
  EXPECT_EQ(job.documents.request_json, R"({"group":"latest"})");
  EXPECT_EQ(job.documents.plan_json, R"({"steps":[]})");
  HF_EXPECT_OK(catalog_->FinishJob(
      call_, lease, JobId("j"),
      {.state = JobState::kComplete, .result_json = R"({"points":1})", .error_json = ""}));
  job = Find("j");
  EXPECT_EQ(job.record.state, JobState::kComplete);
  EXPECT_EQ(job.documents.result_json, R"({"points":1})");
  ASSERT_TRUE(job.record.finished_at && job.record.started_at);
  EXPECT_GE(*job.record.finished_at, *job.record.started_at);
}

TEST_P(CatalogContract, AJobEndsOnceAndNothingFollows) {
  const Lease lease = Grant();
  HF_EXPECT_OK(catalog_->AddJob(call_, SampleJob("j"), &lease));
  HF_EXPECT_CODE(
      catalog_->FinishJob(call_, lease, JobId("j"),
                          {.state = JobState::kFailed, .result_json = "", .error_json = ""}),
      kInvalidArgument);
  const JobOutcome failed = {
      .state = JobState::kFailed, .result_json = "", .error_json = R"({"code":"internal"})"};
  HF_EXPECT_OK(catalog_->FinishJob(call_, lease, JobId("j"), failed));
  HF_EXPECT_CODE(catalog_->FinishJob(call_, lease, JobId("j"), failed), kFailedPrecondition);
  HF_EXPECT_CODE(catalog_->StartJob(call_, lease, JobId("j")), kFailedPrecondition);
  HF_EXPECT_CODE(catalog_->UpdateJob(call_, lease, JobId("j"), {.subject = "x", .plan_json = {}}),
                 kFailedPrecondition);
  HF_EXPECT_CODE(catalog_->PutStep(call_, lease, JobId("j"), {.key = "s"}), kFailedPrecondition);
  EXPECT_EQ(Find("j").record.error_json, R"({"code":"internal"})");
  HF_EXPECT_CODE(catalog_->FinishJob(call_, lease, JobId("none"), failed), kNotFound);
  HF_EXPECT_CODE(catalog_->StartJob(call_, lease, JobId("none")), kNotFound);
}

TEST_P(CatalogContract, AJobIdIsTakenOnce) {
  HF_EXPECT_OK(catalog_->AddJob(call_, SampleJob("j"), nullptr));
  HF_EXPECT_CODE(catalog_->AddJob(call_, SampleJob("j"), nullptr), kAlreadyExists);
}

TEST_P(CatalogContract, ALongPlanIsKeptWhole) {
  const Lease lease = Grant();
  HF_EXPECT_OK(catalog_->AddJob(call_, SampleJob("j"), &lease));
  const std::string plan = LongJson(12 * kMiB);
  HF_EXPECT_OK(catalog_->UpdateJob(call_, lease, JobId("j"), {.subject = {}, .plan_json = plan}));
  EXPECT_TRUE(Find("j").documents.plan_json == plan);
  HF_EXPECT_OK(catalog_->UpdateJob(call_, lease, JobId("j"), {.subject = {}, .plan_json = "{}"}));
  EXPECT_EQ(Find("j").documents.plan_json, "{}");
  HF_EXPECT_CODE(catalog_->UpdateJob(call_, lease, JobId("j"),
                                     {.subject = {}, .plan_json = LongJson(kPlanBytesMax + 1)}),
                 kInvalidArgument);
}

TEST_P(CatalogContract, ARunningJobWhoseLeaseExpiredOrWasReleasedIsShownAsInterrupted) {
  const Lease lease = Grant();
  HF_EXPECT_OK(catalog_->AddJob(call_, SampleJob("j"), &lease));
  EXPECT_EQ(Find("j").record.state, JobState::kRunning);
  HF_EXPECT_OK(harness_->PassTime(kTerm * 2));
  EXPECT_EQ(Find("j").record.state, JobState::kInterrupted);
  JobFilter interrupted;
  interrupted.state = JobState::kInterrupted;
  auto jobs = catalog_->ListJobs(call_, interrupted, 10, std::nullopt);
  ASSERT_TRUE(jobs.ok()) << jobs.error().ToString();
  EXPECT_EQ(jobs->size(), 1U);
  JobFilter running;
  running.state = JobState::kRunning;
  jobs = catalog_->ListJobs(call_, running, 10, std::nullopt);
  ASSERT_TRUE(jobs.ok());
  EXPECT_TRUE(jobs->empty());
  HF_EXPECT_OK(catalog_->Renew(call_, lease, kTerm));
  EXPECT_EQ(Find("j").record.state, JobState::kRunning);
  HF_EXPECT_OK(catalog_->Release(call_, lease));
  EXPECT_EQ(Find("j").record.state, JobState::kInterrupted);
}

TEST_P(CatalogContract, AnInterruptedJobIsTakenOverAndItsFormerOwnerWritesNothingMore) {
  const Lease lease = Grant();
  HF_EXPECT_OK(catalog_->AddJob(call_, SampleJob("j"), &lease));
  HF_EXPECT_OK(catalog_->PutStep(call_, lease, JobId("j"), {.key = "s", .detail_json = "1"}));
  const Lease successor = TakeOver();
  EXPECT_EQ(Find("j").record.state, JobState::kInterrupted) << "taken, but not yet started again";
  const JobOutcome done = {.state = JobState::kComplete, .result_json = "", .error_json = ""};
  for (int round = 0; round < 2; ++round) {
    HF_EXPECT_CODE(catalog_->PutStep(call_, lease, JobId("j"), {.key = "s", .detail_json = "2"}),
                   kAborted);
    HF_EXPECT_CODE(catalog_->UpdateJob(call_, lease, JobId("j"), {.subject = "x", .plan_json = {}}),
                   kAborted);
    HF_EXPECT_CODE(catalog_->FinishJob(call_, lease, JobId("j"), done), kAborted);
    HF_EXPECT_CODE(catalog_->StartJob(call_, lease, JobId("j")), kAborted);
    HF_EXPECT_CODE(catalog_->CloseInterrupted(call_, lease, "restore", "{}"), kAborted);
    HF_EXPECT_CODE(catalog_->AddJob(call_, SampleJob("another"), &lease), kAborted);
    if (round == 0) HF_EXPECT_OK(catalog_->StartJob(call_, successor, JobId("j")));
  }
  EXPECT_EQ(Find("j").record.state, JobState::kRunning);
  EXPECT_EQ(Find("j").record.attempt, 2U);
  EXPECT_EQ(Find("j").record.owner, "successor");
  auto step = catalog_->FindStep(call_, JobId("j"), "s");
  ASSERT_TRUE(step.ok() && step->has_value());
  EXPECT_EQ((*step)->detail_json, "1");
  HF_EXPECT_OK(catalog_->FinishJob(call_, successor, JobId("j"), done));
}

TEST_P(CatalogContract, ARunningJobIsNotStartedAgainUnderItsOwnLease) {
  const Lease lease = Grant();
  HF_EXPECT_OK(catalog_->AddJob(call_, SampleJob("j"), &lease));
  HF_EXPECT_CODE(catalog_->StartJob(call_, lease, JobId("j")), kFailedPrecondition);
  EXPECT_EQ(Find("j").record.attempt, 1U);
  const Lease wrong = Grant("cluster/prod/backup");
  HF_EXPECT_CODE(catalog_->StartJob(call_, wrong, JobId("j")), kFailedPrecondition);
  HF_EXPECT_CODE(catalog_->AddJob(call_, SampleJob("k"), &wrong), kInvalidArgument);
}

TEST_P(CatalogContract, ClosingEndsOnlyJobsOfThatKindLeftByEarlierGrants) {
  Lease lease = Grant();
  NewJob verify = SampleJob("v");
  verify.kind = "verify";
  HF_EXPECT_OK(catalog_->AddJob(call_, SampleJob("old"), &lease));
  HF_EXPECT_OK(catalog_->AddJob(call_, verify, &lease));
  HF_EXPECT_OK(catalog_->AddJob(call_, SampleJob("queued"), nullptr));
  lease = TakeOver();
  HF_EXPECT_OK(catalog_->AddJob(call_, SampleJob("new"), &lease));
  auto closed =
      catalog_->CloseInterrupted(call_, lease, "restore", R"({"code":"aborted","message":"x"})");
  ASSERT_TRUE(closed.ok()) << closed.error().ToString();
  EXPECT_EQ(*closed, 1U);
  EXPECT_EQ(Find("old").record.state, JobState::kFailed);
  EXPECT_EQ(Find("old").record.error_json, R"({"code":"aborted","message":"x"})");
  EXPECT_EQ(Find("v").record.state, JobState::kInterrupted);
  EXPECT_EQ(Find("queued").record.state, JobState::kQueued);
  EXPECT_EQ(Find("new").record.state, JobState::kRunning);
}

TEST_P(CatalogContract, JobsAreListedNewestFirstInPagesAndNarrowed) {
  for (int i = 0; i < 5; ++i) {
    NewJob job = SampleJob("2026112" + std::to_string(i));
    if (i == 3) job.kind = "backup";
    if (i == 1) job.cluster = "test";
    HF_EXPECT_OK(catalog_->AddJob(call_, job, nullptr));
  }
  std::vector<std::string> got;
  std::optional<JobId> after;
  while (true) {
    auto page = catalog_->ListJobs(call_, {}, 2, after);
    ASSERT_TRUE(page.ok()) << page.error().ToString();
    if (page->empty()) break;
    for (const JobRecord& job : *page) got.push_back(job.id.value());
    after = page->back().id;
  }
  EXPECT_THAT(got,
              ::testing::ElementsAre("20261124", "20261123", "20261122", "20261121", "20261120"));
  JobFilter filter;
  filter.kind = "restore";
  filter.cluster = "prod";
  auto jobs = catalog_->ListJobs(call_, filter, 10, std::nullopt);
  ASSERT_TRUE(jobs.ok());
  EXPECT_EQ(jobs->size(), 3U);
}

// --- steps -------------------------------------------------------------------------------------

TEST_P(CatalogContract, AStepIsRecordedOnceHoweverOftenItIsPut) {
  const Lease lease = Grant();
  HF_EXPECT_OK(catalog_->AddJob(call_, SampleJob("j"), &lease));
  const std::string key = "send/Größe \"'%_\\ /漢/3 ";
  HF_EXPECT_OK(catalog_->PutStep(
      call_, lease, JobId("j"),
      {.key = key, .state = StepState::kFailed, .detail_json = R"({"code":"unavailable"})"}));
  HF_EXPECT_OK(
      catalog_->PutStep(call_, lease, JobId("j"), {.key = key, .detail_json = R"({"n":1})"}));
  HF_EXPECT_OK(
      catalog_->PutStep(call_, lease, JobId("j"), {.key = key, .detail_json = R"({"n":1})"}));
  auto step = catalog_->FindStep(call_, JobId("j"), key);
  ASSERT_TRUE(step.ok() && step->has_value());
  EXPECT_EQ((*step)->key, key);
  EXPECT_EQ((*step)->state, StepState::kComplete);
  EXPECT_EQ((*step)->attempt, 1U);
  EXPECT_EQ((*step)->detail_json, R"({"n":1})");
  auto all = catalog_->ListSteps(call_, JobId("j"), 10, "");
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(all->size(), 1U);
  auto none = catalog_->FindStep(call_, JobId("j"), "send");
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->has_value());
}

TEST_P(CatalogContract, StepsWithTheLongestKeysAreListedByKeyInPages) {
  const Lease lease = Grant();
  HF_EXPECT_OK(catalog_->AddJob(call_, SampleJob("j"), &lease));
  const std::string prefix(kStepKeyBytesMax - 1, 'k');
  for (const char* last : {"c", "a", "B", "b"}) {
    HF_EXPECT_OK(catalog_->PutStep(call_, lease, JobId("j"), {.key = prefix + last}));
  }
  HF_EXPECT_CODE(catalog_->PutStep(call_, lease, JobId("j"), {.key = prefix + "xx"}),
                 kInvalidArgument);
  std::string got;
  std::string after;
  while (true) {
    auto page = catalog_->ListSteps(call_, JobId("j"), 3, after);
    ASSERT_TRUE(page.ok()) << page.error().ToString();
    if (page->empty()) break;
    for (const StepRecord& step : *page) got += step.key.back();
    after = page->back().key;
  }
  EXPECT_EQ(got, "Babc");
}

// --- many at once ------------------------------------------------------------------------------

TEST_P(CatalogContract, EightThreadsThatWriteLoseNothing) {
  const Lease lease = Grant();
  SeeRepository();
  HF_EXPECT_OK(catalog_->AddJob(call_, SampleJob("j"), &lease));
  constexpr int kThreads = 8;
  constexpr int kSteps = 10;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kSteps; ++i) {
          const std::string name = std::to_string(t) + "/" + std::to_string(i);
          HF_EXPECT_OK(catalog_->PutStep(call_, lease, JobId("j"), {.key = name}));
          HF_EXPECT_OK(catalog_->PutGroup(call_, SampleGroup(name, std::chrono::seconds(i))));
          HF_EXPECT_OK(catalog_->Renew(call_, lease, kTerm));
        }
      });
    }
  }
  auto steps = catalog_->ListSteps(call_, JobId("j"), kPageRowsMax, "");
  ASSERT_TRUE(steps.ok());
  EXPECT_EQ(steps->size(), std::size_t{kThreads * kSteps});
  EXPECT_EQ(List({}).size(), std::size_t{kThreads * kSteps});
}

TEST_P(CatalogContract, WritesThatRaceWithATakeoverAreWhollyBeforeOrRefused) {
  // A former owner writes as fast as it can while a successor takes over: nothing that the
  // successor reads after its grant may change any more.
  for (int round = 0; round < 5; ++round) {
    const std::string name = "takeover/" + std::to_string(round);
    const Lease lease = Grant(name);
    NewJob job = SampleJob("j" + std::to_string(round));
    job.lease_name = name;
    HF_EXPECT_OK(catalog_->AddJob(call_, job, &lease));
    std::atomic<int> written = 0;
    std::jthread former([&] {
      for (int i = 0;; ++i) {
        const Status put = catalog_->PutStep(call_, lease, job.id, {.key = std::to_string(i)});
        if (!put.ok()) {
          EXPECT_EQ(put.error().code(), ErrorCode::kAborted) << put.error().ToString();
          return;
        }
        ++written;
      }
    });
    while (written < 5) std::this_thread::yield();
    HF_EXPECT_OK(harness_->PassTime(kTerm * 2));
    auto successor = catalog_->Acquire(call_, name, "successor", kTerm);
    ASSERT_TRUE(successor.ok()) << successor.error().ToString();
    const std::size_t seen = CountSteps(job.id);
    former.join();
    EXPECT_EQ(CountSteps(job.id), seen);
    EXPECT_EQ(seen, static_cast<std::size_t>(written));
  }
}

TEST_P(CatalogContract, AStoppedCallEndsAsCancelledAndLeavesNothingLocked) {
  std::stop_source stop;
  stop.request_stop();
  const CallContext stopped{.stop = stop.get_token(), .deadline = {}};
  HF_EXPECT_CODE(catalog_->Acquire(stopped, "l", "me", kTerm), kCancelled);
  HF_EXPECT_CODE(catalog_->ListJobs(stopped, {}, 1, std::nullopt), kCancelled);
  HF_EXPECT_OK(catalog_->Acquire(call_, "l", "me", kTerm));
}

TEST_P(CatalogContract, ItSaysWhatItIs) {
  auto info = catalog_->Describe(call_);
  ASSERT_TRUE(info.ok()) << info.error().ToString();
  EXPECT_THAT(info->server, ::testing::MatchesRegex("(SQLite|MariaDB|MySQL|TiDB) v?[0-9].*"));
  EXPECT_EQ(info->schema_version, 1U);
  EXPECT_EQ(info->url, harness_->url());
}

}  // namespace holdfast::testing
