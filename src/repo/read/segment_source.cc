#include "repo/read/segment_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "exec/wait.h"
#include "repo/repository.h"

namespace holdfast {
namespace {

constexpr std::uint64_t kSegmentBytesLeast = 256 * kKiB;
constexpr std::uint64_t kSegmentBytesMost = 4 * kMiB;

std::uint64_t SegmentBytes(const ImageReadOptions& options) {
  const std::uint64_t share =
      options.read_ahead_bytes / std::max<std::uint64_t>(options.parallelism, 1);
  return std::clamp(share, kSegmentBytesLeast, kSegmentBytesMost);
}

}  // namespace

SegmentSource::SegmentSource(const CallContext& call, const Repository& repository,
                             const PackTable& packs, std::unique_ptr<ElementSource> elements,
                             const ImageReadOptions& options, std::optional<Expected> expected,
                             std::string what)
    : repository_(repository),
      packs_(packs),
      read_ahead_bytes_(options.read_ahead_bytes),
      expected_(expected),
      what_(std::move(what)),
      stop_(call.stop),
      segmenter_(std::move(elements), SegmentBytes(options)) {
  for (std::size_t i = 0; i < std::max<std::size_t>(options.parallelism, 1); ++i) {
    threads_.emplace_back([this] { Fetch(); });
  }
}

SegmentSource::~SegmentSource() {
  stop_.Stop();
  threads_.clear();
}

void SegmentSource::Fetch() {
  const CallContext call{.stop = stop_.token(), .deadline = std::nullopt};
  Codec codec;
  for (;;) {
    const auto slot = std::make_shared<Slot>();
    Result<std::optional<Segment>> segment = std::optional<Segment>();
    Bytes buffer;
    {
      // One thread plans at a time, and slots stand in the order in which they were planned.
      const std::scoped_lock planning(plan_mutex_);
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, call.stop, [&] {
          return planned_all_ || slots_.empty() || ahead_bytes_ < read_ahead_bytes_;
        });
        if (planned_all_ || call.stop.stop_requested()) {
          changed_.notify_all();
          return;
        }
      }
      segment = segmenter_.Next(call);
      const std::scoped_lock lock(mutex_);
      if (!segment.ok()) slot->bytes = segment.error();
      if (!segment.ok() || !*segment) planned_all_ = true;
      if (segment.ok() && *segment) slot->size = (*segment)->size;
      if (!segment.ok() || *segment) slots_.push_back(slot);
      ahead_bytes_ += slot->size;
      buffer = std::exchange(spare_, {});
      changed_.notify_all();
    }
    if (!segment.ok() || !*segment) return;
    auto bytes = ReadSegment(call, repository_, packs_, **segment, codec, std::move(buffer));
    const std::scoped_lock lock(mutex_);
    slot->bytes = std::move(bytes);
    changed_.notify_all();
  }
}

Status SegmentSource::NextFront(const CallContext& call) {
  std::unique_lock lock(mutex_);
  ahead_bytes_ -= front_.size();
  front_.clear();
  spare_ = std::exchange(front_, {});
  front_used_ = 0;
  changed_.notify_all();
  HF_RETURN_IF_ERROR(WaitUntil(call, repository_.clock(), changed_, lock, [&] {
    return slots_.empty() ? planned_all_ || stop_.stopped() : slots_.front()->bytes.has_value();
  }));
  if (slots_.empty()) {
    if (!planned_all_) return Error(ErrorCode::kCancelled, "stopped");
    ended_ = true;
    return {};
  }
  HF_TRY(front_, *std::move(slots_.front()->bytes));
  slots_.pop_front();
  return {};
}

Result<std::size_t> SegmentSource::AtEnd() {
  if (!expected_) return std::size_t{0};
  if (bytes_ == expected_->bytes && sha256_.Finish() == expected_->sha256) return std::size_t{0};
  error_ = Error(ErrorCode::kDataLoss,
                 fmt::format("{} is not what was backed up: its SHA-256 differs", what_));
  return *error_;
}

Result<std::size_t> SegmentSource::Read(const CallContext& call, std::span<std::byte> into) {
  if (error_) return *error_;
  while (!ended_ && front_used_ == front_.size()) {
    const Status next = NextFront(call);
    if (!next.ok()) {
      // A call that ended may be made again; everything else is final.
      if (!repository_.clock().Check(call).ok()) return next.error();
      error_ = next.error();
      return *error_;
    }
    if (ended_) return AtEnd();
  }
  if (ended_) return std::size_t{0};
  const std::size_t size = std::min(into.size(), front_.size() - front_used_);
  const ByteView piece = ByteView(front_).subspan(front_used_, size);
  // std::ranges::copy goes byte by byte here (g++ 12).
  std::memcpy(into.data(), piece.data(), size);
  front_used_ += size;
  bytes_ += size;
  if (expected_) sha256_.Update(piece);
  return size;
}

}  // namespace holdfast
