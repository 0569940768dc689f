// Finds out what a store really does, for `holdfast check`.

#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "store/object_store.h"
#include "stream/crypto.h"

namespace holdfast {

/// One thing that was tried.
struct StoreFinding {
  /// Stable name for --json: "write", "read", "ranged_read", "stat", "list_after_write", "replace",
  /// "conditional_put", "delete", "list_after_delete".
  std::string what;
  bool ok = false;
  /// Whether a repository can live without it (conditional_put only).
  bool optional = false;
  /// What was seen when it is not ok, with the advice of the error.
  std::string detail;
};

struct StoreReport {
  std::vector<StoreFinding> findings;

  /// Everything that is not optional holds.
  bool usable() const noexcept;
};

/// Writes, reads, lists, replaces and deletes objects named "probe-<random>-…" and
/// leaves nothing behind; when even the delete fails, the finding names the key. Stops trying after
/// a failed write. An error only when `call` ended (what was written is removed all the same,
/// within 10 s). `store` should not retry, so that the first error is seen at once.
Result<StoreReport> ProbeStore(const CallContext& call, ObjectStore& store, Clock& clock,
                               SecureRandom& random);

}  // namespace holdfast
