// JSON of the topology's parts, for the documents that contain them. For .cc files only.

#pragma once

#include "model/json.h"
#include "model/topology.h"

namespace holdfast {

json::Json ShardKeyJson(const ShardKey& key);
Result<ShardKey> ShardKeyFrom(const json::Json& document);
json::Json CollectionJson(const Collection& collection);
Result<Collection> CollectionFrom(const json::Json& document);
json::Json TopologyJson(const Topology& topology);
Result<Topology> TopologyFrom(const json::Json& document);

}  // namespace holdfast
