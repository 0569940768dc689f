#include "engine/qdrant/image/id_tracker.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace holdfast::qdrant {
namespace {

constexpr std::string_view kLogName = "mutable_id_tracker.mappings";
constexpr std::string_view kLogVersionsName = "mutable_id_tracker.versions";
constexpr std::string_view kMappingsName = "id_tracker.mappings";
constexpr std::string_view kDeletedName = "id_tracker.deleted";
constexpr std::string_view kVersionsName = "id_tracker.versions";
// Whatever else is called so is a tracker of another time.
constexpr std::string_view kFamily = "id_tracker";
// Versions of the segment crate whose trackers are the ones above (server 1.18.3 writes 0.6.0).
constexpr std::string_view kKnownFormat = "0.6.";
constexpr std::size_t kVersionBytes = 8;

// Types of entries in the log.
constexpr std::uint8_t kInsertNumber = 1;
constexpr std::uint8_t kInsertUuid = 2;
constexpr std::uint8_t kDeleteNumber = 3;
constexpr std::uint8_t kDeleteUuid = 4;
// Types of ids in the list.
constexpr std::uint8_t kListNumber = 0;
constexpr std::uint8_t kListUuid = 1;

constexpr std::size_t kReadBytes = 64 * 1024;
// A bit map of four billion offsets, which are all that a segment can have, is 512 MiB.
constexpr std::uint64_t kDeletedBytesMax = std::uint64_t{1} << 30;

std::size_t LogEntrySize(std::uint8_t type) {
  switch (type) {
    case kInsertNumber:
      return 1 + 8 + 4;
    case kInsertUuid:
      return 1 + 16 + 4;
    case kDeleteNumber:
      return 1 + 8;
    case kDeleteUuid:
      return 1 + 16;
    default:
      return 0;
  }
}

std::uint64_t LittleEndian(ByteView bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  }
  return value;
}

PointId ReadId(ByteView bytes, bool is_uuid) {
  if (!is_uuid) return PointId::OfNumber(LittleEndian(bytes.first(8)));
  PointId id{.is_uuid = true};
  std::copy_n(bytes.begin(), id.uuid.size(), id.uuid.begin());
  return id;
}

// Reads a part of the spool front to back.
class SpoolReader {
 public:
  SpoolReader(const SpoolFile& file, std::uint64_t at, std::uint64_t size)
      : file_(file), at_(at), left_(size) {}

  /// The next `size` bytes, or nothing when fewer are left. Valid until the next call.
  Result<std::optional<ByteView>> Take(std::size_t size) {
    if (buffered() < size) {
      std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(next_), buffer_.end(),
                buffer_.begin());
      buffer_.resize(buffered());
      next_ = 0;
      const std::size_t more = std::min<std::uint64_t>(left_, kReadBytes);
      const std::size_t old = buffer_.size();
      buffer_.resize(old + more);
      HF_RETURN_IF_ERROR(file_.ReadAt(at_, std::span(buffer_).subspan(old)));
      at_ += more;
      left_ -= more;
    }
    if (buffered() < size) return std::optional<ByteView>();
    const ByteView taken = ByteView(buffer_).subspan(next_, size);
    next_ += size;
    return std::optional<ByteView>(taken);
  }

 private:
  std::size_t buffered() const { return buffer_.size() - next_; }

  const SpoolFile& file_;
  std::uint64_t at_;
  std::uint64_t left_;
  Bytes buffer_;
  std::size_t next_ = 0;
};

}  // namespace

// --- the log -------------------------------------------------------------------------------------

Status MappingLogParser::Feed(ByteView bytes, const Visit& visit) {
  for (const std::byte byte : bytes) {
    if (!understood_) return {};
    HF_RETURN_IF_ERROR(FeedOne(byte, visit));
  }
  return {};
}

Status MappingLogParser::FeedOne(std::byte byte, const Visit& visit) {
  if (entry_.empty()) {
    entry_size_ = LogEntrySize(std::to_integer<std::uint8_t>(byte));
    understood_ = entry_size_ > 0;
    if (!understood_) return {};
  }
  entry_.push_back(byte);
  if (entry_.size() < entry_size_) return {};

  const auto type = std::to_integer<std::uint8_t>(entry_.front());
  const ByteView rest = ByteView(entry_).subspan(1);
  const bool is_uuid = type == kInsertUuid || type == kDeleteUuid;
  const PointId id = ReadId(rest, is_uuid);
  const bool insert = type == kInsertNumber || type == kInsertUuid;
  const std::uint32_t offset = insert ? static_cast<std::uint32_t>(LittleEndian(rest.last(4))) : 0;
  entry_.clear();
  return visit(insert ? Change::kInsert : Change::kDelete, id, offset);
}

// --- all trackers --------------------------------------------------------------------------------

IdTrackers::IdTrackers(const std::string& directory, std::size_t buffer_bytes)
    : sorter_(directory, buffer_bytes), spool_(directory) {}

void IdTrackers::Unknown(std::uint32_t segment, std::string_view why) {
  if (!unknown_.empty()) return;
  unknown_ = "segment " + std::to_string(segment) + " of the image: " + std::string(why);
}

bool IdTrackers::BeginFile(std::uint32_t segment, std::string_view name, std::uint64_t real_size) {
  file_segment_ = segment;
  file_size_ = real_size;
  file_read_ = 0;
  Segment& known = segments_[segment];
  if (name == kLogName) {
    file_ = File::kLog;
    log_ = {};
    known.has_log = true;
  } else if (name == kDeletedName && real_size > kDeletedBytesMax) {
    file_ = File::kForeign;
    Unknown(segment, "its map of deleted points is too large to be one");
  } else if (name == kMappingsName || name == kDeletedName) {
    file_ = name == kMappingsName ? File::kMappings : File::kDeleted;
    file_spool_ = spool_end_;
  } else if (name == kVersionsName || name == kLogVersionsName) {
    file_ = File::kVersions;
    known.versions = real_size / kVersionBytes;
  } else if (name.find(kFamily) != std::string_view::npos) {
    file_ = File::kForeign;
    Unknown(segment, "the id tracker's file '" + std::string(name) + "' is not known");
  } else {
    file_ = File::kNone;
  }
  return file_ != File::kNone;
}

Status IdTrackers::Data(std::uint64_t file_offset, ByteView data) {
  if (file_ == File::kDeleted) return spool_.WriteAt(file_spool_ + file_offset, data);
  if (file_ != File::kLog && file_ != File::kMappings) return {};
  // Both are written entry by entry, so a hole is nothing that the server makes.
  if (file_offset != file_read_) return {};
  file_read_ += data.size();
  if (file_ == File::kMappings) return spool_.WriteAt(file_spool_ + file_offset, data);
  HF_RETURN_IF_ERROR(log_.Feed(data, [this](MappingLogParser::Change change, const PointId& id,
                                            std::uint32_t offset) {
    return change == MappingLogParser::Change::kInsert ? sorter_.AddLive(file_segment_, id, offset)
                                                       : sorter_.AddDeleted(file_segment_, id);
  }));
  if (!log_.understood()) Unknown(file_segment_, "an entry in the log of ids has an unknown type");
  return {};
}

Status IdTrackers::EndFile() {
  if ((file_ == File::kLog || file_ == File::kMappings) && file_read_ != file_size_) {
    Unknown(file_segment_, "its list of ids has a hole");
  } else if (file_ == File::kMappings || file_ == File::kDeleted) {
    Segment& known = segments_[file_segment_];
    (file_ == File::kMappings ? known.mappings : known.deleted) =
        Spooled{.at = file_spool_, .size = file_size_};
    spool_end_ += file_size_;
  }
  file_ = File::kNone;
  return {};
}

void IdTrackers::EndSegment(std::uint32_t segment, std::string_view format_version) {
  const Segment& known = segments_[segment];
  if (known.has_log && (known.mappings || known.deleted)) {
    Unknown(segment, "it has two id trackers");
  } else if (known.mappings.has_value() != known.deleted.has_value()) {
    Unknown(segment, "its id tracker is not complete");
  } else if (!known.has_log && !known.mappings && !format_version.starts_with(kKnownFormat)) {
    Unknown(segment, "it has no id tracker that is known, and is of format version " +
                         std::string(format_version));
  }
}

Status IdTrackers::JoinImmutable(std::uint32_t number, const Segment& segment,
                                 const std::function<Status()>& check) {
  SpoolReader mappings(spool_, segment.mappings->at, segment.mappings->size);
  SpoolReader deleted(spool_, segment.deleted->at, segment.deleted->size);
  HF_TRY(const std::optional<ByteView> header, mappings.Take(8));
  if (!header) {
    Unknown(number, "its list of ids has no header");
    return {};
  }
  const std::uint64_t count = LittleEndian(*header);
  std::uint8_t bits = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i % 8 == 0) {
      HF_TRY(const std::optional<ByteView> byte, deleted.Take(1));
      // Behind the end of the bit map nothing is deleted.
      bits = byte ? std::to_integer<std::uint8_t>(byte->front()) : 0;
    }
    if (i % 65536 == 0) HF_RETURN_IF_ERROR(check());
    HF_TRY(const std::optional<ByteView> type_byte, mappings.Take(1));
    const std::uint8_t type =
        type_byte ? std::to_integer<std::uint8_t>(type_byte->front()) : kListUuid + 1;
    if (type != kListNumber && type != kListUuid) {
      Unknown(number, "its list of ids has an entry of an unknown type or ends early");
      return {};
    }
    const std::size_t id_bytes = type == kListUuid ? 16 : 8;
    HF_TRY(const std::optional<ByteView> rest, mappings.Take(id_bytes + 4));
    if (!rest) {
      Unknown(number, "its list of ids ends early");
      return {};
    }
    if ((bits >> (i % 8) & 1) != 0) continue;
    const auto offset = static_cast<std::uint32_t>(LittleEndian(rest->last(4)));
    HF_RETURN_IF_ERROR(sorter_.AddLive(number, ReadId(*rest, type == kListUuid), offset));
  }
  return {};
}

Status IdTrackers::Finish(const std::function<Status()>& check) {
  for (const auto& [number, segment] : segments_) {
    if (!unknown_.empty()) return {};
    if (segment.mappings && segment.deleted) {
      HF_RETURN_IF_ERROR(JoinImmutable(number, segment, check));
    }
  }
  return {};
}

Status IdTrackers::Visit(const std::function<Status(const PointId&)>& visit) {
  return sorter_.Visit(
      [this](std::uint32_t segment, std::uint32_t offset) {
        return offset < segments_[segment].versions;
      },
      visit);
}

}  // namespace holdfast::qdrant
