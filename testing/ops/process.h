// One process of holdfast as everything outside of it sees it: its calls to the cluster, to the
// store and to the catalog, in the order in which they leave, until it dies at one of them.

#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/random.h"
#include "catalog/catalog.h"
#include "store/object_store.h"
#include "testing/catalog/passing_journal.h"

namespace holdfast::testing {

/// Counts calls from 1. Thread-safe: calls of several threads are numbered as they come.
class Process {
 public:
  /// `between` runs before every call while the process lives, on the calling thread, one call at
  /// a time: there the rest of the world goes on.
  explicit Process(std::function<void(std::string_view what)> between)
      : between_(std::move(between)) {}

  /// From call `n` on nothing leaves the process any more, and what it hears are errors that nobody
  /// repeats. Call `n` itself does not happen, or it happens and nobody hears of it.
  void DieAt(std::uint64_t n, bool after_effect) {
    const std::scoped_lock lock(mutex_);
    die_at_ = n;
    after_effect_ = after_effect;
  }
  /// Before call `n` this happens, e.g. a Ctrl-C.
  void Before(std::uint64_t n, std::function<void()> action) {
    const std::scoped_lock lock(mutex_);
    action_at_ = n;
    action_ = std::move(action);
  }
  bool dead() const {
    const std::scoped_lock lock(mutex_);
    return dead_;
  }
  std::uint64_t calls() const {
    const std::scoped_lock lock(mutex_);
    return calls_;
  }

  /// Makes one call. `work` returns Status or Result.
  template <class F>
  auto Call(std::string_view what, F work) -> decltype(work()) {
    if (!Leave(what)) return Dead();
    auto result = work();
    if (dead()) return Dead();
    return result;
  }

  static Error Dead() { return {ErrorCode::kInternal, "this process is dead (simulated)"}; }

 private:
  /// False when the call does not happen.
  bool Leave(std::string_view what) {
    const std::scoped_lock one_at_a_time(between_mutex_);
    std::function<void()> action;
    {
      const std::scoped_lock lock(mutex_);
      if (dead_) return false;
      ++calls_;
      if (calls_ == action_at_) action = std::move(action_);
    }
    if (action) action();
    between_(what);
    const std::scoped_lock lock(mutex_);
    if (calls_ != die_at_) return true;
    dead_ = true;
    return after_effect_;
  }

  const std::function<void(std::string_view)> between_;
  std::mutex between_mutex_;
  mutable std::mutex mutex_;
  std::uint64_t calls_ = 0;
  std::uint64_t die_at_ = 0;
  std::uint64_t action_at_ = 0;
  std::function<void()> action_;
  bool after_effect_ = false;
  bool dead_ = false;
};

/// The store as a process reaches it.
class ProcessStore final : public ObjectStore {
 public:
  ProcessStore(Process& process, ObjectStore& store) : process_(process), store_(store) {}

  Status Put(const CallContext& call, std::string_view key, const ObjectBody& body,
             PutMode mode) override {
    return process_.Call("store put", [&] { return store_.Put(call, key, body, mode); });
  }
  Result<Bytes> Get(const CallContext& call, std::string_view key,
                    std::optional<ByteRange> range = std::nullopt) override {
    return process_.Call("store get", [&] { return store_.Get(call, key, range); });
  }
  Result<StoredObject> Stat(const CallContext& call, std::string_view key) override {
    return process_.Call("store stat", [&] { return store_.Stat(call, key); });
  }
  Result<std::vector<StoredObject>> List(const CallContext& call, std::string_view prefix,
                                         std::string_view after) override {
    return process_.Call("store list", [&] { return store_.List(call, prefix, after); });
  }
  Status Delete(const CallContext& call, std::string_view key) override {
    return process_.Call("store delete", [&] { return store_.Delete(call, key); });
  }
  std::string Describe() const override { return store_.Describe(); }

 private:
  Process& process_;
  ObjectStore& store_;
};

/// The catalog as a process reaches it. A part of the calls fails for a moment, before or after
/// they took effect.
class ProcessCatalog final : public PassingJournal<ProcessCatalog> {
 public:
  /// One call of `one_in` fails; 0: none.
  ProcessCatalog(Process& process, Catalog& catalog, Random& random, std::int64_t one_in)
      : PassingJournal(catalog), process_(process), random_(random), one_in_(one_in) {}

 private:
  friend PassingJournal;

  template <class F>
  auto Pass(F work) -> decltype(work()) {
    const bool fails = one_in_ > 0 && random_.Between(1, one_in_) == 1;
    const bool happens = !fails || random_.Between(0, 1) == 1;
    const Error gone(ErrorCode::kUnavailable, "the catalog is out of reach (simulated)");
    auto result = process_.Call("catalog", [&]() -> decltype(work()) {
      if (!happens) return gone;
      return work();
    });
    if (fails && result.ok()) return gone;
    return result;
  }

  Process& process_;
  Random& random_;
  const std::int64_t one_in_;
};

}  // namespace holdfast::testing
