#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace holdfast {

void AssertFailed(const char* what, const char* file, int line) noexcept {
  std::fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, what);
  std::fflush(stderr);
  std::abort();
}

}  // namespace holdfast
