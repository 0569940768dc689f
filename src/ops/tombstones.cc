#include "ops/tombstones.h"

#include <algorithm>
#include <vector>

#include "base/size.h"

namespace holdfast {
namespace {

bool IsText(std::string_view id) noexcept { return !id.empty() && id.front() == '"'; }

/// The live ids page by page, as one ascending walk.
class LiveIds {
 public:
  LiveIds(PointReader& reader, const ReplicaRef& replica) : reader_(reader), replica_(replica) {}

  /// True when `id` is live. Calls come with ascending ids.
  Result<bool> Has(const CallContext& call, std::string_view id) {
    while (!ended_) {
      while (at_ < page_.size() && IdLess(page_[at_], id)) ++at_;
      if (at_ < page_.size()) return page_[at_] == id;
      const std::string after = page_.empty() ? std::string() : page_.back();
      HF_TRY(page_, reader_.ListIds(call, replica_, after, kIdPage));
      at_ = 0;
      ended_ = page_.empty();
    }
    return false;
  }

 private:
  PointReader& reader_;
  const ReplicaRef& replica_;
  std::vector<std::string> page_;
  std::size_t at_ = 0;
  bool ended_ = false;
};

}  // namespace

bool IdLess(std::string_view left, std::string_view right) noexcept {
  if (IsText(left) != IsText(right)) return IsText(right);
  // Whole numbers without leading zeros: the longer one is larger.
  if (!IsText(left) && left.size() != right.size()) return left.size() < right.size();
  return left < right;
}

Result<std::uint64_t> FindTombstones(const CallContext& call, PointReader& reader,
                                     const ReplicaRef& replica, ImageInspector& inspector,
                                     ByteSink& out) {
  LiveIds live(reader, replica);
  std::uint64_t found = 0;
  HF_RETURN_IF_ERROR(inspector.VisitIds(call, [&](std::string_view id) -> Status {
    HF_TRY(const bool is_live, live.Has(call, id));
    if (is_live) return {};
    if (++found > kTombstonesMax) {
      return Error(
          ErrorCode::kFailedPrecondition,
          Describe(replica) + " has lost more than " + FormatCount(kTombstonesMax) + " deletes",
          "wait until its optimizer has finished and back up again");
    }
    return out.Write(call, AsBytes(std::string(id) + "\n"));
  }));
  return found;
}

}  // namespace holdfast
