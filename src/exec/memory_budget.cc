#include "exec/memory_budget.h"

#include <algorithm>

#include "base/assert.h"
#include "exec/wait.h"

namespace holdfast {

MemoryBudget::Lease& MemoryBudget::Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    Release();
    budget_ = std::exchange(other.budget_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

void MemoryBudget::Lease::Shrink(std::uint64_t bytes) noexcept {
  if (budget_ == nullptr || bytes >= bytes_) return;
  budget_->Return(bytes_ - bytes);
  bytes_ = bytes;
}

MemoryBudget::~MemoryBudget() { HF_ASSERT(in_use_ == 0 && waiting_.empty()); }

Result<MemoryBudget::Lease> MemoryBudget::Acquire(const CallContext& call, std::uint64_t bytes) {
  std::unique_lock lock(mutex_);
  const std::uint64_t ticket = next_ticket_++;
  waiting_.push_back(ticket);
  const Status waited = WaitUntil(call, clock_, changed_, lock, [&] {
    const bool fits = in_use_ == 0 || (in_use_ <= bytes_max_ && bytes <= bytes_max_ - in_use_);
    return waiting_.front() == ticket && fits;
  });
  waiting_.erase(std::find(waiting_.begin(), waiting_.end(), ticket));
  changed_.notify_all();
  HF_RETURN_IF_ERROR(waited);
  in_use_ += bytes;
  return Lease(*this, bytes);
}

std::uint64_t MemoryBudget::bytes_in_use() const {
  const std::scoped_lock lock(mutex_);
  return in_use_;
}

void MemoryBudget::Return(std::uint64_t bytes) noexcept {
  const std::scoped_lock lock(mutex_);
  HF_ASSERT(bytes <= in_use_);
  in_use_ -= bytes;
  changed_.notify_all();
}

}  // namespace holdfast
