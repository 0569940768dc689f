// Stored snapshots, made into shard tars.

#pragma once

#include <memory>
#include <optional>

#include "engine/engine.h"

namespace holdfast::qdrant {

/// With `shard`, the snapshot is one of a collection and this shard is wanted; without, one of a
/// shard. `inner` must outlive the unpacker. Errors as in stream/nested_tar.h.
std::unique_ptr<SnapshotUnpacker> NewStoredSnapshotUnpacker(std::optional<ShardId> shard,
                                                            ByteSink& inner);

}  // namespace holdfast::qdrant
