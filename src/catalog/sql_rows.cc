#include "catalog/sql_rows.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "base/size.h"

namespace holdfast::sql {

Status CheckName(std::string_view what, std::string_view name, std::size_t bytes_max) {
  if (name.empty()) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("the {} is empty", what));
  }
  return CheckOptionalName(what, name, bytes_max);
}

Status CheckOptionalName(std::string_view what, std::string_view name, std::size_t bytes_max) {
  if (name.size() > bytes_max) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("the {} is {} bytes long, more than the catalog's {}", what,
                             name.size(), bytes_max));
  }
  if (name.find('\0') != std::string_view::npos) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("the {} holds a NUL byte", what));
  }
  return {};
}

Status CheckDocument(std::string_view what, std::string_view json, std::size_t bytes_max) {
  if (json.size() > bytes_max) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("the {} is {} long, more than the catalog's {}", what,
                             FormatSize(json.size()), FormatSize(bytes_max)));
  }
  if (!json.empty() && !nlohmann::json::accept(json)) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("the {} is not JSON in UTF-8", what));
  }
  return {};
}

Status CheckCounts(std::string_view what, std::initializer_list<std::uint64_t> counts) {
  for (const std::uint64_t count : counts) {
    if (count > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("a count of the {} is not below 2^63", what));
    }
  }
  return {};
}

Status CheckLimit(std::size_t limit) {
  if (limit == 0 || limit > kPageRowsMax) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("a page has 1 to {} rows, not {}", kPageRowsMax, limit));
  }
  return {};
}

Status Fence(Session& session, const Lease& lease) {
  HF_TRY(const auto held, session.Execute("UPDATE holdfast_leases SET writes = writes + 1 "
                                          "WHERE name = ? AND token = ? AND owner = ?",
                                          {lease.name, Signed(lease.token), lease.owner}));
  if (held != 1) return LeaseLost(lease);
  return {};
}

Error LeaseLost(const Lease& lease) {
  return {ErrorCode::kAborted,
          fmt::format("the lease {} was lost: it expired and somebody else took it", lease.name)};
}

}  // namespace holdfast::sql
