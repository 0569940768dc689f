#include "repo/write/borrowed_packs.h"

#include <fmt/format.h>

#include <algorithm>

#include "repo/pack_presence.h"

namespace holdfast {
namespace {

constexpr std::size_t kSortFrom = 4096;

}  // namespace

void BorrowedPacks::Prefixes::MakeUnique() {
  std::ranges::sort(list);
  list.erase(std::unique(list.begin(), list.end()), list.end());
  unique_size = list.size();
}

void BorrowedPacks::Add(const GroupId& attempt, const PackId& pack) {
  const std::scoped_lock lock(mutex_);
  Prefixes& prefixes = attempts_[attempt.value()];
  prefixes.list.push_back(PackPrefix(pack));
  // Many images name the same packs: never more than twice as many as there are.
  if (prefixes.list.size() > kSortFrom + 2 * prefixes.unique_size) prefixes.MakeUnique();
}

std::vector<GroupId> BorrowedPacks::Attempts() const {
  const std::scoped_lock lock(mutex_);
  std::vector<GroupId> attempts;
  for (const auto& [attempt, prefixes] : attempts_) attempts.emplace_back(attempt);
  return attempts;
}

Status BorrowedPacks::CheckPresent(const CallContext& call, ObjectStore& store) {
  const std::scoped_lock lock(mutex_);
  for (auto& [attempt, prefixes] : attempts_) {
    HF_TRY(const PackPresence present, PackPresence::List(call, store, GroupId(attempt)));
    prefixes.MakeUnique();
    for (const std::uint64_t prefix : prefixes.list) {
      if (present.Contains(prefix)) continue;
      return Error(ErrorCode::kAborted,
                   fmt::format("the pack packs/{}/{:016x}..., which this backup relies on, is gone",
                               attempt, prefix),
                   "Run the backup again: it will store what is missing anew. Then run verify");
    }
  }
  return {};
}

}  // namespace holdfast
