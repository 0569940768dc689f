// What holdfast prints: tables and live progress for people, one JSON object a line with --json.

#pragma once

#include <chrono>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "job/job_runner.h"

namespace holdfast {

/// Rows of a table; the first one is its head.
using Table = std::vector<std::vector<std::string>>;

/// Thread-safe. Standard output carries results only: text, or with `json` nothing but JSON lines.
/// Progress and warnings go to standard error; on a terminal the progress is redrawn in place.
class Output final : public JobObserver {
 public:
  explicit Output(bool json);

  bool json() const noexcept { return json_; }

  void Line(std::string_view text);
  void PrintTable(const Table& table);
  /// One JSON line; nothing without --json.
  void Event(const nlohmann::json& event);
  /// The last JSON line: {"event":"result","state":…} and what `members` has.
  void Result(std::string_view state, const nlohmann::json& members);
  void Failure(const Error& error, std::string_view state);
  /// 0, or the errno with which standard output did not take something.
  int Flush();

  void OnWaiting(const LeaseView& holder) override;
  void OnStarted(const JobId& id, std::uint32_t attempt) override;
  void OnStep(std::string_view key, const Status& status, bool skipped) override;
  void OnProgress(const ProgressSnapshot& progress) override;
  void OnWarning(std::string_view text) override;
  void OnNote(std::string_view text) override;
  void OnEnded(const JobId& id, JobState state) override;

  /// The job that is (or was) run by this process; empty before it started.
  std::string job() const;

 private:
  void ClearLive();
  void FlushLocked();
  void Say(std::string_view text);

  const bool json_;
  const bool live_;
  mutable std::mutex mutex_;
  int lost_ = 0;
  std::size_t live_lines_ = 0;
  std::string phase_;
  std::string job_;
  std::chrono::microseconds last_note_{};
};

}  // namespace holdfast
