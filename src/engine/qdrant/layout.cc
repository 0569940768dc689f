#include "engine/qdrant/layout.h"

#include <algorithm>
#include <vector>

#include "model/json.h"

namespace holdfast::qdrant {
namespace {

using json::Json;
using json::Member;

// Absent means float32, on both sides (reference 2.3).
constexpr const char* kDefaultDatatype = "float32";

Error Malformed(ErrorCode code, std::string_view what, std::string_view problem) {
  return {code, std::string(what) + ": " + std::string(problem)};
}

// One dense vector; the names of its members are the same in segment.json and in the create body.
Result<Json> VectorLayout(const Json& vector, ErrorCode code, std::string_view what) {
  if (!vector.is_object()) return Malformed(code, what, "a vector is not an object");
  const Json& size = Member(vector, "size");
  const Json& distance = Member(vector, "distance");
  if (!size.is_number_unsigned() || !distance.is_string()) {
    return Malformed(code, what, "a vector has no size or no distance");
  }
  const Json& datatype = Member(vector, "datatype");
  const Json& multivector = Member(vector, "multivector_config");
  return Json{
      {"size", size},
      {"distance", distance},
      {"datatype", datatype.is_string() ? datatype : Json(kDefaultDatatype)},
      {"multivector", multivector.is_object() ? Member(multivector, "comparator") : Json()}};
}

Result<std::string> MakeLayout(const Json& vectors, const Json& sparse, ErrorCode code,
                               std::string_view what) {
  Json dense = Json::object();
  if (!vectors.is_null() && !vectors.is_object()) {
    return Malformed(code, what, "vectors are not an object");
  }
  for (const auto& [name, vector] : vectors.items()) {
    HF_TRY(dense[name], VectorLayout(vector, code, what));
  }
  Json sparse_names = Json::array();
  if (!sparse.is_null() && !sparse.is_object()) {
    return Malformed(code, what, "sparse vectors are not an object");
  }
  for (const auto& [name, vector] : sparse.items()) sparse_names.push_back(name);
  return json::Dump(Json{{"vectors", std::move(dense)}, {"sparse", std::move(sparse_names)}});
}

std::string Quoted(std::string_view name) {
  return name.empty() ? "the unnamed vector" : "vector '" + std::string(name) + "'";
}

// Every member of both objects, said once where they differ.
void CompareVectors(const Json& image, const Json& collection, std::vector<std::string>& problems) {
  for (const auto& [name, vector] : image.items()) {
    if (!collection.contains(name)) {
      problems.push_back("the image has " + Quoted(name) + ", the collection does not");
      continue;
    }
    for (const auto& [member, value] : vector.items()) {
      const Json& other = Member(collection[name], member.c_str());
      if (value == other) continue;
      problems.push_back(member + " of " + Quoted(name) + " is " + json::Dump(value) +
                         " in the image and " + json::Dump(other) + " in the collection");
    }
  }
  for (const auto& [name, vector] : collection.items()) {
    if (image.contains(name)) continue;
    problems.push_back("the collection has " + Quoted(name) + ", the image does not");
  }
}

void CompareSparse(const Json& image, const Json& collection, std::vector<std::string>& problems) {
  const auto has = [](const Json& list, const Json& name) {
    return std::find(list.begin(), list.end(), name) != list.end();
  };
  for (const Json& name : image) {
    if (!has(collection, name)) {
      problems.push_back("the image has sparse vector " + json::Dump(name) +
                         ", the collection does not");
    }
  }
  for (const Json& name : collection) {
    if (!has(image, name)) {
      problems.push_back("the collection has sparse vector " + json::Dump(name) +
                         ", the image does not");
    }
  }
}

Result<Json> ParseLayout(std::string_view text, std::string_view what) {
  Result<Json> layout = json::Parse(text, what);
  if (!layout.ok()) return std::move(layout).error().As(ErrorCode::kInvalidArgument);
  if (!layout->is_object() || !Member(*layout, "vectors").is_object() ||
      !Member(*layout, "sparse").is_array()) {
    return Malformed(ErrorCode::kInvalidArgument, what, "not a layout of vectors");
  }
  return layout;
}

}  // namespace

Result<std::string> LayoutOfSegment(std::string_view segment_json) {
  constexpr std::string_view kWhat = "segment.json";
  HF_TRY(const Json segment, json::Parse(segment_json, kWhat));
  const Json& config = segment.is_object() ? Member(segment, "config") : segment;
  if (!config.is_object()) return Malformed(ErrorCode::kDataLoss, kWhat, "it has no config");
  return MakeLayout(Member(config, "vector_data"), Member(config, "sparse_vector_data"),
                    ErrorCode::kDataLoss, kWhat);
}

Result<std::string> LayoutOfCollection(std::string_view create_json) {
  constexpr std::string_view kWhat = "collection configuration";
  Result<Json> body = json::Parse(create_json, kWhat);
  if (!body.ok()) return std::move(body).error().As(ErrorCode::kInvalidArgument);
  if (!body->is_object()) {
    return Malformed(ErrorCode::kInvalidArgument, kWhat, "it is not an object");
  }
  Json vectors = Member(*body, "vectors");
  // One unnamed vector stands without a map around it; a vector that is called "size" is an object.
  if (vectors.is_object() && Member(vectors, "size").is_number()) vectors = Json{{"", vectors}};
  return MakeLayout(vectors, Member(*body, "sparse_vectors"), ErrorCode::kInvalidArgument, kWhat);
}

Status CheckLayout(std::string_view image_layout, std::string_view collection_layout) {
  HF_TRY(const Json image, ParseLayout(image_layout, "layout of the image"));
  HF_TRY(const Json collection, ParseLayout(collection_layout, "layout of the collection"));
  std::vector<std::string> problems;
  CompareVectors(image["vectors"], collection["vectors"], problems);
  CompareSparse(image["sparse"], collection["sparse"], problems);
  if (problems.empty()) return {};
  std::string message = "the image does not fit the collection";
  for (const std::string& problem : problems)
    message += (&problem == problems.data() ? ": " : "; ") + problem;
  return Error(ErrorCode::kFailedPrecondition, std::move(message));
}

}  // namespace holdfast::qdrant
