#include "repo/group.h"

#include <algorithm>

namespace holdfast {

const ImageRef* GroupEnvelope::FindImage(std::string_view label) const noexcept {
  const auto found = std::ranges::find(images, label, &ImageRef::label);
  return found == images.end() ? nullptr : &*found;
}

}  // namespace holdfast
