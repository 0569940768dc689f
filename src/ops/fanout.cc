#include "ops/fanout.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "exec/thread_group.h"
#include "exec/wait.h"

namespace holdfast {
namespace {

constexpr std::size_t kChunkBytes = 256 * 1024;

using Chunk = std::shared_ptr<const Bytes>;

/// What targets and reader share. Thread-safe.
class Feed {
 public:
  Feed(Clock& clock, std::size_t targets) : clock_(clock), lines_(targets) {}

  /// For the reader: waits until every target that is not left behind has room.
  Status Push(const CallContext& call, const Chunk& chunk) {
    std::unique_lock lock(mutex_);
    for (;;) {
      const bool room = std::ranges::all_of(
          lines_, [](const Line& line) { return line.gone || line.bytes < kFanoutBytesPerTarget; });
      if (room) break;
      CallContext patience = clock_.Within(call, kFanoutPatience);
      const Status waited = WaitUntil(patience, clock_, changed_, lock, [&] { return HasRoom(); });
      if (waited.ok()) continue;
      HF_RETURN_IF_ERROR(clock_.Check(call));
      LeaveBehind();
    }
    for (Line& line : lines_) {
      if (line.gone) continue;
      line.chunks.push_back(chunk);
      line.bytes += chunk->size();
    }
    changed_.notify_all();
    return {};
  }

  void End(std::optional<Error> error) {
    const std::scoped_lock lock(mutex_);
    ended_ = true;
    error_ = std::move(error);
    changed_.notify_all();
  }

  /// For a target: the next chunk, null at the end. kAborted when it was left behind.
  Result<Chunk> Pop(const CallContext& call, std::size_t target) {
    std::unique_lock lock(mutex_);
    Line& line = lines_[target];
    line.waiting = true;
    const Status waited = WaitUntil(call, clock_, changed_, lock,
                                    [&] { return line.gone || !line.chunks.empty() || ended_; });
    line.waiting = false;
    HF_RETURN_IF_ERROR(waited);
    if (line.gone) return Error(ErrorCode::kAborted, "left behind, to be fed later");
    if (line.chunks.empty()) {
      if (error_) return *error_;
      return Chunk();
    }
    Chunk chunk = std::move(line.chunks.front());
    line.chunks.pop_front();
    line.bytes -= chunk->size();
    changed_.notify_all();
    return chunk;
  }

  void Leave(std::size_t target) {
    const std::scoped_lock lock(mutex_);
    lines_[target].gone = true;
    lines_[target].chunks.clear();
    changed_.notify_all();
  }
  bool LeftBehind(std::size_t target) {
    const std::scoped_lock lock(mutex_);
    return lines_[target].left_behind;
  }

 private:
  struct Line {
    std::deque<Chunk> chunks;
    std::uint64_t bytes = 0;
    bool waiting = false;
    bool gone = false;
    bool left_behind = false;
  };

  bool HasRoom() const {
    return std::ranges::all_of(
        lines_, [](const Line& line) { return line.gone || line.bytes < kFanoutBytesPerTarget; });
  }

  /// Targets that are full while another one starves; when none starves, all are equally slow.
  void LeaveBehind() {
    const bool starving = std::ranges::any_of(
        lines_, [](const Line& line) { return !line.gone && line.waiting && line.chunks.empty(); });
    if (!starving) return;
    for (Line& line : lines_) {
      if (line.gone || line.bytes < kFanoutBytesPerTarget) continue;
      line.gone = line.left_behind = true;
      line.chunks.clear();
    }
    changed_.notify_all();
  }

  Clock& clock_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<Line> lines_;
  bool ended_ = false;
  std::optional<Error> error_;
};

/// One target's view of the feed.
class FeedSource final : public ByteSource {
 public:
  FeedSource(Feed& feed, std::size_t target) : feed_(feed), target_(target) {}
  Result<std::size_t> Read(const CallContext& call, std::span<std::byte> into) override {
    while (at_ == size_) {
      if (ended_) return std::size_t{0};
      HF_TRY(chunk_, feed_.Pop(call, target_));
      at_ = 0;
      size_ = chunk_ ? chunk_->size() : 0;
      ended_ = !chunk_;
    }
    const std::size_t count = std::min(into.size(), size_ - at_);
    std::copy_n(chunk_->begin() + static_cast<std::ptrdiff_t>(at_), count, into.begin());
    at_ += count;
    return count;
  }

 private:
  Feed& feed_;
  const std::size_t target_;
  Chunk chunk_;
  std::size_t at_ = 0;
  std::size_t size_ = 0;
  bool ended_ = false;
};

Status ReadInto(const CallContext& call, Feed& feed, ByteSource& source) {
  for (;;) {
    Bytes bytes(kChunkBytes);
    HF_TRY(const std::size_t got, source.Read(call, bytes));
    if (got == 0) return {};
    bytes.resize(got);
    HF_RETURN_IF_ERROR(feed.Push(call, std::make_shared<const Bytes>(std::move(bytes))));
  }
}

}  // namespace

Status SendToAll(const CallContext& call, Clock& clock, std::size_t targets,
                 const SourceOpener& open, const TargetSender& send) {
  HF_TRY(const auto source, open(call));
  if (targets == 1) return send(call, 0, *source);
  Feed feed(clock, targets);
  ThreadGroup group(call);
  for (std::size_t target = 0; target < targets; ++target) {
    HF_RETURN_IF_ERROR(group.Start([&, target](const CallContext& inner) -> Status {
      FeedSource mine(feed, target);
      Status sent = send(inner, target, mine);
      feed.Leave(target);
      return feed.LeftBehind(target) ? Status() : sent;
    }));
  }
  Status read = ReadInto(group.call(), feed, *source);
  feed.End(read.ok() ? std::nullopt : std::optional<Error>(read.error()));
  Status sent = group.Join();
  // A damaged image is the cause when both failed.
  if (!read.ok() && read.error().code() != ErrorCode::kCancelled) return read;
  HF_RETURN_IF_ERROR(std::move(sent));
  HF_RETURN_IF_ERROR(std::move(read));
  for (std::size_t target = 0; target < targets; ++target) {
    if (!feed.LeftBehind(target)) continue;
    HF_TRY(const auto again, open(call));
    HF_RETURN_IF_ERROR(send(call, target, *again));
  }
  return {};
}

}  // namespace holdfast
