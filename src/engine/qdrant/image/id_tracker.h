// Reads the id trackers of segments out of a shard tar while it passes (reference 4.7, measured 7;
// formats from the server's source, lib/segment/src/id_tracker).
//
// A segment has one of two trackers, all numbers little-endian, UUIDs in network order:
//   mutable    mutable_id_tracker.mappings: a log of entries (type u8: 1 insert number, 2 insert
//              UUID, 3 delete number, 4 delete UUID; id of 8 or 16 bytes; on insert an offset u32).
//              An entry that breaks off at the end is ignored, as the server does.
//   immutable  id_tracker.mappings: count u64, then (type u8: 0 number, 1 UUID; id; offset u32);
//              id_tracker.deleted: bit i (from the lowest of byte i / 8) is the i-th entry's.
// The versions file beside either has 8 bytes for every offset that the server keeps at load; a
// point without a version is dropped there.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "engine/qdrant/image/id_sorter.h"
#include "engine/qdrant/spool_file.h"

namespace holdfast::qdrant {

/// Entries of a mutable tracker's log, from slices of any size. One thread.
class MappingLogParser {
 public:
  enum class Change { kInsert, kDelete };
  using Visit = std::function<Status(Change, const PointId&, std::uint32_t offset)>;

  /// False once a byte was met that no entry begins with: the format is another one, and nothing
  /// more is visited.
  bool understood() const noexcept { return understood_; }
  Status Feed(ByteView bytes, const Visit& visit);

 private:
  Status FeedOne(std::byte byte, const Visit& visit);

  bool understood_ = true;
  Bytes entry_;
  std::size_t entry_size_ = 0;
};

/// All trackers of one image. Calls come in the tar's order: BeginFile, Data, EndFile. One thread.
class IdTrackers {
 public:
  /// `directory` takes temporary files.
  explicit IdTrackers(const std::string& directory,
                      std::size_t buffer_bytes = IdSorter::kBufferBytes);

  /// True when `name`, a file directly in the folder of a segment, belongs to an id tracker, known
  /// or not; its data is wanted then.
  bool BeginFile(std::uint32_t segment, std::string_view name, std::uint64_t real_size);
  /// Holes need not be given.
  Status Data(std::uint64_t file_offset, ByteView data);
  Status EndFile();

  /// A segment without a tracker has no points if its format is known, else nobody knows.
  /// `format_version` is the content of version.info.
  void EndSegment(std::uint32_t segment, std::string_view format_version);

  /// Why the ids are not known; empty when they are. Only complete after the last EndSegment.
  const std::string& unknown() const noexcept { return unknown_; }

  /// Joins what came in parts. To be called once, before Visit.
  Status Finish(const std::function<Status()>& check);
  /// Live ids, each once, ascending. Only when unknown() is empty.
  Status Visit(const std::function<Status(const PointId&)>& visit);

 private:
  enum class File { kNone, kLog, kMappings, kDeleted, kVersions, kForeign };
  /// A file that was put aside until its other half is there.
  struct Spooled {
    std::uint64_t at = 0;
    std::uint64_t size = 0;
  };
  struct Segment {
    bool has_log = false;
    std::optional<Spooled> mappings;
    std::optional<Spooled> deleted;
    /// Offsets from this one on are dropped at load.
    std::uint64_t versions = 0;
  };

  void Unknown(std::uint32_t segment, std::string_view why);
  Status JoinImmutable(std::uint32_t number, const Segment& segment,
                       const std::function<Status()>& check);

  IdSorter sorter_;
  SpoolFile spool_;
  std::uint64_t spool_end_ = 0;
  std::map<std::uint32_t, Segment> segments_;
  std::string unknown_;

  File file_ = File::kNone;
  std::uint32_t file_segment_ = 0;
  std::uint64_t file_size_ = 0;
  std::uint64_t file_read_ = 0;
  std::uint64_t file_spool_ = 0;
  MappingLogParser log_;
};

}  // namespace holdfast::qdrant
