#include "exec/cpu_pool.h"

#include "exec/wait.h"

namespace holdfast {

CpuPool::CpuPool(Clock& clock, std::size_t threads, std::size_t jobs_max)
    : clock_(clock), thread_count_(threads), jobs_max_(jobs_max) {
  HF_ASSERT(threads > 0 && jobs_max > 0);
  threads_.reserve(threads);
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

CpuPool::~CpuPool() { Stop(); }

Status CpuPool::Enqueue(const CallContext& call, std::shared_ptr<cpu_pool_internal::Job> job) {
  std::unique_lock lock(mutex_);
  HF_RETURN_IF_ERROR(WaitUntil(call, clock_, changed_, lock,
                               [this] { return stopped_ || jobs_.size() < jobs_max_; }));
  if (stopped_) return Error(ErrorCode::kAborted, "the CPU pool was stopped");
  jobs_.push_back(std::move(job));
  changed_.notify_all();
  return {};
}

void CpuPool::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopped_ || !jobs_.empty(); });
    if (stopped_) return;
    std::shared_ptr<cpu_pool_internal::Job> job = std::move(jobs_.front());
    jobs_.pop_front();
    changed_.notify_all();
    lock.unlock();
    job->Run(true);
    job.reset();
    lock.lock();
  }
}

void CpuPool::Stop() {
  const std::scoped_lock join(join_mutex_);
  std::deque<std::shared_ptr<cpu_pool_internal::Job>> unwanted;
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    unwanted.swap(jobs_);
    changed_.notify_all();
  }
  for (const auto& job : unwanted) job->Run(false);
  threads_.clear();
}

}  // namespace holdfast
