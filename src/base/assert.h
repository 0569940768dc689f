// Invariants. Kept in release builds: a backup tool that doubts itself must stop.

#pragma once

namespace holdfast {

/// Prints "<file>:<line>: invariant broken: <what>" to standard error and aborts.
[[noreturn]] void AssertFailed(const char* what, const char* file, int line) noexcept;

}  // namespace holdfast

#define HF_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : ::holdfast::AssertFailed(#condition, __FILE__, __LINE__))
