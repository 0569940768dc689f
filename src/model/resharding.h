// A change of the number of shards of a collection where it is.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "model/topology.h"

namespace holdfast {

///  kUp    one shard more: points move into it from all others of its key
///  kDown  one shard less: its points move into all others of its key
enum class ReshardDirection { kUp, kDown };
/// "up", "down".
constexpr std::string_view ReshardDirectionName(ReshardDirection direction) noexcept {
  return direction == ReshardDirection::kUp ? "up" : "down";
}

/// One change by one shard.
struct Resharding {
  /// Chosen by who starts it, so that he knows his own again. A UUID.
  std::string uuid;
  ReshardDirection direction = ReshardDirection::kUp;
  /// The shard that comes or goes; the server chooses it.
  ShardId shard;
  /// kUp: where the first replica of the new shard is. kDown: one that has the shard that goes.
  PeerId peer;
  /// With custom sharding the key whose shards change; absent otherwise.
  std::optional<ShardKey> key;

  friend bool operator==(const Resharding&, const Resharding&) = default;
};

}  // namespace holdfast
