#include "engine/edge/engine_process.h"

#include <utility>

namespace holdfast::edge {
namespace {

/// How long it may take to end by itself after an error, so that its last words are complete.
constexpr Duration kEndPatience = std::chrono::milliseconds(500);
constexpr std::size_t kReadBytes = 64 * kKiB;

constexpr const char* kInstall =
    "install holdfast-engine (`pip install ./engine` in holdfast's source tree), or set [engine] "
    "command; a restore with the shards of the group needs none";

/// The process itself says that it is out of memory in many ways: a line that its allocator writes
/// before it aborts, a Python exception.
bool SaysOutOfMemory(const std::string& text) {
  return text.find("emory allocation") != std::string::npos ||
         text.find("MemoryError") != std::string::npos ||
         text.find("Cannot allocate memory") != std::string::npos;
}

}  // namespace

Result<std::unique_ptr<EngineProcess>> EngineProcess::Start(const CallContext& call, Clock& clock,
                                                            const EngineSettings& settings,
                                                            const std::string& scratch) {
  std::vector<std::string> command = settings.command;
  for (std::string argument : {std::string("--scratch"), scratch, std::string("--memory-bytes"),
                               std::to_string(settings.memory_bytes), std::string("--line-bytes"),
                               std::to_string(settings.line_bytes)}) {
    command.push_back(std::move(argument));
  }
  auto child = ChildProcess::Start(command, settings.environment);
  if (!child.ok() && child.error().code() == ErrorCode::kNotFound) {
    return Error(ErrorCode::kFailedPrecondition, child.error().message(), kInstall);
  }
  if (!child.ok()) return std::move(child).error().While("start holdfast-engine");
  std::unique_ptr<EngineProcess> process(new EngineProcess(*std::move(child), clock, settings));
  HF_RETURN_IF_ERROR(process->Send(call, HelloRequest(++process->number_)));
  const auto line = process->ReadLine(call, settings.start_patience);
  if (!line.ok() && line.error().code() == ErrorCode::kUnavailable && !process->killed_) {
    // Nothing that passes by itself: a program that is another one, a Python without the package.
    return Error(line.error()).As(ErrorCode::kFailedPrecondition).WithHint(kInstall);
  }
  HF_RETURN_IF_ERROR(line.ok() ? Status() : Status(line.error()));
  auto hello = ReadHello(*line, process->number_);
  if (!hello.ok()) return process->Ended(std::move(hello).error());
  process->hello_ = *std::move(hello);
  return process;
}

/// Ends the process and adds how it ended to `error`.
Error EngineProcess::Ended(Error error) {
  usable_ = false;
  const bool by_itself = error.code() == ErrorCode::kUnavailable;
  const std::string how = child_->End(clock_, by_itself ? kEndPatience : Duration(0));
  killed_ = how.starts_with("was ended by signal");
  const std::string last_words = child_->ErrorTail();
  if (by_itself && SaysOutOfMemory(last_words)) {
    // It would pass it again.
    return Error(ErrorCode::kFailedPrecondition,
                 "holdfast-engine passed its memory limit of " +
                     FormatSize(settings_.memory_bytes) + ": " + last_words,
                 "raise [engine] memory_bytes");
  }
  std::string message = error.message();
  if (by_itself) message += "; it " + how;
  if (by_itself || error.code() == ErrorCode::kInternal) {
    if (!last_words.empty()) message += "; its last words: " + last_words;
  }
  return Error(error.code(), std::move(message), error.hint());
}

Status EngineProcess::Send(const CallContext& call, const std::string& request) {
  if (!usable_) return Error(ErrorCode::kUnavailable, "this holdfast-engine has ended");
  const CallContext bound = clock_.Within(call, settings_.silence_max);
  const Status sent = child_->Write(bound, clock_, request);
  if (sent.ok()) return {};
  HF_RETURN_IF_ERROR(clock_.Check(call));
  if (sent.error().code() == ErrorCode::kDeadlineExceeded) {
    return Ended(Error(ErrorCode::kUnavailable, "holdfast-engine takes no request"));
  }
  // It may have said why before it ended.
  return {};
}

Result<std::string> EngineProcess::ReadLine(const CallContext& call, Duration patience) {
  const CallContext bound = clock_.Within(call, patience);
  std::size_t searched = begin_;
  for (;;) {
    if (const std::size_t end = buffer_.find('\n', searched); end != std::string::npos) {
      std::string line = buffer_.substr(begin_, end - begin_);
      begin_ = end + 1;
      return line;
    }
    if (begin_ > 0) buffer_.erase(0, std::exchange(begin_, 0));
    searched = buffer_.size();
    if (searched > settings_.line_bytes) {
      return Ended(
          Error(ErrorCode::kInternal,
                "holdfast-engine wrote a line of more than " + FormatSize(settings_.line_bytes),
                "is the configured [engine] command a holdfast-engine?"));
    }
    buffer_.resize(searched + kReadBytes);
    auto got = child_->Read(bound, clock_, std::span(buffer_).subspan(searched));
    buffer_.resize(searched + (got.ok() ? *got : 0));
    if (!got.ok()) {
      // When the call has ended, what comes of the process does not matter.
      if (const Status over = clock_.Check(call); !over.ok()) return Ended(over.error());
      const bool silent = got.error().code() == ErrorCode::kDeadlineExceeded;
      return Ended(silent ? Error(ErrorCode::kUnavailable, "holdfast-engine has not answered for " +
                                                               FormatDuration(patience))
                          : std::move(got).error());
    }
    if (*got == 0) {
      return Ended(Error(ErrorCode::kUnavailable, "holdfast-engine ended without an answer"));
    }
  }
}

Result<OpenImage> EngineProcess::Open(const CallContext& call, const std::string& tar,
                                      const std::string& folder) {
  HF_RETURN_IF_ERROR(Send(call, OpenRequest(++number_, tar, folder)));
  HF_TRY(const std::string line, ReadLine(call, settings_.open_patience));
  auto opened = ReadOpen(line, number_);
  if (!opened.ok() && opened.error().code() == ErrorCode::kInternal) {
    return Ended(std::move(opened).error());
  }
  return opened;
}

Result<PointPage> EngineProcess::Page(const CallContext& call, const std::string& after,
                                      const PageLimits& limits) {
  HF_TRY(const std::string request, PageRequest(++number_, after, limits));
  HF_RETURN_IF_ERROR(Send(call, request));
  auto page = ReadPage(call, after, limits);
  // Where the next answer begins is not known any more.
  if (!page.ok() && usable_) return Ended(std::move(page).error());
  return page;
}

Result<PointPage> EngineProcess::ReadPage(const CallContext& call, const std::string& after,
                                          const PageLimits& limits) {
  PointPage page;
  std::uint64_t bytes = 0;
  for (;;) {
    HF_TRY(const std::string line, ReadLine(call, settings_.silence_max));
    if (IsAnswer(line)) {
      HF_TRY(const PageEnd end, ReadPageEnd(line, number_));
      if (end.count != page.points.size() || (end.more && page.points.empty())) {
        return Error(ErrorCode::kDataLoss, "holdfast-engine gave " +
                                               std::to_string(page.points.size()) +
                                               " points and says " + std::to_string(end.count));
      }
      page.end = !end.more;
      return page;
    }
    HF_TRY(SourcePoint point, ReadPoint(line));
    const std::string& before = page.points.empty() ? after : page.points.back().id_json;
    if (!before.empty() && CompareIds(before, point.id_json) >= 0) {
      return Error(ErrorCode::kDataLoss,
                   "holdfast-engine gave point " + point.id_json + " behind point " + before);
    }
    bytes += point.point_json.size();
    const bool too_much = page.points.size() == limits.points ||
                          (!page.points.empty() && bytes > limits.bytes + kKiB);
    if (too_much) {
      return Error(ErrorCode::kInternal, "holdfast-engine gave more than a page of " +
                                             std::to_string(limits.points) + " points and " +
                                             FormatSize(limits.bytes));
    }
    page.points.push_back(std::move(point));
  }
}

}  // namespace holdfast::edge
