// A job's context without a job: runs every step at once and remembers how it ended. For tests of
// operations that are not about the catalog.

#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "job/job_runner.h"

namespace holdfast::testing {

/// Thread-safe. Copying `steps` into another one resumes the job.
class MemoryStepContext final : public StepContext {
 public:
  explicit MemoryStepContext(Clock& clock, CallContext call = {})
      : call_(std::move(call)), progress_(clock) {}

  const CallContext& call() const override { return call_; }
  const JobId& job() const override { return id; }
  std::uint32_t attempt() const override { return attempt_number; }
  const std::string& request_json() const override { return request; }
  const std::string& plan_json() const override { return plan; }
  Status SavePlan(std::string plan_json) override {
    plan = std::move(plan_json);
    return {};
  }
  Status SetSubject(std::string text) override {
    subject = std::move(text);
    return {};
  }
  Result<std::string> Step(std::string_view key, const StepBody& body) override {
    {
      const std::scoped_lock lock(mutex_);
      if (const auto done = steps.find(std::string(key)); done != steps.end()) return done->second;
    }
    auto detail = body(call_);
    const std::scoped_lock lock(mutex_);
    if (detail.ok()) steps[std::string(key)] = *detail;
    return detail;
  }
  void OutliveCatalog() override { outlives_catalog = true; }
  Progress& progress() override { return progress_; }
  void Warn(std::string_view text) override {
    const std::scoped_lock lock(mutex_);
    warnings.emplace_back(text);
  }

  JobId id{"20261122T032438Z-0000000000000001"};
  std::uint32_t attempt_number = 1;
  std::string request;
  std::string plan;
  std::string subject;
  /// Key to detail of the steps that are complete.
  std::map<std::string, std::string> steps;
  std::vector<std::string> warnings;
  bool outlives_catalog = false;

 private:
  const CallContext call_;
  std::mutex mutex_;
  Progress progress_;
};

}  // namespace holdfast::testing
