#include "ops/points/point_compare.h"

#include <algorithm>
#include <map>
#include <queue>
#include <utility>

#include "base/size.h"
#include "ops/insist.h"
#include "ops/parallel.h"

namespace holdfast {
namespace {

constexpr const char* kLane = "points";
constexpr std::size_t kReadsAtOnce = 8;
constexpr std::size_t kSomeIds = 10;
/// Of one side; each shard gets its share, but never less than kPageBytesMin.
constexpr std::uint64_t kBytesOfASide = 32 * kMiB;
constexpr std::uint64_t kPageBytesMin = 64 * kKiB;
constexpr std::size_t kDeletesAtOnce = 1000;

/// One shard that is being walked through.
struct Cursor {
  PointSource* points = nullptr;
  ShardId shard;
  std::vector<SourcePoint> page;
  std::size_t at = 0;
  std::string after;
  bool end = false;

  bool empty() const { return at == page.size(); }
  const SourcePoint& current() const { return page[at]; }
};

/// The shards of one key of one side, merged by id.
class Side {
 public:
  void Add(PointSource& points, ShardId shard) {
    cursors_.push_back(
        {.points = &points, .shard = shard, .page = {}, .at = 0, .after = {}, .end = false});
  }
  std::size_t size() const { return cursors_.size(); }

  /// True when the next point cannot be told before more is read.
  bool starved() const { return starved_ > 0 || !begun_; }
  /// Those that should be read now: the empty ones, and whatever is running low beside them.
  void Hungry(std::vector<Cursor*>& hungry) {
    for (Cursor& cursor : cursors_) {
      if (!cursor.end && cursor.at * 2 >= cursor.page.size()) hungry.push_back(&cursor);
    }
  }
  void Fed() {
    // Pages may have moved, so the order is made anew from what is there.
    heap_ = {};
    starved_ = 0;
    begun_ = true;
    for (std::size_t i = 0; i < cursors_.size(); ++i) Rank(i);
  }

  /// Nothing when both all is read and all is taken.
  const SourcePoint* current() const {
    return heap_.empty() ? nullptr : &cursors_[heap_.top().cursor].current();
  }
  void Pop() {
    const std::size_t cursor = heap_.top().cursor;
    heap_.pop();
    ++cursors_[cursor].at;
    Rank(cursor);
  }

 private:
  struct Ranked {
    std::string_view id;
    std::size_t cursor;
    bool operator<(const Ranked& other) const {
      const auto order = CompareIds(id, other.id);
      return order != 0 ? order > 0 : cursor > other.cursor;
    }
  };
  void Rank(std::size_t cursor) {
    if (!cursors_[cursor].empty()) {
      heap_.push({.id = cursors_[cursor].current().id_json, .cursor = cursor});
    } else if (!cursors_[cursor].end) {
      ++starved_;
    }
  }

  std::vector<Cursor> cursors_;
  std::priority_queue<Ranked> heap_;
  std::size_t starved_ = 0;
  bool begun_ = false;
};

class Pass {
 public:
  Pass(const CallContext& call, const ComparePassParts& parts, const CopyLimits& limits)
      : call_(call), parts_(parts), limits_(limits) {}

  Result<PassResult> Run() {
    std::map<std::optional<ShardKey>, std::pair<Side, Side>> keys;
    HF_TRY(const auto source, Shards(parts_.source));
    HF_TRY(const auto target, Shards(parts_.target));
    for (const SourceShard& shard : source) keys[shard.key].first.Add(parts_.source, shard.shard);
    for (const SourceShard& shard : target) keys[shard.key].second.Add(parts_.target, shard.shard);
    parts_.progress.Expect(kLane, 0, keys.size());
    for (auto& [key, sides] : keys) {
      key_ = key;
      HF_RETURN_IF_ERROR(Compare(sides.first, sides.second));
      HF_RETURN_IF_ERROR(Write());
      HF_RETURN_IF_ERROR(Delete());
      parts_.progress.AddItem(kLane);
    }
    return std::move(result_);
  }

 private:
  Result<std::vector<SourceShard>> Shards(PointSource& points) {
    return Insist(call_, parts_.clock, limits_.patience, [&] { return points.Shards(call_); });
  }

  Status Compare(Side& source, Side& target) {
    const std::size_t shards = std::max<std::size_t>({source.size(), target.size(), 1});
    const PageLimits limits{.points = limits_.page.points,
                            .bytes = std::clamp(kBytesOfASide / shards, kPageBytesMin,
                                                std::max(limits_.page.bytes, kPageBytesMin))};
    std::string last;
    for (;;) {
      if (source.starved() || target.starved()) HF_RETURN_IF_ERROR(Feed(source, target, limits));
      const SourcePoint* const want = source.current();
      const SourcePoint* const have = target.current();
      if (want == nullptr && have == nullptr) return {};
      if (want != nullptr && want->id_json == last) {
        ++result_.doubled;
        source.Pop();
        continue;
      }
      const auto order = want == nullptr   ? std::strong_ordering::greater
                         : have == nullptr ? std::strong_ordering::less
                                           : CompareIds(want->id_json, have->id_json);
      if (order <= 0) {
        ++result_.source_points;
        last = want->id_json;
      }
      if (order >= 0) ++result_.target_points;
      if (order > 0) {
        ++result_.extra;
        HF_RETURN_IF_ERROR(Differs(have->id_json, nullptr));
      } else if (order < 0) {
        ++result_.missing;
        HF_RETURN_IF_ERROR(Differs(want->id_json, want));
      } else if (!parts_.comparer.Same(want->point_json, have->point_json)) {
        ++result_.changed;
        HF_RETURN_IF_ERROR(Differs(want->id_json, want));
      }
      if (order <= 0) source.Pop();
      if (order >= 0) target.Pop();
    }
  }

  /// Reads on wherever there is little left, several shards at once.
  Status Feed(Side& source, Side& target, const PageLimits& limits) {
    std::vector<Cursor*> hungry;
    source.Hungry(hungry);
    target.Hungry(hungry);
    HF_RETURN_IF_ERROR(ForEachIndex(
        call_, hungry.size(), kReadsAtOnce, [&](const CallContext& inner, std::size_t i) -> Status {
          Cursor& cursor = *hungry[i];
          HF_TRY(PointPage page, Insist(inner, parts_.clock, limits_.patience, [&] {
                   return cursor.points->ReadPage(inner, cursor.shard, cursor.after, limits);
                 }));
          if (cursor.points == &parts_.source) {
            HF_RETURN_IF_ERROR(parts_.rate.Acquire(inner, page.points.size()));
          }
          std::uint64_t bytes = 0;
          for (const SourcePoint& point : page.points) bytes += point.point_json.size();
          parts_.progress.AddBytes(kLane, bytes);
          cursor.end = page.end || page.points.empty();
          if (!page.points.empty()) cursor.after = page.points.back().id_json;
          cursor.page.erase(cursor.page.begin(),
                            cursor.page.begin() + static_cast<std::ptrdiff_t>(cursor.at));
          cursor.at = 0;
          std::ranges::move(page.points, std::back_inserter(cursor.page));
          return {};
        }));
    source.Fed();
    target.Fed();
    return {};
  }

  /// `want` as the source has it; absent: the source does not have it.
  Status Differs(const std::string& id, const SourcePoint* want) {
    if (result_.some.size() < kSomeIds) result_.some.push_back(id);
    if (result_.ids.size() < kDifferentIdsMax) result_.ids.emplace_back(key_, id);
    if (parts_.engine == nullptr) return {};
    if (want == nullptr) {
      delete_.push_back(id);
      return delete_.size() < kDeletesAtOnce ? Status() : Delete();
    }
    write_bytes_ += want->point_json.size();
    write_.push_back(*want);
    const bool full = write_.size() >= limits_.page.points || write_bytes_ >= limits_.page.bytes;
    return full ? Write() : Status();
  }

  Status Write() {
    if (write_.empty()) return {};
    HF_RETURN_IF_ERROR(Insist(call_, parts_.clock, limits_.patience, [&] {
      return parts_.engine->UpsertPoints(call_, parts_.collection, key_, write_);
    }));
    write_.clear();
    write_bytes_ = 0;
    return {};
  }

  Status Delete() {
    if (delete_.empty()) return {};
    HF_RETURN_IF_ERROR(Insist(call_, parts_.clock, limits_.patience, [&] {
      return parts_.engine->DeletePoints(call_, parts_.collection, key_, delete_);
    }));
    delete_.clear();
    return {};
  }

  const CallContext& call_;
  const ComparePassParts& parts_;
  const CopyLimits& limits_;
  std::optional<ShardKey> key_;
  std::vector<SourcePoint> write_;
  std::uint64_t write_bytes_ = 0;
  std::vector<std::string> delete_;
  PassResult result_;
};

}  // namespace

std::string DescribeDifferences(const PassResult& result) {
  return FormatCount(result.missing) + " new, " + FormatCount(result.changed) + " changed, " +
         FormatCount(result.extra) + " deleted";
}

Result<PassResult> ComparePoints(const CallContext& call, const ComparePassParts& parts,
                                 const CopyLimits& limits) {
  return Pass(call, parts, limits).Run();
}

}  // namespace holdfast
