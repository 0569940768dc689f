// Whether two points are the same, as far as storing a point again leaves it the same.
// For .cc files only.

#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "engine/point_writer.h"
#include "model/topology.h"

namespace holdfast::qdrant {

/// Run on 1.18.3, points read and written back to a collection of the same kind:
///  - vectors come back as they were (float32, float16, uint8; dense, multi, sparse), but for
///    Cosine: what is stored is normalized, and normalized again when the squared length is more
///    than 1e-6 off one. Of float16 some change by one unit of theirs (5 of 400); of float32 none
///    did in 800, though they may.
///  - doubles in payloads change by one unit in the last place (377 of 30,000 random ones): the
///    server reads JSON without the precision to get back the number that was printed. It does the
///    same to its own when its optimizer writes a payload anew, so that replicas differ, too.
Result<std::unique_ptr<PointComparer>> NewPointComparer(const Collection& collection);

/// A query by a sparse vector with the modifier idf: its statistics are those of each shard.
bool DependsOnShards(const Collection& collection, const GoldenQuery& query);

}  // namespace holdfast::qdrant
