#include "testing/engine/scripted_image.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <utility>

#include "base/assert.h"
#include "base/random.h"
#include "model/json.h"
#include "stream/byte_sink.h"
#include "stream/tar_reader.h"
#include "stream/tar_writer.h"

namespace holdfast::testing {
namespace {

using json::Json;
using qdrant::PointId;

// Types of entries in mutable_id_tracker.mappings (reference 4.7).
enum : std::uint8_t { kInsertNumber = 1, kInsertUuid = 2, kDeleteNumber = 3, kDeleteUuid = 4 };

constexpr std::size_t kTarBytesMax = std::size_t{1} << 30;
constexpr std::uint64_t kChunkFileBytes = 1 << 20;

void Must(const Status& status) { HF_ASSERT(status.ok()); }

// Writes files below one folder of a tar that is made in memory.
class TarBuilder {
 public:
  TarBuilder(TarWriter& writer, std::string folder, std::uint64_t mtime)
      : writer_(writer), folder_(std::move(folder)), mtime_(mtime) {}

  void File(const std::string& path, ByteView content) {
    Entry(path, content,
          content.empty() ? std::vector<DataRun>{} : std::vector<DataRun>{{0, content.size()}},
          content.size(), TarEntryType::kFile);
  }
  void File(const std::string& path, std::string_view content) { File(path, AsBytes(content)); }

  // Data at the front of a preallocated file, as the server's growing files are (measured 4).
  void Preallocated(const std::string& path, ByteView content, std::uint64_t size) {
    std::vector<DataRun> runs;
    if (!content.empty()) runs.push_back({0, content.size()});
    Entry(path, content, std::move(runs), size, TarEntryType::kSparse);
  }

  void Directory(const std::string& path) { Entry(path, {}, {}, 0, TarEntryType::kDirectory); }

 private:
  void Entry(const std::string& path, ByteView content, std::vector<DataRun> runs,
             std::uint64_t size, TarEntryType type) {
    TarEntry entry;
    entry.path = folder_ + path;
    entry.type = type;
    entry.mode = type == TarEntryType::kDirectory ? 040755 : 0100644;
    entry.mtime = mtime_;
    entry.stored_size = content.size();
    entry.real_size = size;
    entry.runs = std::move(runs);
    Must(writer_.Begin({}, entry));
    if (!content.empty()) Must(writer_.Data({}, content));
    Must(writer_.End({}));
  }

  TarWriter& writer_;
  const std::string folder_;
  const std::uint64_t mtime_;
};

Bytes TrackerLog(const ScriptedSegment& segment) {
  Bytes log;
  for (const LogEntry& entry : segment.log) {
    const std::uint8_t type = entry.id.is_uuid ? (entry.deleted ? kDeleteUuid : kInsertUuid)
                                               : (entry.deleted ? kDeleteNumber : kInsertNumber);
    log.push_back(std::byte{type});
    if (entry.id.is_uuid) {
      Append(log, entry.id.uuid);
    } else {
      AppendU64(log, entry.id.number);
    }
    if (!entry.deleted) AppendU32(log, entry.offset);
  }
  return log;
}

std::string PayloadPage(const ScriptedSegment& segment) {
  std::string page;
  for (const LogEntry& entry : segment.log) {
    if (!entry.deleted) page += entry.point_json + "\n";
  }
  return page;
}

Bytes Ballast(std::uint64_t bytes, std::uint64_t seed) {
  Random random(seed);
  Bytes out;
  while (out.size() < bytes) AppendU64(out, random.Next());
  out.resize(bytes);
  return out;
}

// A file behind the front of which is a hole must end on a block (the server's reader wants it).
Bytes Blocks(ByteView content) {
  Bytes out = ToBytes(content);
  out.resize((out.size() + kTarBlockBytes - 1) / kTarBlockBytes * kTarBlockBytes);
  return out;
}

void AddSegmentFiles(TarBuilder& tar, const ScriptedImage& image, const ScriptedSegment& segment,
                     bool with_ballast) {
  const std::string page = PayloadPage(segment);
  const std::uint64_t page_size = std::max<std::uint64_t>(kChunkFileBytes, page.size() + 4096);
  Bytes count;
  AppendU64(count, segment.next_offset);
  tar.File("vector_storage/vectors/status.dat", count);
  if (with_ballast)
    tar.File("vector_storage/matrix.dat", Ballast(image.ballast_bytes, image.ballast_seed));
  tar.Preallocated("payload_storage/page_0.dat", Blocks(AsBytes(page)), page_size);
  const Bytes log = TrackerLog(segment);
  if (!log.empty()) {
    Bytes versions;
    for (std::uint32_t i = 0; i < segment.next_offset; ++i) AppendU64(versions, i + 1);
    tar.File("mutable_id_tracker.mappings", log);
    tar.File("mutable_id_tracker.versions", versions);
  }
  const Json config = {{"initial_version", nullptr},
                       {"version", image.next_operation},
                       {"config",
                        {{"vector_data",
                          {{"",
                            {{"size", image.dimensions},
                             {"distance", "Dot"},
                             {"storage_type", "InRamChunkedMmap"},
                             {"index", {{"type", "plain"}, {"options", Json::object()}}},
                             {"quantization_config", nullptr}}}}},
                         {"payload_storage_type", {{"type", "mmap"}}}}}};
  tar.File("segment.json", json::Dump(config));
  tar.File("version.info", std::string_view("0.6.0"));
}

void AddShardFiles(TarWriter& writer, const ScriptedImage& image, const std::string& folder) {
  TarBuilder tar(writer, folder, image.mtime);
  tar.File("newest_clocks.json", std::string_view(R"({"clocks":[]})"));
  if (image.with_log) {
    tar.File("applied_seq.json", json::Dump(Json{{"op_num", image.next_operation}}));
  }
  tar.Directory("wal/");
  Bytes header = ToBytes(AsBytes(std::string_view("wal\0", 4)));
  AppendU32(header, 0x5EED);
  if (image.with_log) {
    Bytes open = header;
    Append(open, AsBytes("operations that the segments do not have yet"));
    tar.Preallocated("wal/open-1", Blocks(open), kChunkFileBytes);
    tar.File("wal/first-index", json::Dump(Json{{"ack_index", image.next_operation}}));
  }
  tar.Preallocated("wal/closed-" + std::to_string(image.next_operation), Blocks(header),
                   kChunkFileBytes);
  const std::string peer = std::to_string(image.peer.value());
  tar.File("replica_state.json", json::Dump(Json{{"is_local", true},
                                                 {"this_peer_id", image.peer.value()},
                                                 {"peers", {{peer, "Active"}}}}));
  tar.File("shard_config.json", std::string_view(R"({"type":"ReplicaSet"})"));
}

void AddStoredShard(TarWriter& writer, const ScriptedImage& image, const std::string& folder) {
  bool first = true;
  TarBuilder outer(writer, folder, image.mtime);
  for (const ScriptedSegment& segment : image.segments) {
    BytesSink inner(kTarBytesMax);
    TarWriter inner_writer(inner);
    TarBuilder files(inner_writer, "snapshot/files/", image.mtime);
    AddSegmentFiles(files, image, segment, first);
    first = false;
    Must(inner_writer.Finish({}));
    outer.File("segments/" + segment.uuid + ".tar", inner.bytes());
  }
  AddShardFiles(writer, image, folder);
}

// Keeps the small files of a tar whole.
class Collector final : public TarVisitor {
 public:
  Status OnEntry(const CallContext&, const TarEntry& entry) override {
    path_ = entry.path;
    if (entry.type == TarEntryType::kDirectory) directories.push_back(path_);
    files[path_];
    return {};
  }
  Status OnData(const CallContext&, std::uint64_t, ByteView data) override {
    Append(files[path_], data);
    return {};
  }
  Status OnEntryEnd(const CallContext&, ByteView) override { return {}; }

  std::map<std::string, Bytes> files;
  std::vector<std::string> directories;

 private:
  std::string path_;
};

bool EndsWith(std::string_view text, std::string_view end) { return text.ends_with(end); }

// Reads one entry; false at the end, or where the log is damaged (a test may flip any bit).
bool NextEntry(ByteReader& in, PointId& id, bool& inserted) {
  const Result<std::uint8_t> type = in.U8();
  if (!type.ok() || *type < kInsertNumber || *type > kDeleteUuid) return false;
  id = {};
  if (*type == kInsertUuid || *type == kDeleteUuid) {
    id.is_uuid = true;
    const Result<ByteView> bytes = in.Take(id.uuid.size());
    if (!bytes.ok()) return false;
    std::copy(bytes->begin(), bytes->end(), id.uuid.begin());
  } else {
    const Result<std::uint64_t> number = in.U64();
    if (!number.ok()) return false;
    id.number = *number;
  }
  inserted = *type == kInsertNumber || *type == kInsertUuid;
  return !inserted || in.U32().ok();
}

// Ids that the log leaves alive.
std::set<PointId> ReplayLog(ByteView log) {
  std::set<PointId> live;
  ByteReader in(log, "id tracker");
  PointId id;
  bool inserted = false;
  while (in.left() > 0 && NextEntry(in, id, inserted)) {
    if (inserted) {
      live.insert(id);
    } else {
      live.erase(id);
    }
  }
  return live;
}

void ReadSegment(const std::map<std::string, Bytes>& files, const std::string& folder,
                 ReceivedImage& image) {
  const auto log = files.find(folder + "mutable_id_tracker.mappings");
  if (log == files.end()) return;
  const std::set<PointId> live = ReplayLog(log->second);
  const auto page = files.find(folder + "payload_storage/page_0.dat");
  if (page == files.end()) return;
  std::string_view rest = AsText(page->second);
  while (!rest.empty() && rest.front() == '{') {
    const std::size_t end = rest.find('\n');
    const std::string line(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    const Result<Json> point = json::Parse(line, "a point");
    if (!point.ok() || !point->contains("id")) continue;
    const Result<PointId> id = qdrant::ParsePointId(json::Dump((*point)["id"]));
    if (id.ok() && live.contains(*id)) image.points[*id] = line;
  }
}

}  // namespace

Bytes MakeStreamedTar(const ScriptedImage& image) {
  BytesSink sink(kTarBytesMax);
  TarWriter writer(sink);
  bool first = true;
  for (const ScriptedSegment& segment : image.segments) {
    TarBuilder files(writer, "segments/" + segment.uuid + "/files/", image.mtime);
    AddSegmentFiles(files, image, segment, first);
    first = false;
  }
  AddShardFiles(writer, image, "");
  Must(writer.Finish({}));
  return sink.Take();
}

Bytes MakeStoredTar(const ScriptedImage& image) {
  BytesSink sink(kTarBytesMax);
  TarWriter writer(sink);
  AddStoredShard(writer, image, "");
  Must(writer.Finish({}));
  return sink.Take();
}

Bytes MakeStoredCollectionTar(const std::map<ShardId, ScriptedImage>& shards, std::uint64_t mtime) {
  BytesSink sink(kTarBytesMax);
  TarWriter writer(sink);
  for (const auto& [shard, image] : shards) {
    AddStoredShard(writer, image, std::to_string(shard.value()) + "/");
  }
  TarBuilder tar(writer, "", mtime);
  tar.File("version.info", std::string_view("0.4.2"));
  tar.File("config.json", std::string_view("{}"));
  tar.File("shard_key_mapping.json", std::string_view("[]"));
  tar.File("payload_index.json", std::string_view(R"({"schema":{}})"));
  Must(writer.Finish({}));
  return sink.Take();
}

Result<ReceivedImage> ReadStreamedTar(ByteView tar) {
  Collector files;
  TarReader reader(files);
  const Status read = reader.Write({}, tar);
  if (!read.ok()) {
    return Error(ErrorCode::kAborted,
                 "Service internal error: File IO error: " + read.error().message());
  }
  // An input that ends at an entry boundary is fine for the server, one inside an entry is not.
  const std::vector<std::uint64_t> boundaries = EntryBoundaries(tar);
  if (!reader.ended() && (boundaries.empty() || boundaries.back() != tar.size())) {
    return Error(ErrorCode::kAborted, "Service internal error: File IO error: failed to unpack");
  }
  ReceivedImage image;
  image.has_replica_state = files.files.contains("replica_state.json");
  bool wal = false;
  bool segments = false;
  for (const auto& [path, content] : files.files) {
    wal |= path.starts_with("wal/");
    segments |= path.starts_with("segments/");
    const std::string_view closed = "wal/closed-";
    if (path.starts_with(closed)) {
      std::from_chars(path.data() + closed.size(), path.data() + path.size(), image.next_operation);
    }
  }
  if (!wal || !segments) {
    return Error(ErrorCode::kInvalidArgument, "Bad request: Invalid snapshot");
  }
  if (!image.has_replica_state) return image;
  for (const auto& [path, content] : files.files) {
    const std::string_view end = "/files/segment.json";
    if (!EndsWith(path, end)) continue;
    ReadSegment(files.files, path.substr(0, path.size() - std::string_view("segment.json").size()),
                image);
  }
  return image;
}

std::vector<std::uint64_t> EntryBoundaries(ByteView tar) {
  // Feeding block by block tells where entries end: right after their last block.
  class Ends final : public TarVisitor {
   public:
    Status OnEntry(const CallContext&, const TarEntry&) override { return {}; }
    Status OnData(const CallContext&, std::uint64_t, ByteView) override { return {}; }
    Status OnEntryEnd(const CallContext&, ByteView) override {
      ended = true;
      return {};
    }
    bool ended = false;
  } ends;
  TarReader reader(ends);
  std::vector<std::uint64_t> boundaries;
  for (std::size_t at = 0; at + kTarBlockBytes <= tar.size(); at += kTarBlockBytes) {
    ends.ended = false;
    if (!reader.Write({}, tar.subspan(at, kTarBlockBytes)).ok() || reader.ended()) break;
    if (ends.ended) boundaries.push_back(at + kTarBlockBytes);
  }
  return boundaries;
}

}  // namespace holdfast::testing
