// The layout of vectors: what a shard image must have in common with the collection it is sent to,
// since the server compares nothing (measured 15).

#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace holdfast::qdrant {

/// Layout texts are canonical JSON: {"sparse":["bm25"],"vectors":{"":{"datatype":"float32",
/// "distance":"Cosine","multivector":null,"size":64}}}. Equal texts mean equal layouts.

/// From the text of a segment's segment.json. kDataLoss when it is not one.
Result<std::string> LayoutOfSegment(std::string_view segment_json);

/// From the body that creates a collection. kInvalidArgument when it is not one.
Result<std::string> LayoutOfCollection(std::string_view create_json);

/// OK when both are the same; kFailedPrecondition naming every difference. kInvalidArgument when
/// one is not a layout.
Status CheckLayout(std::string_view image_layout, std::string_view collection_layout);

}  // namespace holdfast::qdrant
