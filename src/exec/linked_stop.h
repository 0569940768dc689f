// A stop source of our own that also fires when somebody above us stops.

#pragma once

#include <stop_token>
#include <utility>

#include "base/clock.h"

namespace holdfast {

/// Token and source that fire when Stop() is called here or when the parent's token fires. The
/// parent is never stopped by it. Thread-safe. The parent's source may die
/// first.
class LinkedStop {
 public:
  explicit LinkedStop(std::stop_token parent) : link_(std::move(parent), Fire{this}) {}
  LinkedStop(const LinkedStop&) = delete;
  LinkedStop& operator=(const LinkedStop&) = delete;

  void Stop() noexcept { source_.request_stop(); }
  std::stop_token token() const noexcept { return source_.get_token(); }
  bool stopped() const noexcept { return source_.stop_requested(); }

  /// `call` with this token in place of its own; the deadline stays.
  CallContext Bind(const CallContext& call) const {
    return {.stop = source_.get_token(), .deadline = call.deadline};
  }

 private:
  struct Fire {
    LinkedStop* owner;
    void operator()() const noexcept { owner->Stop(); }
  };

  std::stop_source source_;
  std::stop_callback<Fire> link_;
};

}  // namespace holdfast
