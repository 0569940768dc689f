// A catalog as the jobs see it, that fails or dies at call number n.

#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

#include "catalog/catalog.h"
#include "testing/catalog/passing_journal.h"

namespace holdfast::testing {

/// Passes every call on and counts them from 1. Thread-safe.
class FaultyJournal final : public PassingJournal<FaultyJournal> {
 public:
  explicit FaultyJournal(Catalog& inner) : PassingJournal(inner) {}

  /// The process dies at call `n`: before it reaches the catalog, or after it took effect. That
  /// call and all later ones give kInternal, which nobody repeats.
  void DieAt(std::uint64_t n, bool after) {
    const std::scoped_lock lock(mutex_);
    die_at_ = n;
    die_after_ = after;
  }
  /// From now on every call fails with `error`; with nothing, no more.
  void FailWith(std::optional<Error> error) {
    const std::scoped_lock lock(mutex_);
    error_ = std::move(error);
  }
  /// The next call takes effect, and nobody hears of it.
  void LoseReply() {
    const std::scoped_lock lock(mutex_);
    lose_reply_ = true;
  }
  bool dead() const {
    const std::scoped_lock lock(mutex_);
    return dead_;
  }
  std::uint64_t calls() const {
    const std::scoped_lock lock(mutex_);
    return calls_;
  }

 private:
  friend PassingJournal;

  template <class F>
  auto Pass(F work) -> decltype(work()) {
    bool after = false;
    bool lost = false;
    {
      const std::scoped_lock lock(mutex_);
      ++calls_;
      if (error_) return *error_;
      if (dead_) return Dead();
      lost = std::exchange(lose_reply_, false);
      if (calls_ == die_at_) {
        dead_ = true;
        if (!die_after_) return Dead();
        after = true;
      }
    }
    auto result = work();
    if (after) return Dead();
    if (lost) return Error(ErrorCode::kUnavailable, "injected: the reply is lost");
    return result;
  }
  static Error Dead() { return {ErrorCode::kInternal, "injected: this process is dead"}; }

  mutable std::mutex mutex_;
  std::uint64_t calls_ = 0;
  std::uint64_t die_at_ = 0;
  bool die_after_ = false;
  bool dead_ = false;
  bool lose_reply_ = false;
  std::optional<Error> error_;
};

}  // namespace holdfast::testing
