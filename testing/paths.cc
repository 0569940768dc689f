#include "testing/paths.h"

#include <cstdlib>
#include <filesystem>

namespace holdfast::testing {

std::filesystem::path SourceDir() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): read before a test starts threads.
  const char* from_environment = std::getenv("HOLDFAST_SOURCE_DIR");
  return from_environment != nullptr ? from_environment : HOLDFAST_SOURCE_DIR;
}

}  // namespace holdfast::testing
