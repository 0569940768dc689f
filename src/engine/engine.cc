#include "engine/engine.h"

namespace holdfast {

std::string Describe(const ReplicaRef& replica) {
  return "shard " + std::to_string(replica.shard.value()) + " of '" + replica.collection +
         "' on peer " + std::to_string(replica.peer.value());
}

}  // namespace holdfast
