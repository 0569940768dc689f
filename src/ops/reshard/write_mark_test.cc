#include "ops/reshard/write_mark.h"

#include <gtest/gtest.h>

#include "testing/fake_clock.h"
#include "testing/scripted_engine.h"

namespace holdfast {
namespace {

class WriteMarkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::ScriptedCollection plain;
    plain.shards = 2;
    plain.replication_factor = 2;
    engine_.AddCollection("docs", plain);
    engine_.Fill("docs", 0, 20);
  }
  WriteMark Read() {
    const auto mark = ReadMark({}, engine_, "docs");
    EXPECT_TRUE(mark.ok()) << mark.error().ToString();
    return mark.ok() ? *mark : WriteMark();
  }
  ReplicaRef Replica(std::size_t shard, std::size_t replica) {
    const Topology now = engine_.Now();
    const Shard& found = now.FindCollection("docs")->shards[shard];
    return {.peer = found.replicas[replica].peer, .collection = "docs", .shard = found.id};
  }

  testing::FakeClock clock_;
  testing::ScriptedEngine engine_{clock_};
};

TEST_F(WriteMarkTest, NothingWrittenIsProvenQuiet) {
  const WriteMark before = Read();
  EXPECT_EQ(before.silent, 0U);
  const WriteMark after = Read();
  EXPECT_TRUE(ProvesQuiet(before, after));
  EXPECT_FALSE(ProvesWrites(before, after));
}

TEST_F(WriteMarkTest, OneWriteIsProven) {
  const WriteMark before = Read();
  engine_.Upsert("docs", "3");
  EXPECT_TRUE(ProvesWrites(before, Read()));
  EXPECT_FALSE(ProvesQuiet(before, Read()));
}

TEST_F(WriteMarkTest, WhatWaitsIsNotQuiet) {
  engine_.SetUpdateQueue(Replica(0, 0), 1, 0);
  const WriteMark waiting = Read();
  EXPECT_EQ(waiting.pending, 1U);
  EXPECT_FALSE(ProvesQuiet(waiting, Read()));
  EXPECT_FALSE(ProvesWrites(waiting, Read()));
}

TEST_F(WriteMarkTest, OneReplicaThatTellsIsEnough) {
  const WriteMark before = Read();
  engine_.KillPeer(Replica(0, 0).peer);
  const WriteMark after = Read();
  EXPECT_TRUE(ProvesQuiet(before, after));
  engine_.KillPeer(Replica(0, 1).peer);
  const WriteMark silent = Read();
  EXPECT_GT(silent.silent, 0U);
  EXPECT_FALSE(ProvesQuiet(before, silent));
  EXPECT_FALSE(ProvesQuiet(silent, silent));
  EXPECT_FALSE(ProvesWrites(before, silent));
}

TEST_F(WriteMarkTest, AReplicaThatIsNotActiveSaysNothing) {
  const WriteMark before = Read();
  engine_.SetReplicaState(Replica(0, 0), ReplicaState::kDead);
  EXPECT_TRUE(ProvesQuiet(before, Read()));
  engine_.SetReplicaState(Replica(0, 1), ReplicaState::kPartial);
  EXPECT_FALSE(ProvesQuiet(before, Read()));
}

TEST_F(WriteMarkTest, AnotherCollectionOfTheNameIsRefused) {
  const WriteMark before = Read();
  engine_.Recreate("docs");
  const auto now = ReadMark({}, engine_, "docs", before.uuid);
  ASSERT_FALSE(now.ok());
  EXPECT_EQ(now.error().code(), ErrorCode::kFailedPrecondition);
}

TEST_F(WriteMarkTest, AMarkComesBackFromItsJson) {
  const WriteMark mark = Read();
  const auto again = WriteMarkFromJson(WriteMarkToJson(mark));
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_TRUE(ProvesQuiet(mark, *again));
  EXPECT_EQ(WriteMarkToJson(*again), WriteMarkToJson(mark));
  for (const char* broken : {"", "{}",
                             R"({"uuid":"","pending":0,"shards":[{"shard":0,)"
                             R"("operations":[[1]]}]})"}) {
    EXPECT_FALSE(WriteMarkFromJson(broken).ok()) << broken;
  }
}

}  // namespace
}  // namespace holdfast
