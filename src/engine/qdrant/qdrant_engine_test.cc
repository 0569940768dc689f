// The driver against nodes that are scripted request by request. What a whole cluster does is in
// testing/engine_contract.h.

#include "engine/qdrant/qdrant_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/json.h"
#include "stream/byte_sink.h"
#include "stream/byte_source.h"
#include "stream/digest.h"
#include "testing/engine/fake_node.h"
#include "testing/fake_clock.h"

namespace holdfast {
namespace {

using json::Json;
using std::chrono_literals::operator""ms;
using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::FakeNode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using testing::TestConnection;
using testing::TestRequest;

constexpr const char* kReadKey = "read-secret";
constexpr const char* kKey = "capture-secret";
constexpr const char* kManageKey = "manage-secret";
const CallContext kCall;

std::string KeyOf(const TestRequest& request) {
  const auto found = request.headers.find("api-key");
  return found == request.headers.end() ? "" : found->second;
}

QdrantOptions Options(std::vector<std::string> urls) {
  QdrantOptions options;
  options.name = "test";
  options.urls = std::move(urls);
  return options;
}

ErrorCode OpenFails(QdrantOptions options, std::string* message = nullptr) {
  const auto opened = OpenQdrant(kCall, std::move(options), SystemClock());
  EXPECT_FALSE(opened.ok());
  if (opened.ok()) return ErrorCode::kInternal;
  if (message != nullptr) *message = opened.error().ToString();
  return opened.error().code();
}

class NoInstants final : public CaptureObserver {};

/// A cluster of one node, open.
class QdrantEngineTest : public ::testing::Test {
 protected:
  QdrantEngineTest() { node_.IsPeer(7, {{7, "http://127.0.0.1:6335/"}}); }

  Engine& Open(Clock& clock = SystemClock()) {
    QdrantOptions options = Options({node_.url()});
    options.read_key = Secret::FromText(kReadKey);
    options.key = Secret::FromText(kKey);
    options.manage_key = Secret::FromText(kManageKey);
    options.answer_timeout = std::chrono::seconds(5);
    auto opened = OpenQdrant(kCall, std::move(options), clock);
    EXPECT_TRUE(opened.ok()) << opened.error().ToString();
    engine_ = *std::move(opened);
    return *engine_;
  }

  Error StreamFails(Engine& engine, const StreamLimits& limits = {}) {
    BytesSink sink(1 << 20);
    NoInstants observer;
    const Status streamed = engine.StreamShard(kCall, replica_, limits, sink, observer);
    EXPECT_FALSE(streamed.ok());
    return streamed.ok() ? Error(ErrorCode::kInternal, "") : streamed.error();
  }

  /// `GET /telemetry` of a node with shard 0 of 'docs'.
  void ShowShard(const std::string& status, std::uint64_t queue) {
    node_.OnResult(
        "GET", "/telemetry",
        R"({"collections":{"collections":[{"id":"docs","shards":[{"id":0,"local":{"status":")" +
            status + R"(","optimizations":{"log":[]},"update_queue":{"length":)" +
            std::to_string(queue) +
            R"(,"op_num":9}},"replicate_states":{"7":"Active"}}]}],"snapshots":[]}})");
  }

  FakeNode node_;
  std::unique_ptr<Engine> engine_;
  const ReplicaRef replica_{.peer = PeerId(7), .collection = "docs", .shard = ShardId(0)};
  const std::string stream_path_ = "/collections/docs/shards/0/snapshot";
};

// --- finding the peers
// -----------------------------------------------------------------------------

TEST(OpenQdrantTest, OptionsThatCannotWorkAreRefused) {
  EXPECT_EQ(OpenFails(Options({})), ErrorCode::kConfiguration);
  EXPECT_EQ(OpenFails(Options({"ftp://host"})), ErrorCode::kConfiguration);
  EXPECT_EQ(OpenFails(Options({"http://host/?a=b"})), ErrorCode::kConfiguration);
  QdrantOptions options = Options({"https://127.0.0.1:1"});
  options.ca_file = "/nonexistent/ca.pem";
  EXPECT_EQ(OpenFails(std::move(options)), ErrorCode::kConfiguration);
}

TEST(OpenQdrantTest, WhenNobodyAnswersEveryAddressIsNamed) {
  const std::string first = "http://127.0.0.1:" + std::to_string(testing::UnusedPort());
  const std::string second = "http://127.0.0.1:" + std::to_string(testing::UnusedPort());
  std::string message;
  EXPECT_EQ(OpenFails(Options({first, second}), &message), ErrorCode::kUnavailable);
  EXPECT_THAT(message, AllOf(HasSubstr(first), HasSubstr(second), HasSubstr("'test'")));
}

TEST(OpenQdrantTest, AKeyThatIsRefusedIsAMatterOfRights) {
  FakeNode node;
  node.On("GET", "/cluster", 401, "Invalid API key or JWT");
  QdrantOptions options = Options({node.url()});
  options.key = Secret::FromText(kKey);
  std::string message;
  EXPECT_EQ(OpenFails(std::move(options), &message), ErrorCode::kPermissionDenied);
  EXPECT_THAT(message, AllOf(HasSubstr("Invalid API key"), Not(HasSubstr(kKey))));
}

TEST(OpenQdrantTest, SomethingElseThatListensThereIsNoCluster) {
  FakeNode node;
  node.On("GET", "/cluster", 200, "<html>It works!</html>");
  EXPECT_EQ(OpenFails(Options({node.url()})), ErrorCode::kUnavailable);
}

TEST(OpenQdrantTest, ALoadBalancerIsRecognized) {
  FakeNode balancer;
  std::atomic<int> asked = 0;
  balancer.On("GET", "/cluster", [&](const TestRequest&, TestConnection& connection) {
    const std::string peer = std::to_string(1 + asked++ % 3);
    connection.Reply(200,
                     R"({"result":{"status":"enabled","peer_id":)" + peer +
                         R"(,"peers":{"1":{"uri":"http://a:6335/"},"2":{"uri":"http://b:6335/"},
                                  "3":{"uri":"http://c:6335/"}}}})");
  });
  std::string message;
  EXPECT_EQ(OpenFails(Options({balancer.url()}), &message), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(message, HasSubstr("load balancer"));
}

TEST(OpenQdrantTest, AddressesOfTwoClustersAreRefused) {
  FakeNode first;
  FakeNode second;
  first.IsPeer(1, {{1, "http://a:6335/"}});
  second.IsPeer(2, {{2, "http://b:6335/"}});
  std::string message;
  EXPECT_EQ(OpenFails(Options({first.url(), second.url()}), &message),
            ErrorCode::kFailedPrecondition);
  EXPECT_THAT(message, HasSubstr("do not belong to one cluster"));
}

TEST_F(QdrantEngineTest, APeerThatIsNowhereFoundIsShownWithTheReason) {
  node_.IsPeer(7, {{7, "http://127.0.0.1:6335/"}, {8, "http://127.0.0.1:6336/"}});
  node_.OnResult("GET", "/telemetry", R"({"collections":{"collections":[]}})");
  node_.OnResult("GET", "/aliases", R"({"aliases":[]})");
  node_.OnResult("GET", "/cluster/metadata/keys", R"(["a b"])");
  node_.OnResult("GET", "/cluster/metadata/keys/a%20b", R"({"x":1})");
  node_.OnResult("GET", "/cluster/telemetry", R"({"collections":{},"cluster":{"peers":{}}})");
  const auto topology = Open().ReadTopology(kCall);
  ASSERT_TRUE(topology.ok()) << topology.error().ToString();
  ASSERT_THAT(topology->peers, SizeIs(2));
  EXPECT_TRUE(topology->peers[0].answers);
  EXPECT_EQ(topology->peers[0].version, "1.18.3");
  EXPECT_FALSE(topology->peers[1].answers);
  // Its host with the port of the address that was given: the other node.
  EXPECT_THAT(topology->peers[1].trouble, HasSubstr("answers as peer 7"));
  EXPECT_EQ(topology->metadata, (std::map<std::string, std::string>{{"a b", R"({"x":1})"}}));
}

TEST_F(QdrantEngineTest, APeerThatMovedIsNotMistakenForTheOneInItsPlace) {
  testing::FakeClock clock;
  Engine& engine = Open(clock);
  ShowShard("green", 0);
  ASSERT_TRUE(engine.ReadHealth(kCall, replica_).ok());
  node_.IsPeer(8, {{7, "http://127.0.0.1:6335/"}, {8, "http://127.0.0.1:6335/"}});
  clock.Advance(std::chrono::seconds(10));
  const auto health = engine.ReadHealth(kCall, replica_);
  ASSERT_FALSE(health.ok());
  EXPECT_EQ(health.error().code(), ErrorCode::kAborted) << health.error().ToString();
  EXPECT_THAT(health.error().message(), HasSubstr("answers as peer 8 by now"));
  EXPECT_EQ(StreamFails(engine).code(), ErrorCode::kUnavailable);
  EXPECT_THAT(node_.Requests("GET", stream_path_), IsEmpty());
}

TEST_F(QdrantEngineTest, AStandaloneServerIsAClusterOfOnePeer) {
  node_.OnResult("GET", "/cluster", R"({"status":"disabled"})");
  node_.OnResult("GET", "/telemetry",
                 R"({"collections":{"collections":[{"id":"docs","config":{"params":{"vectors":{}},
                     "uuid":"u"},"shards":[{"id":0,
                     "local":{"status":"green","optimizations":{"log":[]}},
                     "replicate_states":{"0":"Active"}}]}]}})");
  node_.OnResult("GET", "/aliases", R"({"aliases":[]})");
  node_.OnResult("GET", "/collections/docs/cluster",
                 R"({"peer_id":0,"shard_count":1,"local_shards":[{"shard_id":0,"points_count":3,
                     "state":"Active"}],"remote_shards":[],"shard_transfers":[]})");
  node_.OnResult("GET", "/collections/docs", R"({"points_count":3,"payload_schema":{}})");
  Engine& engine = Open();
  const auto topology = engine.ReadTopology(kCall);
  ASSERT_TRUE(topology.ok()) << topology.error().ToString();
  EXPECT_FALSE(topology->distributed);
  ASSERT_THAT(topology->peers, SizeIs(1));
  EXPECT_EQ(topology->peers[0].id, PeerId(0));
  EXPECT_TRUE(topology->peers[0].answers);
  ASSERT_THAT(topology->collections, SizeIs(1));
  ASSERT_THAT(topology->collections[0].shards, SizeIs(1));
  EXPECT_EQ(topology->collections[0].shards[0].replicas,
            (std::vector<Replica>{{.peer = PeerId(0), .state = ReplicaState::kActive}}));
  const auto health =
      engine.ReadHealth(kCall, {.peer = PeerId(0), .collection = "docs", .shard = ShardId(0)});
  ASSERT_TRUE(health.ok()) << health.error().ToString();
  EXPECT_EQ(health->state, ReplicaState::kActive);
  EXPECT_TRUE(health->idle());
}

TEST_F(QdrantEngineTest, ACollectionWithoutAReadableReplicaIsStillShown) {
  node_.IsPeer(7, {{7, "http://127.0.0.1:6335/"}, {8, "http://127.0.0.1:6336/"}});
  node_.OnResult(
      "GET", "/telemetry",
      R"({"collections":{"collections":[{"id":"docs","config":{"params":{"vectors":{}}}}]}})");
  node_.OnResult("GET", "/aliases", R"({"aliases":[]})");
  node_.OnResult("GET", "/cluster/metadata/keys", "[]");
  node_.OnResult("GET", "/cluster/telemetry",
                 R"({"collections":{"docs":{"id":"docs","shards":[{"id":0,"replicas":[
                     {"peer_id":8,"state":"Active"}]}]}},"cluster":{"peers":{}}})");
  node_.On("GET", "/collections/docs", 500,
           R"({"status":{"error":"Service internal error: 1 of 1 read operations failed"}})");
  const auto topology = Open().ReadTopology(kCall);
  ASSERT_TRUE(topology.ok()) << topology.error().ToString();
  ASSERT_THAT(topology->collections, SizeIs(1));
  EXPECT_EQ(topology->collections[0].shards[0].replicas[0].state, ReplicaState::kActive);
}

// --- keys
// ------------------------------------------------------------------------------------------

TEST_F(QdrantEngineTest, EveryRequestCarriesTheLeastKeyThatWillDo) {
  ShowShard("green", 0);
  node_.On("GET", stream_path_, 200, "tar");
  node_.OnResult("POST", "/collections/docs/shards/0/points/count", R"({"count":3})");
  node_.OnResult("POST", "/collections/docs/cluster", "true");
  Engine& engine = Open();
  ASSERT_TRUE(engine.ReadHealth(kCall, replica_).ok());
  ASSERT_TRUE(engine.CountPoints(kCall, replica_).ok());
  BytesSink sink(100);
  NoInstants observer;
  ASSERT_TRUE(engine.StreamShard(kCall, replica_, {}, sink, observer).ok());
  ASSERT_TRUE(engine.DropReplica(kCall, replica_).ok());
  for (const TestRequest& request : node_.Requests("GET", "/cluster")) {
    EXPECT_EQ(KeyOf(request), kReadKey);
  }
  EXPECT_EQ(KeyOf(node_.Requests("GET", "/telemetry").front()), kReadKey);
  EXPECT_EQ(KeyOf(node_.Requests("POST", "/collections/docs/shards/0/points/count").front()),
            kReadKey);
  EXPECT_EQ(KeyOf(node_.Requests("GET", stream_path_).front()), kKey);
  EXPECT_EQ(KeyOf(node_.Requests("POST", "/collections/docs/cluster").front()), kManageKey);
}

TEST_F(QdrantEngineTest, OneKeyDoesForAll) {
  QdrantOptions options = Options({node_.url()});
  options.manage_key = Secret::FromText(kManageKey);
  auto opened = OpenQdrant(kCall, std::move(options), SystemClock());
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(KeyOf(node_.Requests("GET", "/cluster").front()), kManageKey);
}

TEST_F(QdrantEngineTest, MissingRightsAreAllNamedAndNothingIsChanged) {
  node_.OnResult("GET", "/telemetry", "{}");
  node_.OnResult("GET", "/collections/a/cluster", "{}");
  node_.OnResult("GET", "/collections/b/cluster", "{}");
  node_.On("GET", "/collections/a/shards/4294967295/snapshot", 403,
           "Global manage access is required");
  node_.On("GET", "/collections/b/shards/4294967295/snapshot", 404, "Not found: shard");
  node_.On("POST", "/collections/holdfast-rights-probe/shards/4294967295/snapshots/upload", 403,
           "Global manage access is required");
  Engine& engine = Open();
  EXPECT_TRUE(engine.CheckRights(kCall, Purpose::kObserve, {"a", "b"}).ok());
  const Status backup = engine.CheckRights(kCall, Purpose::kBackup, {"a", "b"});
  ASSERT_FALSE(backup.ok());
  EXPECT_EQ(backup.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_THAT(backup.error().message(), AllOf(HasSubstr("take snapshots of collection 'a'"),
                                              Not(HasSubstr("collection 'b'"))));
  const Status restore = engine.CheckRights(kCall, Purpose::kRestore, {"a"});
  ASSERT_FALSE(restore.ok());
  EXPECT_EQ(restore.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_THAT(restore.error().message(), HasSubstr("manage the cluster"));
  const auto probes = node_.Requests(
      "POST", "/collections/holdfast-rights-probe/shards/4294967295/snapshots/upload");
  ASSERT_THAT(probes, SizeIs(1));
  EXPECT_TRUE(probes.front().body.empty());
  EXPECT_EQ(KeyOf(probes.front()), kManageKey);
}

// --- health
// ----------------------------------------------------------------------------------------

TEST_F(QdrantEngineTest, WithoutALogTheCollectionsOptimizationsCount) {
  node_.OnResult("GET", "/telemetry",
                 R"({"collections":{"collections":[{"id":"docs","shards":[{"id":0,
                     "local":{"status":"green"},"replicate_states":{"7":"Active"}}]}]}})");
  node_.OnResult("GET", "/collections/docs/optimizations", R"({"running":[{},{}]})");
  const auto health = Open().ReadHealth(kCall, replica_);
  ASSERT_TRUE(health.ok()) << health.error().ToString();
  EXPECT_EQ(health->optimizations_running, 2U);
  EXPECT_FALSE(health->idle());
  EXPECT_FALSE(health->update_op_num.has_value());
  // With a replica on a dead peer the server cannot tell (run on 1.18.3): not proven idle.
  node_.On("GET", "/collections/docs/optimizations", 500,
           R"({"status":{"error":"Service internal error: Tonic status error: code: 'The service )"
           R"(is currently unavailable', message: \"tcp connect error\""}})");
  const auto unknown = engine_->ReadHealth(kCall, replica_);
  ASSERT_TRUE(unknown.ok()) << unknown.error().ToString();
  EXPECT_FALSE(unknown->idle());
}

TEST_F(QdrantEngineTest, YellowIsNotIdleEvenWithNothingRunning) {
  ShowShard("yellow", 0);
  const auto health = Open().ReadHealth(kCall, replica_);
  ASSERT_TRUE(health.ok());
  EXPECT_FALSE(health->idle());
  EXPECT_EQ(health->update_op_num, 9U);
}

// --- streams
// ---------------------------------------------------------------------------------------

TEST_F(QdrantEngineTest, AStreamComesRawWithItsInstants) {
  node_.On("GET", stream_path_, [](const TestRequest&, TestConnection& connection) {
    connection.Send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    connection.SendChunk("abc");
    connection.SendChunk("def");
    connection.Send("0\r\n\r\n");
  });
  struct Instants final : CaptureObserver {
    void OnRequest(MonotonicTime) override { seen += "request "; }
    void OnHeaders(MonotonicTime) override { seen += "headers "; }
    void OnFirstByte(MonotonicTime) override { seen += "first"; }
    std::string seen;
  } instants;
  Engine& engine = Open();
  BytesSink sink(100);
  const Status streamed = engine.StreamShard(kCall, replica_, {}, sink, instants);
  ASSERT_TRUE(streamed.ok()) << streamed.error().ToString();
  EXPECT_EQ(AsText(sink.bytes()), "abcdef");
  EXPECT_EQ(instants.seen, "request headers first");
  EXPECT_EQ(node_.Requests("GET", stream_path_).front().headers.at("accept-encoding"), "identity");
}

TEST_F(QdrantEngineTest, ErrorsOfStreamsArePlainTextAndNameTheReplica) {
  node_.On("GET", stream_path_, 400, "Wrong input: Shard 0 is not a local or queue proxy shard");
  const Error error = StreamFails(Open());
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_THAT(error.message(), AllOf(StartsWith("shard 0 of 'docs' on peer 7"),
                                     HasSubstr("not a local or queue proxy shard")));
}

TEST_F(QdrantEngineTest, AStreamThatIsResetMayBeTakenAgain) {
  node_.On("GET", stream_path_, [](const TestRequest&, TestConnection& connection) {
    connection.Send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    connection.SendChunk("abc");
    connection.Reset();
  });
  EXPECT_EQ(StreamFails(Open()).code(), ErrorCode::kUnavailable);
}

TEST_F(QdrantEngineTest, SilenceBeforeTheFirstByteEndsTheStreamUnlessTheQueueFalls) {
  std::atomic<int> looks = 0;
  node_.On("GET", stream_path_, [](const TestRequest&, TestConnection& connection) {
    connection.Send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    connection.WaitForPeer();
  });
  // 3, 2, 1, 1, ...: the queue stands still with the fourth look.
  node_.On("GET", "/telemetry", [&](const TestRequest&, TestConnection& connection) {
    const int length = std::max(1, 3 - looks++);
    connection.Reply(200,
                     R"({"result":{"collections":{"collections":[{"id":"docs","shards":[{"id":0,)"
                     R"("local":{"update_queue":{"length":)" +
                         std::to_string(length) + R"(}}}]}]}}})");
  });
  const Error error = StreamFails(Open(), {.first_byte = 100ms, .between_bytes = 100ms});
  EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
  EXPECT_EQ(looks, 4);
}

TEST_F(QdrantEngineTest, SilenceInTheMiddleIsNotExcused) {
  ShowShard("green", 5);
  node_.On("GET", stream_path_, [](const TestRequest&, TestConnection& connection) {
    connection.Send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    connection.SendChunk("abc");
    connection.WaitForPeer();
  });
  const Error error = StreamFails(Open(), {.first_byte = 100ms, .between_bytes = 100ms});
  EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
  EXPECT_THAT(node_.Requests("GET", "/telemetry"), IsEmpty());
}

TEST_F(QdrantEngineTest, AStoredSnapshotThatArrivesDamagedIsNoticed) {
  StoredSnapshot snapshot;
  snapshot.peer = PeerId(7);
  snapshot.collection = "docs";
  snapshot.name = "docs-1.snapshot";
  snapshot.bytes = 3;
  snapshot.sha256 = ToHex(Sha256Of(AsBytes("abc")));
  Engine& engine = Open();
  BytesSink sink(100);
  node_.On("GET", "/collections/docs/snapshots/docs-1.snapshot", 200, "abc");
  EXPECT_TRUE(engine.DownloadSnapshot(kCall, snapshot, {}, sink).ok());
  node_.On("GET", "/collections/docs/snapshots/docs-1.snapshot", 200, "abd");
  EXPECT_EQ(engine.DownloadSnapshot(kCall, snapshot, {}, sink).error().code(),
            ErrorCode::kDataLoss);
  node_.On("GET", "/collections/docs/snapshots/docs-1.snapshot", 200, "ab");
  EXPECT_EQ(engine.DownloadSnapshot(kCall, snapshot, {}, sink).error().code(),
            ErrorCode::kDataLoss);
}

// --- points
// ----------------------------------------------------------------------------------------

TEST_F(QdrantEngineTest, ARateLimitIsWaitedFor) {
  testing::FakeClock clock;
  std::atomic<int> asked = 0;
  node_.On("POST", "/collections/docs/shards/0/points/count",
           [&](const TestRequest&, TestConnection& connection) {
             if (asked++ == 0) {
               connection.Reply(429, "Rate limiting exceeded: x", "retry-after: 7\r\n");
             } else {
               connection.Reply(200, R"({"result":{"count":3}})");
             }
           });
  const auto counts = Open(clock).CountPoints(kCall, replica_);
  ASSERT_TRUE(counts.ok()) << counts.error().ToString();
  EXPECT_EQ(counts->all, 3U);
  EXPECT_THAT(clock.sleeps(), ::testing::Contains(Duration(std::chrono::seconds(7))));
}

TEST_F(QdrantEngineTest, AStrictCollectionIsScrolledInSmallerPages) {
  node_.On("POST", "/collections/docs/shards/0/points/scroll",
           [](const TestRequest& request, TestConnection& connection) {
             const Json body = Json::parse(request.body);
             if (body["limit"] > 2) {
               connection.Reply(400,
                                R"({"status":{"error":"Limit exceeded 100 > 2 for \"limit\""}})");
             } else {
               connection.Reply(200, R"({"result":{"points":[{"id":5},{"id":6}]}})");
             }
           });
  node_.OnResult("GET", "/collections/docs",
                 R"({"config":{"params":{"vectors":{}},"strict_mode_config":{"enabled":true,
                     "max_query_limit":2}}})");
  const auto ids = Open().ListIds(kCall, replica_, "4", 100);
  ASSERT_TRUE(ids.ok()) << ids.error().ToString();
  EXPECT_THAT(*ids, ElementsAre("5", "6"));
  const auto scrolls = node_.Requests("POST", "/collections/docs/shards/0/points/scroll");
  EXPECT_EQ(Json::parse(scrolls.back().body)["offset"], 5);
}

TEST_F(QdrantEngineTest, WithoutPerReplicaCallsASingleShardCanBeCounted) {
  node_.OnResult("GET", "/collections/docs/cluster",
                 R"({"peer_id":7,"local_shards":[{}],"remote_shards":[]})");
  node_.OnResult("POST", "/collections/docs/points/count", R"({"count":4})");
  Engine& engine = Open();
  const auto counts = engine.CountPoints(kCall, replica_);
  ASSERT_TRUE(counts.ok()) << counts.error().ToString();
  EXPECT_EQ(counts->all, 4U);
  node_.OnResult("GET", "/collections/docs/cluster",
                 R"({"peer_id":7,"local_shards":[{},{}],"remote_shards":[]})");
  EXPECT_EQ(engine.CountPoints(kCall, replica_).error().code(), ErrorCode::kUnsupported);
}

TEST_F(QdrantEngineTest, GoldenQueriesAskEveryVectorExactly) {
  Collection collection;
  collection.create_json = R"({"vectors":{"text":{"size":2,"distance":"Dot"},
      "colbert":{"size":2,"distance":"Dot","multivector_config":{"comparator":"max_sim"}},
      "never":{"size":2,"distance":"Dot"}},"sparse_vectors":{"bm25":{},"empty":{}}})";
  collection.finish_json = R"({"strict_mode_config":{"enabled":true,"max_query_limit":4}})";
  const std::vector<SampledPoint> samples = {
      {.id_json = "1",
       .point_json = R"({"id":1,"vector":{"text":[0.5,1.0],"empty":{"indices":[],"values":[]}}})",
       .key = {}},
      {.id_json = "2",
       .point_json = R"({"id":2,"vector":{"colbert":[[1.0,0.0],[0.0,1.0]],"text":[9.0,9.0],
                       "bm25":{"indices":[3],"values":[0.25]}}})",
       .key = {}}};
  Engine& engine = Open();
  const auto queries = engine.ProposeQueries(kCall, collection, samples);
  ASSERT_TRUE(queries.ok()) << queries.error().ToString();
  std::map<std::string, Json> by_vector;
  for (const GoldenQuery& query : *queries) {
    const Json body = Json::parse(query.request_json);
    EXPECT_EQ(body["params"]["exact"], true);
    EXPECT_EQ(body["limit"], 4);
    by_vector[body["using"].get<std::string>()] = body["query"];
  }
  ASSERT_THAT(by_vector, SizeIs(3));
  EXPECT_EQ(by_vector["text"], Json::parse("[0.5,1.0]"));
  EXPECT_EQ(by_vector["bm25"], Json::parse(R"({"indices":[3],"values":[0.25]})"));
  // Whole numbers would be read as a sparse vector (sandbox-notes b).
  EXPECT_THAT(json::Dump(by_vector["colbert"]), "[[1.0,0.0],[0.0,1.0]]");

  collection.finish_json = R"({"strict_mode_config":{"enabled":true,"search_allow_exact":false}})";
  const auto none = engine.ProposeQueries(kCall, collection, samples);
  ASSERT_TRUE(none.ok());
  EXPECT_THAT(*none, IsEmpty());
}

// --- changes
// ---------------------------------------------------------------------------------------

TEST_F(QdrantEngineTest, AShardIsSentAsOnePartWithItsChecksum) {
  const std::string path = "/collections/docs/shards/0/snapshots/upload";
  node_.OnResult("POST", path, "null");
  const std::string tar(100'000, 't');
  const std::string sha256 = ToHex(Sha256Of(AsBytes(tar)));
  BytesSource source(AsBytes(tar));
  const Status sent = Open().SendShard(kCall, replica_, source, tar.size(), sha256);
  ASSERT_TRUE(sent.ok()) << sent.error().ToString();
  const auto requests = node_.Requests("POST", path);
  ASSERT_THAT(requests, SizeIs(1));
  EXPECT_THAT(requests.front().target, AllOf(HasSubstr("wait=true"), HasSubstr("priority=no_sync"),
                                             HasSubstr("checksum=" + sha256)));
  EXPECT_THAT(requests.front().headers.at("content-type"), StartsWith("multipart/form-data"));
  EXPECT_THAT(requests.front().body, HasSubstr("name=\"snapshot\""));
  EXPECT_THAT(requests.front().body, HasSubstr(tar));
}

TEST_F(QdrantEngineTest, AnImageThatEndsEarlyIsNotSent) {
  node_.OnResult("POST", "/collections/docs/shards/0/snapshots/upload", "null");
  const std::string tar(1000, 't');
  BytesSource source(AsBytes(tar));
  const Status sent =
      Open().SendShard(kCall, replica_, source, tar.size() + 1, std::string(64, 'a'));
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.error().code(), ErrorCode::kDataLoss);
}

TEST_F(QdrantEngineTest, AQuantizationOfTheTargetsOwnIsTakenOffAgain) {
  node_.OnResult("GET", "/aliases", R"({"aliases":[]})");
  node_.OnResult("PUT", "/collections/new", "true");
  node_.OnResult("PATCH", "/collections/new", "true");
  node_.OnResult("GET", "/collections/new/exists", R"({"exists":true})");
  node_.OnResult("GET", "/telemetry",
                 R"({"collections":{"collections":[{"id":"new","config":{"params":{},
                     "quantization_config":{"scalar":{"type":"int8"}}}}]}})");
  Collection as;
  as.create_json =
      R"({"vectors":{},"replication_factor":3,"write_consistency_factor":2,
          "quantization_config":null})";
  const Status created = Open().CreateCollection(kCall, "new", as, 1);
  ASSERT_TRUE(created.ok()) << created.error().ToString();
  const Json body = Json::parse(node_.Requests("PUT", "/collections/new").front().body);
  EXPECT_EQ(body["replication_factor"], 1);
  EXPECT_EQ(body["write_consistency_factor"], 1) << "else no write could succeed";
  const auto patches = node_.Requests("PATCH", "/collections/new");
  ASSERT_THAT(patches, SizeIs(1));
  EXPECT_EQ(Json::parse(patches.front().body),
            Json::parse(R"({"quantization_config":"Disabled"})"));
}

TEST_F(QdrantEngineTest, AChangeThatTimesOutIsNotRepeated) {
  node_.OnResult("GET", "/aliases", R"({"aliases":[]})");
  node_.On("PUT", "/collections/new", 500,
           R"({"status":{"error":"Service internal error: Waiting for consensus operation )"
           R"(commit failed. Timeout set at: 60 seconds"}})");
  Collection as;
  as.create_json = R"({"vectors":{}})";
  const Status created = Open().CreateCollection(kCall, "new", as, 1);
  ASSERT_FALSE(created.ok());
  EXPECT_EQ(created.error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_THAT(node_.Requests("PUT", "/collections/new"), SizeIs(1));
  EXPECT_THAT(node_.Requests("PUT", "/collections/new").front().target, HasSubstr("timeout=60"));
}

TEST_F(QdrantEngineTest, WhileAPeerIsDeadACreationIsNotWaitedForByTheServer) {
  node_.IsPeer(7, {{7, "http://127.0.0.1:6335/"}, {8, "http://127.0.0.1:1/"}});
  node_.OnResult("GET", "/aliases", R"({"aliases":[]})");
  node_.On("PUT", "/collections/new", 500,
           R"({"status":{"error":"Service internal error: Waiting for consensus operation )"
           R"(commit failed. Timeout set at: 3 seconds"}})");
  node_.OnResult("GET", "/telemetry", R"({"collections":{"collections":[]}})");
  std::atomic<int> looks = 0;
  // Not there yet, then not ready yet, then Active here while the dead peer's never becomes it.
  node_.On("GET", "/collections/new/cluster", [&](const TestRequest&, TestConnection& connection) {
    if (++looks == 1) return connection.Reply(404, R"({"status":{"error":"Not found"}})");
    const std::string state = looks == 2 ? "Initializing" : "Active";
    connection.Reply(200, R"({"result":{"peer_id":7,"local_shards":[{"shard_id":0,"state":")" +
                              state +
                              R"("}],"remote_shards":[{"shard_id":1,"peer_id":8,)"
                              R"("state":"Initializing"}],"shard_transfers":[]}})");
  });
  Collection as;
  as.create_json = R"({"vectors":{}})";
  const Status created = Open().CreateCollection(kCall, "new", as, 1);
  ASSERT_TRUE(created.ok()) << created.error().ToString();
  EXPECT_THAT(node_.Requests("PUT", "/collections/new").front().target, HasSubstr("timeout=3"));
  EXPECT_EQ(looks, 3);
}

TEST_F(QdrantEngineTest, AKeyOfTheClustersMetadataIsSet) {
  node_.OnResult("PUT", "/cluster/metadata/keys/a%2Fb%20c", "true");
  Engine& engine = Open();
  const Status set = engine.SetMetadata(kCall, "a/b c", R"({"x":[1,null]})");
  ASSERT_TRUE(set.ok()) << set.error().ToString();
  const auto requests = node_.Requests("PUT", "/cluster/metadata/keys/a%2Fb%20c");
  ASSERT_THAT(requests, SizeIs(1));
  EXPECT_EQ(Json::parse(requests.front().body), Json::parse(R"({"x":[1,null]})"));
  EXPECT_EQ(KeyOf(requests.front()), kManageKey);
  const Status bad = engine.SetMetadata(kCall, "k", "{");
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(QdrantEngineTest, DeletesGoInBatchesAndMustBeApplied) {
  const std::string path = "/collections/docs/points/delete";
  node_.OnResult("POST", path, R"({"operation_id":1,"status":"completed"})");
  std::vector<std::string> ids;
  for (int i = 0; i < 2500; ++i) ids.push_back(std::to_string(i));
  Engine& engine = Open();
  ASSERT_TRUE(engine.DeletePoints(kCall, "docs", ShardKey("k"), ids).ok());
  const auto batches = node_.Requests("POST", path);
  ASSERT_THAT(batches, SizeIs(3));
  EXPECT_EQ(Json::parse(batches[2].body)["points"].size(), 500U);
  EXPECT_EQ(Json::parse(batches[0].body)["shard_key"], "k");
  EXPECT_THAT(batches[0].target, HasSubstr("wait=true"));
  node_.OnResult("POST", path, R"({"operation_id":1,"status":"acknowledged"})");
  const Status late = engine.DeletePoints(kCall, "docs", {}, {"1"});
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code(), ErrorCode::kDeadlineExceeded);
}

TEST_F(QdrantEngineTest, AliasesSwitchInOneRequest) {
  node_.OnResult("GET", "/collections", R"({"collections":[{"name":"a"},{"name":"b"}]})");
  node_.OnResult("POST", "/collections/aliases", "true");
  // Asked until every peer shows it.
  node_.OnResult("GET", "/aliases",
                 R"({"aliases":[{"alias_name":"x","collection_name":"a"},)"
                 R"({"alias_name":"y","collection_name":"b"}]})");
  const Status switched =
      Open().SwitchAliases(kCall, {{.alias = "x", .to = "a"}, {.alias = "y", .to = "b"}});
  ASSERT_TRUE(switched.ok()) << switched.error().ToString();
  const auto requests = node_.Requests("POST", "/collections/aliases");
  ASSERT_THAT(requests, SizeIs(1));
  EXPECT_EQ(Json::parse(requests.front().body), Json::parse(R"({"actions":[
      {"delete_alias":{"alias_name":"x"}},
      {"create_alias":{"collection_name":"a","alias_name":"x"}},
      {"delete_alias":{"alias_name":"y"}},
      {"create_alias":{"collection_name":"b","alias_name":"y"}}]})"));
}

TEST_F(QdrantEngineTest, NoErrorShowsAKey) {
  for (const int status : {400, 401, 403, 404, 409, 429, 500, 503}) {
    const std::string text = R"({"status":{"error":"no"}})";
    node_.On("GET", stream_path_, status, text);
    node_.On("POST", "/collections/docs/cluster", status, text);
    node_.On("GET", "/telemetry", status, text);
    Engine& engine = Open();
    std::string all = StreamFails(engine).ToString();
    all += engine.DropReplica(kCall, replica_).error().ToString();
    if (status != 429) all += engine.ReadHealth(kCall, replica_).error().ToString();
    EXPECT_THAT(all, Not(HasSubstr("secret"))) << status;
  }
}

// --- size
// ------------------------------------------------------------------------------------------

// 100 peers, 1,000 collections, 10,000 shards of two replicas: the number of requests must not grow
// with the shards. How long it takes is printed, never asserted.
TEST(QdrantEngineScaleTest, ALargeClusterTakesAboutOneRequestACollection) {
  constexpr std::uint64_t kPeers = 100;
  constexpr int kCollections = 1000;
  constexpr int kShards = 10;
  std::vector<std::unique_ptr<FakeNode>> nodes;
  std::map<std::uint64_t, std::string> peers;
  std::vector<std::string> urls;
  for (std::uint64_t i = 1; i <= kPeers; ++i) {
    nodes.push_back(std::make_unique<FakeNode>());
    urls.push_back(nodes.back()->url());
    peers[i] = "http://node-" + std::to_string(i) + ":6335/";
  }
  Json telemetry = {{"collections", Json::object()}, {"cluster", {{"peers", Json::object()}}}};
  Json configs = Json::array();
  for (int c = 0; c < kCollections; ++c) {
    const std::string name = "c" + std::to_string(c);
    Json shards = Json::array();
    for (int s = 0; s < kShards; ++s) {
      Json replicas = Json::array();
      for (int r = 0; r < 2; ++r) {
        replicas.push_back({{"peer_id", 1 + (c + s + r) % kPeers},
                            {"state", "Active"},
                            {"status", "green"},
                            {"vectors_size_bytes", 1000},
                            {"payloads_size_bytes", 500},
                            {"num_points", 10},
                            {"num_vectors_by_name", {{"", 10}}}});
      }
      shards.push_back({{"id", s}, {"replicas", std::move(replicas)}});
    }
    telemetry["collections"][name] = {{"id", name}, {"shards", std::move(shards)}};
    configs.push_back({{"id", name},
                       {"config",
                        {{"params",
                          {{"vectors", {{"size", 8}, {"distance", "Dot"}}},
                           {"shard_number", kShards},
                           {"replication_factor", 2}}},
                         {"uuid", "u" + name}}}});
  }
  for (std::uint64_t i = 1; i <= kPeers; ++i) {
    FakeNode& node = *nodes[i - 1];
    node.IsPeer(i, peers);
    node.OnResult("GET", "/aliases", R"({"aliases":[]})");
    node.OnResult("GET", "/cluster/metadata/keys", "[]");
    if (i == 1) {
      node.OnResult("GET", "/cluster/telemetry", telemetry.dump());
      node.OnResult("GET", "/telemetry", Json{{"collections", {{"collections", configs}}}}.dump());
    }
    for (int c = 0; c < kCollections; ++c) {
      node.OnResult("GET", "/collections/c" + std::to_string(c),
                    R"({"points_count":100,"payload_schema":{}})");
    }
  }
  QdrantOptions options = Options(urls);
  auto opened = OpenQdrant(kCall, std::move(options), SystemClock());
  ASSERT_TRUE(opened.ok()) << opened.error().ToString();
  const auto requests = [&] {
    std::size_t sum = 0;
    for (const auto& node : nodes) sum += node->requests();
    return sum;
  };
  const std::size_t before = requests();
  const MonotonicTime begun = SystemClock().Monotonic();
  const auto topology = (*opened)->ReadTopology(kCall);
  const Duration took = SystemClock().Monotonic() - begun;
  ASSERT_TRUE(topology.ok()) << topology.error().ToString();
  ASSERT_THAT(topology->collections, SizeIs(kCollections));
  EXPECT_EQ(topology->collections.front().bytes, kShards * 1500U);
  EXPECT_LE(requests() - before, kCollections + 2 * kPeers + 10);
  RecordProperty("topology_milliseconds", static_cast<int>(took.count() / 1000));
  std::printf("topology of %d shards: %s, %zu requests\n", kCollections * kShards,
              FormatDuration(took).c_str(), requests() - before);
}

}  // namespace
}  // namespace holdfast
