// Orders what the id trackers of an image say, in bounded memory, and tells which ids are live.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/qdrant/point_id.h"
#include "engine/qdrant/spool_file.h"

namespace holdfast::qdrant {

/// External merge sort: at most kBufferBytes while ids come in, and as much again while they are
/// visited; the rest lies in a temporary file of about 40 bytes an entry. One thread.
class IdSorter {
 public:
  static constexpr std::size_t kBufferBytes = std::size_t{2} << 20;

  /// `buffer_bytes` is for tests.
  explicit IdSorter(const std::string& directory, std::size_t buffer_bytes = kBufferBytes);

  /// A segment's tracker says that `id` is live at `offset` within the segment, or deleted. For one
  /// id and segment the call made last counts.
  Status AddLive(std::uint32_t segment, const PointId& id, std::uint32_t offset);
  Status AddDeleted(std::uint32_t segment, const PointId& id);

  /// Ids that are live in any segment, each once, ascending. `is_loaded(segment, offset)`: whether
  /// the server keeps a point at that place when it loads the segment. Can be called again.
  Status Visit(const std::function<bool(std::uint32_t, std::uint32_t)>& is_loaded,
               const std::function<Status(const PointId&)>& visit);

 private:
  // No padding: it is written to the file as it is.
  struct Record {
    std::uint32_t is_uuid;
    std::uint32_t live;
    std::uint32_t segment;
    std::uint32_t offset;
    std::uint64_t high;
    std::uint64_t low;
    std::uint64_t sequence;
  };
  /// Sorted records in the file: [next, end) in bytes.
  struct Run {
    std::uint64_t begin;
    std::uint64_t end;
  };
  class RunReader;

  static Record MakeRecord(std::uint32_t segment, const PointId& id);
  static bool Before(const Record& a, const Record& b);
  Status Add(Record record);
  Status WriteRun();
  Status Merge(const std::function<Status(const Record&)>& take);

  const std::size_t records_max_;
  SpoolFile file_;
  std::uint64_t file_end_ = 0;
  std::vector<Run> runs_;
  std::vector<Record> buffer_;
  std::uint64_t sequence_ = 0;
};

}  // namespace holdfast::qdrant
