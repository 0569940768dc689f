// Any text as a line of holdfast-engine: it is judged without falling over, and a point that is
// taken can be sent on as it is.

#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "engine/edge/protocol.h"
#include "engine/qdrant/point_id.h"
#include "model/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  if (const auto point = edge::ReadPoint(line); point.ok()) {
    HF_ASSERT(point->point_json == line);
    HF_ASSERT(CompareIds(point->id_json, point->id_json) == 0);
    const auto id = qdrant::ParsePointId(point->id_json);
    HF_ASSERT(id.ok() && qdrant::FormatPointId(*id) == point->id_json);
    HF_ASSERT(edge::PageRequest(1, point->id_json, {}).ok());
    if (const auto parsed = json::Parse(line, "point"); parsed.ok()) {
      HF_ASSERT(parsed->size() == 3 && (*parsed)["payload"].is_object());
    }
  }
  static_cast<void>(edge::IsAnswer(line));
  for (const std::uint64_t number : {0U, 1U, 3U}) {
    const auto hello = edge::ReadHello(line, number);
    if (!hello.ok()) HF_ASSERT(!hello.error().message().empty());
    static_cast<void>(edge::ReadOpen(line, number).ok());
    static_cast<void>(edge::ReadPageEnd(line, number).ok());
  }
  return 0;
}
