// The user's hooks that keep writers away, in a simulation.

#pragma once

#include <atomic>
#include <mutex>

#include "ops/fence.h"

namespace holdfast::testing {

/// A fence that keeps the simulated writers away, and may let them go too early.
class SimulatedFence final : public Fence {
 public:
  /// `writing` is held by whoever writes.
  SimulatedFence(bool holds, std::mutex& writing) : holds_(holds), writing_(writing) {}
  Status Freeze(const CallContext&) override {
    const std::scoped_lock nobody_writes(writing_);
    frozen = true;
    ++freezes;
    return {};
  }
  Status Thaw(const CallContext&) override {
    frozen = false;
    ++thaws;
    if (!holds_) return Error(ErrorCode::kDeadlineExceeded, "the time limit passed");
    return {};
  }
  /// From now on it holds.
  void Mend() { holds_ = true; }
  /// Writers are kept away now.
  bool away() const { return frozen && holds_; }
  std::atomic<bool> frozen = false;
  std::atomic<int> freezes = 0;
  std::atomic<int> thaws = 0;

 private:
  std::atomic<bool> holds_;
  std::mutex& writing_;
};

}  // namespace holdfast::testing
