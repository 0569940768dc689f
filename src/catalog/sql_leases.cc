#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "catalog/sql_catalog.h"
#include "catalog/sql_rows.h"

namespace holdfast::sql {
namespace {

Status CheckTerm(Duration term) {
  if (term < kLeaseTermMin || term > kLeaseTermMax) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("a lease lasts {} to {}, not {}", FormatDuration(kLeaseTermMin),
                             FormatDuration(kLeaseTermMax), FormatDuration(term)));
  }
  return {};
}

Status CheckLease(const Lease& lease) {
  HF_RETURN_IF_ERROR(CheckName("name of the lease", lease.name, kLeaseNameBytesMax));
  return CheckName("owner of the lease", lease.owner, kLeaseNameBytesMax);
}

Error Busy(std::string_view name, const Row& row) {
  Columns columns(row);
  const std::string owner = columns.Text();
  const Duration left = std::max(Duration(columns.Signed()), Duration(0));
  return {ErrorCode::kBusy,
          fmt::format("{} is taken by {}, for another {} unless renewed", name, owner,
                      FormatDuration(left)),
          "Nothing was changed, try later."};
}

}  // namespace

Result<Lease> SqlCatalog::Acquire(const CallContext& call, std::string_view name,
                                  std::string_view owner, Duration term) {
  Lease lease{.name = std::string(name), .owner = std::string(owner), .token = 0};
  HF_RETURN_IF_ERROR(CheckLease(lease));
  HF_RETURN_IF_ERROR(CheckTerm(term));
  HF_TRY(
      const std::string reply, store_.Operate(call, [&](Session& session) -> Result<std::string> {
        HF_TRY(const auto taken,
               session.Execute("UPDATE holdfast_leases SET owner = ?, token = token + 1, "
                               "expires_us = {now} + ?, writes = writes + 1 "
                               "WHERE name = ? AND expires_us <= {now}",
                               {lease.owner, Micros(term), lease.name}));
        if (taken == 0) {
          HF_TRY(
              const auto held,
              session.Query("SELECT owner, expires_us - {now} FROM holdfast_leases WHERE name = ?",
                            {lease.name}));
          if (!held.empty()) return Busy(name, held[0]);
          HF_RETURN_IF_ERROR(session.Execute(
              "INSERT INTO holdfast_leases (name, owner, token, expires_us, writes) "
              "VALUES (?, ?, 1, {now} + ?, 0)",
              {lease.name, lease.owner, Micros(term)}));
        }
        HF_TRY(const auto granted,
               session.Query("SELECT token FROM holdfast_leases WHERE name = ?", {lease.name}));
        if (granted.size() != 1) return Error(ErrorCode::kInternal, "a granted lease is not there");
        return fmt::format("{}", Columns(granted[0]).Number());
      }));
  std::from_chars(reply.data(), reply.data() + reply.size(), lease.token);
  return lease;
}

Status SqlCatalog::Renew(const CallContext& call, const Lease& lease, Duration term) {
  HF_RETURN_IF_ERROR(CheckLease(lease));
  HF_RETURN_IF_ERROR(CheckTerm(term));
  return store_.Write(call, [&](Session& session) -> Status {
    HF_TRY(const auto renewed,
           session.Execute("UPDATE holdfast_leases SET expires_us = {now} + ?, writes = writes + 1 "
                           "WHERE name = ? AND token = ? AND owner = ?",
                           {Micros(term), lease.name, Signed(lease.token), lease.owner}));
    if (renewed != 1) return LeaseLost(lease);
    return {};
  });
}

Status SqlCatalog::Release(const CallContext& call, const Lease& lease) {
  HF_RETURN_IF_ERROR(CheckLease(lease));
  return store_.Write(call, [&](Session& session) -> Status {
    // The token moves on, so that neither a late renewal nor a late write of the owner can pass.
    HF_RETURN_IF_ERROR(
        session.Execute("UPDATE holdfast_leases SET expires_us = 0, token = token + 1, "
                        "writes = writes + 1 WHERE name = ? AND token = ? AND owner = ?",
                        {lease.name, Signed(lease.token), lease.owner}));
    return {};
  });
}

Result<std::optional<LeaseView>> SqlCatalog::FindLease(const CallContext& call,
                                                       std::string_view name) {
  HF_RETURN_IF_ERROR(CheckName("name of the lease", name, kLeaseNameBytesMax));
  std::optional<LeaseView> view;
  Status read = store_.Read(call, [&](Session& session) -> Status {
    HF_TRY(const auto rows, session.Query("SELECT owner, token, expires_us, expires_us - {now} "
                                          "FROM holdfast_leases WHERE name = ?",
                                          {std::string(name)}));
    view.reset();
    if (rows.empty()) return {};
    Columns columns(rows[0]);
    view.emplace();
    view->lease.name = name;
    view->lease.owner = columns.Text();
    view->lease.token = columns.Number();
    view->expires_at = columns.Time();
    const Duration left(columns.Signed());
    view->held = left > Duration(0);
    view->expires_in = view->held ? left : Duration(0);
    return {};
  });
  if (!read.ok()) return std::move(read).error();
  return view;
}

}  // namespace holdfast::sql
