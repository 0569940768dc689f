// How far a job is: counters that many threads add to and one observer reads.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace holdfast {

/// Most lanes of one job; what comes later is counted in the total and in a lane named "others".
constexpr std::size_t kLanesMax = 1024;
/// The rate is the mean over the last of these.
constexpr Duration kRateWindow = std::chrono::seconds(10);

struct LaneProgress {
  /// A node, usually; empty in the total.
  std::string name;
  std::uint64_t bytes_done = 0;
  /// What is known to be needed; may grow. Zero: not known.
  std::uint64_t bytes_total = 0;
  std::uint64_t items_done = 0;
  std::uint64_t items_total = 0;
  double bytes_per_second = 0;
  /// Nothing while the total or the rate is not known.
  std::optional<Duration> time_left;
};

struct ProgressSnapshot {
  /// What is going on, in one or two words: "capture", "verify".
  std::string phase;
  LaneProgress total;
  /// By name.
  std::vector<LaneProgress> lanes;
  Duration elapsed{};
};

/// Thread-safe; one object for one job. Adding is cheap enough for every buffer of a stream. A new
/// phase starts all counters and rates from zero.
class Progress {
 public:
  explicit Progress(Clock& clock);

  void BeginPhase(std::string_view phase);
  /// More bytes and items are going to be needed in `lane`.
  void Expect(std::string_view lane, std::uint64_t bytes, std::uint64_t items);
  /// A broken stream starts again: what it had done no longer counts.
  void TakeBack(std::string_view lane, std::uint64_t bytes);
  void AddBytes(std::string_view lane, std::uint64_t bytes);
  void AddItem(std::string_view lane);

  /// Also takes the sample that the next rates are made of, so ask once or twice a second.
  ProgressSnapshot Snapshot();

 private:
  struct Sample {
    MonotonicTime at;
    std::int64_t bytes;
  };
  struct Lane {
    LaneProgress progress;
    std::deque<Sample> samples;
  };
  Lane& At(std::string_view lane);
  static void Measure(Lane& lane, MonotonicTime now);
  static void TakeBack(Lane& lane, std::uint64_t bytes);

  Clock& clock_;
  std::mutex mutex_;
  std::string phase_;
  MonotonicTime started_;
  Lane total_;
  std::map<std::string, Lane, std::less<>> lanes_;
};

}  // namespace holdfast
