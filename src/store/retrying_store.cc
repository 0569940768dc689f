#include "store/retrying_store.h"

#include <string>
#include <utility>

namespace holdfast {
namespace {

/// A refused request did nothing. A lost reply leaves us not knowing.
bool MayHaveTakenEffect(ErrorCode code) {
  return code == ErrorCode::kUnavailable || code == ErrorCode::kDeadlineExceeded;
}

}  // namespace

Status RetryingStore::Put(const CallContext& call, std::string_view key, const ObjectBody& body,
                          PutMode mode) {
  bool may_be_ours = false;
  return Run(call, [&](int) -> Status {
    Status put = base_.Put(call, key, body, mode);
    if (put.ok()) return put;
    if (put.error().code() == ErrorCode::kAlreadyExists && may_be_ours) {
      return ConfirmOwnWrite(call, key, body);
    }
    may_be_ours |= MayHaveTakenEffect(put.error().code());
    return put;
  });
}

Status RetryingStore::ConfirmOwnWrite(const CallContext& call, std::string_view key,
                                      const ObjectBody& body) {
  const Error conflict(ErrorCode::kAlreadyExists,
                       "another writer created " + std::string(key) + " in " + base_.Describe());
  const auto bytes = base_.Get(call, key);
  if (bytes.ok()) return body.Equals(*bytes) ? Status() : conflict;
  if (bytes.error().code() != ErrorCode::kNotFound) return bytes.error();
  return Error(ErrorCode::kUnavailable, std::string(key) + " came and went while it was created");
}

Result<Bytes> RetryingStore::Get(const CallContext& call, std::string_view key,
                                 std::optional<ByteRange> range) {
  return Run(call, [&](int) { return base_.Get(call, key, range); });
}

Result<StoredObject> RetryingStore::Stat(const CallContext& call, std::string_view key) {
  return Run(call, [&](int) { return base_.Stat(call, key); });
}

Result<std::vector<StoredObject>> RetryingStore::List(const CallContext& call,
                                                      std::string_view prefix,
                                                      std::string_view after) {
  return Run(call, [&](int) { return base_.List(call, prefix, after); });
}

Status RetryingStore::Delete(const CallContext& call, std::string_view key) {
  return Run(call, [&](int) { return base_.Delete(call, key); });
}

}  // namespace holdfast
