// Reading JSON documents strictly but openly: a missing or mistyped member is an error that names
// it, an unknown member is ignored (a newer writer). For .cc files only.

#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace holdfast::json {

using Json = nlohmann::json;

/// kDataLoss naming `what` when `text` is not JSON or is nested deeper than kDepthMax.
Result<Json> Parse(std::string_view text, std::string_view what);

constexpr int kDepthMax = 64;

/// One line of JSON. Bytes that are not UTF-8 (a server's error text) become U+FFFD.
std::string Dump(const Json& document);

/// A member of `object`; null when that is no object, or has none of that name.
const Json& Member(const Json& object, const char* name);

/// Members of one object. The first member that is missing or of another type is remembered; the
/// rest read as defaults, so that a reader is a list of lines and one check at the end.
class Reader {
 public:
  Reader(const Json& object, std::string_view what);

  std::string Text(const char* name);
  std::string TextOr(const char* name, std::string_view fallback);
  bool Flag(const char* name);
  std::uint64_t Number(const char* name);
  std::uint64_t NumberOr(const char* name, std::uint64_t fallback);
  std::uint32_t Number32(const char* name);
  std::int64_t Signed(const char* name);
  double Real(const char* name);
  /// The member as it is; null when absent.
  const Json& At(const char* name) const;
  /// An array; an empty one (and an error) when it is missing or something else.
  const Json& Array(const char* name);
  bool Has(const char* name) const;

  void Fail(const char* name, std::string_view want);
  Status status() const;

 private:
  const Json& object_;
  std::string what_;
  std::string problem_;
};

}  // namespace holdfast::json
