// One limit for the memory of a whole pipeline: a stage acquires before it allocates.

#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <utility>

#include "base/clock.h"
#include "base/result.h"

namespace holdfast {

/// Bytes that may be in use at once. Never over-committed, with one exception: a request larger
/// than the whole budget is granted when nothing else is in use, and then stands alone. Requests
/// are served in the order they came, so a large one is not starved by small ones. Thread-safe.
class MemoryBudget {
 public:
  /// Gives its bytes back when it dies. Moved, never copied; must not outlive the budget.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    Lease& operator=(Lease&& other) noexcept;
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() { Release(); }

    std::uint64_t bytes() const noexcept { return bytes_; }
    /// Gives everything back now. Idempotent.
    void Release() noexcept { Shrink(0); }
    /// Keeps `bytes` of the lease and gives the rest back; never grows it.
    void Shrink(std::uint64_t bytes) noexcept;

   private:
    friend class MemoryBudget;
    Lease(MemoryBudget& budget, std::uint64_t bytes) : budget_(&budget), bytes_(bytes) {}

    MemoryBudget* budget_ = nullptr;
    std::uint64_t bytes_ = 0;
  };

  MemoryBudget(Clock& clock, std::uint64_t bytes_max) : clock_(clock), bytes_max_(bytes_max) {}
  /// All leases must have ended.
  ~MemoryBudget();
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  /// Blocks until `bytes` are free and all earlier requests have been served. kCancelled or
  /// kDeadlineExceeded when `call` ends first. A thread that waits here while it holds leases that
  /// others wait for can deadlock: acquire once for a unit of work.
  Result<Lease> Acquire(const CallContext& call, std::uint64_t bytes);

  std::uint64_t bytes_max() const noexcept { return bytes_max_; }
  std::uint64_t bytes_in_use() const;

 private:
  void Return(std::uint64_t bytes) noexcept;

  Clock& clock_;
  const std::uint64_t bytes_max_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::uint64_t in_use_ = 0;
  std::uint64_t next_ticket_ = 0;
  std::deque<std::uint64_t> waiting_;
};

}  // namespace holdfast
