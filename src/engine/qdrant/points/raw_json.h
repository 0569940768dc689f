// Cuts a JSON text into its parts without reading them, so that what a server printed is given back
// to it character by character: a parsed number would be printed in another way. For .cc files
// only.

#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace holdfast::qdrant {

/// Name, as written between its quotes, and value of each member of the object that `text` is; in
/// their order. Views into `text`. kUnavailable when it is no object or ends early; what is inside
/// the values is not looked at beyond brackets and strings.
Result<std::vector<std::pair<std::string_view, std::string_view>>> RawMembers(
    std::string_view text);

/// Likewise the elements of an array.
Result<std::vector<std::string_view>> RawElements(std::string_view text);

}  // namespace holdfast::qdrant
