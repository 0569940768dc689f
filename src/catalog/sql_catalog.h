// The Catalog over one SQL store. OpenCatalog() makes it; tests make it over wrapped drivers.

#pragma once

#include <memory>
#include <string>

#include "catalog/catalog.h"
#include "catalog/sql.h"
#include "catalog/sql_store.h"

namespace holdfast::sql {

/// As OpenCatalog(), over any driver.
Result<std::unique_ptr<Catalog>> OpenSqlCatalog(const CallContext& call,
                                                std::unique_ptr<Connector> connector,
                                                std::string url, Clock& clock, Random& random);

/// Thread-safe: it holds nothing but the store.
class SqlCatalog final : public Catalog {
 public:
  SqlCatalog(std::unique_ptr<Connector> connector, std::string url, Clock& clock, Random& random)
      : store_(std::move(connector), clock, random), url_(std::move(url)) {}

  Store& store() noexcept { return store_; }

  Result<CatalogInfo> Describe(const CallContext& call) override;

  // sql_groups.cc
  Status SeeRepository(const CallContext& call, const RepositoryRecord& repository) override;
  Result<std::vector<RepositoryRecord>> ListRepositories(const CallContext& call) override;
  Status PutGroup(const CallContext& call, const GroupRecord& group) override;
  Status PutGroups(const CallContext& call, std::span<const GroupRecord> groups) override;
  Result<std::optional<GroupRecord>> FindGroup(const CallContext& call,
                                               std::string_view repository_id,
                                               const GroupId& id) override;
  Result<std::vector<GroupRecord>> ListGroups(const CallContext& call, const GroupFilter& filter,
                                              std::size_t limit,
                                              const std::optional<GroupCursor>& after) override;
  Status DropGroup(const CallContext& call, std::string_view repository_id,
                   const GroupId& id) override;
  Result<std::uint64_t> BeginRebuild(const CallContext& call,
                                     std::string_view repository_id) override;
  Result<std::uint64_t> FinishRebuild(const CallContext& call, std::string_view repository_id,
                                      std::uint64_t rebuild) override;

  // sql_jobs.cc
  Status AddJob(const CallContext& call, const NewJob& job, const Lease* lease) override;
  Status StartJob(const CallContext& call, const Lease& lease, const JobId& id) override;
  Status UpdateJob(const CallContext& call, const Lease& lease, const JobId& id,
                   const JobUpdate& update) override;
  Status FinishJob(const CallContext& call, const Lease& lease, const JobId& id,
                   const JobOutcome& outcome) override;
  Result<std::uint64_t> CloseInterrupted(const CallContext& call, const Lease& lease,
                                         std::string_view kind,
                                         std::string_view error_json) override;
  Result<std::optional<JobDetails>> FindJob(const CallContext& call, const JobId& id) override;
  Result<std::vector<JobRecord>> ListJobs(const CallContext& call, const JobFilter& filter,
                                          std::size_t limit,
                                          const std::optional<JobId>& after) override;

  // sql_steps.cc
  Status PutStep(const CallContext& call, const Lease& lease, const JobId& id,
                 const StepRecord& step) override;
  Result<std::optional<StepRecord>> FindStep(const CallContext& call, const JobId& id,
                                             std::string_view key) override;
  Result<std::vector<StepRecord>> ListSteps(const CallContext& call, const JobId& id,
                                            std::size_t limit, std::string_view after) override;

  // sql_leases.cc
  Result<Lease> Acquire(const CallContext& call, std::string_view name, std::string_view owner,
                        Duration term) override;
  Status Renew(const CallContext& call, const Lease& lease, Duration term) override;
  Status Release(const CallContext& call, const Lease& lease) override;
  Result<std::optional<LeaseView>> FindLease(const CallContext& call,
                                             std::string_view name) override;

 private:
  Store store_;
  const std::string url_;
};

}  // namespace holdfast::sql
