// An object store whose calls fail as a test says.

#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/object_store.h"

namespace holdfast::testing {

enum class StoreOp { kPut, kGet, kStat, kList, kDelete };

/// What goes wrong with one call.
struct StoreFault {
  enum class Kind { kRefuse, kLoseReply, kFlipBit, kShorten, kPause, kDo };

  /// Fails before anything has happened.
  static StoreFault Refuse(ErrorCode code) { return {.kind = Kind::kRefuse, .code = code}; }
  /// Takes effect, and fails all the same.
  static StoreFault LoseReply(ErrorCode code) { return {.kind = Kind::kLoseReply, .code = code}; }
  /// A get returns its bytes with one bit flipped; a put stores them so.
  static StoreFault FlipBit(std::uint64_t bit) { return {.kind = Kind::kFlipBit, .bit = bit}; }
  /// A get returns, or a put stores, only the first `size` bytes.
  static StoreFault Shorten(std::size_t size) { return {.kind = Kind::kShorten, .size = size}; }
  /// Sleeps on the store's clock first.
  static StoreFault Pause(Duration length) { return {.kind = Kind::kPause, .pause = length}; }
  /// Calls `action` first, e.g. to stop the caller or to change the store.
  static StoreFault Do(std::function<void()> action) {
    return {.kind = Kind::kDo, .action = std::move(action)};
  }

  Kind kind = Kind::kRefuse;
  ErrorCode code = ErrorCode::kUnavailable;
  std::uint64_t bit = 0;
  std::size_t size = 0;
  Duration pause{0};
  std::function<void()> action = {};
};

/// Passes every call to `base`, except those that a fault was set for. Thread-safe.
///
/// A fault that was set up and never met means that the test proved nothing: the destructor then
/// fails the test, unless AllowUnused() was called.
class FaultyObjectStore final : public ObjectStore {
 public:
  explicit FaultyObjectStore(ObjectStore& base, Clock& clock = SystemClock())
      : base_(base), clock_(clock) {}
  ~FaultyObjectStore() override {
    if (allow_unused_ || unused_faults() == 0) return;
    ADD_FAILURE() << unused_faults() << " faults that no call met";
  }

  /// The next `times` calls of `op` (whose keys or prefixes begin with `key_prefix`) meet `fault`.
  void Next(StoreOp op, StoreFault fault, int times = 1, std::string key_prefix = {}) {
    const std::scoped_lock lock(mutex_);
    for (int i = 0; i < times; ++i) faults_.push_back({op, key_prefix, std::nullopt, fault});
  }

  /// Call number `number` of all calls together, counting from 0, meets `fault`.
  void AtCall(std::uint64_t number, StoreFault fault) {
    const std::scoped_lock lock(mutex_);
    faults_.push_back({std::nullopt, {}, number, std::move(fault)});
  }

  void AllowUnused() { allow_unused_ = true; }

  std::size_t unused_faults() const {
    const std::scoped_lock lock(mutex_);
    return faults_.size();
  }
  /// Calls of `op` so far, those that failed included.
  std::uint64_t calls(StoreOp op) const {
    const std::scoped_lock lock(mutex_);
    return counts_[static_cast<std::size_t>(op)];
  }
  /// All calls so far.
  std::uint64_t calls() const {
    const std::scoped_lock lock(mutex_);
    return count_;
  }

  Status Put(const CallContext& call, std::string_view key, const ObjectBody& body,
             PutMode mode) override {
    const auto fault = Meet(StoreOp::kPut, key);
    HF_RETURN_IF_ERROR(Before(call, fault, "put", key));
    Status put = ChangesBytes(fault) ? base_.Put(call, key, Changed(*fault, body.Joined()), mode)
                                     : base_.Put(call, key, body, mode);
    return After(std::move(put), fault, "put", key);
  }

  Result<Bytes> Get(const CallContext& call, std::string_view key,
                    std::optional<ByteRange> range = std::nullopt) override {
    const auto fault = Meet(StoreOp::kGet, key);
    HF_RETURN_IF_ERROR(Before(call, fault, "get", key));
    auto got = base_.Get(call, key, range);
    if (got.ok() && ChangesBytes(fault)) return Changed(*fault, *std::move(got));
    return After(std::move(got), fault, "get", key);
  }

  Result<StoredObject> Stat(const CallContext& call, std::string_view key) override {
    const auto fault = Meet(StoreOp::kStat, key);
    HF_RETURN_IF_ERROR(Before(call, fault, "stat", key));
    return After(base_.Stat(call, key), fault, "stat", key);
  }

  Result<std::vector<StoredObject>> List(const CallContext& call, std::string_view prefix,
                                         std::string_view after) override {
    const auto fault = Meet(StoreOp::kList, prefix);
    HF_RETURN_IF_ERROR(Before(call, fault, "list", prefix));
    return After(base_.List(call, prefix, after), fault, "list", prefix);
  }

  Status Delete(const CallContext& call, std::string_view key) override {
    const auto fault = Meet(StoreOp::kDelete, key);
    HF_RETURN_IF_ERROR(Before(call, fault, "delete", key));
    return After(base_.Delete(call, key), fault, "delete", key);
  }

  std::string Describe() const override { return "faulty " + base_.Describe(); }

 private:
  struct Waiting {
    std::optional<StoreOp> op;
    std::string key_prefix;
    std::optional<std::uint64_t> number;
    StoreFault fault;
  };

  std::optional<StoreFault> Meet(StoreOp op, std::string_view key) {
    const std::scoped_lock lock(mutex_);
    const std::uint64_t number = count_++;
    ++counts_[static_cast<std::size_t>(op)];
    for (auto it = faults_.begin(); it != faults_.end(); ++it) {
      const bool meant =
          it->number ? *it->number == number : *it->op == op && key.starts_with(it->key_prefix);
      if (!meant) continue;
      StoreFault fault = std::move(it->fault);
      faults_.erase(it);
      return fault;
    }
    return std::nullopt;
  }

  Status Before(const CallContext& call, const std::optional<StoreFault>& fault,
                std::string_view doing, std::string_view key) {
    if (!fault) return {};
    if (fault->kind == StoreFault::Kind::kRefuse) return Injected(*fault, doing, key);
    if (fault->kind == StoreFault::Kind::kPause) return clock_.SleepFor(call, fault->pause);
    if (fault->kind == StoreFault::Kind::kDo) fault->action();
    return {};
  }

  template <class T>
  static T After(T result, const std::optional<StoreFault>& fault, std::string_view doing,
                 std::string_view key) {
    if (fault && fault->kind == StoreFault::Kind::kLoseReply) return Injected(*fault, doing, key);
    return result;
  }

  static bool ChangesBytes(const std::optional<StoreFault>& fault) {
    return fault &&
           (fault->kind == StoreFault::Kind::kFlipBit || fault->kind == StoreFault::Kind::kShorten);
  }

  static Bytes Changed(const StoreFault& fault, Bytes bytes) {
    if (fault.kind == StoreFault::Kind::kShorten) {
      HF_ASSERT(fault.size < bytes.size());
      bytes.resize(fault.size);
    } else {
      HF_ASSERT(fault.bit / 8 < bytes.size());
      bytes[fault.bit / 8] ^= static_cast<std::byte>(1U << (fault.bit % 8));
    }
    return bytes;
  }

  static Error Injected(const StoreFault& fault, std::string_view doing, std::string_view key) {
    return {fault.code, "injected: " + std::string(doing) + " " + std::string(key)};
  }

  ObjectStore& base_;
  Clock& clock_;
  bool allow_unused_ = false;
  mutable std::mutex mutex_;
  std::vector<Waiting> faults_;
  std::uint64_t count_ = 0;
  std::array<std::uint64_t, 5> counts_{};
};

}  // namespace holdfast::testing
