#include "testing/ops/simulation_events.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/size.h"
#include "testing/ops/replicas_where.h"

namespace holdfast::testing {

ScriptedOptions ClusterOptions(Random& random, std::uint64_t seed) {
  ScriptedOptions options;
  options.peers = static_cast<std::uint32_t>(random.Between(1, 6));
  options.seed = seed;
  options.distributed = options.peers > 1 || random.Between(0, 1) == 0;
  options.piece_time = Duration(random.Between(0, 2) * 100);
  options.consensus_time = std::chrono::milliseconds(random.Between(0, 300));
  return options;
}

/// One to six collections: plain or with shard keys, of which some are dropped again, empty ones,
/// with aliases and indexes.
std::vector<MadeCollection> AddCollections(Random& random, ScriptedEngine& engine) {
  std::vector<MadeCollection> made;
  constexpr std::array kNames = {"docs", "größe 1", "a.b", "x", "events", "tenants"};
  for (std::int64_t n = random.Between(1, 6); n > 0; --n) {
    MadeCollection one;
    one.name = kNames.at(static_cast<std::size_t>(n) - 1);
    one.ids = random.Between(0, 4) == 0 ? 0 : static_cast<std::uint64_t>(random.Between(1, 40));
    ScriptedCollection config;
    config.shards = static_cast<std::uint32_t>(random.Between(1, 4));
    config.replication_factor = static_cast<std::uint32_t>(random.Between(1, 3));
    if (random.Between(0, 2) == 0) config.ballast_bytes = 20 * kKiB;
    if (random.Between(0, 1) == 0) {
      config.indexes = {{.field = "v", .schema_json = "\"integer\""}};
    }
    if (random.Between(0, 3) == 0) {
      for (std::int64_t k = random.Between(1, 3); k > 0; --k) {
        config.keys.push_back(k == 2 ? ShardKey(std::uint64_t{7})
                                     : ShardKey("tenant " + std::to_string(k)));
      }
    }
    one.keys = config.keys;
    engine.AddCollection(one.name, config);
    // A gap in the shard ids, to be made again through a filler.
    if (one.keys.size() > 1 && random.Between(0, 1) == 0) {
      const Status dropped = engine.DropShardKey({}, one.name, one.keys.front());
      if (dropped.ok()) one.keys.erase(one.keys.begin());
    }
    if (random.Between(0, 2) == 0) engine.SetAlias("alias of " + one.name, one.name);
    made.push_back(std::move(one));
  }
  return made;
}

namespace {

template <class T>
const T* OneOf(Random& random, const std::vector<T>& all) {
  if (all.empty()) return nullptr;
  return &all[static_cast<std::size_t>(
      random.Between(0, static_cast<std::int64_t>(all.size()) - 1))];
}

std::vector<PeerId> PeersThat(const Topology& now, bool answer) {
  std::vector<PeerId> peers;
  for (const Peer& peer : now.peers) {
    if (peer.answers == answer) peers.push_back(peer.id);
  }
  return peers;
}

/// True when another replica is Active on a peer that lives.
bool HasAnother(const Topology& now, const Shard& shard, const Replica& replica) {
  return std::ranges::any_of(shard.replicas, [&](const Replica& other) {
    return other.peer != replica.peer && other.state == ReplicaState::kActive &&
           now.FindPeer(other.peer)->answers;
  });
}

/// A transfer of the shard, however small.
constexpr Duration kRecoveryTime = std::chrono::seconds(5);
/// Calls before the one that fails.
constexpr std::int64_t kSkipMax = 150;

ErrorCode SomeCode(Random& random) {
  constexpr std::array kCodes = {ErrorCode::kUnavailable,       ErrorCode::kUnavailable,
                                 ErrorCode::kDeadlineExceeded,  ErrorCode::kAborted,
                                 ErrorCode::kResourceExhausted, ErrorCode::kPermissionDenied};
  return kCodes.at(static_cast<std::size_t>(random.Between(0, 5)));
}

}  // namespace

/// Something that happens in a cluster by itself. Says what.
std::string MakeEvent(Random& random, ScriptedEngine& engine) {
  const Topology now = engine.Now();
  const auto any = [](const Shard&, const Replica&) { return true; };
  const auto dead = [](const Shard&, const Replica& r) { return r.state == ReplicaState::kDead; };
  switch (random.Between(0, 9)) {
    case 0: {
      const std::vector<PeerId> alive = PeersThat(now, true);
      if (alive.size() < 2) return "nothing";
      const PeerId peer = *OneOf(random, alive);
      engine.KillPeer(peer);
      return "peer " + std::to_string(peer.value()) + " dies";
    }
    case 1: {
      const std::vector<PeerId> gone = PeersThat(now, false);
      const PeerId* peer = OneOf(random, gone);
      if (peer == nullptr) return "nothing";
      engine.StartPeer(*peer);
      return "peer " + std::to_string(peer->value()) + " returns";
    }
    case 2: {
      const auto found = ReplicasWhere(now, dead);
      const ReplicaRef* replica = OneOf(random, found);
      if (replica == nullptr || !engine.RecoverReplica(*replica, kRecoveryTime)) return "nothing";
      return Describe(*replica) + " is recovered";
    }
    case 3:
    case 4: {
      const auto found = ReplicasWhere(now, any);
      const ReplicaRef* replica = OneOf(random, found);
      if (replica == nullptr) return "nothing";
      engine.StartOptimization(*replica);
      return Describe(*replica) + " is being optimized";
    }
    case 5:
    case 6: {
      for (const ReplicaRef& replica : ReplicasWhere(now, any)) engine.FinishOptimization(replica);
      return "optimizers come to rest";
    }
    case 7: {
      const auto found = ReplicasWhere(now, [&](const Shard& shard, const Replica& replica) {
        return replica.state == ReplicaState::kActive && HasAnother(now, shard, replica);
      });
      const ReplicaRef* replica = OneOf(random, found);
      if (replica == nullptr) return "nothing";
      engine.SetReplicaState(*replica, ReplicaState::kDead);
      return Describe(*replica) + " turns Dead";
    }
    case 8: {
      const auto found = ReplicasWhere(now, any);
      const ReplicaRef* replica = OneOf(random, found);
      if (replica == nullptr) return "nothing";
      engine.SetUpdateQueue(*replica, static_cast<std::uint64_t>(random.Between(1, 20)));
      return Describe(*replica) + " has updates to apply";
    }
    default: {
      const Collection* collection = OneOf(random, now.collections);
      if (collection == nullptr || collection->shards.empty()) return "nothing";
      if (!collection->transfers.empty()) {
        engine.FinishTransfers(collection->name);
        return "the transfers of '" + collection->name + "' end";
      }
      if (random.Between(0, 1) == 0) {
        engine.SetAlias("new alias of " + collection->name, collection->name);
        return "'" + collection->name + "' gets an alias";
      }
      engine.ShowTransfer(collection->name, {.shard = collection->shards.front().id,
                                             .to_shard = {},
                                             .from = now.peers.front().id,
                                             .to = now.peers.back().id,
                                             .method = "snapshot",
                                             .comment = ""});
      return "a transfer of '" + collection->name + "' begins";
    }
  }
}

/// The cluster comes to rest: all peers answer, all replicas that were Active once are again.
void Heal(ScriptedEngine& engine) {
  engine.ClearFaults();
  for (const PeerId peer : PeersThat(engine.Now(), false)) engine.StartPeer(peer);
  const Topology now = engine.Now();
  const auto any = [](const Shard&, const Replica&) { return true; };
  for (const ReplicaRef& replica : ReplicasWhere(now, any)) {
    engine.FinishOptimization(replica);
    engine.SetUpdateQueue(replica, 0);
  }
  const auto dead = [](const Shard&, const Replica& r) { return r.state == ReplicaState::kDead; };
  for (const ReplicaRef& replica : ReplicasWhere(now, dead)) engine.RecoverReplica(replica);
  for (const Collection& collection : now.collections) engine.FinishTransfers(collection.name);
}

std::string AddCallFault(Random& random, ScriptedEngine& engine, EngineCall last) {
  CallFault fault;
  if (random.Between(0, 1) == 0) {
    fault.call = static_cast<EngineCall>(random.Between(0, static_cast<int>(last)));
    fault.skip = static_cast<int>(random.Between(0, 4));
  } else {
    fault.skip = static_cast<int>(random.Between(0, kSkipMax));
  }
  fault.times = static_cast<int>(random.Between(1, 3));
  fault.after_effect = random.Between(0, 1) == 1;
  const ErrorCode code = SomeCode(random);
  fault.error = Error(code, "scripted");
  engine.Add(fault);
  return std::string("call ") + (fault.call ? std::to_string(static_cast<int>(*fault.call)) : "") +
         " after " + std::to_string(fault.skip) + ", " + std::to_string(fault.times) +
         " times: " + std::string(ErrorCodeName(code)) +
         (fault.after_effect ? ", after its effect" : "");
}

/// One fault of the cluster or of the store, somewhere in the run. Says which. Flipped bits only
/// where something is there to find them: a shard's stream has no checksum of its own.
std::string AddFault(Random& random, ScriptedEngine& engine, FaultyObjectStore& store) {
  const auto skip = static_cast<int>(random.Between(0, kSkipMax));
  const ErrorCode code = SomeCode(random);
  switch (random.Between(0, 5)) {
    case 0:
    case 1:
      return AddCallFault(random, engine, EngineCall::kFinishCollection);
    case 2:
    case 3: {
      StreamFault fault;
      using Kind = StreamFault::Kind;
      constexpr std::array kKinds = {Kind::kShort, Kind::kReset, Kind::kStall, Kind::kShortAtEntry};
      fault.kind = kKinds.at(static_cast<std::size_t>(random.Between(0, 3)));
      if (random.Between(0, 1) == 1) {
        fault.at = static_cast<std::uint64_t>(random.Between(0, 100'000));
      }
      fault.skip = static_cast<int>(random.Between(0, 6));
      fault.times = static_cast<int>(random.Between(1, 4));
      engine.Add(fault);
      return "stream " + std::to_string(static_cast<int>(fault.kind)) + " at byte " +
             std::to_string(fault.at) + ", after " + std::to_string(fault.skip) + ", " +
             std::to_string(fault.times) + " times";
    }
    case 4: {
      const bool refused = random.Between(0, 1) == 0;
      store.AtCall(static_cast<std::uint64_t>(skip),
                   refused ? StoreFault::Refuse(code) : StoreFault::LoseReply(code));
      return "store call " + std::to_string(skip) + (refused ? " refused: " : " without reply: ") +
             std::string(ErrorCodeName(code));
    }
    default: {
      constexpr std::array kFolders = {"packs/", "images/", "groups/", "records/", "intents/", ""};
      const char* const folder = kFolders.at(static_cast<std::size_t>(random.Between(0, 5)));
      if (random.Between(0, 1) == 0) {
        store.Next(StoreOp::kGet,
                   StoreFault::FlipBit(static_cast<std::uint64_t>(random.Between(0, 7))), 1,
                   folder);
        return std::string("flipped bit in ") + folder;
      }
      const bool refused = random.Between(0, 1) == 0;
      store.Next(StoreOp::kPut, refused ? StoreFault::Refuse(code) : StoreFault::LoseReply(code),
                 static_cast<int>(random.Between(1, 6)), folder);
      return std::string("puts of ") + folder + (refused ? " refused: " : " without reply: ") +
             std::string(ErrorCodeName(code));
    }
  }
}

}  // namespace holdfast::testing
