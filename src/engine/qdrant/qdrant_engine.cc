#include "engine/qdrant/qdrant_engine.h"

#include <initializer_list>
#include <utility>

#include "engine/qdrant/cluster_reader.h"
#include "engine/qdrant/cluster_writer.h"
#include "engine/qdrant/collection_settings.h"
#include "engine/qdrant/image/image_inspector.h"
#include "engine/qdrant/layout.h"
#include "engine/qdrant/node_api.h"
#include "engine/qdrant/peer_directory.h"
#include "engine/qdrant/point_reader.h"
#include "engine/qdrant/points/point_pages.h"
#include "engine/qdrant/points/same_point.h"
#include "engine/qdrant/resharder.h"
#include "engine/qdrant/shard_mover.h"
#include "engine/qdrant/shard_source.h"
#include "engine/qdrant/stored_snapshot.h"
#include "http/client.h"

namespace holdfast {
namespace {

using namespace qdrant;  // NOLINT(google-build-using-namespace): one module, split by file.

// Delegates each role; owns what the roles share.
class QdrantEngine final : public Engine {
 public:
  QdrantEngine(std::unique_ptr<HttpClient> http, Clock& clock, NodeKeys keys, NodeTimeouts timeouts,
               std::vector<Url> urls)
      : http_(std::move(http)),
        api_(*http_, clock, std::move(keys), timeouts),
        directory_(api_, std::move(urls)),
        reader_(api_, directory_),
        shards_(api_, directory_, reader_),
        points_(api_, directory_),
        pages_(api_, directory_),
        writer_(api_, directory_, reader_),
        mover_(api_, directory_),
        resharder_(api_, directory_) {}

  PeerDirectory& directory() { return directory_; }

  Result<Topology> ReadTopology(const CallContext& call) override {
    return reader_.ReadTopology(call);
  }
  Result<Collection> ReadCollection(const CallContext& call, const std::string& name) override {
    return reader_.ReadCollection(call, name);
  }
  Result<ReplicaHealth> ReadHealth(const CallContext& call, const ReplicaRef& replica) override {
    return reader_.ReadHealth(call, replica);
  }
  void ReadSizes(const CallContext& call, Topology& topology) override {
    reader_.ReadSizes(call, topology);
  }
  Result<std::vector<ReplicaHealth>> ReadHealths(const CallContext& call,
                                                 const std::vector<ReplicaRef>& replicas) override {
    return reader_.ReadHealths(call, replicas);
  }
  Status CheckRights(const CallContext& call, Purpose purpose,
                     const std::vector<std::string>& collections) override {
    return reader_.CheckRights(call, purpose, collections);
  }

  Status StreamShard(const CallContext& call, const ReplicaRef& replica, const StreamLimits& limits,
                     ByteSink& sink, CaptureObserver& observer) override {
    return shards_.StreamShard(call, replica, limits, sink, observer);
  }
  Result<StoredSnapshot> CreateSnapshot(const CallContext& call, PeerId peer,
                                        const std::string& collection, std::optional<ShardId> shard,
                                        CaptureObserver& observer) override {
    return shards_.CreateSnapshot(call, peer, collection, shard, observer);
  }
  Status DownloadSnapshot(const CallContext& call, const StoredSnapshot& snapshot,
                          const StreamLimits& limits, ByteSink& sink) override {
    return shards_.DownloadSnapshot(call, snapshot, limits, sink);
  }
  Status DeleteSnapshot(const CallContext& call, const StoredSnapshot& snapshot) override {
    return shards_.DeleteSnapshot(call, snapshot);
  }
  Result<std::vector<StoredSnapshot>> ListSnapshots(const CallContext& call, PeerId peer,
                                                    const std::string& collection) override {
    return shards_.ListSnapshots(call, peer, collection);
  }
  std::unique_ptr<SnapshotUnpacker> UnpackStored(ByteSink& inner, bool collection_snapshot,
                                                 ShardId shard, PeerId /*peer*/) override {
    return NewStoredSnapshotUnpacker(collection_snapshot ? std::optional(shard) : std::nullopt,
                                     inner);
  }
  std::unique_ptr<ImageInspector> NewInspector(const std::string& spool_directory) override {
    return NewImageInspector(
        spool_directory, directory_.standalone() ? std::optional(kStandalonePeer) : std::nullopt);
  }

  Result<PointCounts> CountPoints(const CallContext& call, const ReplicaRef& replica) override {
    return points_.CountPoints(call, replica);
  }
  Result<std::vector<std::string>> ListIds(const CallContext& call, const ReplicaRef& replica,
                                           const std::string& after, std::uint32_t limit) override {
    return points_.ListIds(call, replica, after, limit);
  }
  Result<std::vector<SampledPoint>> ReadPoints(const CallContext& call, const ReplicaRef& replica,
                                               const std::vector<std::string>& ids) override {
    return points_.ReadPoints(call, replica, ids);
  }
  Result<PointPage> ReadPage(const CallContext& call, const ReplicaRef& replica,
                             const std::string& after, const PageLimits& limits) override {
    return pages_.ReadPage(call, replica, after, limits);
  }
  Result<std::vector<GoldenQuery>> ProposeQueries(
      const CallContext& /*call*/, const Collection& collection,
      const std::vector<SampledPoint>& samples) override {
    return MakeGoldenQueries(collection, samples);
  }
  Result<GoldenQuery> Ask(const CallContext& call, const std::string& name,
                          const GoldenQuery& query) override {
    return points_.Ask(call, name, query);
  }
  Status CheckLayout(std::string_view image_layout_json,
                     std::string_view collection_layout_json) override {
    return qdrant::CheckLayout(image_layout_json, collection_layout_json);
  }
  Result<std::string> LayoutOf(const Collection& collection) override {
    return LayoutOfCollection(collection.create_json);
  }

  Status CreateCollection(const CallContext& call, const std::string& name, const Collection& as,
                          std::uint32_t replication_factor) override {
    return writer_.CreateCollection(call, name, as, replication_factor);
  }
  Status DropCollection(const CallContext& call, const std::string& name) override {
    return writer_.DropCollection(call, name);
  }
  Status CreateShardKey(const CallContext& call, const std::string& collection,
                        const ShardKeySpec& spec) override {
    return writer_.CreateShardKey(call, collection, spec);
  }
  Status DropShardKey(const CallContext& call, const std::string& collection,
                      const ShardKey& key) override {
    return writer_.DropShardKey(call, collection, key);
  }
  Status CreateIndex(const CallContext& call, const std::string& collection,
                     const PayloadIndex& index) override {
    return writer_.CreateIndex(call, collection, index);
  }
  Status SendShard(const CallContext& call, const ReplicaRef& to, ByteSource& tar,
                   std::uint64_t bytes, std::string_view sha256) override {
    return writer_.SendShard(call, to, tar, bytes, sha256);
  }
  Status DropReplica(const CallContext& call, const ReplicaRef& replica) override {
    return writer_.DropReplica(call, replica);
  }
  Status DeletePoints(const CallContext& call, const std::string& collection,
                      const std::optional<ShardKey>& key,
                      const std::vector<std::string>& ids) override {
    return writer_.DeletePoints(call, collection, key, ids);
  }
  Status SwitchAliases(const CallContext& call, const std::vector<AliasMove>& moves) override {
    return writer_.SwitchAliases(call, moves);
  }
  Status SetMetadata(const CallContext& call, const std::string& key,
                     const std::string& value_json) override {
    return writer_.SetMetadata(call, key, value_json);
  }
  Status FinishCollection(const CallContext& call, const std::string& name,
                          const Collection& as) override {
    return writer_.FinishCollection(call, name, as);
  }

  Status StartTransfer(const CallContext& call, const TransferRef& transfer,
                       TransferKind kind) override {
    return mover_.StartTransfer(call, transfer, kind);
  }
  Status AbortTransfer(const CallContext& call, const TransferRef& transfer) override {
    return mover_.AbortTransfer(call, transfer);
  }
  TransferProgress ProgressOf(const ShardTransfer& transfer) const override {
    return ReadTransferComment(transfer.comment);
  }

  Result<bool> CanReshard(const CallContext& call) override { return resharder_.CanReshard(call); }
  Result<std::optional<Resharding>> ReadResharding(const CallContext& call,
                                                   const std::string& collection) override {
    return resharder_.ReadResharding(call, collection);
  }
  Status StartResharding(const CallContext& call, const std::string& collection,
                         const Resharding& wanted) override {
    return resharder_.StartResharding(call, collection, wanted);
  }
  Status MigratePoints(const CallContext& call, const ReplicaRef& from,
                       const ReplicaRef& to) override {
    return resharder_.MigratePoints(call, from, to);
  }
  Status FinishMigration(const CallContext& call, const ReplicaRef& replica) override {
    return resharder_.FinishMigration(call, replica);
  }
  Status TakeStep(const CallContext& call, const std::string& collection,
                  ReshardStep step) override {
    return resharder_.TakeStep(call, collection, step);
  }
  Status CleanReplica(const CallContext& call, const ReplicaRef& replica) override {
    return resharder_.CleanReplica(call, replica);
  }

  Status UpsertPoints(const CallContext& call, const std::string& collection,
                      const std::optional<ShardKey>& key,
                      const std::vector<SourcePoint>& points) override {
    return pages_.UpsertPoints(call, collection, key, points);
  }
  Result<Collection> Resharded(const Collection& collection, std::uint32_t shards,
                               std::string_view settings) override {
    return ReshardedCollection(collection, shards, settings);
  }
  Result<std::unique_ptr<PointComparer>> NewComparer(const Collection& collection) override {
    return NewPointComparer(collection);
  }
  bool DependsOnShards(const Collection& collection, const GoldenQuery& query) override {
    return qdrant::DependsOnShards(collection, query);
  }

 private:
  const std::unique_ptr<HttpClient> http_;
  const NodeApi api_;
  PeerDirectory directory_;
  QdrantClusterReader reader_;
  QdrantShardSource shards_;
  QdrantPointReader points_;
  QdrantPointPages pages_;
  QdrantClusterWriter writer_;
  QdrantShardMover mover_;
  QdrantResharder resharder_;
};

using Key = std::shared_ptr<const Secret>;

Key FirstThatIsThere(std::initializer_list<Key> keys) {
  for (const Key& key : keys) {
    if (!key->empty()) return key;
  }
  return nullptr;
}

}  // namespace

Result<std::unique_ptr<Engine>> OpenQdrant(const CallContext& call, QdrantOptions options,
                                           Clock& clock) {
  const std::string doing = "cluster '" + options.name + "'";
  if (options.urls.empty()) {
    return Error(ErrorCode::kConfiguration, doing + ": no urls are given");
  }
  std::vector<Url> urls;
  for (const std::string& text : options.urls) {
    Result<Url> url = Url::Parse(text);
    if (!url.ok()) return std::move(url).error().As(ErrorCode::kConfiguration).While(doing);
    if (!url->query().empty()) {
      return Error(ErrorCode::kConfiguration,
                   doing + ": the address " + url->Redacted() + " has a query");
    }
    urls.push_back(*std::move(url));
  }
  Result<std::unique_ptr<HttpClient>> http =
      HttpClient::Create(clock, {.tls = {.ca_file = options.ca_file,
                                         .insecure = options.insecure,
                                         .certificate_file = {},
                                         .key_file = {}},
                                 .proxy_from_environment = false});
  if (!http.ok()) return std::move(http).error().While(doing);

  const Key read = std::make_shared<const Secret>(std::move(options.read_key));
  const Key capture = std::make_shared<const Secret>(std::move(options.key));
  const Key manage = std::make_shared<const Secret>(std::move(options.manage_key));
  NodeKeys keys{.read = FirstThatIsThere({read, capture, manage}),
                .capture = FirstThatIsThere({capture, manage, read}),
                .manage = FirstThatIsThere({manage, capture, read})};
  auto engine = std::make_unique<QdrantEngine>(*std::move(http), clock, std::move(keys),
                                               NodeTimeouts{.connect = options.connect_timeout,
                                                            .answer = options.answer_timeout,
                                                            .change = options.change_timeout},
                                               std::move(urls));
  Result<LocatedCluster> located = engine->directory().Locate(call);
  if (!located.ok()) return std::move(located).error().While(doing);
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace holdfast
