#include "engine/qdrant/image/image_inspector.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "engine/qdrant/image/id_tracker.h"
#include "engine/qdrant/layout.h"
#include "model/json.h"

namespace holdfast::qdrant {
namespace {

using json::Json;

// The small files that are read; larger ones are not what their name says.
constexpr std::size_t kSmallFileMax = std::size_t{1} << 20;
// More than any shard has (the server aims at a few dozens).
constexpr std::size_t kSegmentsMax = 100'000;
// Magic, version and seed in front of a file of the log (reference 4.6); zeros behind: no record.
constexpr std::uint64_t kWalHeaderBytes = 8;

constexpr std::string_view kSegments = "segments/";
constexpr std::string_view kFiles = "files/";
constexpr std::string_view kWal = "wal/";
constexpr std::string_view kReplicaState = "replica_state.json";
constexpr std::string_view kShardConfig = "shard_config.json";

Error Incomplete(std::string problem) {
  return {ErrorCode::kDataLoss, "the shard image is not complete: " + std::move(problem)};
}

struct Segment {
  std::uint32_t number = 0;
  bool has_segment_json = false;
  std::string format_version;
};

class Inspector final : public ImageInspector {
 public:
  Inspector(const std::string& spool_directory, std::optional<PeerId> known_as)
      : known_as_(known_as), trackers_(spool_directory) {}

  Status OnEntry(const CallContext& call, const TarEntry& entry) override;
  Status OnData(const CallContext& call, std::uint64_t file_offset, ByteView data) override;
  Status OnEntryEnd(const CallContext& call, ByteView padding) override;
  Result<ImageFacts> Finish(const CallContext& call) override;
  Status VisitIds(const CallContext& call,
                  const std::function<Status(std::string_view)>& visit) override;

 private:
  // What is done with the data of the entry that passes.
  enum class Wanted { kNothing, kSmallFile, kTracker, kLog };

  Status OnSegmentEntry(std::string_view rest, const TarEntry& entry);
  Status TakeSmallFile();
  Status TakeLayout();
  Status CheckEntries() const;
  Status TakeReplicaState(PeerId& peer) const;

  const std::optional<PeerId> known_as_;
  IdTrackers trackers_;
  std::map<std::string, Segment, std::less<>> segments_;
  bool has_segments_ = false;
  bool has_wal_directory_ = false;
  bool has_wal_file_ = false;
  bool has_log_records_ = false;
  std::string layout_;
  // Names of the last two entries, the last one second.
  std::string before_last_;
  std::string last_;
  std::string replica_state_;
  bool ids_known_ = false;

  Wanted wanted_ = Wanted::kNothing;
  std::string path_;
  Segment* segment_ = nullptr;
  std::string small_file_;
};

Status Inspector::OnEntry(const CallContext&, const TarEntry& entry) {
  wanted_ = Wanted::kNothing;
  segment_ = nullptr;
  small_file_.clear();
  path_ = entry.path.starts_with("./") ? entry.path.substr(2) : entry.path;
  before_last_ = std::exchange(last_, path_);
  const std::string_view path = path_;
  if (path.starts_with(kSegments)) {
    has_segments_ = true;
    return OnSegmentEntry(path.substr(kSegments.size()), entry);
  }
  if (path.starts_with(kWal)) {
    has_wal_directory_ = true;
    if (path == kWal) return {};
    has_wal_file_ = true;
    wanted_ = Wanted::kLog;
    // Only a log that is in use has these (reference 4.4).
    has_log_records_ |= path.starts_with("wal/open-") || path == "wal/first-index";
    return {};
  }
  if (path == kReplicaState || path == kShardConfig) wanted_ = Wanted::kSmallFile;
  return {};
}

Status Inspector::OnSegmentEntry(std::string_view rest, const TarEntry& entry) {
  if (rest.empty()) return {};
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos) {
    if (entry.type == TarEntryType::kDirectory) return {};
    return Incomplete("'" + path_ +
                      "' is a nested tar: this is a stored snapshot, which must be unpacked first");
  }
  const std::string_view name = rest.substr(0, slash);
  rest.remove_prefix(slash + 1);
  const auto [found, is_new] = segments_.try_emplace(std::string(name));
  if (is_new) {
    if (segments_.size() > kSegmentsMax) return Incomplete("it has too many segments");
    found->second.number = static_cast<std::uint32_t>(segments_.size() - 1);
  }
  segment_ = &found->second;
  if (!rest.starts_with(kFiles) || entry.type == TarEntryType::kDirectory) return {};
  rest.remove_prefix(kFiles.size());
  if (rest.find('/') != std::string_view::npos) return {};
  if (rest == "segment_manifest.json") {
    return Incomplete("'" + path_ + "' says that this is a partial snapshot");
  }
  if (rest == "segment.json" || rest == "version.info") {
    wanted_ = Wanted::kSmallFile;
  } else if (trackers_.BeginFile(segment_->number, rest, entry.real_size)) {
    wanted_ = Wanted::kTracker;
  }
  return {};
}

Status Inspector::OnData(const CallContext&, std::uint64_t file_offset, ByteView data) {
  switch (wanted_) {
    case Wanted::kNothing:
      return {};
    case Wanted::kSmallFile:
      // A hole in such a file leaves it too short to be read, which is noticed.
      if (small_file_.size() + data.size() > kSmallFileMax) {
        return Incomplete("'" + path_ + "' is too large");
      }
      small_file_ += AsText(data);
      return {};
    case Wanted::kTracker:
      return trackers_.Data(file_offset, data);
    case Wanted::kLog: {
      const std::uint64_t header =
          file_offset < kWalHeaderBytes ? kWalHeaderBytes - file_offset : 0;
      if (header >= data.size()) return {};
      const ByteView records = data.subspan(header);
      has_log_records_ |=
          std::ranges::any_of(records, [](std::byte b) { return b != std::byte{0}; });
      return {};
    }
  }
  return {};
}

Status Inspector::OnEntryEnd(const CallContext&, ByteView) {
  const Wanted wanted = std::exchange(wanted_, Wanted::kNothing);
  if (wanted == Wanted::kTracker) return trackers_.EndFile();
  if (wanted == Wanted::kSmallFile) return TakeSmallFile();
  return {};
}

Status Inspector::TakeSmallFile() {
  if (path_ == kReplicaState) {
    replica_state_ = std::move(small_file_);
    return {};
  }
  if (segment_ == nullptr) return {};
  if (path_.ends_with("/version.info")) {
    segment_->format_version = std::move(small_file_);
    return {};
  }
  segment_->has_segment_json = true;
  return TakeLayout();
}

Status Inspector::TakeLayout() {
  Result<std::string> layout = LayoutOfSegment(small_file_);
  if (!layout.ok()) return std::move(layout).error().While("the shard image's '" + path_ + "'");
  if (layout_.empty()) {
    layout_ = *std::move(layout);
  } else if (layout_ != *layout) {
    return Incomplete("its segments have different vectors, " + layout_ + " and " + *layout);
  }
  return {};
}

Status Inspector::CheckEntries() const {
  if (!has_segments_) return Incomplete("there is nothing below 'segments/'");
  for (const auto& [name, segment] : segments_) {
    const char* missing = !segment.has_segment_json        ? "segment.json"
                          : segment.format_version.empty() ? "version.info"
                                                           : nullptr;
    if (missing != nullptr) return Incomplete("segment " + name + " has no " + missing);
  }
  if (!has_wal_directory_ || !has_wal_file_) return Incomplete("there is no file in 'wal/'");
  if (before_last_ != kReplicaState || last_ != kShardConfig) {
    return Incomplete("it ends with '" + last_ +
                      "' instead of 'replica_state.json' and 'shard_config.json'");
  }
  return {};
}

Status Inspector::TakeReplicaState(PeerId& peer) const {
  HF_TRY(const Json state, json::Parse(replica_state_, kReplicaState));
  const bool is_local = state.is_object() && state.value("is_local", Json()) == Json(true);
  if (!is_local) return Incomplete("'replica_state.json' does not say \"is_local\": true");
  const Json id = state.value("this_peer_id", Json());
  if (id.is_number_unsigned()) peer = PeerId(id.get<std::uint64_t>());
  if (known_as_) peer = *known_as_;
  return {};
}

Result<ImageFacts> Inspector::Finish(const CallContext& call) {
  HF_RETURN_IF_ERROR(CheckEntries());
  ImageFacts facts;
  HF_RETURN_IF_ERROR(TakeReplicaState(facts.peer));
  facts.layout_json = layout_;
  facts.segments = static_cast<std::uint32_t>(segments_.size());
  for (const auto& [name, segment] : segments_) {
    trackers_.EndSegment(segment.number, segment.format_version);
  }
  if (has_log_records_ || !trackers_.unknown().empty()) return facts;
  const auto check = [&call]() -> Status {
    if (call.stop.stop_requested()) return Error(ErrorCode::kCancelled, "stopped");
    return {};
  };
  HF_RETURN_IF_ERROR(trackers_.Finish(check));
  if (!trackers_.unknown().empty()) return facts;
  std::uint64_t count = 0;
  HF_RETURN_IF_ERROR(trackers_.Visit([&](const PointId&) -> Status {
    if (++count % 65536 == 0) return check();
    return {};
  }));
  facts.live_points = count;
  ids_known_ = true;
  return facts;
}

Status Inspector::VisitIds(const CallContext& call,
                           const std::function<Status(std::string_view)>& visit) {
  if (!ids_known_) {
    return Error(ErrorCode::kFailedPrecondition, "the ids of the shard image are not known");
  }
  return trackers_.Visit([&](const PointId& id) -> Status {
    if (call.stop.stop_requested()) return Error(ErrorCode::kCancelled, "stopped");
    return visit(FormatPointId(id));
  });
}

}  // namespace

std::unique_ptr<ImageInspector> NewImageInspector(const std::string& spool_directory,
                                                  std::optional<PeerId> known_as) {
  return std::make_unique<Inspector>(spool_directory, known_as);
}

}  // namespace holdfast::qdrant
