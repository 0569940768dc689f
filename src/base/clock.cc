#include "base/clock.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <condition_variable>
#include <cstdio>
#include <mutex>

namespace holdfast {
namespace {

class MachineClock final : public Clock {
 public:
  MonotonicTime Monotonic() override {
    return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now());
  }
  WallTime Wall() override {
    return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
  }
  Status SleepFor(const CallContext& call, Duration length) override {
    HF_RETURN_IF_ERROR(Check(call));
    const MonotonicTime wanted = Monotonic() + length;
    const MonotonicTime until = call.deadline ? std::min(wanted, *call.deadline) : wanted;
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    never.wait_until(lock, call.stop, until, [] { return false; });
    if (call.stop.stop_requested()) return Error(ErrorCode::kCancelled, "stopped");
    if (until < wanted) return Error(ErrorCode::kDeadlineExceeded, "out of time");
    return {};
  }
};

/// Exactly `width` decimal digits off the front of `text`, or nothing.
std::optional<int> Digits(std::string_view& text, std::size_t width) {
  int value = 0;
  if (text.size() < width) return std::nullopt;
  const std::string_view digits = text.substr(0, width);
  const auto [end, code] = std::from_chars(digits.begin(), digits.end(), value);
  if (code != std::errc() || end != digits.end() || text[0] == '-') return std::nullopt;
  text.remove_prefix(width);
  return value;
}

bool Skip(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

struct TimeOfDay {
  std::chrono::seconds since_midnight{0};
  Duration fraction{0};
  std::chrono::minutes offset{0};
};

Duration Fraction(std::string_view& text) {
  Duration value{0};
  Duration unit = std::chrono::seconds(1);
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    unit /= 10;
    value += unit * (text.front() - '0');
    text.remove_prefix(1);
  }
  return value;
}

std::optional<TimeOfDay> ReadTimeOfDay(std::string_view text) {
  const auto hour = Digits(text, 2);
  if (!hour || *hour > 23 || !Skip(text, ':')) return std::nullopt;
  const auto minute = Digits(text, 2);
  if (!minute || *minute > 59) return std::nullopt;
  TimeOfDay out;
  int second = 0;
  if (Skip(text, ':')) {
    const auto read = Digits(text, 2);
    if (!read || *read > 60) return std::nullopt;
    second = *read;
    if (Skip(text, '.')) {
      if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
      out.fraction = Fraction(text);
    }
  }
  out.since_midnight =
      std::chrono::hours(*hour) + std::chrono::minutes(*minute) + std::chrono::seconds(second);
  if (text == "Z" || text == "z") return out;
  const bool west = !text.empty() && text.front() == '-';
  if (!Skip(text, '+') && !Skip(text, '-')) return std::nullopt;
  const auto offset_hour = Digits(text, 2);
  if (!offset_hour || *offset_hour > 23 || !Skip(text, ':')) return std::nullopt;
  const auto offset_minute = Digits(text, 2);
  if (!offset_minute || *offset_minute > 59 || !text.empty()) return std::nullopt;
  out.offset = std::chrono::hours(*offset_hour) + std::chrono::minutes(*offset_minute);
  if (west) out.offset = -out.offset;
  return out;
}

}  // namespace

CallContext Clock::Within(const CallContext& call, Duration length) {
  const MonotonicTime until = Monotonic() + length;
  return {.stop = call.stop, .deadline = call.deadline ? std::min(*call.deadline, until) : until};
}

Status Clock::Check(const CallContext& call) {
  if (call.stop.stop_requested()) return Error(ErrorCode::kCancelled, "stopped");
  if (call.deadline && Monotonic() >= *call.deadline) {
    return Error(ErrorCode::kDeadlineExceeded, "out of time");
  }
  return {};
}

Clock& SystemClock() {
  static MachineClock clock;
  return clock;
}

std::string FormatTime(WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::milliseconds>(time - day));
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
                static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()),
                static_cast<int>(clock.subseconds().count()));
  return text.data();
}

Result<WallTime> ParseTime(std::string_view text) {
  const Error bad(ErrorCode::kInvalidArgument, "'" + std::string(text) + "' is not a time",
                  "write it as 2026-11-22T03:24:38Z, with Z or an offset such as +01:00");
  std::string_view rest = text;
  const auto year = Digits(rest, 4);
  if (!year || !Skip(rest, '-')) return bad;
  const auto month = Digits(rest, 2);
  if (!month || !Skip(rest, '-')) return bad;
  const auto day = Digits(rest, 2);
  if (!day) return bad;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return bad;
  const WallTime midnight = std::chrono::sys_days(date);
  if (rest.empty()) return midnight;
  if (!Skip(rest, 'T') && !Skip(rest, 't') && !Skip(rest, ' ')) return bad;
  const auto time = ReadTimeOfDay(rest);
  if (!time) return bad;
  return midnight + time->since_midnight + time->fraction - time->offset;
}

std::string FormatDuration(Duration length) {
  using namespace std::chrono_literals;
  std::array<char, 64> text{};
  const double seconds = std::chrono::duration<double>(length).count();
  if (length < 1s) {
    std::snprintf(text.data(), text.size(), "%lld ms",
                  static_cast<long long>(length / std::chrono::milliseconds(1)));
  } else if (length < 60s) {
    std::snprintf(text.data(), text.size(), "%.1f s", seconds);
  } else if (length < 3600s) {
    std::snprintf(text.data(), text.size(), "%lld min %02lld s",
                  static_cast<long long>(length / 60s), static_cast<long long>(length % 60s / 1s));
  } else {
    std::snprintf(text.data(), text.size(), "%lld h %02lld min",
                  static_cast<long long>(length / 3600s),
                  static_cast<long long>(length % 3600s / 60s));
  }
  return text.data();
}

Result<Duration> ParseDuration(std::string_view text) {
  const Error bad(ErrorCode::kInvalidArgument, "'" + std::string(text) + "' is not a duration",
                  "write a whole number with a unit: 500ms, 30s, 5m, 2h or 7d");
  long long count = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (code != std::errc() || count < 0) return bad;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  constexpr long long kMostDays = 36'500;
  const std::chrono::milliseconds step = unit == "ms"  ? std::chrono::milliseconds(1)
                                         : unit == "s" ? std::chrono::seconds(1)
                                         : unit == "m" ? std::chrono::minutes(1)
                                         : unit == "h" ? std::chrono::hours(1)
                                         : unit == "d" ? std::chrono::days(1)
                                                       : std::chrono::milliseconds(0);
  if (step.count() == 0 || count > std::chrono::days(kMostDays) / step) return bad;
  return std::chrono::duration_cast<Duration>(step * count);
}

}  // namespace holdfast
