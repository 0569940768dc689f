// Any text as an answer that is cut apart without being read: what is cut out is what a parser
// finds there, and a page of points goes on as it came.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "engine/qdrant/points/point_pages.h"
#include "engine/qdrant/points/raw_json.h"
#include "engine/qdrant/points/same_point.h"
#include "model/json.h"

namespace {

using namespace holdfast;
using namespace holdfast::qdrant;
using json::Json;
using json::Member;

/// What a real parser makes of it; nothing when it refuses it. That parser takes a NUL for the end
/// of the text and skips a byte order mark, neither of which is JSON.
std::optional<Json> Read(std::string_view text) {
  if (text.find('\0') != std::string_view::npos || text.starts_with("\xEF\xBB\xBF")) return {};
  Json read = Json::parse(text, nullptr, false);
  if (read.is_discarded()) return {};
  return read;
}

/// The parts lie in `text`, one behind the other.
void CheckPlaces(std::string_view text, const std::vector<std::string_view>& parts) {
  const char* at = text.data();
  for (const std::string_view part : parts) {
    HF_ASSERT(part.data() >= at && part.data() + part.size() <= text.data() + text.size());
    at = part.data() + part.size();
  }
}

/// True when `text` is an object without a name that stands in it twice.
bool CheckMembers(std::string_view text) {
  const std::optional<Json> read = Read(text);
  const auto members = RawMembers(text);
  if (!members.ok()) {
    HF_ASSERT(members.error().code() == ErrorCode::kUnavailable);
    HF_ASSERT(!read || !read->is_object());
    return false;
  }
  std::vector<std::string_view> parts;
  Json whole = Json::object();
  bool parts_are_json = true;
  for (const auto& [name, value] : *members) {
    parts.insert(parts.end(), {name, value});
    HF_ASSERT(!value.empty());
    const auto read_name = Read('"' + std::string(name) + '"');
    auto read_value = Read(value);
    if (!read_name || !read_name->is_string() || !read_value) {
      parts_are_json = false;
    } else {
      whole[read_name->get<std::string>()] = *std::move(read_value);
    }
  }
  CheckPlaces(text, parts);
  // What is between the parts is right, so only a part can be the reason to refuse the whole.
  HF_ASSERT(read.has_value() == parts_are_json);
  HF_ASSERT(!read || *read == whole);
  return read && whole.size() == members->size();
}

void CheckElements(std::string_view text) {
  const std::optional<Json> read = Read(text);
  const auto elements = RawElements(text);
  if (!elements.ok()) {
    HF_ASSERT(elements.error().code() == ErrorCode::kUnavailable);
    HF_ASSERT(!read || !read->is_array());
    return;
  }
  CheckPlaces(text, *elements);
  Json whole = Json::array();
  bool parts_are_json = true;
  for (const std::string_view element : *elements) {
    HF_ASSERT(!element.empty());
    auto part = Read(element);
    parts_are_json = parts_are_json && part.has_value();
    whole.push_back(part ? *std::move(part) : Json());
  }
  HF_ASSERT(read.has_value() == parts_are_json);
  HF_ASSERT(!read || *read == whole);
}

/// Numbers, lists of them, or a sparse vector.
bool IsVector(const Json& vector) {
  if (vector.is_object()) {
    return Member(vector, "indices").is_array() && IsVector(Member(vector, "values"));
  }
  return vector.is_number() ||
         (vector.is_array() && std::all_of(vector.begin(), vector.end(), &IsVector));
}

Json OrEmpty(const Json& value) { return value.is_null() ? Json::object() : value; }

/// `text` is an answer that a parser takes, without a name twice at its top.
void CheckPage(std::string_view text, const Json& answer) {
  const auto page = PageFromAnswer(text);
  if (!page.ok()) {
    HF_ASSERT(page.error().code() == ErrorCode::kUnavailable);
    return;
  }
  const Json& points = Member(Member(answer, "result"), "points");
  HF_ASSERT(points.size() == page->points.size());
  Collection cosine;
  cosine.create_json = R"({"vectors":{"size":2,"distance":"Cosine"}})";
  const auto comparer = NewPointComparer(cosine);
  HF_ASSERT(comparer.ok());
  for (std::size_t i = 0; i < points.size(); ++i) {
    const SourcePoint& point = page->points[i];
    const auto sent = Read(point.point_json);
    HF_ASSERT(sent && sent->is_object());
    HF_ASSERT(Member(*sent, "id").dump() == point.id_json);
    HF_ASSERT(Member(*sent, "vector") == OrEmpty(Member(points[i], "vector")));
    HF_ASSERT(Member(*sent, "payload") == Member(points[i], "payload"));
    // Printed in another way it is the same point.
    const Json& vector = Member(*sent, "vector");
    const bool vectors = vector.is_object() ? std::all_of(vector.begin(), vector.end(), &IsVector)
                                            : vector.is_array() && IsVector(vector);
    HF_ASSERT(!vectors || (*comparer)->Same(point.point_json, sent->dump(1)));
  }
  const auto body =
      Read(UpsertBody(ShardKey(7U), page->points.data(), page->points.data() + points.size()));
  HF_ASSERT(body && Member(*body, "points").size() == points.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const bool plain = CheckMembers(text);
  CheckElements(text);
  static_cast<void>(PageFromAnswer(text));
  // Deeper than a comparison reads.
  const auto answer = json::Parse(text, "input");
  if (!plain || !answer.ok()) return 0;
  const auto members = RawMembers(text);
  for (const auto& [name, value] : *members) {
    if (name != "result" || !CheckMembers(value)) continue;
    const auto result = RawMembers(value);
    bool points_are_plain = true;
    for (const auto& [inner, list] : *result) {
      if (inner != "points") continue;
      const auto points = RawElements(list);
      points_are_plain = points.ok() && std::ranges::all_of(*points, &CheckMembers);
    }
    if (points_are_plain) CheckPage(text, *answer);
  }
  return 0;
}
