#include "job/progress.h"

#include <algorithm>

namespace holdfast {
namespace {

/// Samples closer than this would make the deque as long as the caller is eager.
constexpr Duration kSampleSpacing = std::chrono::milliseconds(100);
constexpr const char* kOthers = "others";

}  // namespace

Progress::Progress(Clock& clock) : clock_(clock), started_(clock.Monotonic()) {}

void Progress::BeginPhase(std::string_view phase) {
  const std::scoped_lock lock(mutex_);
  phase_ = phase;
  started_ = clock_.Monotonic();
  total_ = {};
  lanes_.clear();
}

void Progress::Expect(std::string_view lane, std::uint64_t bytes, std::uint64_t items) {
  const std::scoped_lock lock(mutex_);
  for (Lane* each : {&total_, &At(lane)}) {
    each->progress.bytes_total += bytes;
    each->progress.items_total += items;
  }
}

void Progress::TakeBack(std::string_view lane, std::uint64_t bytes) {
  const std::scoped_lock lock(mutex_);
  // The lane may be "others" and hold more than was counted in this name: never below zero.
  Lane& at = At(lane);
  const std::uint64_t counted = std::min(bytes, at.progress.bytes_done);
  TakeBack(at, counted);
  TakeBack(total_, counted);
}

void Progress::TakeBack(Lane& lane, std::uint64_t bytes) {
  lane.progress.bytes_done -= bytes;
  // The rate is that of the bytes on the wire, useful or not: past samples move along.
  for (Sample& sample : lane.samples) sample.bytes -= static_cast<std::int64_t>(bytes);
}

void Progress::AddBytes(std::string_view lane, std::uint64_t bytes) {
  const std::scoped_lock lock(mutex_);
  total_.progress.bytes_done += bytes;
  At(lane).progress.bytes_done += bytes;
}

void Progress::AddItem(std::string_view lane) {
  const std::scoped_lock lock(mutex_);
  ++total_.progress.items_done;
  ++At(lane).progress.items_done;
}

ProgressSnapshot Progress::Snapshot() {
  const std::scoped_lock lock(mutex_);
  const MonotonicTime now = clock_.Monotonic();
  ProgressSnapshot snapshot;
  snapshot.phase = phase_;
  snapshot.elapsed = now - started_;
  Measure(total_, now);
  snapshot.total = total_.progress;
  snapshot.lanes.reserve(lanes_.size());
  for (auto& [name, lane] : lanes_) {
    Measure(lane, now);
    snapshot.lanes.push_back(lane.progress);
  }
  return snapshot;
}

Progress::Lane& Progress::At(std::string_view lane) {
  auto found = lanes_.find(lane);
  if (found == lanes_.end()) {
    if (lanes_.size() + 1 >= kLanesMax) lane = kOthers;
    found = lanes_.try_emplace(std::string(lane)).first;
    found->second.progress.name = lane;
  }
  return found->second;
}

void Progress::Measure(Lane& lane, MonotonicTime now) {
  auto& samples = lane.samples;
  LaneProgress& progress = lane.progress;
  const Sample latest{now, static_cast<std::int64_t>(progress.bytes_done)};
  // One sample older than the window stays, so that the rate spans all of it.
  while (samples.size() >= 2 && samples[1].at <= now - kRateWindow) samples.pop_front();
  progress.bytes_per_second = 0;
  if (!samples.empty() && samples.front().at < now) {
    const double seconds = std::chrono::duration<double>(now - samples.front().at).count();
    const auto bytes = static_cast<double>(latest.bytes - samples.front().bytes);
    progress.bytes_per_second = std::max(0.0, bytes / seconds);
  }
  if (samples.empty() || now - samples.back().at >= kSampleSpacing) samples.push_back(latest);
  progress.time_left.reset();
  if (progress.bytes_total == 0) return;
  if (progress.bytes_done >= progress.bytes_total) {
    progress.time_left = Duration(0);
  } else if (progress.bytes_per_second > 0) {
    const double seconds =
        static_cast<double>(progress.bytes_total - progress.bytes_done) / progress.bytes_per_second;
    // A crawling stream must not overflow; a year is as good as for ever.
    constexpr double kYear = 365.0 * 24 * 3600;
    progress.time_left = std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(std::min(seconds, kYear)));
  }
}

}  // namespace holdfast
