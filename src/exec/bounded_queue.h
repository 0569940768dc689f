// Hands items from one thread to another, bounded in bytes: a full queue blocks its producer, so
// back-pressure reaches the source. Nothing is ever dropped silently.

#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/result.h"
#include "exec/wait.h"

namespace holdfast {

/// First in, first out. Every method is thread-safe; any number of producers and consumers.
template <class T>
class BoundedQueue {
 public:
  /// `bytes_max`: most bytes that wait in the queue. One item larger than that passes alone.
  BoundedQueue(Clock& clock, std::uint64_t bytes_max) : clock_(clock), bytes_max_(bytes_max) {}
  BoundedQueue(const BoundedQueue&) = delete;
  BoundedQueue& operator=(const BoundedQueue&) = delete;

  /// Blocks while there is no room for `bytes`. kCancelled or kDeadlineExceeded when `call` ends
  /// first, the error of Fail() after that, kAborted after Close(). The item is lost with an error.
  Status Push(const CallContext& call, T item, std::uint64_t bytes) {
    std::unique_lock lock(mutex_);
    HF_RETURN_IF_ERROR(WaitUntil(call, clock_, changed_, lock, [&] {
      return error_ || closed_ || items_.empty() ||
             bytes <= bytes_max_ - std::min(bytes_, bytes_max_);
    }));
    if (error_) return *error_;
    if (closed_) return Error(ErrorCode::kAborted, "the queue was closed by its consumer");
    items_.push_back({std::move(item), bytes});
    bytes_ += bytes;
    changed_.notify_all();
    return {};
  }

  /// The next item; nothing once the queue is closed and drained. Blocks while it is empty.
  /// Errors as for Push; items that wait behind a Fail() are not delivered.
  Result<std::optional<T>> Pop(const CallContext& call) {
    std::unique_lock lock(mutex_);
    HF_RETURN_IF_ERROR(WaitUntil(call, clock_, changed_, lock,
                                 [&] { return error_ || closed_ || !items_.empty(); }));
    if (error_) return *error_;
    if (items_.empty()) return std::optional<T>();
    std::optional<T> item(std::move(items_.front().item));
    bytes_ -= items_.front().bytes;
    items_.pop_front();
    changed_.notify_all();
    return item;
  }

  /// No more items will come: Push fails from now on, Pop delivers what is left. Idempotent.
  void Close() {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

  /// Gives both sides `error` from now on and drops what waits. The first error stays.
  void Fail(Error error) {
    std::deque<Item> dropped;
    const std::scoped_lock lock(mutex_);
    if (!error_) error_ = std::move(error);
    dropped.swap(items_);
    bytes_ = 0;
    changed_.notify_all();
  }

  std::uint64_t bytes() const {
    const std::scoped_lock lock(mutex_);
    return bytes_;
  }

 private:
  struct Item {
    T item;
    std::uint64_t bytes;
  };

  Clock& clock_;
  const std::uint64_t bytes_max_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Item> items_;
  std::uint64_t bytes_ = 0;
  bool closed_ = false;
  std::optional<Error> error_;
};

}  // namespace holdfast
