// Other settings for the copy of a collection. Pure. For .cc files only.

#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "model/topology.h"

namespace holdfast::qdrant {

/// `collection` with another number of shards, and with `settings` laid over its own: a JSON object
/// in the form of the body that creates or patches a collection (reference 2.3, 2.4), or of the
/// "config" that a server shows. Empty: its own settings. Fills create_json, finish_json,
/// shard_number and replication_factor.
///
/// An object is merged member by member; null removes, so that the server's default counts; a
/// quantization replaces the whole of another one, and "Disabled" is the PATCH form of null. What
/// has the value that it has now is no change, whatever it is.
///
/// kInvalidArgument naming all at once: members that no server knows (with the nearest that one
/// does), and what a copy of the points must keep, each with the reason and what to do instead.
/// What values a member takes is left to the server: it refuses the creation.
Result<Collection> ReshardedCollection(const Collection& collection, std::uint32_t shards,
                                       std::string_view settings);

}  // namespace holdfast::qdrant
