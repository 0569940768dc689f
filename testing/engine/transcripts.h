// Recorded exchanges of a real cluster (tests/data/README.md), for tests of what reads them.
// For .cc files only.

#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "model/json.h"
#include "testing/paths.h"

namespace holdfast::testing {

/// The exchange number `which` (from 0) of a transcript with this method and path, all members.
inline json::Json Recorded(const std::string& transcript, const std::string& method,
                           const std::string& path, int which = 0) {
  const auto file = SourceDir() / "tests" / "data" / "transcripts" / transcript;
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    json::Json exchange = json::Json::parse(line);
    if (exchange["method"] != method || exchange["path"] != path) continue;
    if (which-- == 0) return exchange;
  }
  ADD_FAILURE() << "no exchange " << method << " " << path << " in " << file;
  return {};
}

/// The `result` of its answer.
inline json::Json RecordedResult(const std::string& transcript, const std::string& path,
                                 int which = 0) {
  return Recorded(transcript, "GET", path, which)["response"]["result"];
}

}  // namespace holdfast::testing
