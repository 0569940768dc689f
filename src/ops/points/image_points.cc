#include "ops/points/image_points.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "ops/points/scratch_folder.h"
#include "ops/restore_io.h"
#include "repo/repository.h"
#include "stream/byte_sink.h"

namespace holdfast {
namespace {

/// What the engine writes itself: its write-ahead log is made in pieces of 32 MiB.
constexpr std::uint64_t kEngineFiles = 128 * kMiB;
constexpr const char* kRoomHint =
    "set [restore] scratch_directory to a larger disk, or raise scratch_bytes_max";

Error WriteError(const std::string& path) {
  const bool room = errno == ENOSPC || errno == EDQUOT;
  return Error(room ? ErrorCode::kResourceExhausted : ErrorCode::kFailedPrecondition,
               "write " + path + ": " + std::strerror(errno), room ? kRoomHint : "");
}

Status WriteFile(const CallContext& call, ByteSource& source, const std::string& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return WriteError(path);
  FunctionSink sink([&](const CallContext&, ByteView bytes) -> Status {
    while (!bytes.empty()) {
      const ssize_t put = ::write(file, bytes.data(), bytes.size());
      if (put < 0 && errno != EINTR) return WriteError(path);
      if (put > 0) bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
    return {};
  });
  const auto copied = CopyAll(call, source, sink);
  const bool closed = ::close(file) == 0;
  if (!copied.ok()) return copied.error();
  return closed ? Status() : WriteError(path);
}

}  // namespace

/// An image that is being read: its scratch folder, its process, and where its tombstones are.
class ImagePoints::OpenShard {
 public:
  OpenShard(ImagePoints& owner, const ShardImage& image) : owner_(owner), image_(image) {}

  Status Open(const CallContext& call) {
    const std::uint64_t bytes = ScratchBytes(image_.tar_bytes);
    if (bytes > owner_.options_.scratch_bytes_max) {
      // No trying again will help.
      return Error(ErrorCode::kFailedPrecondition,
                   "the image takes " + FormatSize(bytes) + " of scratch room, more than the " +
                       FormatSize(owner_.options_.scratch_bytes_max) + " permitted",
                   kRoomHint);
    }
    HF_TRY(room_, owner_.room_.Acquire(call, bytes));
    HF_TRY(folder_, ScratchFolder::Make(owner_.options_.scratch_directory));
    HF_RETURN_IF_ERROR(CheckFree(bytes));
    HF_TRY(process_, edge::EngineProcess::Start(call, owner_.clock_, owner_.options_.engine,
                                                folder_->path()));
    const std::string tar = folder_->path() + "/image.tar";
    HF_RETURN_IF_ERROR(Unpack(call, tar));
    HF_TRY(const edge::OpenImage opened, process_->Open(call, tar, folder_->path() + "/shard"));
    std::error_code ignored;  // It only takes room until the folder is removed.
    std::filesystem::remove(tar, ignored);
    return CheckCount(opened.points);
  }

  Result<PointPage> Page(const CallContext& call, const std::string& after,
                         const PageLimits& limits) {
    std::string position = after;
    for (;;) {
      HF_TRY(PointPage page, process_->Page(call, position, limits));
      if (!page.points.empty()) position = page.points.back().id_json;
      HF_RETURN_IF_ERROR(LeaveOutBuried(call, page.points));
      // A page without points would be the end.
      if (page.end || !page.points.empty()) return page;
    }
  }

 private:
  Status CheckFree(std::uint64_t bytes) const {
    struct statvfs about{};
    if (::statvfs(folder_->path().c_str(), &about) != 0) return {};
    const std::uint64_t free = static_cast<std::uint64_t>(about.f_bavail) * about.f_frsize;
    if (free >= bytes) return {};
    return Error(ErrorCode::kResourceExhausted,
                 "the image takes " + FormatSize(bytes) + " of scratch room, " +
                     owner_.options_.scratch_directory + " has " + FormatSize(free),
                 kRoomHint);
  }

  Status Unpack(const CallContext& call, const std::string& tar) {
    HF_TRY(const auto reader, OpenImage(call, owner_.repository_, image_));
    HF_TRY(const auto source, reader->OpenTar(call, owner_.options_.read));
    return WriteFile(call, *source, tar);
  }

  /// What the engine counts must be what was read of the image's trackers at backup. An image that
  /// carries its write-ahead log has more in it than they say.
  Status CheckCount(std::uint64_t points) const {
    if (!image_.image_points || *image_.image_points == points) return {};
    if (image_.delete_proof == DeleteProof::kCollectionSnapshot) return {};
    return Error(ErrorCode::kDataLoss, "the engine finds " + FormatCount(points) +
                                           " points in the image, at backup it had " +
                                           FormatCount(*image_.image_points));
  }

  /// Tombstones are ascending, as pages are: they are read along, never held.
  Status LeaveOutBuried(const CallContext& call, std::vector<SourcePoint>& points) {
    if (image_.tombstones == 0 || points.empty()) return {};
    if (!buried_ || (!passed_.empty() && CompareIds(points.front().id_json, passed_) <= 0)) {
      HF_RETURN_IF_ERROR(OpenBuried(call));
    }
    passed_ = points.back().id_json;
    std::vector<SourcePoint> kept;
    for (SourcePoint& point : points) {
      while (!next_buried_.empty() && CompareIds(next_buried_, point.id_json) < 0) {
        HF_RETURN_IF_ERROR(NextBuried(call));
      }
      if (next_buried_ != point.id_json) kept.push_back(std::move(point));
    }
    points = std::move(kept);
    return {};
  }

  Status OpenBuried(const CallContext& call) {
    buried_.reset();
    HF_TRY(file_, ImageReader::Open(call, owner_.repository_, image_.tombstones_file));
    HF_TRY(source_, file_->OpenTar(call, owner_.options_.read));
    buried_.emplace(*source_);
    next_buried_.clear();
    return NextBuried(call);
  }

  Status NextBuried(const CallContext& call) {
    HF_TRY(std::string next, buried_->Next(call));
    if (!next.empty() && !next_buried_.empty() && CompareIds(next_buried_, next) >= 0) {
      return Error(ErrorCode::kDataLoss, "the tombstones of the image are not in order");
    }
    next_buried_ = std::move(next);
    return {};
  }

  ImagePoints& owner_;
  const ShardImage& image_;
  MemoryBudget::Lease room_;
  std::unique_ptr<ScratchFolder> folder_;
  std::unique_ptr<edge::EngineProcess> process_;
  std::unique_ptr<ImageReader> file_;
  std::unique_ptr<ByteSource> source_;
  std::optional<LineReader> buried_;
  /// The next tombstone, empty behind the last one; and the last point it was compared with.
  std::string next_buried_;
  std::string passed_;
};

ImagePoints::ImagePoints(Repository& repository, Clock& clock,
                         const std::vector<ShardImage>& images, ImagePointsOptions options)
    : repository_(repository),
      clock_(clock),
      options_(std::move(options)),
      room_(clock, options_.scratch_bytes_max) {
  for (const ShardImage& image : images) lanes_[image.shard].image = &image;
}

ImagePoints::~ImagePoints() = default;

std::uint64_t ImagePoints::ScratchBytes(std::uint64_t tar_bytes) noexcept {
  return 2 * tar_bytes + kEngineFiles;
}

Result<std::vector<SourceShard>> ImagePoints::Shards(const CallContext&) {
  std::vector<SourceShard> shards;
  for (const auto& [id, lane] : lanes_) {
    const std::uint64_t points = lane.image->image_points.value_or(lane.image->points_max);
    shards.push_back({.shard = id,
                      .key = lane.image->key,
                      .points = points - std::min(points, lane.image->tombstones)});
  }
  return shards;
}

Result<std::unique_ptr<ImagePoints::OpenShard>> ImagePoints::Open(const CallContext& call,
                                                                  const ShardImage& image) {
  auto shard = std::make_unique<OpenShard>(*this, image);
  HF_RETURN_IF_ERROR(shard->Open(call));
  return shard;
}

Result<PointPage> ImagePoints::ReadPage(const CallContext& call, ShardId shard,
                                        const std::string& after, const PageLimits& limits) {
  const auto lane = lanes_.find(shard);
  if (lane == lanes_.end()) {
    return Error(ErrorCode::kInvalidArgument,
                 "the group has no image of shard " + std::to_string(shard.value()));
  }
  const std::string what = "read the image of shard " + std::to_string(shard.value());
  const std::scoped_lock lock(lane->second.mutex);
  std::unique_ptr<OpenShard>& open = lane->second.open;
  if (!open) {
    auto opened = Open(call, *lane->second.image);
    if (!opened.ok()) return std::move(opened).error().While(what);
    open = *std::move(opened);
  }
  auto page = open->Page(call, after, limits);
  // Behind the end its room is another one's; after an error its process has ended.
  if (!page.ok() || page->end) open.reset();
  if (!page.ok()) return std::move(page).error().While(what);
  return page;
}

Status CheckEngine(const CallContext& call, Clock& clock, const ImagePointsOptions& options) {
  HF_TRY(const auto folder, ScratchFolder::Make(options.scratch_directory));
  const auto process = edge::EngineProcess::Start(call, clock, options.engine, folder->path());
  return process.ok() ? Status() : Status(process.error());
}

}  // namespace holdfast
