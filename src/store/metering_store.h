// Counts what goes to and comes from a store.

#pragma once

#include <atomic>
#include <cstdint>

#include "store/object_store.h"

namespace holdfast {

/// Since the store was made. One call counts once, whatever it brought.
struct StoreUsage {
  std::uint64_t puts = 0;
  std::uint64_t gets = 0;
  std::uint64_t stats = 0;
  std::uint64_t lists = 0;
  std::uint64_t deletes = 0;
  /// Calls of any kind that ended with an error.
  std::uint64_t failures = 0;
  /// Bodies of puts that succeeded, and of gets.
  std::uint64_t bytes_put = 0;
  std::uint64_t bytes_got = 0;
};

/// Below a RetryingStore it counts tries, above it calls.
class MeteringStore final : public ObjectStore {
 public:
  /// `base` must outlive the store.
  explicit MeteringStore(ObjectStore& base) : base_(base) {}

  Status Put(const CallContext& call, std::string_view key, const ObjectBody& body,
             PutMode mode) override;
  Result<Bytes> Get(const CallContext& call, std::string_view key,
                    std::optional<ByteRange> range = std::nullopt) override;
  Result<StoredObject> Stat(const CallContext& call, std::string_view key) override;
  Result<std::vector<StoredObject>> List(const CallContext& call, std::string_view prefix,
                                         std::string_view after) override;
  Status Delete(const CallContext& call, std::string_view key) override;
  std::string Describe() const override { return base_.Describe(); }

  StoreUsage usage() const noexcept;

 private:
  void CountFailure(bool ok) noexcept;

  ObjectStore& base_;
  std::atomic<std::uint64_t> puts_ = 0;
  std::atomic<std::uint64_t> gets_ = 0;
  std::atomic<std::uint64_t> stats_ = 0;
  std::atomic<std::uint64_t> lists_ = 0;
  std::atomic<std::uint64_t> deletes_ = 0;
  std::atomic<std::uint64_t> failures_ = 0;
  std::atomic<std::uint64_t> bytes_put_ = 0;
  std::atomic<std::uint64_t> bytes_got_ = 0;
};

}  // namespace holdfast
