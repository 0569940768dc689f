#include "exec/thread_group.h"

#include <system_error>
#include <utility>

namespace holdfast {

ThreadGroup::~ThreadGroup() {
  Stop();
  static_cast<void>(Join().ok());
}

Status ThreadGroup::Start(std::function<Status(const CallContext& call)> work) {
  try {
    threads_.emplace_back([this, work = std::move(work)] {
      Status status = work(call());
      if (!status.ok()) Record(std::move(status).error());
    });
  } catch (const std::system_error& error) {
    return Error(ErrorCode::kResourceExhausted,
                 std::string("the machine refuses another thread: ") + error.what(),
                 "raise the limit of processes (ulimit -u) or lower the number of streams");
  }
  return {};
}

void ThreadGroup::Record(Error error) {
  {
    const std::scoped_lock lock(mutex_);
    const bool better = !error_ || (error_->code() == ErrorCode::kCancelled &&
                                    error.code() != ErrorCode::kCancelled);
    if (better) error_ = std::move(error);
  }
  Stop();
}

Status ThreadGroup::Join() {
  threads_.clear();
  const std::scoped_lock lock(mutex_);
  if (error_) return *error_;
  return {};
}

}  // namespace holdfast
