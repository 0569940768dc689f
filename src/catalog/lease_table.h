// Who may work on what. Expiry only permits takeover; what keeps a former owner from doing harm is
// the token, compared in the transaction of every write made on behalf of a lease.

#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "catalog/records.h"

namespace holdfast {

/// Shortest and longest time a lease may be asked for.
constexpr Duration kLeaseTermMin = std::chrono::seconds(1);
constexpr Duration kLeaseTermMax = std::chrono::hours(24);

/// Thread-safe. All times are the database's clock, so machines need not agree. Errors of all
/// calls: kUnavailable (the database cannot be reached), kInvalidArgument.
class LeaseTable {
 public:
  virtual ~LeaseTable() = default;

  /// Grants the lease for `term` when nobody holds it or its term has passed. `owner` is for
  /// people: "job 20261122T032438Z-9f8a on host db1, pid 4711". kBusy, naming the owner and the
  /// time left, when it is held, also by the same owner. A reply that was lost is looked up, so a
  /// grant never goes unnoticed by its owner.
  virtual Result<Lease> Acquire(const CallContext& call, std::string_view name,
                                std::string_view owner, Duration term) = 0;

  /// The term starts anew, now. An expired lease that nobody has taken is renewed too. kAborted
  /// when it was released or somebody else has it: stop working at once.
  virtual Status Renew(const CallContext& call, const Lease& lease, Duration term) = 0;

  /// Anybody may have it now. OK when it was lost before.
  virtual Status Release(const CallContext& call, const Lease& lease) = 0;

  /// Nothing when it was never granted.
  virtual Result<std::optional<LeaseView>> FindLease(const CallContext& call,
                                                     std::string_view name) = 0;
};

}  // namespace holdfast
