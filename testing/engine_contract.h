#pragma once

// What every Engine promises, run on every kind of cluster. Include it in one test file and
// instantiate:
//   INSTANTIATE_TEST_SUITE_P(Clusters, EngineContract, Values(EngineUnderTest{...}), NameOf());

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "stream/byte_sink.h"
#include "stream/byte_source.h"
#include "stream/digest.h"
#include "stream/tar_reader.h"
#include "testing/engine/harness.h"
#include "testing/temp_folder.h"

namespace holdfast::testing {

class EngineContract : public ::testing::TestWithParam<EngineUnderTest> {
 protected:
  static constexpr Duration kPatience = std::chrono::seconds(30);

  void SetUp() override {
    std::string why_not;
    harness_ = GetParam().make(why_not);
    if (harness_ == nullptr) GTEST_SKIP() << why_not;
  }

  void TearDown() override {
    for (const std::string& name : made_) {
      const Status dropped = engine().DropCollection(call_, name);
      EXPECT_TRUE(dropped.ok()) << dropped.error().ToString();
    }
  }

  Engine& engine() { return harness_->engine(); }

  /// A name that no other test uses, e.g. with a space and an umlaut.
  std::string NewName() {
    const std::string test = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    const std::string name = "größe " + test.substr(0, test.find('/')).substr(0, 40) + " " +
                             std::to_string(made_.size());
    made_.push_back(name);
    return name;
  }

  static Collection Wanted(std::uint32_t shards, std::uint32_t replicas,
                           const std::string& more = "") {
    Collection wanted;
    wanted.create_json = R"({"vectors":{"size":4,"distance":"Dot"},"shard_number":)" +
                         std::to_string(shards) + R"(,"replication_factor":)" +
                         std::to_string(replicas) + more + "}";
    return wanted;
  }

  std::string Make(std::uint32_t shards, std::uint32_t replicas, const std::string& more = "") {
    const std::string name = NewName();
    const Status created =
        engine().CreateCollection(call_, name, Wanted(shards, replicas, more), 0);
    EXPECT_TRUE(created.ok()) << created.error().ToString();
    return name;
  }

  /// Points `from` to `to` - 1, with vectors that tell them apart.
  static std::vector<TestPoint> Points(std::uint64_t from, std::uint64_t to) {
    std::vector<TestPoint> points;
    for (std::uint64_t i = from; i < to; ++i) {
      const auto part = [i](std::uint64_t factor) {
        return static_cast<float>(1 + i * factor % 251) / 256.0F;
      };
      points.push_back({.id = std::to_string(i),
                        .vector = {part(1), part(7), part(31), part(101)},
                        .payload = R"({"n":)" + std::to_string(i) + R"(,"t":["a","b"]})"});
    }
    return points;
  }

  Collection Read(const std::string& name) {
    auto collection = engine().ReadCollection(call_, name);
    EXPECT_TRUE(collection.ok()) << collection.error().ToString();
    return collection.ok() ? *std::move(collection) : Collection();
  }

  /// Looks until `done` is true; the last look is returned either way.
  Collection ReadUntil(const std::string& name,
                       const std::function<bool(const Collection&)>& done) {
    const MonotonicTime end = harness_->clock().Monotonic() + kPatience;
    Collection collection = Read(name);
    while (!done(collection) && harness_->clock().Monotonic() < end) {
      EXPECT_TRUE(harness_->clock().SleepFor(call_, std::chrono::milliseconds(50)).ok());
      collection = Read(name);
    }
    EXPECT_TRUE(done(collection)) << name << " did not become what it should be";
    return collection;
  }

  static bool AllActive(const Collection& collection) {
    return std::ranges::all_of(collection.shards, [](const Shard& shard) {
      return !shard.replicas.empty() &&
             std::ranges::all_of(shard.replicas, [](const Replica& replica) {
               return replica.state == ReplicaState::kActive;
             });
    });
  }
  Collection ReadActive(const std::string& name) { return ReadUntil(name, &AllActive); }

  static std::vector<ReplicaRef> Replicas(const Collection& collection) {
    std::vector<ReplicaRef> replicas;
    for (const Shard& shard : collection.shards) {
      for (const Replica& replica : shard.replicas) {
        replicas.push_back(
            {.peer = replica.peer, .collection = collection.name, .shard = shard.id});
      }
    }
    return replicas;
  }

  static std::set<PeerId> PeersOf(const Collection& collection, ShardId id) {
    std::set<PeerId> peers;
    for (const Shard& shard : collection.shards) {
      if (shard.id != id) continue;
      for (const Replica& replica : shard.replicas) peers.insert(replica.peer);
    }
    return peers;
  }
  /// A peer that has no replica of the shard.
  PeerId OtherPeer(const Collection& collection, ShardId shard) {
    const auto topology = engine().ReadTopology(call_);
    EXPECT_TRUE(topology.ok()) << topology.error().ToString();
    if (!topology.ok()) return PeerId(0);
    const std::set<PeerId> taken = PeersOf(collection, shard);
    const auto other = std::ranges::find_if(
        topology->peers, [&](const Peer& peer) { return !taken.contains(peer.id); });
    EXPECT_NE(other, topology->peers.end());
    return other == topology->peers.end() ? PeerId(0) : other->id;
  }

  PointCounts Count(const ReplicaRef& replica) {
    const auto counts = engine().CountPoints(call_, replica);
    EXPECT_TRUE(counts.ok()) << counts.error().ToString();
    return counts.ok() ? *counts : PointCounts();
  }

  std::vector<std::string> Ids(const ReplicaRef& replica, std::uint32_t page = 7) {
    std::vector<std::string> ids;
    std::string after;
    for (;;) {
      const auto listed = engine().ListIds(call_, replica, after, page);
      EXPECT_TRUE(listed.ok()) << listed.error().ToString();
      if (!listed.ok() || listed->empty()) return ids;
      EXPECT_LE(listed->size(), page);
      ids.insert(ids.end(), listed->begin(), listed->end());
      after = ids.back();
    }
  }

  ReplicaHealth WaitIdle(const ReplicaRef& replica) {
    const MonotonicTime end = harness_->clock().Monotonic() + kPatience;
    for (;;) {
      const auto health = engine().ReadHealth(call_, replica);
      EXPECT_TRUE(health.ok()) << health.error().ToString();
      if (!health.ok()) return {};
      if (health->idle() || harness_->clock().Monotonic() > end) {
        EXPECT_TRUE(health->idle()) << Describe(replica);
        return *health;
      }
      EXPECT_TRUE(harness_->clock().SleepFor(call_, std::chrono::milliseconds(50)).ok());
    }
  }

  /// Instants of one capture, as they came.
  struct Watch final : public CaptureObserver {
    void OnRequest(MonotonicTime at) override { request = at; }
    void OnHeaders(MonotonicTime at) override { headers = at; }
    void OnFirstByte(MonotonicTime at) override { first_byte = at; }
    std::optional<MonotonicTime> request, headers, first_byte;
  };

  /// A stream, looked at and kept.
  struct Captured {
    Bytes tar;
    std::optional<ImageFacts> facts;
    std::vector<std::string> ids;
    Watch watch;
  };

  void Inspect(Captured& captured) {
    const auto inspector = engine().NewInspector(folder_.path().string());
    TarReader reader(*inspector);
    ASSERT_TRUE(reader.Write(call_, captured.tar).ok());
    const auto end = reader.Finish();
    ASSERT_TRUE(end.ok()) << end.error().ToString();
    auto facts = inspector->Finish(call_);
    ASSERT_TRUE(facts.ok()) << facts.error().ToString();
    captured.facts = *facts;
    if (!facts->live_points) return;
    const Status visited = inspector->VisitIds(call_, [&](std::string_view id) -> Status {
      captured.ids.emplace_back(id);
      return {};
    });
    EXPECT_TRUE(visited.ok());
    EXPECT_EQ(captured.ids.size(), *facts->live_points);
  }

  Captured Stream(const ReplicaRef& replica, const std::function<void()>& at_first_byte = {}) {
    Captured captured;
    FunctionSink sink([&](const CallContext&, ByteView bytes) -> Status {
      if (captured.tar.empty() && at_first_byte) at_first_byte();
      Append(captured.tar, bytes);
      return {};
    });
    const Status streamed = engine().StreamShard(call_, replica, {}, sink, captured.watch);
    EXPECT_TRUE(streamed.ok()) << streamed.error().ToString();
    Inspect(captured);
    return captured;
  }

  Status Send(const ReplicaRef& to, const Bytes& tar) {
    BytesSource source(tar);
    return engine().SendShard(call_, to, source, tar.size(), ToHex(Sha256Of(tar)));
  }

  std::unique_ptr<EngineHarness> harness_;
  const CallContext call_;
  TempFolder folder_;
  std::vector<std::string> made_;
};

// --- reading -------------------------------------------------------------------------------------

TEST_P(EngineContract, TheTopologyShowsPeersAndCollections) {
  const std::string name = Make(2, 2);
  ASSERT_TRUE(
      engine().CreateIndex(call_, name, {.field = "n", .schema_json = R"("integer")"}).ok());
  ASSERT_TRUE(engine()
                  .CreateIndex(call_, name, {.field = "t", .schema_json = R"({"type":"keyword"})"})
                  .ok());
  const std::string alias = NewName();
  ASSERT_TRUE(engine().SwitchAliases(call_, {{.alias = alias, .to = name}}).ok());
  harness_->Upsert(name, Points(0, 50), {});
  const Collection alone = ReadActive(name);

  const auto topology = engine().ReadTopology(call_);
  ASSERT_TRUE(topology.ok()) << topology.error().ToString();
  EXPECT_EQ(topology->engine, "qdrant");
  EXPECT_TRUE(topology->distributed);
  ASSERT_EQ(topology->peers.size(), harness_->peers());
  EXPECT_TRUE(std::ranges::is_sorted(topology->peers, {}, &Peer::id));
  for (const Peer& peer : topology->peers) {
    EXPECT_TRUE(peer.answers) << peer.trouble;
    EXPECT_FALSE(peer.version.empty());
    EXPECT_FALSE(peer.url.empty());
    EXPECT_FALSE(peer.p2p_uri.empty());
  }
  EXPECT_TRUE(std::ranges::is_sorted(topology->collections, {}, &Collection::name));
  const Collection* const found = topology->FindCollection(name);
  ASSERT_NE(found, nullptr);
  EXPECT_FALSE(found->uuid.empty());
  EXPECT_EQ(found->shard_number, 2U);
  EXPECT_EQ(found->replication_factor, 2U);
  EXPECT_FALSE(found->custom_sharding);
  EXPECT_THAT(found->aliases, ::testing::ElementsAre(alias));
  ASSERT_EQ(found->indexes.size(), 2U);
  EXPECT_EQ(found->indexes[0].field, "n");
  EXPECT_EQ(found->indexes[1].field, "t");
  EXPECT_EQ(found->points, 50U);
  EXPECT_GT(found->bytes, 0U);
  EXPECT_TRUE(AllActive(*found));
  for (std::uint32_t i = 0; i < 2; ++i) {
    EXPECT_EQ(found->shards[i].id, ShardId(i));
    EXPECT_EQ(found->shards[i].replicas.size(), 2U);
    EXPECT_TRUE(std::ranges::is_sorted(found->shards[i].replicas, {}, &Replica::peer));
  }

  // One collection alone is the same, but for the sizes, which may be left out.
  Collection cheaper = alone;
  cheaper.bytes = found->bytes;
  EXPECT_EQ(cheaper, *found);
}

TEST_P(EngineContract, ACollectionThatIsNotThereIsNotFound) {
  const auto read = engine().ReadCollection(call_, "no such collection");
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code(), ErrorCode::kNotFound);
}

TEST_P(EngineContract, ARecreatedCollectionIsAnother) {
  const std::string name = Make(1, 1);
  const std::string first = Read(name).uuid;
  ASSERT_TRUE(engine().DropCollection(call_, name).ok());
  ASSERT_TRUE(engine().CreateCollection(call_, name, Wanted(1, 1), 0).ok());
  EXPECT_NE(Read(name).uuid, first);
}

TEST_P(EngineContract, HealthTellsWhetherAReplicaWasWrittenTo) {
  const std::string name = Make(1, 1);
  harness_->Upsert(name, Points(0, 10), {});
  const ReplicaRef replica = Replicas(ReadActive(name)).front();
  const ReplicaHealth before = WaitIdle(replica);
  EXPECT_EQ(before.state, ReplicaState::kActive);
  EXPECT_GT(before.bytes, 0U);
  ASSERT_TRUE(before.update_op_num.has_value());
  const ReplicaHealth unchanged = WaitIdle(replica);
  EXPECT_EQ(unchanged.update_op_num, before.update_op_num);
  harness_->Upsert(name, Points(10, 11), {});
  EXPECT_NE(WaitIdle(replica).update_op_num, before.update_op_num);
}

TEST_P(EngineContract, TheHealthOfManyReplicasIsReadAtOnce) {
  const std::string name = Make(2, 2);
  harness_->Upsert(name, Points(0, 50), {});
  std::vector<ReplicaRef> replicas = Replicas(ReadActive(name));
  for (const ReplicaRef& replica : replicas) WaitIdle(replica);
  std::ranges::reverse(replicas);
  replicas.push_back({.peer = replicas.front().peer, .collection = "none", .shard = ShardId(0)});
  const auto healths = engine().ReadHealths(call_, replicas);
  ASSERT_TRUE(healths.ok()) << healths.error().ToString();
  ASSERT_EQ(healths->size(), 5U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ((*healths)[i].state, ReplicaState::kActive);
    EXPECT_TRUE((*healths)[i].idle());
    EXPECT_GT((*healths)[i].bytes, 0U);
  }
  EXPECT_EQ(healths->back().state, ReplicaState::kUnknown);
  EXPECT_FALSE(healths->back().calm);
}

TEST_P(EngineContract, WhatIsNotOnAPeerIsNotFoundThere) {
  const std::string name = Make(1, 1);
  ReplicaRef replica = Replicas(ReadActive(name)).front();
  const auto topology = engine().ReadTopology(call_);
  ASSERT_TRUE(topology.ok());
  const auto other = std::ranges::find_if(
      topology->peers, [&](const Peer& peer) { return peer.id != replica.peer; });
  ASSERT_NE(other, topology->peers.end());
  replica.peer = other->id;
  Watch watch;
  BytesSink sink(1 << 20);
  EXPECT_EQ(engine().ReadHealth(call_, replica).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(engine().CountPoints(call_, replica).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(engine().StreamShard(call_, replica, {}, sink, watch).error().code(),
            ErrorCode::kNotFound);
  EXPECT_TRUE(sink.bytes().empty());
  replica.peer = PeerId(4);
  EXPECT_EQ(engine().ReadHealth(call_, replica).error().code(), ErrorCode::kNotFound);
}

TEST_P(EngineContract, AllRightsAreThereWithoutKeys) {
  const std::string name = Make(1, 1);
  for (const Purpose purpose : {Purpose::kObserve, Purpose::kBackup, Purpose::kRestore}) {
    const Status checked = engine().CheckRights(call_, purpose, {name});
    EXPECT_TRUE(checked.ok()) << checked.error().ToString();
  }
  EXPECT_TRUE(Replicas(ReadActive(name)).size() == 1) << "checking changes nothing";
}

TEST_P(EngineContract, AStoppedCallIsCancelled) {
  const std::string name = Make(1, 1);
  const ReplicaRef replica = Replicas(ReadActive(name)).front();
  std::stop_source stop;
  stop.request_stop();
  const CallContext stopped{.stop = stop.get_token(), .deadline = std::nullopt};
  Watch watch;
  BytesSink sink(1 << 20);
  EXPECT_EQ(engine().ReadTopology(stopped).error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(engine().ReadHealth(stopped, replica).error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(engine().StreamShard(stopped, replica, {}, sink, watch).error().code(),
            ErrorCode::kCancelled);
}

// --- points --------------------------------------------------------------------------------------

TEST_P(EngineContract, IdsComeInPagesNumbersBeforeUuids) {
  const std::string name = Make(1, 1);
  std::vector<TestPoint> points = Points(0, 20);
  const std::string low = R"("00000000-0000-0000-0000-000000000001")";
  const std::string high = R"("fedcba98-7654-3210-0000-000000000000")";
  points.push_back({.id = high, .vector = {1, 0, 0, 0}});
  points.push_back({.id = low, .vector = {1, 0, 0, 0}});
  harness_->Upsert(name, points, {});
  const ReplicaRef replica = Replicas(ReadActive(name)).front();
  std::vector<std::string> wanted;
  for (int i = 0; i < 20; ++i) wanted.push_back(std::to_string(i));
  wanted.push_back(low);
  wanted.push_back(high);
  EXPECT_EQ(Ids(replica, 1), wanted);
  EXPECT_EQ(Ids(replica, 7), wanted);
  EXPECT_EQ(Ids(replica, 1000), wanted);
  const auto after = engine().ListIds(call_, replica, "17", 2);
  ASSERT_TRUE(after.ok()) << after.error().ToString();
  EXPECT_THAT(*after, ::testing::ElementsAre("18", "19"));
  const auto after_none =
      engine().ListIds(call_, replica, R"("00000000-0000-0000-0000-0000000000ff")", 2);
  ASSERT_TRUE(after_none.ok()) << after_none.error().ToString();
  EXPECT_THAT(*after_none, ::testing::ElementsAre(high));
}

TEST_P(EngineContract, PointsAreReadInTheOrderAskedFor) {
  const std::string name = Make(1, 1);
  harness_->Upsert(name, Points(0, 5), {});
  const ReplicaRef replica = Replicas(ReadActive(name)).front();
  const auto points = engine().ReadPoints(call_, replica, {"3", "77", "1"});
  ASSERT_TRUE(points.ok()) << points.error().ToString();
  ASSERT_EQ(points->size(), 2U);
  EXPECT_EQ((*points)[0].id_json, "3");
  EXPECT_EQ((*points)[1].id_json, "1");
  EXPECT_THAT((*points)[0].point_json, ::testing::HasSubstr(R"("payload":{"n":3,"t":["a","b"]})"));
  EXPECT_THAT((*points)[0].point_json, ::testing::HasSubstr(R"("vector":[0.015625,)"));
}

TEST_P(EngineContract, EveryPointBelongsToTheRingOfItsShard) {
  const std::string name = Make(3, 2);
  harness_->Upsert(name, Points(0, 200), {});
  std::uint64_t all = 0;
  for (const ReplicaRef& replica : Replicas(ReadActive(name))) {
    const PointCounts counts = Count(replica);
    EXPECT_EQ(counts.all, counts.in_ring);
    EXPECT_EQ(counts.all, Ids(replica, 1000).size());
    all += counts.all;
  }
  EXPECT_EQ(all, 2 * 200U);
}

TEST_P(EngineContract, GoldenQueriesAreAnsweredTheSameEveryTime) {
  const std::string name = Make(2, 1);
  harness_->Upsert(name, Points(0, 100), {});
  const Collection collection = ReadActive(name);
  std::vector<SampledPoint> samples;
  for (const ReplicaRef& replica : Replicas(collection)) {
    const auto points = engine().ReadPoints(call_, replica, {"1", "2", "3"});
    ASSERT_TRUE(points.ok()) << points.error().ToString();
    samples.insert(samples.end(), points->begin(), points->end());
  }
  ASSERT_EQ(samples.size(), 3U);
  const auto queries = engine().ProposeQueries(call_, collection, samples);
  ASSERT_TRUE(queries.ok()) << queries.error().ToString();
  ASSERT_EQ(queries->size(), 1U);
  const auto first = engine().Ask(call_, name, queries->front());
  ASSERT_TRUE(first.ok()) << first.error().ToString();
  EXPECT_EQ(first->ids.size(), 10U);
  EXPECT_EQ(first->scores.size(), 10U);
  EXPECT_TRUE(std::ranges::is_sorted(first->scores, std::greater()));
  const auto second = engine().Ask(call_, name, *first);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->ids, first->ids);
  EXPECT_EQ(second->scores, first->scores);
  const auto none = engine().ProposeQueries(call_, collection, {});
  ASSERT_TRUE(none.ok());
  EXPECT_TRUE(none->empty());
}

// --- capture -------------------------------------------------------------------------------------

TEST_P(EngineContract, AStreamIsACompleteImageWithTheReplicasPoints) {
  const std::string name = Make(2, 1);
  harness_->Upsert(name, Points(0, 100), {});
  harness_->Delete(name, {"4", "5", "6"}, {});
  harness_->Upsert(name, Points(5, 6), {});
  const Collection collection = ReadActive(name);
  const auto layout = engine().LayoutOf(collection);
  ASSERT_TRUE(layout.ok()) << layout.error().ToString();
  std::set<std::string> all;
  for (const ReplicaRef& replica : Replicas(collection)) {
    WaitIdle(replica);
    const Captured captured = Stream(replica);
    ASSERT_TRUE(captured.facts.has_value());
    EXPECT_EQ(captured.facts->peer, replica.peer);
    EXPECT_GT(captured.facts->segments, 0U);
    const Status fits = engine().CheckLayout(captured.facts->layout_json, *layout);
    EXPECT_TRUE(fits.ok()) << fits.error().ToString();
    ASSERT_TRUE(captured.facts->live_points.has_value());
    EXPECT_EQ(captured.ids, Ids(replica, 1000));
    all.insert(captured.ids.begin(), captured.ids.end());
    ASSERT_TRUE(captured.watch.request && captured.watch.headers && captured.watch.first_byte);
    EXPECT_LE(*captured.watch.request, *captured.watch.headers);
    EXPECT_LE(*captured.watch.headers, *captured.watch.first_byte);
  }
  EXPECT_EQ(all.size(), 98U);
}

TEST_P(EngineContract, WhatIsWrittenAfterTheFirstByteIsNotInTheImage) {
  const std::string name = Make(1, 1);
  harness_->Upsert(name, Points(0, 50), {});
  const ReplicaRef replica = Replicas(ReadActive(name)).front();
  WaitIdle(replica);
  const Captured captured =
      Stream(replica, [&] { harness_->Upsert(name, Points(1000, 1010), {}); });
  ASSERT_TRUE(captured.facts && captured.facts->live_points);
  EXPECT_EQ(*captured.facts->live_points, 50U);
  EXPECT_EQ(Count(replica).all, 60U);
}

TEST_P(EngineContract, AnEmptyShardIsAnImageWithoutPoints) {
  const std::string name = Make(1, 1);
  const Captured captured = Stream(Replicas(ReadActive(name)).front());
  ASSERT_TRUE(captured.facts && captured.facts->live_points);
  EXPECT_EQ(*captured.facts->live_points, 0U);
}

TEST_P(EngineContract, AnErrorOfTheSinkEndsTheStreamWithIt) {
  const std::string name = Make(1, 1);
  harness_->Upsert(name, Points(0, 50), {});
  const ReplicaRef replica = Replicas(ReadActive(name)).front();
  Watch watch;
  FunctionSink full([](const CallContext&, ByteView) -> Status {
    return Error(ErrorCode::kResourceExhausted, "no room");
  });
  const Status streamed = engine().StreamShard(call_, replica, {}, full, watch);
  ASSERT_FALSE(streamed.ok());
  EXPECT_EQ(streamed.error().code(), ErrorCode::kResourceExhausted);
  // The replica is free for the next one.
  EXPECT_TRUE(Stream(replica).facts.has_value());
}

TEST_P(EngineContract, StoredSnapshotsUnpackToImages) {
  const std::string name = Make(2, 1);
  harness_->Upsert(name, Points(0, 100), {});
  const ReplicaRef replica = Replicas(ReadActive(name)).front();
  WaitIdle(replica);
  for (const bool whole : {false, true}) {
    SCOPED_TRACE(whole ? "of the collection" : "of the shard");
    Captured captured;
    const auto made = engine().CreateSnapshot(call_, replica.peer, name,
                                              whole ? std::nullopt : std::optional(replica.shard),
                                              captured.watch);
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    EXPECT_EQ(made->peer, replica.peer);
    EXPECT_EQ(made->collection, name);
    EXPECT_GT(made->bytes, 0U);
    EXPECT_EQ(made->sha256.size(), 64U);
    EXPECT_TRUE(made->created_at.has_value());
    ASSERT_TRUE(captured.watch.request && captured.watch.first_byte);
    EXPECT_LE(*captured.watch.request, *captured.watch.first_byte);

    const auto is_there = [&] {
      const auto list = engine().ListSnapshots(call_, replica.peer, name);
      EXPECT_TRUE(list.ok()) << list.error().ToString();
      return list.ok() && std::ranges::any_of(*list, [&](const StoredSnapshot& snapshot) {
               return snapshot.name == made->name && snapshot.shard == made->shard &&
                      snapshot.bytes == made->bytes;
             });
    };
    EXPECT_TRUE(is_there());

    FunctionSink keep([&](const CallContext&, ByteView bytes) -> Status {
      Append(captured.tar, bytes);
      return {};
    });
    const auto unpacker = engine().UnpackStored(keep, whole, replica.shard, replica.peer);
    const Status downloaded = engine().DownloadSnapshot(call_, *made, {}, *unpacker);
    ASSERT_TRUE(downloaded.ok()) << downloaded.error().ToString();
    const Status finished = unpacker->Finish(call_);
    ASSERT_TRUE(finished.ok()) << finished.error().ToString();
    Inspect(captured);
    ASSERT_TRUE(captured.facts.has_value());
    EXPECT_EQ(captured.facts->peer, replica.peer);
    EXPECT_TRUE(!captured.facts->live_points || captured.ids == Ids(replica, 1000));
    EXPECT_EQ(captured.facts->live_points.has_value(), !whole) << "a log may hold more";

    EXPECT_TRUE(engine().DeleteSnapshot(call_, *made).ok());
    EXPECT_FALSE(is_there());
    EXPECT_TRUE(engine().DeleteSnapshot(call_, *made).ok()) << "gone is gone";
    const Status gone = engine().DownloadSnapshot(call_, *made, {}, keep);
    ASSERT_FALSE(gone.ok());
    EXPECT_EQ(gone.error().code(), ErrorCode::kNotFound);
  }
}

// --- restore -------------------------------------------------------------------------------------

TEST_P(EngineContract, ACollectionIsMadeAgainFromItsDescription) {
  const std::string name = Make(2, 1, R"(,"hnsw_config":{"m":24},"on_disk_payload":false)");
  const Collection original = ReadActive(name);
  const std::string again = NewName();
  ASSERT_TRUE(engine().CreateCollection(call_, again, original, 0).ok());
  const Collection made = ReadActive(again);
  EXPECT_EQ(made.create_json, original.create_json);
  EXPECT_EQ(made.shard_number, original.shard_number);
  EXPECT_NE(made.uuid, original.uuid);
  const Status twice = engine().CreateCollection(call_, again, original, 0);
  ASSERT_FALSE(twice.ok());
  EXPECT_EQ(twice.error().code(), ErrorCode::kAlreadyExists);
  const std::string doubled = NewName();
  ASSERT_TRUE(engine().CreateCollection(call_, doubled, original, 2).ok());
  const Collection more = ReadActive(doubled);
  EXPECT_EQ(more.replication_factor, 2U);
  EXPECT_EQ(Replicas(more).size(), 4U);
}

TEST_P(EngineContract, DroppingWhatIsNotThereIsFine) {
  EXPECT_TRUE(engine().DropCollection(call_, "no such collection").ok());
}

TEST_P(EngineContract, AnImageBringsBackWhatTheShardHad) {
  const std::string name = Make(2, 1);
  harness_->Upsert(name, Points(0, 100), {});
  harness_->Delete(name, {"10", "11"}, {});
  const Collection original = ReadActive(name);
  const auto layout = engine().LayoutOf(original);
  ASSERT_TRUE(layout.ok());
  std::vector<SampledPoint> samples;
  std::map<ShardId, Captured> images;
  for (const ReplicaRef& replica : Replicas(original)) {
    WaitIdle(replica);
    images[replica.shard] = Stream(replica);
    const auto points = engine().ReadPoints(call_, replica, {"1", "2", "3", "4", "5"});
    ASSERT_TRUE(points.ok());
    samples.insert(samples.end(), points->begin(), points->end());
  }
  const auto queries = engine().ProposeQueries(call_, original, samples);
  ASSERT_TRUE(queries.ok());
  const auto golden = engine().Ask(call_, name, queries->front());
  ASSERT_TRUE(golden.ok());

  const std::string restored = NewName();
  ASSERT_TRUE(engine().CreateCollection(call_, restored, original, 2).ok());
  for (const ReplicaRef& target : Replicas(ReadActive(restored))) {
    const Status sent = Send(target, images.at(target.shard).tar);
    ASSERT_TRUE(sent.ok()) << sent.error().ToString();
  }
  const Collection now = ReadActive(restored);
  std::uint64_t compared = 0;
  for (const ReplicaRef& replica : Replicas(now)) {
    const Captured& image = images.at(replica.shard);
    EXPECT_EQ(Count(replica).all, image.ids.size());
    EXPECT_EQ(Count(replica).in_ring, image.ids.size());
    EXPECT_EQ(Ids(replica, 1000), image.ids);
    for (const SampledPoint& sample : samples) {
      const auto points = engine().ReadPoints(call_, replica, {sample.id_json});
      ASSERT_TRUE(points.ok());
      for (const SampledPoint& point : *points) {
        EXPECT_EQ(point.point_json, sample.point_json);
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, 2 * samples.size());
  const auto answer = engine().Ask(call_, restored, *golden);
  ASSERT_TRUE(answer.ok()) << answer.error().ToString();
  EXPECT_EQ(answer->ids, golden->ids);
  EXPECT_EQ(answer->scores, golden->scores);

  // Tombstones: what the image has too many is deleted afterwards.
  ASSERT_TRUE(engine().DeletePoints(call_, restored, {}, {"1", "2", "999"}).ok());
  for (const ReplicaRef& replica : Replicas(now)) {
    const auto points = engine().ReadPoints(call_, replica, {"1", "2"});
    ASSERT_TRUE(points.ok());
    EXPECT_TRUE(points->empty());
  }
}

/// What the simulated cluster has not: it keeps one unnamed vector a point.
class VectorsContract : public EngineContract {};

TEST_P(VectorsContract, EveryKindOfVectorComesBack) {
  const std::string name = NewName();
  Collection wanted;
  wanted.create_json = R"({"vectors":{
      "text":{"size":4,"distance":"Cosine","on_disk":true,"hnsw_config":{"m":8}},
      "img":{"size":2,"distance":"Euclid","datatype":"uint8"},
      "colbert":{"size":2,"distance":"Dot","multivector_config":{"comparator":"max_sim"}}},
    "sparse_vectors":{"bm25":{"modifier":"idf"}},"shard_number":2,
    "quantization_config":{"scalar":{"type":"int8","always_ram":true}},
    "optimizers_config":{"indexing_threshold":1}})";
  const Status created = engine().CreateCollection(call_, name, wanted, 0);
  ASSERT_TRUE(created.ok()) << created.error().ToString();
  std::vector<TestPoint> points = Points(0, 300);
  for (TestPoint& point : points) {
    const std::string n = std::to_string(1 + std::stoi(point.id) % 97);
    point.vectors_json = R"({"text":[0.)" + n + R"(,0.25,0.5,)" + point.id + R"(.5],"img":[)" + n +
                         R"(,7],"colbert":[[0.)" + n + R"(,0.5],[0.25,0.)" + n +
                         R"(]],"bm25":{"indices":[)" + n + R"(,1000],"values":[0.5,0.25]}})";
  }
  harness_->Upsert(name, points, {});
  const Collection original = ReadActive(name);
  const auto layout = engine().LayoutOf(original);
  ASSERT_TRUE(layout.ok()) << layout.error().ToString();
  std::map<ShardId, Captured> images;
  std::vector<SampledPoint> samples;
  for (const ReplicaRef& replica : Replicas(original)) {
    WaitIdle(replica);
    images[replica.shard] = Stream(replica);
    ASSERT_TRUE(images[replica.shard].facts && images[replica.shard].facts->live_points);
    EXPECT_EQ(images[replica.shard].ids, Ids(replica, 1000));
    const Status fits = engine().CheckLayout(images[replica.shard].facts->layout_json, *layout);
    EXPECT_TRUE(fits.ok()) << fits.error().ToString();
    const auto read = engine().ReadPoints(call_, replica, {"5", "6", "7", "8"});
    ASSERT_TRUE(read.ok());
    samples.insert(samples.end(), read->begin(), read->end());
  }
  const auto queries = engine().ProposeQueries(call_, original, samples);
  ASSERT_TRUE(queries.ok()) << queries.error().ToString();
  ASSERT_EQ(queries->size(), 4U) << "one for each vector";

  const std::string restored = NewName();
  const Status again = engine().CreateCollection(call_, restored, original, 0);
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_EQ(Read(restored).create_json, original.create_json);
  for (const ReplicaRef& target : Replicas(ReadActive(restored))) {
    const Status sent = Send(target, images.at(target.shard).tar);
    ASSERT_TRUE(sent.ok()) << sent.error().ToString();
  }
  for (const ReplicaRef& replica : Replicas(ReadActive(restored))) {
    EXPECT_EQ(Count(replica).in_ring, images.at(replica.shard).ids.size());
    for (const SampledPoint& sample : samples) {
      const auto read = engine().ReadPoints(call_, replica, {sample.id_json});
      ASSERT_TRUE(read.ok());
      for (const SampledPoint& point : *read) EXPECT_EQ(point.point_json, sample.point_json);
    }
  }
  for (const GoldenQuery& query : *queries) {
    const auto before = engine().Ask(call_, name, query);
    const auto after = engine().Ask(call_, restored, query);
    ASSERT_TRUE(before.ok()) << before.error().ToString();
    ASSERT_TRUE(after.ok()) << after.error().ToString();
    ASSERT_FALSE(before->ids.empty()) << query.request_json;
    ASSERT_EQ(before->scores.size(), after->scores.size());
    for (std::size_t i = 0; i < before->scores.size(); ++i) {
      EXPECT_NEAR(before->scores[i], after->scores[i], 1e-5) << query.request_json;
    }
  }
}

TEST_P(EngineContract, AnImageWithAnotherChecksumIsRefusedAndChangesNothing) {
  const std::string name = Make(1, 1);
  harness_->Upsert(name, Points(0, 20), {});
  const ReplicaRef replica = Replicas(ReadActive(name)).front();
  WaitIdle(replica);
  const Captured captured = Stream(replica);
  harness_->Upsert(name, Points(20, 30), {});
  Bytes damaged = captured.tar;
  damaged[damaged.size() / 2] ^= std::byte{1};
  BytesSource source(damaged);
  const Status sent =
      engine().SendShard(call_, replica, source, damaged.size(), ToHex(Sha256Of(captured.tar)));
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.error().code(), ErrorCode::kDataLoss) << sent.error().ToString();
  EXPECT_EQ(Count(replica).all, 30U);
}

TEST_P(EngineContract, AnyShardCanGoToAnyPeer) {
  const std::string name = Make(1, 1);
  harness_->Upsert(name, Points(0, 20), {});
  const ReplicaRef replica = Replicas(ReadActive(name)).front();
  WaitIdle(replica);
  const Captured captured = Stream(replica);
  const auto topology = engine().ReadTopology(call_);
  ASSERT_TRUE(topology.ok());
  const auto other = std::ranges::find_if(
      topology->peers, [&](const Peer& peer) { return peer.id != replica.peer; });
  ASSERT_NE(other, topology->peers.end());
  ReplicaRef target = replica;
  target.peer = other->id;
  const Status sent = Send(target, captured.tar);
  ASSERT_TRUE(sent.ok()) << sent.error().ToString();
  ReadUntil(name, [](const Collection& now) {
    return AllActive(now) && now.shards.front().replicas.size() == 2;
  });
  EXPECT_EQ(Count(target).all, 20U);
  const Status dropped = engine().DropReplica(call_, replica);
  ASSERT_TRUE(dropped.ok()) << dropped.error().ToString();
  const Collection now = ReadUntil(name, [](const Collection& collection) {
    return collection.shards.front().replicas.size() == 1;
  });
  EXPECT_EQ(now.shards.front().replicas.front().peer, target.peer);
}

TEST_P(EngineContract, ShardKeysAreMadeWithTheIdsTheyHad) {
  const std::string name = Make(2, 1, R"(,"sharding_method":"custom")");
  EXPECT_TRUE(Read(name).custom_sharding);
  EXPECT_TRUE(Read(name).shards.empty());
  const ShardKey text = std::string("1");
  const ShardKey number = std::uint64_t{1};
  const auto topology = engine().ReadTopology(call_);
  ASSERT_TRUE(topology.ok());
  const PeerId first = topology->peers.front().id;
  ASSERT_TRUE(
      engine().CreateShardKey(call_, name, {.key = text, .shards = 2, .placement = {}}).ok());
  ASSERT_TRUE(engine()
                  .CreateShardKey(call_, name, {.key = number, .shards = 1, .placement = {first}})
                  .ok());
  const Collection made = ReadActive(name);
  EXPECT_THAT(made.shard_keys, ::testing::ElementsAre(text, number));
  ASSERT_EQ(made.shards.size(), 3U);
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(made.shards[i].id, ShardId(i + 1));
    EXPECT_EQ(made.shards[i].key, i < 2 ? text : number);
  }
  EXPECT_EQ(made.shards[2].replicas.front().peer, first);
  const Status twice = engine().CreateShardKey(call_, name, {.key = text, .placement = {}});
  ASSERT_FALSE(twice.ok());
  EXPECT_EQ(twice.error().code(), ErrorCode::kAlreadyExists);

  harness_->Upsert(name, Points(0, 10), text);
  harness_->Upsert(name, Points(0, 5), number);
  ASSERT_TRUE(engine().DeletePoints(call_, name, number, {"0"}).ok());
  EXPECT_EQ(Count({.peer = first, .collection = name, .shard = ShardId(3)}).all, 4U);
  std::uint64_t under_text = 0;
  for (const ReplicaRef& replica : Replicas(made)) {
    if (replica.shard == ShardId(3)) continue;
    const PointCounts counts = Count(replica);
    EXPECT_EQ(counts.all, counts.in_ring);
    under_text += counts.all;
  }
  EXPECT_EQ(under_text, 10U);

  ASSERT_TRUE(engine().DropShardKey(call_, name, text).ok());
  const Collection left = ReadActive(name);
  EXPECT_THAT(left.shard_keys, ::testing::ElementsAre(number));
  ASSERT_EQ(left.shards.size(), 1U);
  EXPECT_EQ(left.shards.front().id, ShardId(3));
}

TEST_P(EngineContract, AliasesSwitchTogetherOrNotAtAll) {
  const std::string first = Make(1, 1);
  const std::string second = Make(1, 1);
  const std::string reads = NewName();
  const std::string writes = NewName();
  ASSERT_TRUE(
      engine()
          .SwitchAliases(call_, {{.alias = reads, .to = first}, {.alias = writes, .to = first}})
          .ok());
  EXPECT_THAT(Read(first).aliases, ::testing::UnorderedElementsAre(reads, writes));
  const Status half = engine().SwitchAliases(
      call_, {{.alias = reads, .to = second}, {.alias = writes, .to = "none"}});
  ASSERT_FALSE(half.ok());
  EXPECT_EQ(half.error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(Read(first).aliases, ::testing::UnorderedElementsAre(reads, writes));
  ASSERT_TRUE(
      engine()
          .SwitchAliases(call_, {{.alias = reads, .to = second}, {.alias = writes, .to = second}})
          .ok());
  EXPECT_THAT(Read(first).aliases, ::testing::IsEmpty());
  EXPECT_THAT(Read(second).aliases, ::testing::UnorderedElementsAre(reads, writes));
  const Status taken = engine().CreateCollection(call_, reads, Wanted(1, 1), 0);
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().code(), ErrorCode::kAlreadyExists);
}

TEST_P(EngineContract, TheLastSettingsAreApplied) {
  const std::string name = Make(1, 1);
  Collection as = Read(name);
  as.finish_json = "{}";
  EXPECT_TRUE(engine().FinishCollection(call_, name, as).ok());
  EXPECT_EQ(Read(name).finish_json, "{}");
  as.finish_json = R"({"params":{"read_fan_out_factor":1},)"
                   R"("strict_mode_config":{"enabled":true,"max_query_limit":50}})";
  const Status finished = engine().FinishCollection(call_, name, as);
  ASSERT_TRUE(finished.ok()) << finished.error().ToString();
  ReadUntil(name, [&](const Collection& now) { return now.finish_json == as.finish_json; });
  EXPECT_EQ(Read(name).finish_json, as.finish_json);
}

TEST_P(EngineContract, MetadataOfTheClusterIsWrittenAndRead) {
  const std::string key = "holdfast contract/key %";
  const auto value = [&]() -> std::string {
    const auto topology = engine().ReadTopology(call_);
    if (!topology.ok()) return topology.error().ToString();
    const auto found = topology->metadata.find(key);
    return found == topology->metadata.end() ? "absent" : found->second;
  };
  for (const std::string want : {R"({"a":[1,"x"]})", "17"}) {
    const Status set = engine().SetMetadata(call_, key, want);
    ASSERT_TRUE(set.ok()) << set.error().ToString();
    for (int i = 0; i < 100 && value() != want; ++i) {
      ASSERT_TRUE(SystemClock().SleepFor(call_, std::chrono::milliseconds(20)).ok());
    }
    EXPECT_EQ(value(), want);
  }
}

// --- a node that is gone -------------------------------------------------------------------------

TEST_P(EngineContract, ADeadPeerIsShownAndTheRestIsServed) {
  const std::string name = Make(2, 2);
  harness_->Upsert(name, Points(0, 50), {});
  const Collection before = ReadActive(name);
  const PeerId dead = before.shards.front().replicas.front().peer;
  harness_->KillPeer(dead);

  const auto topology = engine().ReadTopology(call_);
  ASSERT_TRUE(topology.ok()) << topology.error().ToString();
  const Peer* const peer = topology->FindPeer(dead);
  ASSERT_NE(peer, nullptr);
  EXPECT_FALSE(peer->answers);
  EXPECT_FALSE(peer->trouble.empty());
  EXPECT_NE(topology->FindCollection(name), nullptr);
  EXPECT_EQ(Read(name).indexes, before.indexes);
  for (const ReplicaRef& replica : Replicas(before)) {
    if (replica.peer == dead) {
      EXPECT_EQ(engine().ReadHealth(call_, replica).error().code(), ErrorCode::kUnavailable);
      Watch watch;
      BytesSink sink(1 << 20);
      EXPECT_EQ(engine().StreamShard(call_, replica, {}, sink, watch).error().code(),
                ErrorCode::kUnavailable);
    } else {
      WaitIdle(replica);
      EXPECT_TRUE(Stream(replica).facts.has_value()) << "another replica serves";
    }
  }

  harness_->StartPeer(dead);
  const auto again = engine().ReadTopology(call_);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->FindPeer(dead)->answers) << again->FindPeer(dead)->trouble;
  ReadActive(name);
  const auto health = engine().ReadHealth(call_, Replicas(before).front());
  EXPECT_TRUE(health.ok()) << health.error().ToString();
}

/// Names of parameters for INSTANTIATE_TEST_SUITE_P.
struct EngineName {
  std::string operator()(const ::testing::TestParamInfo<EngineUnderTest>& info) const {
    return info.param.name;
  }
};

}  // namespace holdfast::testing
