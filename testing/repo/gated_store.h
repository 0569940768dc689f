// A store that stands still until a test lets it go on.

#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/forwarding_store.h"

namespace holdfast::testing {

/// Puts (of keys that begin with `prefix`) wait until Open(). Everything else passes. Thread-safe.
class GatedStore final : public ForwardingStore {
 public:
  explicit GatedStore(ObjectStore& base, std::string prefix = {})
      : ForwardingStore(base), prefix_(std::move(prefix)) {}

  void Open() {
    const std::scoped_lock lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  /// Keys that were put, in their order.
  std::vector<std::string> order() {
    const std::scoped_lock lock(mutex_);
    return order_;
  }

  Status Put(const CallContext& call, std::string_view key, const ObjectBody& body,
             PutMode mode) override {
    if (key.starts_with(prefix_)) {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, call.stop, [&] { return open_; })) {
        return Error(ErrorCode::kCancelled, "stopped");
      }
    }
    HF_RETURN_IF_ERROR(base_.Put(call, key, body, mode));
    const std::scoped_lock lock(mutex_);
    order_.emplace_back(key);
    return {};
  }
  std::string Describe() const override { return "gated " + base_.Describe(); }

 private:
  const std::string prefix_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool open_ = false;
  std::vector<std::string> order_;
};

}  // namespace holdfast::testing
