// Threads that belong together: started here, stopped together, joined before the scope ends.

#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "exec/linked_stop.h"

namespace holdfast {

/// Threads that may block (one stream read, one upload each). The first one that fails stops its
/// siblings. Start and Join are for the owning thread; Stop is thread-safe.
class ThreadGroup {
 public:
  /// The threads stop when `call` does; its deadline is theirs too.
  explicit ThreadGroup(const CallContext& call) : call_(call), stop_(call.stop) {}
  /// Stop() and join.
  ~ThreadGroup();
  ThreadGroup(const ThreadGroup&) = delete;
  ThreadGroup& operator=(const ThreadGroup&) = delete;

  /// Runs `work` on a thread of its own with a call that ends with the group. Threads are never
  /// reused, so whoever starts them bounds their number. kResourceExhausted when the machine
  /// refuses another thread.
  Status Start(std::function<Status(const CallContext& call)> work);

  /// Asks all threads to stop; does not wait.
  void Stop() noexcept { stop_.Stop(); }

  /// Waits for all threads. Their first error, a cause rather than the kCancelled that it brought
  /// upon the siblings. A group that failed or was stopped stays stopped; otherwise more threads
  /// may be started.
  Status Join();

  /// The call the threads run under; for work that the owner does beside them.
  CallContext call() const { return stop_.Bind(call_); }

 private:
  void Record(Error error);

  const CallContext call_;
  LinkedStop stop_;
  std::mutex mutex_;
  std::optional<Error> error_;
  std::vector<std::jthread> threads_;
};

}  // namespace holdfast
