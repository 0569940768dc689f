#include "ops/points/point_copy.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "exec/bounded_queue.h"
#include "exec/thread_group.h"
#include "exec/wait.h"
#include "model/json.h"
#include "ops/insist.h"

namespace holdfast {
namespace {

constexpr const char* kLane = "points";

/// What was read for one step and is not written yet.
class Outstanding {
 public:
  void Add() {
    const std::scoped_lock lock(mutex_);
    ++count_;
  }
  void Done() {
    const std::scoped_lock lock(mutex_);
    --count_;
    changed_.notify_all();
  }
  Status AwaitNone(const CallContext& call, Clock& clock) {
    std::unique_lock lock(mutex_);
    return WaitUntil(call, clock, changed_, lock, [&] { return count_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::size_t count_ = 0;
};

struct Batch {
  std::optional<ShardKey> key;
  std::vector<SourcePoint> points;
  std::uint64_t bytes = 0;
  std::shared_ptr<Outstanding> step;
};

/// How far a shard is: the detail of a step.
struct Position {
  std::string after;
  std::uint64_t points = 0;
  bool end = false;
};

std::string PositionJson(const Position& position) {
  return json::Dump({{"last", position.after}, {"points", position.points}, {"end", position.end}});
}

Result<Position> PositionFrom(std::string_view text) {
  constexpr const char* kWhat = "a step of a copy";
  HF_TRY(const json::Json detail, json::Parse(text, kWhat));
  json::Reader in(detail, kWhat);
  Position position;
  position.after = in.Text("last");
  position.points = in.Number("points");
  position.end = in.Flag("end");
  HF_RETURN_IF_ERROR(in.status());
  return position;
}

class Copier {
 public:
  Copier(StepContext& context, const CopyParts& parts, const std::string& collection,
         const CopyLimits& limits)
      : context_(context),
        parts_(parts),
        collection_(collection),
        limits_(limits),
        queue_(parts.clock, limits.bytes_in_flight) {}

  Result<std::uint64_t> Run() {
    const CallContext& call = context_.call();
    HF_TRY(shards_, Insist(call, parts_.clock, limits_.patience,
                           [&] { return parts_.source.Shards(call); }));
    context_.progress().Expect(kLane, 0, shards_.size());
    const std::size_t readers = std::min(limits_.shards_at_once, shards_.size());
    readers_left_ = readers;
    ThreadGroup threads(call);
    for (std::size_t i = 0; i < readers; ++i) {
      HF_RETURN_IF_ERROR(threads.Start([this](const CallContext& inner) { return Read(inner); }));
    }
    for (std::size_t i = 0; i < limits_.writers && readers > 0; ++i) {
      HF_RETURN_IF_ERROR(threads.Start([this](const CallContext& inner) { return Write(inner); }));
    }
    HF_RETURN_IF_ERROR(threads.Join());
    return copied_.load();
  }

 private:
  Status Read(const CallContext& call) {
    for (std::size_t i = next_++; i < shards_.size(); i = next_++) {
      HF_RETURN_IF_ERROR(CopyShard(call, shards_[i]));
      context_.progress().AddItem(kLane);
    }
    if (--readers_left_ == 0) queue_.Close();
    return {};
  }

  Status Write(const CallContext& call) {
    for (;;) {
      HF_TRY(std::optional<Batch> batch, queue_.Pop(call));
      if (!batch) return {};
      HF_RETURN_IF_ERROR(Insist(call, parts_.clock, limits_.patience, [&] {
        return parts_.target.UpsertPoints(call, collection_, batch->key, batch->points);
      }));
      context_.progress().AddBytes(kLane, batch->bytes);
      batch->step->Done();
    }
  }

  Status CopyShard(const CallContext& call, const SourceShard& shard) {
    Position at;
    for (std::uint64_t n = 0; !at.end; ++n) {
      const std::string key =
          parts_.steps + "/" + std::to_string(shard.shard.value()) + "/" + std::to_string(n);
      HF_TRY(const std::string detail,
             context_.Step(key, [&](const CallContext&) -> Result<std::string> {
               HF_TRY(const Position position, CopySome(call, shard, at.after));
               return PositionJson(position);
             }));
      HF_TRY(at, PositionFrom(detail));
      copied_ += at.points;
    }
    return {};
  }

  /// One step's worth of points; returns when they are written.
  Result<Position> CopySome(const CallContext& call, const SourceShard& shard, std::string after) {
    Position at{.after = std::move(after), .points = 0, .end = false};
    const auto step = std::make_shared<Outstanding>();
    while (!at.end && at.points < limits_.points_per_step) {
      HF_TRY(PointPage page, Insist(call, parts_.clock, limits_.patience, [&] {
               return parts_.source.ReadPage(call, shard.shard, at.after, limits_.page);
             }));
      at.end = page.end || page.points.empty();
      if (page.points.empty()) break;
      HF_RETURN_IF_ERROR(parts_.rate.Acquire(call, page.points.size()));
      at.after = page.points.back().id_json;
      at.points += page.points.size();
      Batch batch{.key = shard.key, .points = std::move(page.points), .bytes = 0, .step = step};
      for (const SourcePoint& point : batch.points) batch.bytes += point.point_json.size();
      const std::uint64_t bytes = batch.bytes;
      step->Add();
      HF_RETURN_IF_ERROR(queue_.Push(call, std::move(batch), bytes));
    }
    HF_RETURN_IF_ERROR(step->AwaitNone(call, parts_.clock));
    return at;
  }

  StepContext& context_;
  const CopyParts& parts_;
  const std::string& collection_;
  const CopyLimits& limits_;
  std::vector<SourceShard> shards_;
  BoundedQueue<Batch> queue_;
  std::atomic<std::size_t> next_ = 0;
  std::atomic<std::size_t> readers_left_ = 0;
  std::atomic<std::uint64_t> copied_ = 0;
};

}  // namespace

Result<std::uint64_t> CopyPoints(StepContext& context, const CopyParts& parts,
                                 const std::string& collection, const CopyLimits& limits) {
  return Copier(context, parts, collection, limits).Run();
}

}  // namespace holdfast
