// What a rebalance writes down while it runs, so that another process can go on with it.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/shard_mover.h"
#include "plan/rebalance_plan.h"

namespace holdfast {

/// What jobs of this kind are called.
inline constexpr const char* kRebalanceKind = "rebalance";

/// A transfer of ours, written down before it is started: nothing else is ever aborted or cleaned
/// up after.
struct OwnTransfer {
  TransferRef transfer;
  TransferKind kind = TransferKind::kMove;
  std::uint64_t bytes = 0;
};

/// The job's plan document. The plan itself is made anew from what is there.
struct RebalanceJournal {
  /// Those that may be under way: at most as many as run at once.
  std::vector<OwnTransfer> own;
  /// Of all attempts.
  std::uint64_t moved = 0;
  std::uint64_t replicated = 0;
  std::uint64_t dropped = 0;
  std::uint64_t bytes = 0;
};

std::string RebalanceJournalToJson(const RebalanceJournal& journal);
/// Empty for an empty text: the job has written nothing down yet.
Result<RebalanceJournal> RebalanceJournalFromJson(std::string_view json);

/// What was asked for, for the job's record: what RebalanceOptions has of the command line. Limits
/// of peers come from the configuration and are left out.
struct RebalanceAsked {
  RebalanceRequest request;
  std::uint32_t transfers_at_once = 4;
  std::uint64_t bytes_per_second = 0;
};
std::string RebalanceAskedToJson(const RebalanceAsked& asked);
Result<RebalanceAsked> RebalanceAskedFromJson(std::string_view json);

}  // namespace holdfast
