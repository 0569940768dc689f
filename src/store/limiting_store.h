// Keeps the load on a store within bounds.

#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "exec/rate_limiter.h"
#include "store/object_store.h"

namespace holdfast {

struct StoreLimits {
  /// Calls at once. Further ones wait.
  std::size_t calls_max = 16;
  /// Put and got together; 0: as fast as it goes.
  std::uint64_t bytes_per_second = 0;
};

/// Waiting ends with kCancelled or kDeadlineExceeded when `call` does. To be put below a
/// RetryingStore, so that nobody holds a place while pausing.
class LimitingStore final : public ObjectStore {
 public:
  /// `base` and `clock` must outlive the store. `limits.calls_max` is at least 1.
  LimitingStore(ObjectStore& base, StoreLimits limits, Clock& clock);

  Status Put(const CallContext& call, std::string_view key, const ObjectBody& body,
             PutMode mode) override;
  Result<Bytes> Get(const CallContext& call, std::string_view key,
                    std::optional<ByteRange> range = std::nullopt) override;
  Result<StoredObject> Stat(const CallContext& call, std::string_view key) override;
  Result<std::vector<StoredObject>> List(const CallContext& call, std::string_view prefix,
                                         std::string_view after) override;
  Status Delete(const CallContext& call, std::string_view key) override;
  std::string Describe() const override { return base_.Describe(); }

 private:
  class Place;
  Result<Place> Enter(const CallContext& call);

  ObjectStore& base_;
  Clock& clock_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::size_t free_places_;
  RateLimiter rate_;
};

}  // namespace holdfast
