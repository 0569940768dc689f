// Makes calls again that may succeed later.

#pragma once

#include <atomic>

#include "exec/retry.h"
#include "store/object_store.h"

namespace holdfast {

/// Repeats calls that ended with kUnavailable (or kDeadlineExceeded, while `call` itself has time
/// left), with growing pauses, until the policy ends it; the last error then says how often it was
/// tried.
///
/// The one hard case is a kIfAbsent put whose reply was lost: "already exists" is then either our
/// own first try or a rival. The bytes tell, because every object carries its writer's id or is
/// named by its content: equal bytes are ours.
class RetryingStore final : public ObjectStore {
 public:
  /// `base` and what `retrier` refers to must outlive the store. Once the store has answered, the
  /// policy is `answered`: one that never did is wrongly configured more often than out of order,
  /// and hours of work should not be lost to a minute of a store's restart.
  RetryingStore(ObjectStore& base, const Retrier& retrier, const RetryPolicy& answered)
      : base_(base),
        first_(retrier),
        later_{.clock = retrier.clock, .random = retrier.random, .policy = answered} {}
  RetryingStore(ObjectStore& base, const Retrier& retrier)
      : RetryingStore(base, retrier, retrier.policy) {}

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
  template <class F>
  auto Run(const CallContext& call, F work) {
    auto result = Retry(call, answered_ ? later_ : first_, work);
    const bool cancelled = !result.ok() && result.error().code() == ErrorCode::kCancelled;
    if (!cancelled && (result.ok() || !IsRetryable(result.error().code()))) answered_ = true;
    return result;
  }
  Status ConfirmOwnWrite(const CallContext& call, std::string_view key, const ObjectBody& body);

  ObjectStore& base_;
  const Retrier first_;
  const Retrier later_;
  std::atomic<bool> answered_ = false;
};

}  // namespace holdfast
