#include "testing/paths.h"

#include <cstdlib>
#include <filesystem>

namespace holdfast::testing {

std::filesystem::path SourceDir() {
  // Tests set up their environment before they start threads.
  const char* from_environment = std::getenv("HOLDFAST_SOURCE_DIR");  // NOLINT(concurrency-mt-unsafe)
  return from_environment != nullptr ? from_environment : HOLDFAST_SOURCE_DIR;
}

}  // namespace holdfast::testing
