// Files that the user names on the command line.

#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace holdfast {

/// All of the file at `path`, which errors call `what`; `hint` says what such a file is.
/// kInvalidArgument when it cannot be read or is larger than `bytes_max`.
Result<std::string> ReadTextFile(const std::string& path, const std::string& what,
                                 const std::string& hint, std::uint64_t bytes_max);

}  // namespace holdfast
