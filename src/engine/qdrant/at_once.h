// The same small work on many things, a bounded number of them at once.

#pragma once

#include <cstddef>
#include <functional>

#include "base/clock.h"
#include "base/result.h"

namespace holdfast::qdrant {

/// Requests under way at once in one call of the engine.
constexpr std::size_t kAtOnce = 16;

/// Calls `work(call, i)` for i in [0, count) on up to `at_once` threads. Returns the first error,
/// which stops the rest.
Status ForEach(const CallContext& call, std::size_t count,
               const std::function<Status(const CallContext&, std::size_t)>& work,
               std::size_t at_once = kAtOnce);

}  // namespace holdfast::qdrant
