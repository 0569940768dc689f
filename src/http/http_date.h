// Dates as HTTP headers have them.

#pragma once

#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace holdfast {

/// Reads "Sun, 22 Nov 2026 03:24:38 GMT" (RFC 9110 section 5.6.7, the form that servers send).
/// kInvalidArgument otherwise.
Result<WallTime> ParseHttpDate(std::string_view text);

}  // namespace holdfast
