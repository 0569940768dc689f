// A job's record in memory, and bodies that run on it: dying and going on cost nothing.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "job/job_runner.h"

namespace holdfast::testing {

/// Survives the runs of a test.
struct Journal {
  std::map<std::string, std::string> steps;
  std::string plan;
  std::uint32_t attempts = 0;
  /// The process dies when it has recorded so many steps more.
  int steps_left = -1;
  bool dead = false;
  std::function<void()> on_death;
  /// The body wants to be resumed after its error.
  bool left_interrupted = false;
};

/// What the catalog takes as the detail of a step.
bool IsJson(std::string_view text);

/// One attempt. Thread-safe as the interface says. As in the real one a stopped call looks up and
/// records nothing.
class JournalSteps final : public StepContext {
 public:
  explicit JournalSteps(Journal& journal, CallContext call = {})
      : journal_(journal), call_(std::move(call)), attempt_(++journal.attempts) {}

  const CallContext& call() const override { return call_; }
  const JobId& job() const override { return id_; }
  std::uint32_t attempt() const override { return attempt_; }
  const std::string& request_json() const override { return request_; }
  const std::string& plan_json() const override { return journal_.plan; }
  Status SavePlan(std::string plan_json) override {
    if (journal_.dead) return Error(ErrorCode::kInternal, "this process is dead");
    journal_.plan = std::move(plan_json);
    return {};
  }
  Status SetSubject(std::string) override { return {}; }
  Result<std::string> Step(std::string_view key, const StepBody& body) override {
    HF_RETURN_IF_ERROR(SystemClock().Check(call_));
    {
      const std::scoped_lock lock(mutex_);
      const auto found = journal_.steps.find(std::string(key));
      if (found != journal_.steps.end()) return found->second;
    }
    HF_TRY(std::string detail, body(call_));
    // As the catalog does.
    if (!detail.empty() && !IsJson(detail)) {
      return Error(ErrorCode::kInvalidArgument,
                   "the detail of step " + std::string(key) + " is not JSON: " + detail);
    }
    HF_RETURN_IF_ERROR(SystemClock().Check(call_));
    const std::scoped_lock lock(mutex_);
    if (journal_.dead) return Error(ErrorCode::kInternal, "this process is dead");
    journal_.dead = --journal_.steps_left == 0;
    if (journal_.dead && journal_.on_death) journal_.on_death();
    return journal_.steps[std::string(key)] = std::move(detail);
  }
  void OutliveCatalog() override {}
  void LeaveInterrupted() override { journal_.left_interrupted = true; }
  Progress& progress() override { return progress_; }
  void Warn(std::string_view text) override {
    const std::scoped_lock lock(mutex_);
    warnings.emplace_back(text);
  }

  std::vector<std::string> warnings;

 private:
  Journal& journal_;
  const CallContext call_;
  const JobId id_{"20261122T032438Z-00000000deadbeef"};
  const std::uint32_t attempt_;
  const std::string request_ = "{}";
  std::mutex mutex_;
  Progress progress_{SystemClock()};
};

}  // namespace holdfast::testing
