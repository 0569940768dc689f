// A running holdfast-engine: one shard image, opened with the real engine.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/size.h"
#include "engine/edge/protocol.h"
#include "engine/point_source.h"
#include "exec/child_process.h"

namespace holdfast::edge {

/// How the process is run; [engine] of the configuration.
struct EngineSettings {
  /// Program and first arguments.
  std::vector<std::string> command = {"holdfast-engine"};
  /// "NAME=value": all it gets of ours. PATH, where `command` is no path.
  std::vector<std::string> environment;
  /// What it may allocate.
  std::uint64_t memory_bytes = 4 * kGiB;
  /// The longest line of a point: a single larger point cannot be copied.
  std::uint64_t line_bytes = 64 * kMiB;
  /// How long it may take to start, and to unpack and open an image (it replays what the image has
  /// of a write-ahead log).
  Duration start_patience = std::chrono::seconds(60);
  Duration open_patience = std::chrono::hours(2);
  /// How long it may be silent within a page.
  Duration silence_max = std::chrono::minutes(5);
};

/// One caller at a time. Every failure but a refused `open` ends the process; the next call then
/// fails with kUnavailable. An error quotes how it ended and what it wrote last to standard error.
class EngineProcess {
 public:
  /// Starts it and makes sure that both sides speak the same protocol. `scratch` is a folder for
  /// small files of its own. kFailedPrecondition, with what to install, when there is none.
  static Result<std::unique_ptr<EngineProcess>> Start(const CallContext& call, Clock& clock,
                                                      const EngineSettings& settings,
                                                      const std::string& scratch);

  const Hello& hello() const noexcept { return hello_; }
  pid_t pid() const noexcept { return child_->pid(); }

  /// Unpacks `tar` into the new folder `folder` and opens that. kUnsupported when a segment is
  /// newer than this engine, kDataLoss when it is damaged.
  Result<OpenImage> Open(const CallContext& call, const std::string& tar,
                         const std::string& folder);

  /// Points of the open image strictly after `after`; see PointSource::ReadPage. kDataLoss when the
  /// process gives points out of order, or other ones than it says.
  Result<PointPage> Page(const CallContext& call, const std::string& after,
                         const PageLimits& limits);

 private:
  EngineProcess(std::unique_ptr<ChildProcess> child, Clock& clock, const EngineSettings& settings)
      : child_(std::move(child)), clock_(clock), settings_(settings) {}
  Status Send(const CallContext& call, const std::string& request);
  Result<std::string> ReadLine(const CallContext& call, Duration patience);
  Result<PointPage> ReadPage(const CallContext& call, const std::string& after,
                             const PageLimits& limits);
  Error Ended(Error error);

  std::unique_ptr<ChildProcess> child_;
  Clock& clock_;
  const EngineSettings settings_;
  Hello hello_;
  std::uint64_t number_ = 0;
  bool usable_ = true;
  /// It ended by a signal, ours or another's.
  bool killed_ = false;
  /// Read and not used yet: [begin_, end).
  std::string buffer_;
  std::size_t begin_ = 0;
};

}  // namespace holdfast::edge
