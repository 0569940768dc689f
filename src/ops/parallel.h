// The same call for many things, a few at a time.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "exec/thread_group.h"

namespace holdfast {

/// Calls `work(call, i)` for every i below `count` on at most `at_once` threads; returns when all
/// are done or after the first error, which stops the rest. `work` returns Status.
template <class Work>
Status ForEachIndex(const CallContext& call, std::size_t count, std::size_t at_once, Work work) {
  std::atomic<std::size_t> next{0};
  ThreadGroup group(call);
  for (std::size_t t = 0; t < std::min(count, at_once); ++t) {
    HF_RETURN_IF_ERROR(group.Start([&](const CallContext& inner) -> Status {
      for (std::size_t i = next++; i < count; i = next++) {
        HF_RETURN_IF_ERROR(work(inner, i));
      }
      return {};
    }));
  }
  return group.Join();
}

}  // namespace holdfast
