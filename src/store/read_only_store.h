// A store that others may write to and this process must not.

#pragma once

#include <string_view>

#include "store/forwarding_store.h"

namespace holdfast {

/// kPermissionDenied: what a write to a read-only store gets.
inline Error ReadOnlyRefusal(const ObjectStore& store) {
  return Error(ErrorCode::kPermissionDenied, store.Describe() + " is configured as read-only",
               "Remove `read_only = true` from the repository's section to write to it");
}

/// Put and Delete are refused without a call.
class ReadOnlyStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  Status Put(const CallContext&, std::string_view, const ObjectBody&, PutMode) override {
    return ReadOnlyRefusal(base_);
  }
  Status Delete(const CallContext&, std::string_view) override { return ReadOnlyRefusal(base_); }
};

}  // namespace holdfast
