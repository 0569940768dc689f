// The cores we may use. Jobs compute and never block: no I/O, no queue, no lock held for long.

#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/clock.h"
#include "base/result.h"

namespace holdfast {

namespace cpu_pool_internal {

struct Job {
  virtual ~Job() = default;
  /// Called exactly once; `wanted` is false when the pool stopped before the job's turn.
  virtual void Run(bool wanted) noexcept = 0;
};

/// Where the result of a job waits for its owner.
template <class T>
class Outcome : public Job {
 public:
  void Finish(Result<T> result) {
    const std::scoped_lock lock(mutex_);
    result_ = std::move(result);
    finished_.notify_all();
  }
  Result<T> Take() {
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [this] { return result_.has_value(); });
    return *std::move(result_);
  }
  bool finished() {
    const std::scoped_lock lock(mutex_);
    return result_.has_value();
  }

 private:
  std::mutex mutex_;
  std::condition_variable finished_;
  std::optional<Result<T>> result_;
};

template <class T, class F>
class Task final : public Outcome<T> {
 public:
  explicit Task(F work) : work_(std::move(work)) {}
  void Run(bool wanted) noexcept override {
    Result<T> result = wanted ? (*work_)() : Error(ErrorCode::kAborted, "the CPU pool was stopped");
    work_.reset();  // What the job owned is free before its owner hears of the end.
    this->Finish(std::move(result));
  }

 private:
  std::optional<F> work_;
};

template <class R>
struct ValueOf;
template <class T>
struct ValueOf<Result<T>> {
  using Type = T;
};

}  // namespace cpu_pool_internal

/// The result of a job to come. Moved, never copied; used by one thread.
template <class T>
class Pending {
 public:
  Pending() = default;
  explicit Pending(std::shared_ptr<cpu_pool_internal::Outcome<T>> outcome)
      : outcome_(std::move(outcome)) {}
  Pending(Pending&&) noexcept = default;
  Pending& operator=(Pending&& other) noexcept {
    Drop();
    outcome_ = std::move(other.outcome_);
    return *this;
  }
  /// Waits for the job, so that it may refer to what outlives this object. Jobs do not block, so
  /// neither does this for long.
  ~Pending() { Drop(); }

  /// Blocks until the job has ended. Once only.
  Result<T> Wait() {
    HF_ASSERT(outcome_ != nullptr);
    Result<T> result = outcome_->Take();
    outcome_.reset();
    return result;
  }
  /// True when Wait() would return at once.
  bool ready() const { return outcome_ != nullptr && outcome_->finished(); }
  /// False for a default-constructed or moved-from object and after Wait().
  bool valid() const noexcept { return outcome_ != nullptr; }

 private:
  void Drop() {
    if (outcome_) static_cast<void>(Wait().ok());
  }
  std::shared_ptr<cpu_pool_internal::Outcome<T>> outcome_;
};

/// A fixed number of threads and a bounded queue of jobs, first come, first served. Thread-safe.
/// A job must not submit to its own pool: with all threads waiting so, nothing would move.
class CpuPool {
 public:
  /// `jobs_max`: most jobs that wait; Submit blocks beyond. Both at least 1.
  CpuPool(Clock& clock, std::size_t threads, std::size_t jobs_max);
  /// Stop().
  ~CpuPool();
  CpuPool(const CpuPool&) = delete;
  CpuPool& operator=(const CpuPool&) = delete;

  /// Queues `work`, a callable without arguments that returns Result<T>; it may be move-only.
  /// kCancelled or kDeadlineExceeded when `call` ends before there is room, kAborted after Stop().
  template <class F>
  auto Submit(const CallContext& call, F work)
      -> Result<Pending<typename cpu_pool_internal::ValueOf<std::invoke_result_t<F&>>::Type>> {
    using T = typename cpu_pool_internal::ValueOf<std::invoke_result_t<F&>>::Type;
    auto task = std::make_shared<cpu_pool_internal::Task<T, F>>(std::move(work));
    HF_RETURN_IF_ERROR(Enqueue(call, task));
    return Pending<T>(std::move(task));
  }

  /// Lets the jobs that run end; those still queued end with kAborted. Joins. Idempotent.
  void Stop();

  std::size_t threads() const noexcept { return thread_count_; }

 private:
  Status Enqueue(const CallContext& call, std::shared_ptr<cpu_pool_internal::Job> job);
  void Work();

  Clock& clock_;
  const std::size_t thread_count_;
  const std::size_t jobs_max_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::shared_ptr<cpu_pool_internal::Job>> jobs_;
  bool stopped_ = false;
  std::mutex join_mutex_;
  std::vector<std::jthread> threads_;
};

}  // namespace holdfast
