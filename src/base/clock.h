// Time, and what every blocking call is bound by. The only place that reads the machine's clocks.

#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"

namespace holdfast {

using Duration = std::chrono::microseconds;
/// One clock for a whole process: instants of different threads compare. Never goes back.
using MonotonicTime = std::chrono::time_point<std::chrono::steady_clock, Duration>;
/// For what people and other machines read. May jump.
using WallTime = std::chrono::sys_time<Duration>;

/// What every blocking call is bound by. Passed first, by reference, down to the socket.
/// A call that ends early because of it returns kCancelled (stop) or kDeadlineExceeded.
struct CallContext {
  std::stop_token stop;
  std::optional<MonotonicTime> deadline;
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicTime Monotonic() = 0;
  virtual WallTime Wall() = 0;
  /// Returns kCancelled or kDeadlineExceeded at once when `call` ends first. Thread-safe.
  virtual Status SleepFor(const CallContext& call, Duration length) = 0;

  /// `call` with its deadline at most `length` from now.
  CallContext Within(const CallContext& call, Duration length);
  /// kCancelled or kDeadlineExceeded when `call` has ended, OK otherwise.
  Status Check(const CallContext& call);
};

/// The machine's clocks. Thread-safe, lives as long as the process.
Clock& SystemClock();

/// "2026-11-22T03:24:38.123Z" (RFC 3339, UTC, milliseconds).
std::string FormatTime(WallTime time);
/// Reads what FormatTime writes, and RFC 3339 in general (offset or Z required, fraction and
/// seconds optional; a bare date means its midnight UTC). kInvalidArgument otherwise.
Result<WallTime> ParseTime(std::string_view text);

/// "850 ms", "12.3 s", "4 min 05 s", "2 h 10 min": for people.
std::string FormatDuration(Duration length);
/// "500ms", "30s", "5m", "2h", "7d". kInvalidArgument otherwise, or when negative.
Result<Duration> ParseDuration(std::string_view text);

}  // namespace holdfast
