#include "engine/qdrant/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/qdrant/shard_mover.h"
#include "testing/engine/transcripts.h"

namespace holdfast::qdrant {
namespace {

using json::Json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Recorded;
using testing::RecordedResult;
using ::testing::SizeIs;

constexpr const char* kProbe = "1-probe-create-snapshot.jsonl";
constexpr const char* kTransfers = "2-restore-transfer-errors.jsonl";
constexpr const char* kKeys = "3-fence-shardkeys-hybrid.jsonl";
constexpr const char* kResharding = "4-resharding.jsonl";
constexpr const char* kDeadPeer = "5-dead-peer.jsonl";

const PeerId kFirst{6106786298590253};
const PeerId kSecond{1897234352268713};
const PeerId kThird{2798216812421526};

TEST(DocumentsTest, ANodeTellsWhoItIsAndWhomItKnows) {
  const Result<NodeView> view = ReadNodeView(RecordedResult(kProbe, "/cluster"));
  ASSERT_TRUE(view.ok()) << view.error().ToString();
  EXPECT_TRUE(view->distributed);
  EXPECT_EQ(view->peer, kFirst);
  EXPECT_EQ(view->commit, 9U);
  EXPECT_EQ(view->leader, kFirst);
  EXPECT_EQ(view->p2p_uris, (std::map<PeerId, std::string>{{kSecond, "http://127.0.0.1:21015/"},
                                                           {kThird, "http://127.0.0.1:21025/"},
                                                           {kFirst, "http://127.0.0.1:21005/"}}));
}

TEST(DocumentsTest, AStandaloneServerIsNotDistributed) {
  const Result<NodeView> view = ReadNodeView(Json{{"status", "disabled"}});
  ASSERT_TRUE(view.ok());
  EXPECT_FALSE(view->distributed);
}

TEST(DocumentsTest, WhatIsNoClusterStateIsAnUnexpectedAnswer) {
  for (const Json& result : {Json(), Json(17), Json::array(), Json{{"status", "enabled"}}}) {
    const Result<NodeView> view = ReadNodeView(result);
    ASSERT_FALSE(view.ok());
    EXPECT_EQ(view.error().code(), ErrorCode::kUnavailable);
  }
}

TEST(DocumentsTest, TheWholeClusterIsReadFromOneAnswer) {
  const auto telemetry = ReadClusterTelemetry(
      RecordedResult(kDeadPeer, "/cluster/telemetry?details_level=3&timeout=5"));
  ASSERT_TRUE(telemetry.ok()) << telemetry.error().ToString();
  EXPECT_EQ(telemetry->responsive,
            (std::map<PeerId, bool>{{kFirst, true}, {kSecond, true}, {kThird, false}}));
  const CollectionView& view = telemetry->collections.at("rs");
  ASSERT_FALSE(view.shards.empty());
  EXPECT_TRUE(std::ranges::is_sorted(view.shards, {}, &ShardView::id));
  // Its only replica is on the dead peer and still shown as Active (measured 18).
  EXPECT_EQ(view.shards[0].replicas.front().peer, kThird);
  EXPECT_EQ(view.shards[0].replicas.front().state, ReplicaState::kActive);
  EXPECT_FALSE(view.shards[0].replicas.front().is_local);
  EXPECT_TRUE(view.shards[1].replicas.front().is_local);
  EXPECT_GT(view.shards[1].replicas.front().vectors_bytes, 0U);
}

TEST(DocumentsTest, APeerTellsItsOwnReplicasAndThoseOfOthers) {
  const auto view = ReadPeerCollectionView(RecordedResult(kKeys, "/collections/tenants/cluster"));
  ASSERT_TRUE(view.ok()) << view.error().ToString();
  EXPECT_EQ(view->peer, kFirst);
  ASSERT_THAT(view->view.shards, SizeIs(6));
  const std::vector<ShardKey> keys = {
      "acme", "acme", "globex", "globex", std::uint64_t{42}, std::uint64_t{42}};
  for (std::uint32_t i = 0; i < 6; ++i) {
    EXPECT_EQ(view->view.shards[i].id, ShardId(i + 1));
    EXPECT_EQ(view->view.shards[i].key, keys[i]);
    EXPECT_EQ(view->view.shards[i].replicas.front().is_local, i < 2);
  }
}

TEST(DocumentsTest, TransfersAndTheStatesTheyBringAreShown) {
  const auto view =
      ReadPeerCollectionView(RecordedResult(kTransfers, "/collections/docs_r3/cluster"));
  ASSERT_TRUE(view.ok()) << view.error().ToString();
  ASSERT_THAT(view->view.transfers, SizeIs(4));
  EXPECT_EQ(view->view.transfers[0].shard, ShardId(2));
  EXPECT_EQ(view->view.transfers[0].from, kFirst);
  EXPECT_EQ(view->view.transfers[0].to, kSecond);
  EXPECT_EQ(view->view.transfers[0].method, "stream_records");
  EXPECT_THAT(view->view.transfers[0].comment, HasSubstr("500/793"));
  EXPECT_THAT(view->view.resharding, IsEmpty());
  EXPECT_EQ(view->view.shards[2].replicas[0].state, ReplicaState::kPartial);
  EXPECT_EQ(view->view.shards[3].replicas[0].state, ReplicaState::kRecovery);
}

TEST(DocumentsTest, ReshardingIsNamed) {
  const auto view = ReadPeerCollectionView(RecordedResult(kResharding, "/collections/rs2/cluster"));
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(view->view.resharding, "resharding up, shard 2 on peer 2798216812421526");
}

PeerCollectionView ViewOf(PeerId peer, std::vector<ReplicaView> replicas) {
  for (ReplicaView& replica : replicas) replica.is_local = replica.peer == peer;
  return {.peer = peer,
          .view = {.shards = {{.id = ShardId(0), .key = {}, .replicas = std::move(replicas)}},
                   .transfers = {},
                   .resharding = {}}};
}

TEST(DocumentsTest, MergedViewsTakeTheWorseState) {
  const CollectionView merged =
      MergeViews({ViewOf(kFirst, {{.peer = kFirst, .state = ReplicaState::kActive},
                                  {.peer = kSecond, .state = ReplicaState::kDead}}),
                  ViewOf(kSecond, {{.peer = kFirst, .state = ReplicaState::kActive},
                                   {.peer = kSecond, .state = ReplicaState::kActive}})});
  ASSERT_THAT(merged.shards, SizeIs(1));
  ASSERT_THAT(merged.shards[0].replicas, SizeIs(2));
  for (const ReplicaView& replica : merged.shards[0].replicas) {
    EXPECT_EQ(replica.state, replica.peer == kFirst ? ReplicaState::kActive : ReplicaState::kDead);
    EXPECT_TRUE(replica.is_local);
  }
}

TEST(DocumentsTest, AReplicaThatItsOwnPeerDoesNotHaveIsNotThere) {
  const CollectionView merged =
      MergeViews({ViewOf(kFirst, {{.peer = kFirst, .state = ReplicaState::kActive},
                                  {.peer = kSecond, .state = ReplicaState::kActive},
                                  {.peer = kThird, .state = ReplicaState::kActive}}),
                  {.peer = kSecond, .view = {}}});
  ASSERT_THAT(merged.shards, SizeIs(1));
  for (const ReplicaView& replica : merged.shards[0].replicas) {
    // The third was not asked: what is told of it stands.
    EXPECT_EQ(replica.state,
              replica.peer == kSecond ? ReplicaState::kUnknown : ReplicaState::kActive);
  }
}

TEST(DocumentsTest, MergedTransfersAreNamedOnce) {
  PeerCollectionView first = ViewOf(kFirst, {});
  first.view.transfers = {{.shard = ShardId(1),
                           .to_shard = {},
                           .from = kFirst,
                           .to = kSecond,
                           .method = {},
                           .comment = {}}};
  PeerCollectionView second = first;
  second.peer = kSecond;
  second.view.transfers.push_back({.shard = ShardId(2),
                                   .to_shard = {},
                                   .from = kFirst,
                                   .to = kSecond,
                                   .method = {},
                                   .comment = {}});
  EXPECT_THAT(MergeViews({first, second}).transfers, SizeIs(2));
}

// Shape of a real 1.18.3 node's `GET /telemetry?details_level=4`, cut to what is read.
constexpr const char* kTelemetry = R"({"collections":{"collections":[{"id":"docs",
  "config":{"params":{"vectors":{"size":8,"distance":"Cosine"}},
            "uuid":"6a1980bc-a08c-4ce4-abdf-2b8dcd2bf98c"},
  "shards":[
    {"id":0,"key":null,"local":null,"remote":[],"replicate_states":{"600":"Active"}},
    {"id":1,"key":null,"local":{"variant_name":"local shard","status":"yellow",
      "vectors_size_bytes":11488,"payloads_size_bytes":45952,"num_points":359,"num_vectors":359,
      "segments":[{},{}],
      "optimizations":{"status":"ok","log":[{"name":"indexing","status":"optimizing"},
        {"name":"merge","status":"done"},{"name":"x","status":{"error":"no"}}]},
      "update_queue":{"length":7,"op_num":3}},
     "replicate_states":{"600":"Active","700":"Dead"}}]}],
  "snapshots":[{"id":"docs","running_snapshots":1,"running_snapshot_recovery":2}]}})";

TEST(DocumentsTest, ANodeTellsHowItsOwnReplicasAre) {
  const auto telemetry = ReadNodeTelemetry(Json::parse(kTelemetry), PeerId(700));
  ASSERT_TRUE(telemetry.ok());
  ASSERT_THAT(telemetry->shards, SizeIs(1));
  const LocalShardView& shard = telemetry->shards.at({"docs", ShardId(1)});
  EXPECT_EQ(shard.status, "yellow");
  EXPECT_EQ(shard.state, ReplicaState::kDead);
  EXPECT_EQ(shard.points, 359U);
  EXPECT_EQ(shard.segments, 2U);
  EXPECT_EQ(shard.optimizations_running, 1U);
  EXPECT_EQ(shard.update_queue_length, 7U);
  EXPECT_EQ(shard.update_op_num, 3U);
  EXPECT_EQ(telemetry->snapshots.at("docs").creating, 1U);
  EXPECT_EQ(telemetry->snapshots.at("docs").recovering, 2U);
}

TEST(DocumentsTest, WithoutALogOfOptimizationsTheirNumberIsNotKnown) {
  Json document = Json::parse(kTelemetry);
  document["collections"]["collections"][0]["shards"][1]["local"].erase("optimizations");
  const auto telemetry = ReadNodeTelemetry(document, PeerId(700));
  ASSERT_TRUE(telemetry.ok());
  EXPECT_FALSE(telemetry->shards.at({"docs", ShardId(1)}).optimizations_running.has_value());
}

TEST(DocumentsTest, ConfigurationsComeWithTheirUuid) {
  const auto configs = ReadConfigs(Json::parse(kTelemetry));
  ASSERT_TRUE(configs.ok());
  EXPECT_EQ(configs->at("docs")["uuid"], "6a1980bc-a08c-4ce4-abdf-2b8dcd2bf98c");
}

TEST(DocumentsTest, IndexesAreReadAsTheyAreMadeAgain) {
  const std::vector<PayloadIndex> indexes =
      ReadPayloadSchema(RecordedResult(kProbe, "/collections/docs"));
  ASSERT_THAT(indexes, SizeIs(9));
  EXPECT_TRUE(std::ranges::is_sorted(indexes, {}, &PayloadIndex::field));
  const auto schema = [&](const std::string& field) {
    return std::ranges::find(indexes, field, &PayloadIndex::field)->schema_json;
  };
  EXPECT_EQ(schema("lang"), R"("keyword")");
  // An option that was given stays given, else restored segments build the index anew.
  EXPECT_EQ(schema("tenant"), R"({"is_tenant":true,"on_disk":true,"type":"keyword"})");
  EXPECT_EQ(schema("body"),
            R"({"lowercase":true,"min_token_len":2,"tokenizer":"word","type":"text"})");
}

TEST(DocumentsTest, AliasesAndNamesAreRead) {
  const auto aliases = ReadAliases(RecordedResult(kProbe, "/aliases"));
  ASSERT_TRUE(aliases.ok());
  EXPECT_EQ(*aliases, (std::map<std::string, std::string>{{"prod-docs", "docs"}}));
  const auto names =
      ReadCollectionNames(Json::parse(R"({"collections":[{"name":"b"},{"name":"a"}]})"));
  ASSERT_TRUE(names.ok());
  EXPECT_THAT(*names, ElementsAre("a", "b"));
}

TEST(DocumentsTest, HowFarATransferIsItsSourceKnowsBest) {
  const auto view = [](PeerId peer, const std::string& comment) {
    const ShardTransfer transfer{.shard = ShardId(0),
                                 .to_shard = {},
                                 .from = kSecond,
                                 .to = kThird,
                                 .method = "stream_records",
                                 .comment = comment};
    return PeerCollectionView{.peer = peer,
                              .view = {.shards = {}, .transfers = {transfer}, .resharding = {}}};
  };
  const auto merged = MergeViews({view(kFirst, ""), view(kThird, "recovering (0.1s)"),
                                  view(kSecond, "transferring (1s)"), view(kFirst, "old")});
  ASSERT_THAT(merged.transfers, SizeIs(1));
  EXPECT_EQ(merged.transfers.front().comment, "transferring (1s)");
}

TEST(DocumentsTest, ProgressIsReadOutOfATransfersComment) {
  const auto read = [](const char* comment) {
    const TransferProgress progress = ReadTransferComment(comment);
    return std::pair(progress.points_done, progress.points_total);
  };
  using Pair = std::pair<std::uint64_t, std::uint64_t>;
  EXPECT_EQ(read("transferring (0.08s) | Transferring records (5/7), ETA: 0.08s"), Pair(5, 7));
  EXPECT_EQ(read("Transferring records (9/7)"), Pair(7, 7));
  for (const char* nothing :
       {"", "recovering (0.1s)", "Transferring records (", "Transferring records (5/",
        "Transferring records (5/x)", "Transferring records (5 of 7)",
        "Transferring records (99999999999999999999999/7)"}) {
    EXPECT_EQ(read(nothing), Pair(0, 0)) << nothing;
  }
}

}  // namespace
}  // namespace holdfast::qdrant
