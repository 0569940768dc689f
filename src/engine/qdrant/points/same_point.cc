#include "engine/qdrant/points/same_point.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "engine/qdrant/collection_config.h"
#include "engine/qdrant/layout.h"
#include "engine/qdrant/points/raw_json.h"
#include "model/json.h"

namespace holdfast::qdrant {
namespace {

using json::Json;
using json::Member;

// A few units in the last place of a double.
constexpr double kPayloadTolerance = 2e-15;
// Of components of normalized vectors, which are at most 1.
constexpr float kFloat32Tolerance = 1e-6F;
constexpr float kFloat16Tolerance = 1.0F / 1024;

bool SamePayload(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) {
    // Whole numbers are compared as such: they go up to 2^64-1.
    if (!a.is_number_float() && !b.is_number_float()) return a == b;
    const double x = a.get<double>();
    const double y = b.get<double>();
    return x == y || std::abs(x - y) <= kPayloadTolerance * std::max(std::abs(x), std::abs(y));
  }
  if (a.type() != b.type()) return false;
  if (a.is_array()) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), &SamePayload);
  }
  if (!a.is_object()) return a == b;
  if (a.size() != b.size()) return false;
  for (const auto& [name, value] : a.items()) {
    const auto other = b.find(name);
    if (other == b.end() || !SamePayload(value, *other)) return false;
  }
  return true;
}

// Dense: numbers; multi: lists of them; sparse: an object of two lists.
bool SameVector(const Json& a, const Json& b, float tolerance) {
  if (a.is_number() && b.is_number()) {
    const auto x = a.get<float>();
    const auto y = b.get<float>();
    return x == y || std::abs(x - y) <= tolerance;
  }
  if (a.is_array() && b.is_array()) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (!SameVector(a[i], b[i], tolerance)) return false;
    }
    return true;
  }
  if (!a.is_object() || !b.is_object()) return false;
  return Member(a, "indices") == Member(b, "indices") &&
         SameVector(Member(a, "values"), Member(b, "values"), 0);
}

// The parts of a point as they are written. What is null or absent is empty.
struct RawPoint {
  std::string_view id;
  std::string_view vector = "{}";
  std::string_view payload = "{}";
};

std::optional<RawPoint> RawPointOf(std::string_view text) {
  const auto members = RawMembers(text);
  if (!members.ok()) return std::nullopt;
  RawPoint point;
  for (const auto& [name, value] : *members) {
    if (name == "id") point.id = value;
    if (name == "vector" && value != "null") point.vector = value;
    if (name == "payload" && value != "null") point.payload = value;
  }
  return point;
}

// The unnamed vector stands without a map around it.
Result<Json> Vectors(std::string_view text) {
  HF_TRY(Json vector, json::Parse(text, "a vector"));
  return vector.is_array() ? Json{{"", std::move(vector)}} : std::move(vector);
}

bool SamePayloads(std::string_view a, std::string_view b) {
  if (a == b) return true;
  const auto first = json::Parse(a, "a payload");
  const auto second = json::Parse(b, "a payload");
  return first.ok() && second.ok() && SamePayload(*first, *second);
}

class QdrantPointComparer final : public PointComparer {
 public:
  explicit QdrantPointComparer(std::map<std::string, float> tolerances)
      : tolerances_(std::move(tolerances)) {}

  bool Same(std::string_view a, std::string_view b) const override {
    if (a == b) return true;
    const auto first = RawPointOf(a);
    const auto second = RawPointOf(b);
    return first && second && first->id == second->id &&
           SamePayloads(first->payload, second->payload) &&
           SameVectors(first->vector, second->vector);
  }

 private:
  bool SameVectors(std::string_view a, std::string_view b) const {
    if (a == b) return true;
    // The server prints named vectors in any order.
    const auto first = Vectors(a);
    const auto second = Vectors(b);
    if (!first.ok() || !second.ok() || first->size() != second->size()) return false;
    for (const auto& [name, vector] : first->items()) {
      const auto other = second->find(name);
      if (other == second->end() || !SameVector(vector, *other, ToleranceOf(name))) return false;
    }
    return true;
  }
  float ToleranceOf(const std::string& name) const {
    const auto known = tolerances_.find(name);
    return known == tolerances_.end() ? 0 : known->second;
  }

  /// Of the vectors that the server normalizes, by name.
  const std::map<std::string, float> tolerances_;
};

}  // namespace

Result<std::unique_ptr<PointComparer>> NewPointComparer(const Collection& collection) {
  HF_TRY(const std::string text, LayoutOfCollection(collection.create_json));
  HF_TRY(const Json layout, json::Parse(text, "a layout"));
  std::map<std::string, float> tolerances;
  for (const auto& [name, vector] : Member(layout, "vectors").items()) {
    if (Member(vector, "distance") != Json("Cosine")) continue;
    tolerances[name] =
        Member(vector, "datatype") == Json("float16") ? kFloat16Tolerance : kFloat32Tolerance;
  }
  return std::unique_ptr<PointComparer>(
      std::make_unique<QdrantPointComparer>(std::move(tolerances)));
}

bool DependsOnShards(const Collection& collection, const GoldenQuery& query) {
  const auto request = json::Parse(query.request_json, "a query");
  const auto body = json::Parse(collection.create_json, "a configuration");
  if (!request.ok() || !body.ok()) return false;
  const Json& name = Member(*request, "using");
  if (!name.is_string()) return false;
  const Json& sparse = Member(Member(*body, "sparse_vectors"), name.get<std::string>().c_str());
  return Member(sparse, "modifier") == Json("idf");
}

}  // namespace holdfast::qdrant
