// The lines that holdfast and holdfast-engine say to each other (docs/design/engine-protocol.md).
// Pure: no process, no pipe. What the other side writes is believed in nothing.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/point_source.h"

namespace holdfast::edge {

/// Both sides speak the same version.
inline constexpr std::uint64_t kProtocol = 1;
/// The longest line that an answer may take; those of points are bounded apart.
inline constexpr std::size_t kAnswerBytesMax = 4 * kMiB;
/// How deep a point's payload may be nested: a server takes 128.
inline constexpr int kPointDepthMax = 140;

/// Answer to `hello`.
struct Hello {
  /// Release of the engine's library, e.g. "0.9.0".
  std::string release;
  /// The newest version.info it reads.
  std::string segments;
};

/// Answer to `open`.
struct OpenImage {
  std::uint64_t points = 0;
  std::uint64_t segments = 0;
};

/// What follows the points of `page`.
struct PageEnd {
  std::uint64_t count = 0;
  bool more = false;
};

/// Requests, each a line with its end. `after` is an id as JSON text, empty for the start.
std::string HelloRequest(std::uint64_t number);
std::string OpenRequest(std::uint64_t number, const std::string& tar, const std::string& folder);
/// kInvalidArgument when `after` is no id.
Result<std::string> PageRequest(std::uint64_t number, const std::string& after,
                                const PageLimits& limits);

/// True for the line of an answer, false for that of a point.
bool IsAnswer(std::string_view line) noexcept;

/// One point: exactly id, vector and payload, in this order. kDataLoss otherwise.
Result<SourcePoint> ReadPoint(std::string_view line);

/// Answers to request `number`. The error that the process tells (code by code, with a hint), or
/// kInternal for a line that is none of the protocol's.
Result<Hello> ReadHello(std::string_view line, std::uint64_t number);
Result<OpenImage> ReadOpen(std::string_view line, std::uint64_t number);
Result<PageEnd> ReadPageEnd(std::string_view line, std::uint64_t number);

}  // namespace holdfast::edge
