#include "testing/scripted_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "stream/byte_sink.h"
#include "stream/byte_source.h"
#include "stream/digest.h"
#include "stream/tar_reader.h"
#include "testing/fake_clock.h"
#include "testing/temp_folder.h"

namespace holdfast::testing {
namespace {

using std::chrono_literals::operator""ms;
using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const CallContext kCall;
const PeerId kFirst{101};
const PeerId kSecond{102};

class NoInstants final : public CaptureObserver {};

class ScriptedEngineTest : public ::testing::Test {
 protected:
  explicit ScriptedEngineTest(std::uint64_t seed = 1) : engine_(clock_, {.seed = seed}) {
    engine_.AddCollection("docs", {.keys = {}, .indexes = {}, .placement = {kFirst}});
    engine_.Fill("docs", 0, 50);
  }

  Status Stream(Bytes& tar, const StreamLimits& limits = {}) {
    FunctionSink sink([&tar](const CallContext&, ByteView bytes) -> Status {
      Append(tar, bytes);
      return {};
    });
    NoInstants observer;
    return engine_.StreamShard(kCall, replica_, limits, sink, observer);
  }

  /// Live ids of an image; nothing with the error when it is not complete.
  Result<std::vector<std::string>> IdsOf(const Bytes& tar) {
    const auto inspector = engine_.NewInspector(folder_.path().string());
    TarReader reader(*inspector);
    HF_RETURN_IF_ERROR(reader.Write(kCall, tar));
    HF_RETURN_IF_ERROR(reader.Finish());
    HF_RETURN_IF_ERROR(inspector->Finish(kCall));
    std::vector<std::string> ids;
    HF_RETURN_IF_ERROR(inspector->VisitIds(kCall, [&](std::string_view id) -> Status {
      ids.emplace_back(id);
      return {};
    }));
    return ids;
  }

  std::vector<std::string> StreamedIds() {
    Bytes tar;
    const Status streamed = Stream(tar);
    EXPECT_TRUE(streamed.ok()) << streamed.error().ToString();
    const auto ids = IdsOf(tar);
    EXPECT_TRUE(ids.ok()) << ids.error().ToString();
    return ids.ok() ? *ids : std::vector<std::string>();
  }

  FakeClock clock_;
  TempFolder folder_;
  ScriptedEngine engine_;
  const ReplicaRef replica_{.peer = kFirst, .collection = "docs", .shard = ShardId(0)};
};

TEST_F(ScriptedEngineTest, TheSameSeedMakesTheSameWorld) {
  const auto run = [](std::uint64_t seed) {
    FakeClock clock;
    ScriptedEngine engine(clock, {.seed = seed});
    engine.AddCollection("docs",
                         {.keys = {}, .indexes = {}, .placement = {kFirst}, .ballast_bytes = 5000});
    engine.Fill("docs", 0, 20);
    Bytes tar;
    FunctionSink sink([&tar](const CallContext&, ByteView bytes) -> Status {
      Append(tar, bytes);
      return {};
    });
    NoInstants observer;
    EXPECT_TRUE(engine
                    .StreamShard(kCall, {.peer = kFirst, .collection = "docs", .shard = ShardId(0)},
                                 {}, sink, observer)
                    .ok());
    return tar;
  };
  EXPECT_EQ(run(5), run(5));
  EXPECT_NE(run(5), run(6));
}

// The cut is anywhere between request and first byte, by seed, and never after it (measured 1).
TEST(ScriptedEngineCutTest, TheCutIsBetweenRequestAndFirstByte) {
  std::set<std::set<std::string>> outcomes;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    FakeClock clock;
    ScriptedEngine engine(clock, {.seed = seed});
    engine.AddCollection("docs", {.keys = {}, .indexes = {}, .placement = {kFirst}});
    engine.Fill("docs", 0, 5);
    engine.OnMoment([&](StreamMoment moment, const ReplicaRef&) {
      if (moment == StreamMoment::kRequested) engine.Upsert("docs", "1001");
      if (moment == StreamMoment::kHeaders) engine.Upsert("docs", "1002");
      if (moment == StreamMoment::kFirstByte) engine.Upsert("docs", "1003");
    });
    const TempFolder folder;
    const auto inspector = engine.NewInspector(folder.path().string());
    TarReader reader(*inspector);
    NoInstants observer;
    ASSERT_TRUE(engine
                    .StreamShard(kCall, {.peer = kFirst, .collection = "docs", .shard = ShardId(0)},
                                 {}, reader, observer)
                    .ok());
    ASSERT_TRUE(reader.Finish().ok());
    ASSERT_TRUE(inspector->Finish(kCall).ok());
    std::set<std::string> late;
    ASSERT_TRUE(inspector
                    ->VisitIds(kCall,
                               [&](std::string_view id) -> Status {
                                 if (id.size() == 4) late.emplace(id);
                                 return {};
                               })
                    .ok());
    outcomes.insert(late);
  }
  EXPECT_EQ(outcomes, (std::set<std::set<std::string>>{{}, {"1001"}, {"1001", "1002"}}));
}

TEST_F(ScriptedEngineTest, DeletesComeBackWhileTheOptimizerWorks) {
  engine_.StartOptimization(replica_);
  engine_.Delete("docs", "7");
  EXPECT_THAT(engine_.Ids("docs"), Not(Contains("7")));
  EXPECT_FALSE(engine_.ReadHealth(kCall, replica_)->idle());
  EXPECT_THAT(StreamedIds(), Contains("7"));

  // The collection snapshot has the log, and with it the delete.
  NoInstants observer;
  const auto stored = engine_.CreateSnapshot(kCall, kFirst, "docs", {}, observer);
  ASSERT_TRUE(stored.ok());
  Bytes tar;
  FunctionSink sink([&tar](const CallContext&, ByteView bytes) -> Status {
    Append(tar, bytes);
    return {};
  });
  const auto unpacker = engine_.UnpackStored(sink, true, ShardId(0), kFirst);
  ASSERT_TRUE(engine_.DownloadSnapshot(kCall, *stored, {}, *unpacker).ok());
  ASSERT_TRUE(unpacker->Finish(kCall).ok());
  engine_.AddCollection("copy", {.keys = {}, .indexes = {}, .placement = {kFirst}});
  BytesSource source(tar);
  ASSERT_TRUE(engine_
                  .SendShard(kCall, {.peer = kFirst, .collection = "copy", .shard = ShardId(0)},
                             source, tar.size(), ToHex(Sha256Of(tar)))
                  .ok());
  EXPECT_THAT(engine_.Ids("copy"), SizeIs(49));

  engine_.FinishOptimization(replica_);
  EXPECT_TRUE(engine_.ReadHealth(kCall, replica_)->idle());
  EXPECT_THAT(StreamedIds(), Not(Contains("7")));
}

TEST_F(ScriptedEngineTest, AStreamThatEndsShortEndsWithOk) {
  for (const auto kind : {StreamFault::Kind::kShort, StreamFault::Kind::kShortAtEntry}) {
    engine_.Add(StreamFault{.kind = kind, .peer = {}, .collection = {}, .shard = {}});
    Bytes tar;
    EXPECT_TRUE(Stream(tar).ok());
    EXPECT_GT(tar.size(), 0U);
    const auto ids = IdsOf(tar);
    ASSERT_FALSE(ids.ok());
    EXPECT_EQ(ids.error().code(), ErrorCode::kDataLoss);
  }
  EXPECT_EQ(engine_.unused_faults(), 0);
  EXPECT_THAT(StreamedIds(), SizeIs(50));
}

TEST_F(ScriptedEngineTest, AResetAndAStallAreUnavailable) {
  Bytes tar;
  engine_.Add(StreamFault{
      .kind = StreamFault::Kind::kReset, .at = 1000, .peer = {}, .collection = {}, .shard = {}});
  EXPECT_EQ(Stream(tar).error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(tar.size(), 1000U);
  engine_.Add(StreamFault{
      .kind = StreamFault::Kind::kStall, .at = 1000, .peer = {}, .collection = {}, .shard = {}});
  const MonotonicTime before = clock_.Monotonic();
  EXPECT_EQ(Stream(tar).error().code(), ErrorCode::kUnavailable);
  EXPECT_GE(clock_.Monotonic() - before, StreamLimits().between_bytes);
}

TEST_F(ScriptedEngineTest, AFlippedBitIsOnlyFoundByADigest) {
  Bytes good;
  Bytes bad;
  ASSERT_TRUE(Stream(good).ok());
  engine_.Add(
      StreamFault{.kind = StreamFault::Kind::kFlip, .peer = {}, .collection = {}, .shard = {}});
  ASSERT_TRUE(Stream(bad).ok());
  EXPECT_EQ(good.size(), bad.size());
  EXPECT_NE(Sha256Of(good), Sha256Of(bad));
}

TEST_F(ScriptedEngineTest, APeerThatDiesTakesItsStreamsWithIt) {
  engine_.OnMoment([&](StreamMoment moment, const ReplicaRef&) {
    if (moment == StreamMoment::kHalf) engine_.KillPeer(kFirst);
  });
  Bytes tar;
  EXPECT_EQ(Stream(tar).error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(engine_.open_streams(), 0U);
  const auto topology = engine_.ReadTopology(kCall);
  ASSERT_TRUE(topology.ok());
  EXPECT_FALSE(topology->FindPeer(kFirst)->answers);
  // A lone replica on a dead peer still reads Active (measured 18).
  EXPECT_EQ(topology->FindCollection("docs")->shards[0].replicas[0].state, ReplicaState::kActive);
}

TEST_F(ScriptedEngineTest, BytesStartWhenTheUpdateQueueHasDrained) {
  engine_.SetUpdateQueue(replica_, 100, 10);
  Bytes tar;
  EXPECT_TRUE(Stream(tar).ok());
  engine_.SetUpdateQueue(replica_, 100, 0);
  EXPECT_EQ(Stream(tar).error().code(), ErrorCode::kUnavailable);
}

TEST_F(ScriptedEngineTest, ASecondStreamOfAShardWaitsForTheFirst) {
  std::vector<std::string> order;
  std::mutex mutex;
  const auto note = [&](const std::string& what) {
    const std::scoped_lock lock(mutex);
    order.push_back(what);
  };
  std::jthread second;
  bool started = false;
  FunctionSink first_sink([&](const CallContext&, ByteView) -> Status {
    if (!std::exchange(started, true)) {
      second = std::jthread([&] {
        FunctionSink sink([&](const CallContext&, ByteView) -> Status {
          note("second");
          return {};
        });
        NoInstants observer;
        EXPECT_TRUE(engine_.StreamShard(kCall, replica_, {}, sink, observer).ok());
      });
      while (engine_.open_streams() < 2) std::this_thread::yield();
    }
    note("first");
    return {};
  });
  NoInstants observer;
  EXPECT_TRUE(engine_.StreamShard(kCall, replica_, {}, first_sink, observer).ok());
  second.join();
  EXPECT_TRUE(std::ranges::is_sorted(order));
  EXPECT_THAT(order, Contains("second"));
  EXPECT_EQ(engine_.open_streams_max(kFirst), 2U);
}

TEST_F(ScriptedEngineTest, CallsFailAsScripted) {
  engine_.Add(CallFault{.call = EngineCall::kReadHealth, .skip = 1, .times = 2});
  EXPECT_TRUE(engine_.ReadHealth(kCall, replica_).ok());
  EXPECT_FALSE(engine_.ReadHealth(kCall, replica_).ok());
  EXPECT_EQ(engine_.unused_faults(), 1);
  EXPECT_FALSE(engine_.ReadHealth(kCall, replica_).ok());
  EXPECT_TRUE(engine_.ReadHealth(kCall, replica_).ok());
  EXPECT_EQ(engine_.unused_faults(), 0);
  EXPECT_EQ(engine_.calls(EngineCall::kReadHealth), 4U);
}

TEST_F(ScriptedEngineTest, AReplyIsLostAfterTheEffect) {
  engine_.Add(CallFault{.call = EngineCall::kDropCollection,
                        .error = Error(ErrorCode::kDeadlineExceeded, "lost"),
                        .after_effect = true});
  EXPECT_EQ(engine_.DropCollection(kCall, "docs").error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(engine_.ReadCollection(kCall, "docs").error().code(), ErrorCode::kNotFound);
}

TEST_F(ScriptedEngineTest, ThingsHappenBeforeACallOfAGivenNumber) {
  engine_.BeforeCall(engine_.calls() + 2, [&] { engine_.KillPeer(kFirst); });
  EXPECT_TRUE(engine_.ReadHealth(kCall, replica_).ok());
  EXPECT_EQ(engine_.ReadHealth(kCall, replica_).error().code(), ErrorCode::kUnavailable);
}

TEST_F(ScriptedEngineTest, ATarWithoutReplicaStateLeavesAnEmptyShard) {
  Bytes tar;
  ASSERT_TRUE(Stream(tar).ok());
  // The last two entries and the marker: two headers, two contents, 1,024 zeros.
  tar.resize(tar.size() - 4 * 512 - 1024);
  BytesSource source(tar);
  const Status sent = engine_.SendShard(kCall, replica_, source, tar.size(), ToHex(Sha256Of(tar)));
  EXPECT_TRUE(sent.ok()) << "measured 14: the server takes it";
  EXPECT_THAT(engine_.Ids("docs"), IsEmpty());
}

TEST_F(ScriptedEngineTest, ATarThatBreaksOffInsideAnEntryChangesNothing) {
  Bytes tar;
  ASSERT_TRUE(Stream(tar).ok());
  tar.resize(tar.size() / 2 - 100);
  BytesSource source(tar);
  EXPECT_FALSE(engine_.SendShard(kCall, replica_, source, tar.size(), ToHex(Sha256Of(tar))).ok());
  EXPECT_THAT(engine_.Ids("docs"), SizeIs(50));
}

TEST_F(ScriptedEngineTest, AnotherShardsImageIsTakenAndOutsideOfTheRing) {
  engine_.AddCollection("wide", {.shards = 2, .keys = {}, .indexes = {}, .placement = {kSecond}});
  engine_.Fill("wide", 0, 100);
  Bytes tar;
  FunctionSink sink([&tar](const CallContext&, ByteView bytes) -> Status {
    Append(tar, bytes);
    return {};
  });
  NoInstants observer;
  const ReplicaRef zero{.peer = kSecond, .collection = "wide", .shard = ShardId(0)};
  const ReplicaRef one{.peer = kSecond, .collection = "wide", .shard = ShardId(1)};
  ASSERT_TRUE(engine_.StreamShard(kCall, one, {}, sink, observer).ok());
  BytesSource source(tar);
  ASSERT_TRUE(engine_.SendShard(kCall, zero, source, tar.size(), ToHex(Sha256Of(tar))).ok());
  const auto counts = engine_.CountPoints(kCall, zero);
  ASSERT_TRUE(counts.ok());
  EXPECT_GT(counts->all, 0U);
  EXPECT_EQ(counts->in_ring, 0U) << "measured 16";
}

TEST_F(ScriptedEngineTest, ASentReplicaIsActiveALittleLater) {
  Bytes tar;
  ASSERT_TRUE(Stream(tar).ok());
  const ReplicaRef target{.peer = kSecond, .collection = "docs", .shard = ShardId(0)};
  BytesSource source(tar);
  ASSERT_TRUE(engine_.SendShard(kCall, target, source, tar.size(), ToHex(Sha256Of(tar))).ok());
  EXPECT_EQ(engine_.ReadHealth(kCall, target)->state, ReplicaState::kPartial);
  clock_.Advance(100ms);
  EXPECT_EQ(engine_.ReadHealth(kCall, target)->state, ReplicaState::kActive);
}

TEST_F(ScriptedEngineTest, APeerThatLostItsDiskComesBackEmptyAndDead) {
  engine_.KillPeer(kFirst);
  engine_.StartPeer(kFirst, true);
  const auto health = engine_.ReadHealth(kCall, replica_);
  ASSERT_TRUE(health.ok());
  EXPECT_EQ(health->state, ReplicaState::kDead);
  EXPECT_EQ(engine_.CountPoints(kCall, replica_)->all, 0U);
}

}  // namespace
}  // namespace holdfast::testing
