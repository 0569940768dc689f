#include "model/json.h"

namespace holdfast::json {
namespace {

const Json& Null() {
  static const Json null;
  return null;
}
const Json& EmptyArray() {
  static const Json empty = Json::array();
  return empty;
}

}  // namespace

Result<Json> Parse(std::string_view text, std::string_view what) {
  // A depth bound, because the library's parser is recursive in what it builds and destroys.
  const auto within_depth = [](int depth, Json::parse_event_t, Json&) {
    if (depth > kDepthMax) throw std::length_error("nested too deeply");
    return true;
  };
  try {
    return Json::parse(text, within_depth);
  } catch (const std::exception&) {
    return Error(ErrorCode::kDataLoss, std::string(what) + " is not a JSON document");
  }
}

const Json& Member(const Json& object, const char* name) {
  static const Json none;
  if (!object.is_object()) return none;
  const auto found = object.find(name);
  return found == object.end() ? none : *found;
}

std::string Dump(const Json& document) {
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Reader::Reader(const Json& object, std::string_view what) : object_(object), what_(what) {
  if (!object.is_object()) problem_ = what_ + " is not a JSON object";
}

const Json& Reader::At(const char* name) const {
  if (!object_.is_object()) return Null();
  const auto found = object_.find(name);
  return found == object_.end() ? Null() : *found;
}

bool Reader::Has(const char* name) const { return !At(name).is_null(); }

void Reader::Fail(const char* name, std::string_view want) {
  if (problem_.empty()) {
    problem_ = what_ + " has no " + std::string(want) + " '" + name + "'";
  }
}

Status Reader::status() const {
  if (problem_.empty()) return {};
  return Error(ErrorCode::kDataLoss, problem_);
}

std::string Reader::Text(const char* name) {
  const Json& value = At(name);
  if (value.is_string()) return value.get<std::string>();
  Fail(name, "text");
  return {};
}

std::string Reader::TextOr(const char* name, std::string_view fallback) {
  return Has(name) ? Text(name) : std::string(fallback);
}

bool Reader::Flag(const char* name) {
  const Json& value = At(name);
  if (value.is_boolean()) return value.get<bool>();
  Fail(name, "true or false");
  return false;
}

std::uint64_t Reader::Number(const char* name) {
  const Json& value = At(name);
  if (value.is_number_unsigned()) return value.get<std::uint64_t>();
  if (value.is_number_integer() && value.get<std::int64_t>() >= 0) {
    return static_cast<std::uint64_t>(value.get<std::int64_t>());
  }
  Fail(name, "whole number");
  return 0;
}

std::uint64_t Reader::NumberOr(const char* name, std::uint64_t fallback) {
  return Has(name) ? Number(name) : fallback;
}

std::uint32_t Reader::Number32(const char* name) {
  const std::uint64_t value = Number(name);
  if (value > 0xffffffffU) {
    Fail(name, "32-bit number");
    return 0;
  }
  return static_cast<std::uint32_t>(value);
}

std::int64_t Reader::Signed(const char* name) {
  const Json& value = At(name);
  if (value.is_number_integer()) return value.get<std::int64_t>();
  Fail(name, "whole number");
  return 0;
}

double Reader::Real(const char* name) {
  const Json& value = At(name);
  if (value.is_number()) return value.get<double>();
  Fail(name, "number");
  return 0;
}

const Json& Reader::Array(const char* name) {
  const Json& value = At(name);
  if (value.is_array()) return value;
  Fail(name, "array");
  return EmptyArray();
}

}  // namespace holdfast::json
