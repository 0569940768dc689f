#pragma once

// Where tests find the files of the tree. Not for anything that src/ does.

#include <filesystem>

namespace holdfast::testing {

/// The root of the source tree this binary was built from; the environment variable
/// HOLDFAST_SOURCE_DIR overrides it.
std::filesystem::path SourceDir();

}  // namespace holdfast::testing
