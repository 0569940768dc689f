#pragma once

// The part of the engines' contract that is about transfers. Include it beside engine_contract.h.

#include "testing/engine_contract.h"

namespace holdfast::testing {

TEST_P(EngineContract, AShardMovesWithItsPoints) {
  const std::string name = Make(2, 1);
  harness_->Upsert(name, Points(0, 300), {});
  harness_->Delete(name, {"3", "4", "5"}, {});
  const Collection before = ReadActive(name);
  const ReplicaRef source = Replicas(before).front();
  const std::vector<std::string> ids = Ids(source, 100);
  const TransferRef move{.collection = name,
                         .shard = source.shard,
                         .from = source.peer,
                         .to = OtherPeer(before, source.shard)};
  const Status started = engine().StartTransfer(call_, move, TransferKind::kMove);
  ASSERT_TRUE(started.ok()) << started.error().ToString();
  for (const ShardTransfer& listed : Read(name).transfers) {
    EXPECT_TRUE(IsTransfer(listed, move));
    EXPECT_FALSE(listed.method.empty());
    const TransferProgress progress = engine().ProgressOf(listed);
    EXPECT_LE(progress.points_done, progress.points_total);
  }
  const Collection after = ReadUntil(name, [&](const Collection& now) {
    return now.transfers.empty() && AllActive(now) && PeersOf(now, source.shard).size() == 1 &&
           PeersOf(now, source.shard).contains(move.to);
  });
  EXPECT_EQ(Ids({.peer = move.to, .collection = name, .shard = source.shard}, 100), ids);
  EXPECT_EQ(after.points, 297U);
}

TEST_P(EngineContract, AShardGetsAnotherReplica) {
  const std::string name = Make(1, 1);
  harness_->Upsert(name, Points(0, 100), {});
  const Collection before = ReadActive(name);
  const ReplicaRef source = Replicas(before).front();
  const TransferRef copy{.collection = name,
                         .shard = source.shard,
                         .from = source.peer,
                         .to = OtherPeer(before, source.shard)};
  const Status started = engine().StartTransfer(call_, copy, TransferKind::kReplicate);
  ASSERT_TRUE(started.ok()) << started.error().ToString();
  ReadUntil(name, [&](const Collection& now) {
    return now.transfers.empty() && AllActive(now) && PeersOf(now, source.shard).size() == 2;
  });
  EXPECT_EQ(Ids({.peer = copy.to, .collection = name, .shard = source.shard}), Ids(source));
  harness_->Upsert(name, Points(100, 110), {});
  for (const ReplicaRef& replica : Replicas(ReadActive(name))) {
    EXPECT_EQ(Count(replica).all, 110U) << Describe(replica);
  }
}

TEST_P(EngineContract, ATransferThatCannotBeIsRefusedAndChangesNothing) {
  const std::string name = Make(1, 2);
  harness_->Upsert(name, Points(0, 50), {});
  const Collection before = ReadActive(name);
  const ReplicaRef source = Replicas(before).front();
  const PeerId second = Replicas(before).back().peer;
  const PeerId other = OtherPeer(before, source.shard);
  const auto refused = [&](PeerId from, PeerId to, TransferKind kind) {
    const Status started = engine().StartTransfer(
        call_, {.collection = name, .shard = source.shard, .from = from, .to = to}, kind);
    ASSERT_FALSE(started.ok());
    EXPECT_EQ(started.error().code(), ErrorCode::kFailedPrecondition) << started.error().ToString();
  };
  refused(source.peer, second, TransferKind::kMove);
  refused(source.peer, second, TransferKind::kReplicate);
  refused(other, other, TransferKind::kReplicate);
  refused(source.peer, PeerId(4), TransferKind::kReplicate);
  const Collection after = ReadActive(name);
  EXPECT_EQ(after.shards, before.shards);
  EXPECT_TRUE(after.transfers.empty());
  const Status nowhere = engine().StartTransfer(
      call_,
      {.collection = "no such collection", .shard = source.shard, .from = source.peer, .to = other},
      TransferKind::kMove);
  ASSERT_FALSE(nowhere.ok());
  EXPECT_EQ(nowhere.error().code(), ErrorCode::kNotFound) << nowhere.error().ToString();
}

TEST_P(EngineContract, AnAbortedTransferIsGoneAndTheSourceWhole) {
  for (const TransferKind kind : {TransferKind::kMove, TransferKind::kReplicate}) {
    const std::string name = Make(1, 1);
    harness_->Upsert(name, Points(0, 400), {});
    const Collection before = ReadActive(name);
    const ReplicaRef source = Replicas(before).front();
    const TransferRef transfer{.collection = name,
                               .shard = source.shard,
                               .from = source.peer,
                               .to = OtherPeer(before, source.shard)};
    const Status none = engine().AbortTransfer(call_, transfer);
    EXPECT_TRUE(none.ok()) << none.error().ToString();
    ASSERT_TRUE(engine().StartTransfer(call_, transfer, kind).ok());
    const Status aborted = engine().AbortTransfer(call_, transfer);
    ASSERT_TRUE(aborted.ok()) << aborted.error().ToString();
    const Collection after = ReadUntil(name, [&](const Collection& now) {
      return std::ranges::none_of(
          now.transfers, [&](const ShardTransfer& listed) { return IsTransfer(listed, transfer); });
    });
    // A fast server may have been done before.
    const bool moved = !PeersOf(after, source.shard).contains(source.peer);
    EXPECT_EQ(
        Count(
            {.peer = moved ? transfer.to : source.peer, .collection = name, .shard = source.shard})
            .all,
        400U);
    if (!moved && PeersOf(after, source.shard).contains(transfer.to)) {
      const Status dropped = engine().DropReplica(
          call_, {.peer = transfer.to, .collection = name, .shard = source.shard});
      EXPECT_TRUE(dropped.ok()) << dropped.error().ToString();
      ReadUntil(name, [&](const Collection& now) {
        return AllActive(now) && now.transfers.empty() && PeersOf(now, source.shard).size() == 1;
      });
    }
  }
}

}  // namespace holdfast::testing
