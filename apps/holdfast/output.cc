#include "apps/holdfast/output.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/size.h"
#include "model/json.h"

namespace holdfast {
namespace {

/// Without a terminal a line of progress comes this often.
constexpr Duration kPlainInterval = std::chrono::seconds(10);
constexpr std::size_t kLiveLanesMax = 12;

/// Columns that a text takes: UTF-8 characters, not bytes.
std::size_t Width(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string LaneText(const LaneProgress& lane) {
  std::string text = FormatSize(lane.bytes_done);
  if (lane.bytes_total > 0) text += " of " + FormatSize(lane.bytes_total);
  if (lane.items_total > 0) {
    text +=
        ", shard " + std::to_string(lane.items_done) + " of " + std::to_string(lane.items_total);
  }
  if (lane.bytes_per_second > 0) {
    text += ", " + FormatSize(static_cast<std::uint64_t>(lane.bytes_per_second)) + "/s";
  }
  if (lane.time_left) text += ", " + FormatDuration(*lane.time_left) + " left";
  return text;
}

nlohmann::json LaneJson(const LaneProgress& lane) {
  nlohmann::json out = {{"bytes", lane.bytes_done},
                        {"bytes_total", lane.bytes_total},
                        {"items", lane.items_done},
                        {"items_total", lane.items_total},
                        {"bytes_per_second", lane.bytes_per_second}};
  if (!lane.name.empty()) out["node"] = lane.name;
  if (lane.time_left) {
    out["seconds_left"] = static_cast<double>(lane.time_left->count()) / 1e6;
  }
  return out;
}

}  // namespace

Output::Output(bool json) : json_(json), live_(!json && ::isatty(STDERR_FILENO) == 1) {}

void Output::Line(std::string_view text) {
  if (json_) return;
  const std::scoped_lock lock(mutex_);
  ClearLive();
  std::fprintf(stdout, "%.*s\n", static_cast<int>(text.size()), text.data());
  FlushLocked();
}

void Output::PrintTable(const Table& table) {
  std::vector<std::size_t> widths;
  for (const auto& row : table) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  for (const auto& row : table) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line += std::string(widths[i] - Width(row[i]) + 2, ' ');
    }
    Line(line);
  }
}

void Output::Event(const nlohmann::json& event) {
  if (!json_) return;
  const std::string text = json::Dump(event);
  const std::scoped_lock lock(mutex_);
  std::fprintf(stdout, "%s\n", text.c_str());
  FlushLocked();
}

void Output::Result(std::string_view state, const nlohmann::json& members) {
  nlohmann::json event = members.is_object() ? members : nlohmann::json::object();
  event["event"] = "result";
  event["state"] = state;
  if (const std::string id = job(); !id.empty()) event["job"] = id;
  Event(event);
}

void Output::Failure(const Error& error, std::string_view state) {
  if (json_) {
    Result(state, {{"error",
                    {{"code", ErrorCodeName(error.code())},
                     {"message", error.message()},
                     {"hint", error.hint()}}}});
    return;
  }
  Say("holdfast: " + error.message());
  if (!error.hint().empty()) Say("hint: " + error.hint());
}

int Output::Flush() {
  const std::scoped_lock lock(mutex_);
  FlushLocked();
  return lost_;
}

void Output::FlushLocked() {
  errno = 0;
  const bool failed = std::fflush(stdout) != 0 || std::ferror(stdout) != 0;
  if (failed && lost_ == 0) lost_ = errno == 0 ? EIO : errno;
}

void Output::ClearLive() {
  for (; live_lines_ > 0; --live_lines_) std::fprintf(stderr, "\033[1A\033[2K");
  std::fflush(stderr);
}

void Output::Say(std::string_view text) {
  const std::scoped_lock lock(mutex_);
  ClearLive();
  std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
}

void Output::OnWaiting(const LeaseView& holder) {
  Event({{"event", "waiting"}, {"holder", holder.lease.owner}});
  if (!json_) Say("waiting for " + holder.lease.owner);
}

void Output::OnStarted(const JobId& id, std::uint32_t attempt) {
  {
    const std::scoped_lock lock(mutex_);
    job_ = id.value();
  }
  Event({{"event", "started"}, {"job", id.value()}, {"attempt", attempt}});
  // Whoever wants to resume it needs to know it.
  if (!json_) Say("job " + id.value() + (attempt > 1 ? ", taken up again" : ""));
}

void Output::OnStep(std::string_view key, const Status& status, bool skipped) {
  Event({{"event", "step"}, {"key", key}, {"ok", status.ok()}, {"skipped", skipped}});
}

void Output::OnProgress(const ProgressSnapshot& progress) {
  if (json_) {
    nlohmann::json nodes = nlohmann::json::array();
    for (const LaneProgress& lane : progress.lanes) nodes.push_back(LaneJson(lane));
    Event({{"event", "progress"},
           {"phase", progress.phase},
           {"total", LaneJson(progress.total)},
           {"nodes", std::move(nodes)}});
    return;
  }
  const std::string total = progress.phase + "  " + LaneText(progress.total);
  if (!live_) {
    const bool due = progress.elapsed - last_note_ >= kPlainInterval || progress.phase != phase_;
    phase_ = progress.phase;
    if (!due) return;
    last_note_ = progress.elapsed;
    Say(total);
    return;
  }
  const std::scoped_lock lock(mutex_);
  ClearLive();
  for (std::size_t i = 0; i < std::min(progress.lanes.size(), kLiveLanesMax); ++i) {
    const LaneProgress& lane = progress.lanes[i];
    std::fprintf(stderr, "  node %-18s %s\n", lane.name.c_str(), LaneText(lane).c_str());
    ++live_lines_;
  }
  std::fprintf(stderr, "%s\n", total.c_str());
  ++live_lines_;
}

void Output::OnWarning(std::string_view text) {
  Event({{"event", "warning"}, {"message", text}});
  if (!json_) Say("warning: " + std::string(text));
}

void Output::OnNote(std::string_view text) {
  Event({{"event", "note"}, {"message", text}});
  if (!json_) Say(text);
}

void Output::OnEnded(const JobId&, JobState) {
  const std::scoped_lock lock(mutex_);
  ClearLive();
}

std::string Output::job() const {
  const std::scoped_lock lock(mutex_);
  return job_;
}

}  // namespace holdfast
