#include "stream/nested_tar.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/size.h"
#include "stream/tar_reader.h"
#include "stream/tar_writer.h"

namespace holdfast {
namespace {

constexpr std::string_view kSegments = "segments/";
constexpr std::string_view kWal = "wal/";
constexpr std::string_view kFiles = "files/";
constexpr std::string_view kNested = "snapshot/files/";
constexpr std::string_view kTar = ".tar";
constexpr std::string_view kReplicaState = "replica_state.json";
constexpr std::string_view kShardConfig = "shard_config.json";
constexpr std::string_view kPartialManifest = "segment_manifest.json";

/// What is held back is a few hundred bytes.
constexpr std::uint64_t kHeldBytesMax = kMiB;
/// A shard has a handful, a badly configured one some hundred. Bounds what is remembered.
constexpr std::size_t kSegmentsMax = 65'536;

Error Damaged(std::string what) { return {ErrorCode::kDataLoss, std::move(what)}; }

/// Cuts `prefix` off the front of `text` if it is there.
bool Strip(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

Status BeginUnder(const CallContext& call, TarWriter& writer, TarEntry entry, std::string path) {
  entry.path = std::move(path);
  Status begun = writer.Begin(call, entry);
  // Here it is the input that asks for what no tar can hold.
  if (!begun.ok() && begun.error().code() == ErrorCode::kInvalidArgument) {
    return std::move(begun).error().As(ErrorCode::kDataLoss);
  }
  return begun;
}

/// The files of one segment that make it one: the server deletes a segment without them at load
/// (reference 4.7).
struct SegmentCheck {
  bool has_segment_json = false;
  bool has_version_info = false;

  Status OnFile(std::string_view path) {
    if (path == kPartialManifest) {
      return Error(ErrorCode::kUnsupported, "this is a partial snapshot, not a whole one");
    }
    has_segment_json = has_segment_json || path == "segment.json";
    has_version_info = has_version_info || path == "version.info";
    return {};
  }
  Status Done() const {
    if (has_segment_json && has_version_info) return {};
    return Damaged(std::string("the segment has no ") +
                   (has_segment_json ? "version.info" : "segment.json"));
  }
};

/// Takes the tar of one segment apart, `snapshot/files/<path>` -> `segments/<id>/files/<path>`.
class SegmentTar final : public TarVisitor {
 public:
  SegmentTar(TarWriter& writer, std::string folder)
      : writer_(writer), folder_(std::move(folder)), reader_(*this) {}

  /// The bytes of the inner tar at `offset`; what lies between them is a hole of the outer entry.
  Status Data(const CallContext& call, std::uint64_t offset, ByteView data) {
    HF_RETURN_IF_ERROR(Hole(call, offset));
    taken_ += data.size();
    return reader_.Write(call, data);
  }
  Status End(const CallContext& call, std::uint64_t real_size) {
    HF_RETURN_IF_ERROR(Hole(call, real_size));
    // The outer header says how long the inner tar is, and the two files that Done() wants are
    // written last.
    HF_RETURN_IF_ERROR(reader_.Finish(TarReader::Marker::kOptional));
    return check_.Done();
  }

  Status OnEntry(const CallContext& call, const TarEntry& entry) override {
    // Folders are implied by their files.
    copying_ = entry.type != TarEntryType::kDirectory;
    if (!copying_) return {};
    std::string_view path = entry.path;
    if (!Strip(path, kNested)) {
      return Error(ErrorCode::kUnsupported,
                   "'" + entry.path + "' does not lie below " + std::string(kNested),
                   "only snapshots of Qdrant 1.12 and later are read");
    }
    HF_RETURN_IF_ERROR(check_.OnFile(path));
    return BeginUnder(call, writer_, entry, folder_ + std::string(path));
  }
  Status OnData(const CallContext& call, std::uint64_t /*offset*/, ByteView data) override {
    return writer_.Data(call, data);
  }
  Status OnEntryEnd(const CallContext& call, ByteView /*padding*/) override {
    return copying_ ? writer_.End(call) : Status();
  }

 private:
  Status Hole(const CallContext& call, std::uint64_t until) {
    static constexpr std::array<std::byte, 64 * 1024> kZeros{};
    while (taken_ < until && !reader_.ended()) {
      const auto count =
          static_cast<std::size_t>(std::min<std::uint64_t>(until - taken_, kZeros.size()));
      taken_ += count;
      HF_RETURN_IF_ERROR(reader_.Write(call, ByteView(kZeros).first(count)));
    }
    taken_ = std::max(taken_, until);  // Behind the end marker zeros say nothing new.
    return {};
  }

  TarWriter& writer_;
  const std::string folder_;
  TarReader reader_;
  SegmentCheck check_;
  bool copying_ = false;
  std::uint64_t taken_ = 0;
};

}  // namespace

struct NestedTarReader::State final : public TarVisitor {
  State(std::optional<ShardId> shard, ByteSink& out)
      : prefix(shard ? std::to_string(shard->value()) + "/" : ""), writer(out), reader(*this) {}

  Status OnEntry(const CallContext& call, const TarEntry& entry) override;
  Status OnData(const CallContext& call, std::uint64_t offset, ByteView data) override;
  Status OnEntryEnd(const CallContext& call, ByteView padding) override;

  Status Route(const CallContext& call, const TarEntry& entry, std::string_view path);
  Status RouteSegment(const CallContext& call, const TarEntry& entry, std::string_view path);
  Status RouteFlat(const CallContext& call, const TarEntry& entry, std::string_view path);
  Status RouteWal(const CallContext& call, const TarEntry& entry, std::string_view path);
  Status Copy(const CallContext& call, const TarEntry& entry, std::string path);
  Status Hold(const TarEntry& entry, std::optional<Bytes>& to);
  Status CloseFlat();
  Status NewSegment(std::string_view id);
  Status CheckComplete();

  const std::string prefix;
  TarWriter writer;
  TarReader reader;

  /// Where the data of the current entry goes; nowhere when it is skipped.
  enum class Target { kNone, kCopy, kSegment, kHeld };
  Target target = Target::kNone;
  std::string path;
  std::uint64_t real_size = 0;
  std::unique_ptr<SegmentTar> segment;
  std::optional<Bytes>* held = nullptr;

  /// The flat segment whose files are passing, and what was seen of it.
  std::string flat_id;
  SegmentCheck flat_check;

  std::set<std::string, std::less<>> segments;
  bool wrote_wal_folder = false;
  bool has_wal_file = false;
  std::optional<Bytes> replica_state;
  std::optional<Bytes> shard_config;
  NestedTarEnd end;
};

Status NestedTarReader::State::OnEntry(const CallContext& call, const TarEntry& entry) {
  path = entry.path;
  real_size = entry.real_size;
  target = Target::kNone;
  std::string_view below = entry.path;
  Strip(below, "./");
  if (!Strip(below, prefix)) {
    ++end.skipped_entries;
    return {};
  }
  Status routed = Route(call, entry, below);
  if (!routed.ok()) return std::move(routed).error().While("'" + path + "'");
  return {};
}

Status NestedTarReader::State::Route(const CallContext& call, const TarEntry& entry,
                                     std::string_view below) {
  if (Strip(below, kSegments)) return RouteSegment(call, entry, below);
  if (Strip(below, kWal)) return RouteWal(call, entry, below);
  if (below.empty() || below == ".") return {};  // The folder itself, of a tar that was repacked.
  if (below.find('/') != below.npos || entry.type == TarEntryType::kDirectory) {
    return Damaged("no shard snapshot has this entry");
  }
  if (below == kReplicaState) return Hold(entry, replica_state);
  if (below == kShardConfig) return Hold(entry, shard_config);
  return Copy(call, entry, std::string(below));
}

Status NestedTarReader::State::RouteSegment(const CallContext& call, const TarEntry& entry,
                                            std::string_view below) {
  // The server leaves out what is hidden, too.
  if (below.empty() || below.starts_with('.')) return {};
  if (below.find('/') != below.npos) return RouteFlat(call, entry, below);
  if (!below.ends_with(kTar) || entry.type == TarEntryType::kDirectory) {
    return Damaged("it is neither the tar nor the folder of a segment");
  }
  const std::string_view id = below.substr(0, below.size() - kTar.size());
  HF_RETURN_IF_ERROR(CloseFlat());
  HF_RETURN_IF_ERROR(NewSegment(id));
  segment = std::make_unique<SegmentTar>(
      writer, std::string(kSegments) + std::string(id) + "/" + std::string(kFiles));
  target = Target::kSegment;
  return {};
}

Status NestedTarReader::State::RouteFlat(const CallContext& call, const TarEntry& entry,
                                         std::string_view below) {
  if (entry.type == TarEntryType::kDirectory) return {};
  const std::string_view id = below.substr(0, below.find('/'));
  std::string_view file = below.substr(id.size() + 1);
  if (!Strip(file, kFiles)) return Damaged("no segment has this entry");
  if (id != flat_id) {
    HF_RETURN_IF_ERROR(CloseFlat());
    HF_RETURN_IF_ERROR(NewSegment(id));
    flat_id = id;
    flat_check = {};
  }
  HF_RETURN_IF_ERROR(flat_check.OnFile(file));
  return Copy(call, entry, std::string(kSegments) + std::string(below));
}

Status NestedTarReader::State::CloseFlat() {
  if (std::exchange(flat_id, {}).empty()) return {};
  return flat_check.Done();
}

Status NestedTarReader::State::NewSegment(std::string_view id) {
  if (id.empty()) return Damaged("the segment has no name");
  if (segments.size() == kSegmentsMax) return Damaged("there are more than 65,536 segments");
  if (!segments.emplace(id).second) return Damaged("the segment is there twice");
  ++end.segments;
  return {};
}

Status NestedTarReader::State::RouteWal(const CallContext& call, const TarEntry& entry,
                                        std::string_view below) {
  if (entry.type == TarEntryType::kDirectory && !below.empty()) {
    return Damaged("no WAL has this folder");
  }
  if (!std::exchange(wrote_wal_folder, true)) {
    // A stored collection snapshot has no entry for it (reference 4.4); the server wants the
    // folder.
    TarEntry folder;
    folder.path = kWal;
    folder.type = TarEntryType::kDirectory;
    folder.mode = 0755;
    HF_RETURN_IF_ERROR(writer.Begin(call, folder));
    HF_RETURN_IF_ERROR(writer.End(call));
  }
  if (entry.type == TarEntryType::kDirectory) return {};
  has_wal_file = true;
  return Copy(call, entry, std::string(kWal) + std::string(below));
}

Status NestedTarReader::State::Copy(const CallContext& call, const TarEntry& entry,
                                    std::string to) {
  target = Target::kCopy;
  return BeginUnder(call, writer, entry, std::move(to));
}

Status NestedTarReader::State::Hold(const TarEntry& entry, std::optional<Bytes>& to) {
  if (to) return Damaged("it is there twice");
  if (entry.real_size > kHeldBytesMax || entry.real_size != entry.stored_size) {
    return Damaged("it is not a small file of " + FormatSize(kHeldBytesMax) + " at most");
  }
  to.emplace();
  held = &to;
  target = Target::kHeld;
  return {};
}

Status NestedTarReader::State::OnData(const CallContext& call, std::uint64_t offset,
                                      ByteView data) {
  switch (target) {
    case Target::kNone:
      return {};
    case Target::kCopy:
      return writer.Data(call, data);
    case Target::kHeld:
      Append(**held, data);
      return {};
    case Target::kSegment:
      break;
  }
  Status taken = segment->Data(call, offset, data);
  if (!taken.ok()) return std::move(taken).error().While("'" + path + "'");
  return {};
}

Status NestedTarReader::State::OnEntryEnd(const CallContext& call, ByteView /*padding*/) {
  switch (target) {
    case Target::kNone:
    case Target::kHeld:
      return {};
    case Target::kCopy:
      return writer.End(call);
    case Target::kSegment:
      break;
  }
  Status ended = segment->End(call, real_size);
  segment.reset();
  if (!ended.ok()) return std::move(ended).error().While("'" + path + "'");
  return {};
}

Status NestedTarReader::State::CheckComplete() {
  Status flat = CloseFlat();
  if (!flat.ok()) return flat;
  const std::string whose =
      prefix.empty() ? "the shard snapshot" : "folder " + prefix + " of the collection snapshot";
  if (segments.empty()) return Damaged(whose + " has no segment");
  if (!has_wal_file) return Damaged(whose + " has no file in wal/");
  if (!replica_state) return Damaged(whose + " has no " + std::string(kReplicaState));
  if (!shard_config) return Damaged(whose + " has no " + std::string(kShardConfig));
  return {};
}

NestedTarReader::NestedTarReader(std::optional<ShardId> shard, ByteSink& out)
    : state_(std::make_unique<State>(shard, out)) {}
NestedTarReader::~NestedTarReader() = default;

Status NestedTarReader::Write(const CallContext& call, ByteView slice) {
  return state_->reader.Write(call, slice);
}

Result<NestedTarEnd> NestedTarReader::Finish(const CallContext& call) {
  State& state = *state_;
  HF_RETURN_IF_ERROR(state.reader.Finish());
  HF_RETURN_IF_ERROR(state.CheckComplete());
  HF_RETURN_IF_ERROR(state.writer.AddFile(call, kReplicaState, *state.replica_state));
  HF_RETURN_IF_ERROR(state.writer.AddFile(call, kShardConfig, *state.shard_config));
  HF_RETURN_IF_ERROR(state.writer.Finish(call));
  state.end.bytes = state.writer.offset();
  return state.end;
}

}  // namespace holdfast
