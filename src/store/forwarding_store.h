// What decorators of stores have in common.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/object_store.h"

namespace holdfast {

/// Hands every call on to `base`, which must outlive it; a decorator overrides what it changes.
/// Thread-safe as `base` is.
class ForwardingStore : public ObjectStore {
 public:
  explicit ForwardingStore(ObjectStore& base) : base_(base) {}

  Status Put(const CallContext& call, std::string_view key, const ObjectBody& body,
             PutMode mode) override {
    return base_.Put(call, key, body, mode);
  }
  Result<Bytes> Get(const CallContext& call, std::string_view key,
                    std::optional<ByteRange> range = std::nullopt) override {
    return base_.Get(call, key, range);
  }
  Result<StoredObject> Stat(const CallContext& call, std::string_view key) override {
    return base_.Stat(call, key);
  }
  Result<std::vector<StoredObject>> List(const CallContext& call, std::string_view prefix,
                                         std::string_view after) override {
    return base_.List(call, prefix, after);
  }
  Status Delete(const CallContext& call, std::string_view key) override {
    return base_.Delete(call, key);
  }
  std::string Describe() const override { return base_.Describe(); }

 protected:
  ObjectStore& base_;
};

}  // namespace holdfast
