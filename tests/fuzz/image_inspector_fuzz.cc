// Any tar as a shard image: judged alike in any slices; what is taken for complete has what
// complete means.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "base/assert.h"
#include "engine/qdrant/image/image_inspector.h"
#include "stream/tar_reader.h"
#include "tests/fuzz/tar_mutator.h"

namespace holdfast::qdrant {
namespace {

struct Verdict {
  bool complete = false;
  std::string layout;
  std::uint32_t segments = 0;
  std::optional<std::uint64_t> live_points;
  friend bool operator==(const Verdict&, const Verdict&) = default;
};

Verdict Judge(ByteView tar, std::size_t slice) {
  const auto inspector = NewImageInspector("/tmp");
  TarReader reader(*inspector, {.path_bytes_max = 4096, .header_bytes_max = 1 << 16});
  for (std::size_t at = 0; at < tar.size(); at += slice) {
    if (!reader.Write({}, tar.subspan(at, std::min(slice, tar.size() - at))).ok()) return {};
  }
  if (!reader.Finish().ok()) return {};
  const auto facts = inspector->Finish({});
  if (!facts.ok()) {
    HF_ASSERT(!facts.error().message().empty());
    return {};
  }
  if (facts->live_points) {
    std::uint64_t ids = 0;
    HF_ASSERT(inspector
                  ->VisitIds({},
                             [&](std::string_view) -> Status {
                               ++ids;
                               return {};
                             })
                  .ok());
    HF_ASSERT(ids == *facts->live_points);
  }
  return {.complete = true,
          .layout = facts->layout_json,
          .segments = facts->segments,
          .live_points = facts->live_points};
}

}  // namespace
}  // namespace holdfast::qdrant

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  if (size == 0) return 0;
  const ByteView tar = std::as_bytes(std::span(data, size)).subspan(1);
  HF_ASSERT(qdrant::Judge(tar, tar.size() + 1) == qdrant::Judge(tar, 1 + data[0]));
  return 0;
}
