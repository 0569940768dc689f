#include "exec/retry.h"

#include <algorithm>

namespace holdfast {

Duration Backoff::Next() {
  const Duration step = std::min(step_, pause_max_);
  // Doubling stops at the maximum, so it cannot overflow.
  step_ = step >= pause_max_ / 2 ? pause_max_ : step * 2;
  return Duration(random_.Between(step.count() / 2, step.count()));
}

}  // namespace holdfast
