#include "testing/ops/written.h"

#include <algorithm>
#include <iterator>

#include "base/assert.h"
#include "model/json.h"

namespace holdfast::testing {
namespace {

constexpr Duration kTick{1};

std::string Text(const std::optional<std::uint64_t>& version) {
  return version ? "write " + std::to_string(*version) : "nothing";
}

/// Numbers and UUIDs in turn; ids of different keys differ.
std::string IdOf(std::size_t key, std::uint64_t number) {
  const std::string digits = std::to_string(100'000 + key * 1000 + number);
  if (number % 4 != 3) return digits;
  return "\"00000000-0000-4000-8000-000000" + digits + "\"";
}

}  // namespace

void Written::Begin(const std::string& collection, std::vector<ShardKey> keys, std::uint64_t ids) {
  Open& open = open_[collection];
  open.ids = ids;
  for (ShardKey& key : keys) open.keys.emplace_back(std::move(key));
  if (open.keys.empty()) open.keys.emplace_back(std::nullopt);
}

void Written::Emptied(const std::string& collection) {
  const MonotonicTime now = clock_.Monotonic();
  for (auto& [id, point] : points_[collection]) {
    point.changes.push_back({.sent = now, .acked = now + kTick, .version = std::nullopt});
  }
  clock_.Advance(2 * kTick);
}

void Written::WriteOne() {
  if (open_.empty()) return;
  const auto last = static_cast<std::int64_t>(open_.size()) - 1;
  const auto& [name, open] = *std::next(open_.begin(), random_.Between(0, last));
  if (open.ids == 0) return;
  const auto key =
      static_cast<std::size_t>(random_.Between(0, static_cast<std::int64_t>(open.keys.size()) - 1));
  const auto number =
      static_cast<std::uint64_t>(random_.Between(0, static_cast<std::int64_t>(open.ids) - 1));
  const std::string id = IdOf(key, number);
  Point& point = points_[name][id];
  point.shard = engine_.ShardOf(name, id, open.keys[key]);
  const bool there = !point.changes.empty() && point.changes.back().version;
  clock_.Advance(kTick);
  Change change{.sent = clock_.Monotonic(), .acked = {}, .version = std::nullopt};
  bool taken = false;
  if (there && random_.Between(0, 2) == 0) {
    taken = engine_.Delete(name, id, open.keys[key]);
  } else {
    change.version = ++versions_;
    taken = engine_.Upsert(name, id,
                           {.vector = {}, .payload = R"({"v":)" + std::to_string(versions_) + "}"},
                           open.keys[key]);
  }
  clock_.Advance(kTick);
  change.acked = clock_.Monotonic();
  clock_.Advance(kTick);
  // The simulated cluster refuses a write without having done anything.
  if (taken) point.changes.push_back(change);
}

std::optional<std::uint64_t> Written::VersionOf(const std::map<std::string, std::string>& content,
                                                const std::string& id) {
  const auto line = content.find(id);
  if (line == content.end()) return std::nullopt;
  const auto document = json::Parse(line->second, "a point");
  HF_ASSERT(document.ok());
  return document->at("payload").at("v").get<std::uint64_t>();
}

std::vector<std::string> Written::Check(const std::string& collection, ShardId shard,
                                        const CutInterval& cut,
                                        const std::map<std::string, std::string>& content) const {
  std::vector<std::string> wrong;
  const auto found = points_.find(collection);
  static const Points kNone;
  const Points& points = found == points_.end() ? kNone : found->second;
  const std::string where = "shard " + std::to_string(shard.value()) + " of '" + collection + "': ";
  for (const auto& [id, line] : content) {
    if (!points.contains(id)) wrong.push_back(where + "nobody wrote point " + id);
  }
  for (const auto& [id, point] : points) {
    const std::optional<std::uint64_t> version = VersionOf(content, id);
    if (point.shard != shard) {
      if (version) wrong.push_back(where + "point " + id + " belongs elsewhere");
      continue;
    }
    std::size_t least = 0;
    std::size_t most = 0;
    for (const Change& change : point.changes) {
      if (change.acked < cut.begin) ++least;
      if (change.sent <= cut.end) ++most;
    }
    bool allowed = false;
    std::string choices;
    for (std::size_t k = least; k <= most; ++k) {
      const std::optional<std::uint64_t> state =
          k == 0 ? std::nullopt : point.changes[k - 1].version;
      allowed = allowed || state == version;
      choices += " " + Text(state);
    }
    if (!allowed)
      wrong.push_back(where + "point " + id + " is " + Text(version) + ", not" + choices);
  }
  return wrong;
}

std::vector<std::string> Written::CheckLive() const {
  std::vector<std::string> wrong;
  constexpr CutInterval kNow{.begin = MonotonicTime::max(), .end = MonotonicTime::max()};
  const Topology now = engine_.Now();
  for (const auto& [name, open] : open_) {
    const Collection* collection = now.FindCollection(name);
    if (collection == nullptr) {
      wrong.push_back("'" + name + "' is gone");
      continue;
    }
    for (const Shard& shard : collection->shards) {
      for (const Replica& replica : shard.replicas) {
        if (replica.state != ReplicaState::kActive) continue;
        const ReplicaRef ref{.peer = replica.peer, .collection = name, .shard = shard.id};
        std::ranges::move(Check(name, shard.id, kNow, engine_.Content(ref)),
                          std::back_inserter(wrong));
      }
    }
  }
  return wrong;
}

bool Written::AnyWithin(const CutInterval& cut) const {
  for (const auto& [name, points] : points_) {
    for (const auto& [id, point] : points) {
      for (const Change& change : point.changes) {
        if (change.acked >= cut.begin && change.sent <= cut.end) return true;
      }
    }
  }
  return false;
}

}  // namespace holdfast::testing
