// A cluster as it was seen at one instant, as plain values. Texts named `..._json` are documents of
// the engine that made them: kept and given back, never interpreted outside `engine`.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"

namespace holdfast {

/// Qdrant's replica states (reference 3.8). kUnknown: a name this version does not know.
enum class ReplicaState {
  kActive,
  kDead,
  kPartial,
  kInitializing,
  kListener,
  kPartialSnapshot,
  kRecovery,
  kResharding,
  kReshardingScaleDown,
  kActiveRead,
  kManualRecovery,
  kUnknown,
};

std::string_view ReplicaStateName(ReplicaState state) noexcept;
ReplicaState ReplicaStateFromName(std::string_view name) noexcept;

/// The user's name of a shard group in custom sharding: text or number, and they differ ("1" != 1).
using ShardKey = std::variant<std::string, std::uint64_t>;

/// "tenant-a" or 17, for people.
std::string FormatShardKey(const ShardKey& key);

/// "peer 17", for people.
std::string FormatPeer(PeerId peer);

struct Peer {
  PeerId id;
  /// The address peers use among themselves.
  std::string p2p_uri;
  /// Where holdfast talks to it; empty when no address that answers with this id is known.
  std::string url;
  /// It answered at `url` and said that it is this peer.
  bool answers = false;
  /// Release, e.g. "1.18.3"; empty when it does not answer.
  std::string version;
  /// Why it does not answer, for people.
  std::string trouble;
  /// Size of its disk and memory in bytes; 0 where nobody asked or the server does not tell.
  std::uint64_t disk_bytes = 0;
  std::uint64_t memory_bytes = 0;

  friend bool operator==(const Peer&, const Peer&) = default;
};

struct Replica {
  PeerId peer;
  ReplicaState state = ReplicaState::kUnknown;

  friend bool operator==(const Replica&, const Replica&) = default;
};

struct Shard {
  ShardId id;
  std::optional<ShardKey> key;
  /// Ascending by peer.
  std::vector<Replica> replicas;

  friend bool operator==(const Shard&, const Shard&) = default;
};

struct ShardTransfer {
  ShardId shard;
  std::optional<ShardId> to_shard;
  PeerId from;
  PeerId to;
  std::string method;
  /// The server's own progress text.
  std::string comment;

  friend bool operator==(const ShardTransfer&, const ShardTransfer&) = default;
};

struct PayloadIndex {
  std::string field;
  /// The body that makes the same index again.
  std::string schema_json;

  friend bool operator==(const PayloadIndex&, const PayloadIndex&) = default;
};

struct Collection {
  std::string name;
  /// Tells a re-created collection from the old one (measured 10). Empty when the server hides it.
  std::string uuid;
  /// The body that creates the same collection with every value explicit (reference 2.3).
  std::string create_json;
  /// What is applied after verification: strict mode and read fan-out; "{}" when there is nothing.
  std::string finish_json;
  std::uint32_t shard_number = 0;
  std::uint32_t replication_factor = 1;
  bool custom_sharding = false;
  /// Ascending by id.
  std::vector<Shard> shards;
  /// Ascending by field.
  std::vector<PayloadIndex> indexes;
  /// Names that point to this collection, ascending.
  std::vector<std::string> aliases;
  std::vector<ShardTransfer> transfers;
  /// Says what is resharding; empty when nothing is.
  std::string resharding;
  /// Shard keys in ascending order of their first shard id; empty unless custom_sharding. A key
  /// without shards cannot exist.
  std::vector<ShardKey> shard_keys;
  /// As the server reports it, approximate.
  std::uint64_t points = 0;
  /// Largest size of one replica summed over shards (vectors and payload), 0 when unknown.
  std::uint64_t bytes = 0;

  const Shard* FindShard(ShardId id) const;
  /// Of the shard's replica on that peer; absent when there is none.
  std::optional<ReplicaState> StateOf(ShardId shard, PeerId peer) const;

  friend bool operator==(const Collection&, const Collection&) = default;
};

struct Topology {
  std::string engine;
  /// False for a stand-alone server, which is shown as a cluster of one peer.
  bool distributed = true;
  WallTime observed_at{};
  /// Ascending by id.
  std::vector<Peer> peers;
  /// Ascending by name.
  std::vector<Collection> collections;
  /// The cluster's own key-value pairs (reference 1.2): key to JSON text.
  std::map<std::string, std::string> metadata;

  const Peer* FindPeer(PeerId id) const;
  const Collection* FindCollection(std::string_view name) const;
};

/// JSON text of a topology, for manifests, `--json` and plans; and back. kDataLoss when `json` is
/// not what TopologyToJson writes (unknown members are ignored: newer writers).
std::string TopologyToJson(const Topology& topology);
Result<Topology> TopologyFromJson(std::string_view json);

}  // namespace holdfast
