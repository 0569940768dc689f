// An object store in a map.

#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/object_store.h"

namespace holdfast::testing {

/// Keeps every promise of ObjectStore but durability. Thread-safe.
class MemoryObjectStore final : public ObjectStore {
 public:
  /// `clock` gives last_modified and says when a call's deadline has passed.
  explicit MemoryObjectStore(Clock& clock = SystemClock()) : clock_(clock) {}

  Status Put(const CallContext& call, std::string_view key, const ObjectBody& body,
             PutMode mode) override {
    HF_RETURN_IF_ERROR(CheckPut(key, body));
    HF_RETURN_IF_ERROR(clock_.Check(call));
    Object object{.bytes = body.Joined(), .last_modified = clock_.Wall()};
    const std::scoped_lock lock(mutex_);
    if (mode == PutMode::kIfAbsent && objects_.contains(key)) {
      return Error(ErrorCode::kAlreadyExists,
                   "there is an object " + std::string(key) + " already in " + Describe());
    }
    objects_.insert_or_assign(std::string(key), std::move(object));
    return {};
  }

  Result<Bytes> Get(const CallContext& call, std::string_view key,
                    std::optional<ByteRange> range = std::nullopt) override {
    HF_RETURN_IF_ERROR(CheckKey(key));
    HF_RETURN_IF_ERROR(clock_.Check(call));
    const std::scoped_lock lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) return NoSuchObject(key);
    HF_TRY(const ByteRange wanted, CheckRange(key, range, found->second.bytes.size()));
    return ToBytes(ByteView(found->second.bytes).subspan(wanted.offset, wanted.size));
  }

  Result<StoredObject> Stat(const CallContext& call, std::string_view key) override {
    HF_RETURN_IF_ERROR(CheckKey(key));
    HF_RETURN_IF_ERROR(clock_.Check(call));
    const std::scoped_lock lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) return NoSuchObject(key);
    return Stored(*found);
  }

  Result<std::vector<StoredObject>> List(const CallContext& call, std::string_view prefix,
                                         std::string_view after) override {
    HF_RETURN_IF_ERROR(clock_.Check(call));
    const std::scoped_lock lock(mutex_);
    std::vector<StoredObject> page;
    for (auto it = prefix > after ? objects_.lower_bound(prefix) : objects_.upper_bound(after);
         it != objects_.end() && it->first.starts_with(prefix) && page.size() < kListPageMax;
         ++it) {
      page.push_back(Stored(*it));
    }
    return page;
  }

  Status Delete(const CallContext& call, std::string_view key) override {
    HF_RETURN_IF_ERROR(CheckKey(key));
    HF_RETURN_IF_ERROR(clock_.Check(call));
    const std::scoped_lock lock(mutex_);
    if (const auto found = objects_.find(key); found != objects_.end()) objects_.erase(found);
    return {};
  }

  std::string Describe() const override { return "memory"; }

  /// Every key, in order.
  std::vector<std::string> keys() const {
    const std::scoped_lock lock(mutex_);
    std::vector<std::string> keys;
    for (const auto& [key, object] : objects_) keys.push_back(key);
    return keys;
  }

  /// The bytes of `key`; nothing when it is not there.
  std::optional<Bytes> bytes(std::string_view key) const {
    const std::scoped_lock lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) return std::nullopt;
    return found->second.bytes;
  }

  /// Changes a stored object behind everybody's back, as bit rot does; its time stays. The object
  /// must be there.
  void Damage(std::string_view key, const std::function<void(Bytes&)>& change) {
    const std::scoped_lock lock(mutex_);
    const auto found = objects_.find(key);
    HF_ASSERT(found != objects_.end());
    change(found->second.bytes);
  }

  /// All stored bytes together.
  std::uint64_t size() const {
    const std::scoped_lock lock(mutex_);
    std::uint64_t size = 0;
    for (const auto& [key, object] : objects_) size += object.bytes.size();
    return size;
  }

 private:
  struct Object {
    Bytes bytes;
    WallTime last_modified;
  };
  using Objects = std::map<std::string, Object, std::less<>>;

  Error NoSuchObject(std::string_view key) const {
    return {ErrorCode::kNotFound, "no object " + std::string(key) + " in " + Describe()};
  }

  static StoredObject Stored(const Objects::value_type& entry) {
    return {.key = entry.first,
            .size = entry.second.bytes.size(),
            .last_modified = entry.second.last_modified};
  }

  Clock& clock_;
  mutable std::mutex mutex_;
  Objects objects_;
};

}  // namespace holdfast::testing
