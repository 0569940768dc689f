// A catalog as the jobs see it, that fails or dies at call number n.

#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

#include "catalog/catalog.h"

namespace holdfast::testing {

/// Passes every call on and counts them from 1. Thread-safe.
class FaultyJournal final : public LeaseTable, public JobJournal {
 public:
  explicit FaultyJournal(Catalog& inner) : inner_(inner) {}

  /// The process dies at call `n`: before it reaches the catalog, or after it took effect. That
  /// call and all later ones give kInternal, which nobody repeats.
  void DieAt(std::uint64_t n, bool after) {
    const std::scoped_lock lock(mutex_);
    die_at_ = n;
    die_after_ = after;
  }
  /// From now on every call fails with `error`; with nothing, no more.
  void FailWith(std::optional<Error> error) {
    const std::scoped_lock lock(mutex_);
    error_ = std::move(error);
  }
  bool dead() const {
    const std::scoped_lock lock(mutex_);
    return dead_;
  }
  std::uint64_t calls() const {
    const std::scoped_lock lock(mutex_);
    return calls_;
  }

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
  template <class F>
  auto Pass(F work) -> decltype(work()) {
    bool after = false;
    {
      const std::scoped_lock lock(mutex_);
      ++calls_;
      if (error_) return *error_;
      if (dead_) return Dead();
      if (calls_ == die_at_) {
        dead_ = true;
        if (!die_after_) return Dead();
        after = true;
      }
    }
    auto result = work();
    if (after) return Dead();
    return result;
  }
  static Error Dead() { return {ErrorCode::kInternal, "injected: this process is dead"}; }

  Catalog& inner_;
  mutable std::mutex mutex_;
  std::uint64_t calls_ = 0;
  std::uint64_t die_at_ = 0;
  bool die_after_ = false;
  bool dead_ = false;
  std::optional<Error> error_;
};

}  // namespace holdfast::testing
