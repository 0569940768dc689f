// Any bytes as the files of id trackers: they must be read alike in any slices, with any buffer,
// and as a plain reader of the same formats reads them.

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/assert.h"
#include "base/bytes.h"
#include "engine/qdrant/image/id_tracker.h"

namespace holdfast::qdrant {
namespace {

struct File {
  std::uint32_t segment;
  std::string name;
  ByteView content;
};

// The input is a row of files: one byte for name and segment, two for the size, the content.
std::vector<File> Split(ByteView input) {
  static const std::string names[] = {"mutable_id_tracker.mappings",
                                      "mutable_id_tracker.versions",
                                      "id_tracker.mappings",
                                      "id_tracker.deleted",
                                      "id_tracker.versions",
                                      "id_tracker.new",
                                      "matrix.dat"};
  std::vector<File> files;
  while (input.size() >= 3) {
    const auto head = std::to_integer<unsigned>(input[0]);
    const std::size_t size =
        std::to_integer<std::size_t>(input[1]) | std::to_integer<std::size_t>(input[2]) << 8;
    input = input.subspan(3);
    const std::size_t length = std::min(size, input.size());
    files.push_back({.segment = head >> 4 & 3,
                     .name = names[head % std::size(names)],
                     .content = input.first(length)});
    input = input.subspan(length);
  }
  return files;
}

struct Outcome {
  bool known = false;
  std::vector<std::string> ids;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome Read(const std::vector<File>& files, std::size_t slice, std::size_t buffer) {
  IdTrackers trackers("/tmp", buffer);
  std::set<std::uint32_t> segments;
  for (const File& file : files) {
    segments.insert(file.segment);
    if (!trackers.BeginFile(file.segment, file.name, file.content.size())) continue;
    for (std::size_t at = 0; at < file.content.size(); at += slice) {
      const std::size_t size = std::min(slice, file.content.size() - at);
      HF_ASSERT(trackers.Data(at, file.content.subspan(at, size)).ok());
    }
    HF_ASSERT(trackers.EndFile().ok());
  }
  for (const std::uint32_t segment : segments) trackers.EndSegment(segment, "0.6.0");
  HF_ASSERT(trackers.Finish([]() -> Status { return {}; }).ok());
  Outcome outcome{.known = trackers.unknown().empty(), .ids = {}};
  if (!outcome.known) return outcome;
  std::optional<PointId> last;
  HF_ASSERT(trackers
                .Visit([&](const PointId& id) -> Status {
                  HF_ASSERT(!last || *last < id);
                  last = id;
                  outcome.ids.push_back(FormatPointId(id));
                  return {};
                })
                .ok());
  return outcome;
}

}  // namespace
}  // namespace holdfast::qdrant

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  using namespace holdfast::qdrant;
  if (size == 0) return 0;
  const std::vector<File> files = Split(std::as_bytes(std::span(data, size)).subspan(1));
  const Outcome whole = Read(files, std::size_t{1} << 20, IdSorter::kBufferBytes);
  HF_ASSERT(whole == Read(files, 1 + data[0], 200));
  return 0;
}
