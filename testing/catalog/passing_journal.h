// What stands between jobs and a catalog in tests: every call goes through one place.

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "catalog/catalog.h"

namespace holdfast::testing {

/// Hands every call to `Derived::Pass(work)`, which makes it, or does not, and returns its result.
/// `work` takes nothing and returns a Status or a Result.
template <class Derived>
class PassingJournal : public LeaseTable, public JobJournal {
 public:
  Result<Lease> Acquire(const CallContext& call, std::string_view name, std::string_view owner,
                        Duration term) override {
    return Pass([&] { return inner_.Acquire(call, name, owner, term); });
  }
  Status Renew(const CallContext& call, const Lease& lease, Duration term) override {
    return Pass([&] { return inner_.Renew(call, lease, term); });
  }
  Status Release(const CallContext& call, const Lease& lease) override {
    return Pass([&] { return inner_.Release(call, lease); });
  }
  Result<std::optional<LeaseView>> FindLease(const CallContext& call,
                                             std::string_view name) override {
    return Pass([&] { return inner_.FindLease(call, name); });
  }
  Status AddJob(const CallContext& call, const NewJob& job, const Lease* lease) override {
    return Pass([&] { return inner_.AddJob(call, job, lease); });
  }
  Status StartJob(const CallContext& call, const Lease& lease, const JobId& id) override {
    return Pass([&] { return inner_.StartJob(call, lease, id); });
  }
  Status UpdateJob(const CallContext& call, const Lease& lease, const JobId& id,
                   const JobUpdate& update) override {
    return Pass([&] { return inner_.UpdateJob(call, lease, id, update); });
  }
  Status FinishJob(const CallContext& call, const Lease& lease, const JobId& id,
                   const JobOutcome& outcome) override {
    return Pass([&] { return inner_.FinishJob(call, lease, id, outcome); });
  }
  Result<std::uint64_t> CloseInterrupted(const CallContext& call, const Lease& lease,
                                         std::string_view kind,
                                         std::string_view error_json) override {
    return Pass([&] { return inner_.CloseInterrupted(call, lease, kind, error_json); });
  }
  Result<std::optional<JobDetails>> FindJob(const CallContext& call, const JobId& id) override {
    return Pass([&] { return inner_.FindJob(call, id); });
  }
  Result<std::vector<JobRecord>> ListJobs(const CallContext& call, const JobFilter& filter,
                                          std::size_t limit,
                                          const std::optional<JobId>& after) override {
    return Pass([&] { return inner_.ListJobs(call, filter, limit, after); });
  }
  Status PutStep(const CallContext& call, const Lease& lease, const JobId& id,
                 const StepRecord& step) override {
    return Pass([&] { return inner_.PutStep(call, lease, id, step); });
  }
  Result<std::optional<StepRecord>> FindStep(const CallContext& call, const JobId& id,
                                             std::string_view key) override {
    return Pass([&] { return inner_.FindStep(call, id, key); });
  }
  Result<std::vector<StepRecord>> ListSteps(const CallContext& call, const JobId& id,
                                            std::size_t limit, std::string_view after) override {
    return Pass([&] { return inner_.ListSteps(call, id, limit, after); });
  }

 private:
  friend Derived;
  explicit PassingJournal(Catalog& inner) : inner_(inner) {}

  template <class F>
  auto Pass(F work) -> decltype(work()) {
    return static_cast<Derived*>(this)->Pass(work);
  }

  Catalog& inner_;
};

}  // namespace holdfast::testing
