// Keeping writers away while the cut is made. holdfast cannot do it (Qdrant has no such call,
// reference 6.3); the user's own hook can.

#pragma once

#include "base/clock.h"
#include "base/result.h"

namespace holdfast {

/// Stops and releases the writers. Implementations make sure that writers are released even when
/// this process dies (design.md, Capture 2).
class Fence {
 public:
  virtual ~Fence() = default;
  /// When it returns OK no writer is at work until Thaw() or the fence's own time limit.
  virtual Status Freeze(const CallContext& call) = 0;
  /// OK: writers were kept away all the time from Freeze() until this call, and are released now.
  /// kDeadlineExceeded: they were released earlier, by the time limit. Called once for each
  /// successful Freeze(), whatever happens; not stopped by `call`.
  virtual Status Thaw(const CallContext& call) = 0;
};

}  // namespace holdfast
