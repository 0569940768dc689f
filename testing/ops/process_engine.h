// The cluster as one process of holdfast reaches it.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "testing/ops/process.h"

namespace holdfast::testing {

/// Passes every call on for as long as the process lives.
class ProcessEngine final : public Engine {
 public:
  /// Asked before a change whose answer may be late. True: it keeps `change`, which takes effect
  /// when it calls it, and the process is told kDeadlineExceeded.
  using Defer = std::function<bool(std::string_view what, std::function<void()> change)>;

  ProcessEngine(Process& process, Engine& engine, Defer defer = {})
      : process_(process), engine_(engine), defer_(std::move(defer)) {}

  Result<Topology> ReadTopology(const CallContext& call) override {
    return process_.Call("read topology", [&] { return engine_.ReadTopology(call); });
  }
  Result<Collection> ReadCollection(const CallContext& call, const std::string& name) override {
    return process_.Call("read collection", [&] { return engine_.ReadCollection(call, name); });
  }
  Result<ReplicaHealth> ReadHealth(const CallContext& call, const ReplicaRef& replica) override {
    return process_.Call("read health", [&] { return engine_.ReadHealth(call, replica); });
  }
  Status CheckRights(const CallContext& call, Purpose purpose,
                     const std::vector<std::string>& collections) override {
    return process_.Call("check rights",
                         [&] { return engine_.CheckRights(call, purpose, collections); });
  }
  Status StreamShard(const CallContext& call, const ReplicaRef& replica, const StreamLimits& limits,
                     ByteSink& sink, CaptureObserver& observer) override {
    return process_.Call(
        "stream shard", [&] { return engine_.StreamShard(call, replica, limits, sink, observer); });
  }
  Result<StoredSnapshot> CreateSnapshot(const CallContext& call, PeerId peer,
                                        const std::string& collection, std::optional<ShardId> shard,
                                        CaptureObserver& observer) override {
    return process_.Call("create snapshot", [&] {
      return engine_.CreateSnapshot(call, peer, collection, shard, observer);
    });
  }
  Status DownloadSnapshot(const CallContext& call, const StoredSnapshot& snapshot,
                          const StreamLimits& limits, ByteSink& sink) override {
    return process_.Call("download snapshot",
                         [&] { return engine_.DownloadSnapshot(call, snapshot, limits, sink); });
  }
  Status DeleteSnapshot(const CallContext& call, const StoredSnapshot& snapshot) override {
    return process_.Call("delete snapshot", [&] { return engine_.DeleteSnapshot(call, snapshot); });
  }
  Result<std::vector<StoredSnapshot>> ListSnapshots(const CallContext& call, PeerId peer,
                                                    const std::string& collection) override {
    return process_.Call("list snapshots",
                         [&] { return engine_.ListSnapshots(call, peer, collection); });
  }
  std::unique_ptr<SnapshotUnpacker> UnpackStored(ByteSink& inner, bool collection_snapshot,
                                                 ShardId shard, PeerId peer) override {
    return engine_.UnpackStored(inner, collection_snapshot, shard, peer);
  }
  std::unique_ptr<ImageInspector> NewInspector(const std::string& spool_directory) override {
    return engine_.NewInspector(spool_directory);
  }
  Result<PointCounts> CountPoints(const CallContext& call, const ReplicaRef& replica) override {
    return process_.Call("count points", [&] { return engine_.CountPoints(call, replica); });
  }
  Result<std::vector<std::string>> ListIds(const CallContext& call, const ReplicaRef& replica,
                                           const std::string& after, std::uint32_t limit) override {
    return process_.Call("list ids", [&] { return engine_.ListIds(call, replica, after, limit); });
  }
  Result<std::vector<SampledPoint>> ReadPoints(const CallContext& call, const ReplicaRef& replica,
                                               const std::vector<std::string>& ids) override {
    return process_.Call("read points", [&] { return engine_.ReadPoints(call, replica, ids); });
  }
  Result<PointPage> ReadPage(const CallContext& call, const ReplicaRef& replica,
                             const std::string& after, const PageLimits& limits) override {
    return process_.Call("read page",
                         [&] { return engine_.ReadPage(call, replica, after, limits); });
  }
  Result<std::vector<GoldenQuery>> ProposeQueries(
      const CallContext& call, const Collection& collection,
      const std::vector<SampledPoint>& samples) override {
    return process_.Call("propose queries",
                         [&] { return engine_.ProposeQueries(call, collection, samples); });
  }
  Result<GoldenQuery> Ask(const CallContext& call, const std::string& name,
                          const GoldenQuery& query) override {
    return process_.Call("ask", [&] { return engine_.Ask(call, name, query); });
  }
  Status CheckLayout(std::string_view image_layout_json,
                     std::string_view collection_layout_json) override {
    return engine_.CheckLayout(image_layout_json, collection_layout_json);
  }
  Result<std::string> LayoutOf(const Collection& collection) override {
    return engine_.LayoutOf(collection);
  }
  Status CreateCollection(const CallContext& call, const std::string& name, const Collection& as,
                          std::uint32_t replication_factor) override {
    return Change(call, "create collection '" + name + "'",
                  [=](Engine& on, const CallContext& inner) {
                    return on.CreateCollection(inner, name, as, replication_factor);
                  });
  }
  Status DropCollection(const CallContext& call, const std::string& name) override {
    return Change(
        call, "drop collection '" + name + "'",
        [=](Engine& on, const CallContext& inner) { return on.DropCollection(inner, name); });
  }
  Status CreateShardKey(const CallContext& call, const std::string& collection,
                        const ShardKeySpec& spec) override {
    return process_.Call("create shard key",
                         [&] { return engine_.CreateShardKey(call, collection, spec); });
  }
  Status DropShardKey(const CallContext& call, const std::string& collection,
                      const ShardKey& key) override {
    return process_.Call("drop shard key",
                         [&] { return engine_.DropShardKey(call, collection, key); });
  }
  Status CreateIndex(const CallContext& call, const std::string& collection,
                     const PayloadIndex& index) override {
    return process_.Call("create index",
                         [&] { return engine_.CreateIndex(call, collection, index); });
  }
  Status SendShard(const CallContext& call, const ReplicaRef& to, ByteSource& tar,
                   std::uint64_t bytes, std::string_view sha256) override {
    return process_.Call("send " + Describe(to),
                         [&] { return engine_.SendShard(call, to, tar, bytes, sha256); });
  }
  Status DropReplica(const CallContext& call, const ReplicaRef& replica) override {
    return Change(call, "drop " + Describe(replica), [=](Engine& on, const CallContext& inner) {
      return on.DropReplica(inner, replica);
    });
  }
  Status DeletePoints(const CallContext& call, const std::string& collection,
                      const std::optional<ShardKey>& key,
                      const std::vector<std::string>& ids) override {
    return process_.Call("delete points",
                         [&] { return engine_.DeletePoints(call, collection, key, ids); });
  }
  Status SwitchAliases(const CallContext& call, const std::vector<AliasMove>& moves) override {
    return Change(call, std::string("switch aliases"), [=](Engine& on, const CallContext& inner) {
      return on.SwitchAliases(inner, moves);
    });
  }
  Status FinishCollection(const CallContext& call, const std::string& name,
                          const Collection& as) override {
    return process_.Call("finish collection",
                         [&] { return engine_.FinishCollection(call, name, as); });
  }

  Status UpsertPoints(const CallContext& call, const std::string& collection,
                      const std::optional<ShardKey>& key,
                      const std::vector<SourcePoint>& points) override {
    return process_.Call("upsert points",
                         [&] { return engine_.UpsertPoints(call, collection, key, points); });
  }
  Result<Collection> Resharded(const Collection& collection, std::uint32_t shards,
                               std::string_view settings) override {
    return engine_.Resharded(collection, shards, settings);
  }
  Result<std::unique_ptr<PointComparer>> NewComparer(const Collection& collection) override {
    return engine_.NewComparer(collection);
  }
  bool DependsOnShards(const Collection& collection, const GoldenQuery& query) override {
    return engine_.DependsOnShards(collection, query);
  }

  Status SetMetadata(const CallContext& call, const std::string& key,
                     const std::string& value_json) override {
    return process_.Call("set metadata",
                         [&] { return engine_.SetMetadata(call, key, value_json); });
  }
  Status StartTransfer(const CallContext& call, const TransferRef& transfer,
                       TransferKind kind) override {
    return Change(call, "start the transfer of " + Describe(transfer),
                  [=](Engine& on, const CallContext& inner) {
                    return on.StartTransfer(inner, transfer, kind);
                  });
  }
  Status AbortTransfer(const CallContext& call, const TransferRef& transfer) override {
    return Change(
        call, "abort the transfer of " + Describe(transfer),
        [=](Engine& on, const CallContext& inner) { return on.AbortTransfer(inner, transfer); });
  }
  TransferProgress ProgressOf(const ShardTransfer& transfer) const override {
    return engine_.ProgressOf(transfer);
  }

  Result<bool> CanReshard(const CallContext& call) override {
    return process_.Call("can reshard", [&] { return engine_.CanReshard(call); });
  }
  Result<std::optional<Resharding>> ReadResharding(const CallContext& call,
                                                   const std::string& collection) override {
    return process_.Call("read resharding",
                         [&] { return engine_.ReadResharding(call, collection); });
  }
  Status StartResharding(const CallContext& call, const std::string& collection,
                         const Resharding& wanted) override {
    return process_.Call("start resharding",
                         [&] { return engine_.StartResharding(call, collection, wanted); });
  }
  Status MigratePoints(const CallContext& call, const ReplicaRef& from,
                       const ReplicaRef& to) override {
    return process_.Call("migrate " + Describe(from) + " into " + Describe(to),
                         [&] { return engine_.MigratePoints(call, from, to); });
  }
  Status FinishMigration(const CallContext& call, const ReplicaRef& replica) override {
    return process_.Call("finish the migration into " + Describe(replica),
                         [&] { return engine_.FinishMigration(call, replica); });
  }
  Status TakeStep(const CallContext& call, const std::string& collection,
                  ReshardStep step) override {
    return process_.Call("take a step", [&] { return engine_.TakeStep(call, collection, step); });
  }
  Status CleanReplica(const CallContext& call, const ReplicaRef& replica) override {
    return process_.Call("clean " + Describe(replica),
                         [&] { return engine_.CleanReplica(call, replica); });
  }

 private:
  /// `work` outlives the call.
  template <class F>
  Status Change(const CallContext& call, const std::string& what, F work) {
    return process_.Call(what, [&]() -> Status {
      const auto later = [work, &on = engine_] { static_cast<void>(work(on, {}).ok()); };
      if (!defer_ || !defer_(what, later)) return work(engine_, call);
      return Error(ErrorCode::kDeadlineExceeded, what + ": no answer in time (late)");
    });
  }

  Process& process_;
  Engine& engine_;
  const Defer defer_;
};

}  // namespace holdfast::testing
