// What the catalog's statements share: checks on the way in, reading of rows on the way out,
// fencing. For .cc files of this module only.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "catalog/records.h"
#include "catalog/sql_store.h"

namespace holdfast::sql {

/// kInvalidArgument naming `what` when `name` is empty, longer than `bytes_max` or holds a NUL.
Status CheckName(std::string_view what, std::string_view name, std::size_t bytes_max);
/// The same for a name that may be empty.
Status CheckOptionalName(std::string_view what, std::string_view name, std::size_t bytes_max);
/// kInvalidArgument naming `what` when it is longer than `bytes_max`, or neither empty nor JSON.
Status CheckDocument(std::string_view what, std::string_view json, std::size_t bytes_max);
/// kInvalidArgument when a count does not fit the 63 bits that SQL has.
Status CheckCounts(std::string_view what, std::initializer_list<std::uint64_t> counts);
Status CheckLimit(std::size_t limit);

inline std::int64_t Micros(Duration length) { return length.count(); }
inline std::int64_t Micros(WallTime time) { return time.time_since_epoch().count(); }
inline std::int64_t Signed(std::uint64_t number) { return static_cast<std::int64_t>(number); }

/// Reads the columns of one row from left to right. A column of another type is a defect.
class Columns {
 public:
  explicit Columns(const Row& row) : row_(row) {}

  std::int64_t Signed() { return std::get<std::int64_t>(row_.at(next_++)); }
  std::uint64_t Number() { return static_cast<std::uint64_t>(Signed()); }
  std::string Text() { return std::get<std::string>(row_.at(next_++)); }
  WallTime Time() { return WallTime(Duration(Signed())); }
  std::optional<WallTime> OptionalTime() {
    if (std::holds_alternative<std::monostate>(row_.at(next_))) {
      ++next_;
      return std::nullopt;
    }
    return Time();
  }

 private:
  const Row& row_;
  std::size_t next_ = 0;
};

/// The head of every write made on behalf of a lease: kAborted unless it is the latest grant of its
/// name. It changes the lease's row, so a takeover and the write cannot both commit without one
/// seeing the other; a comparison that only reads would let both pass under snapshot isolation
/// (TiDB takes no lock for a sub-query of an UPDATE).
Status Fence(Session& session, const Lease& lease);

/// kAborted: the lease was lost.
Error LeaseLost(const Lease& lease);

}  // namespace holdfast::sql
