"""What a resharding does to a cluster when it is driven wrong; on clusters of its own."""

import time

import pytest
from holdfast_sandbox.demo_client import RestError, wait_for
from player import Player

BODY = {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 2, "replication_factor": 1}
POINTS = 200


@pytest.fixture(scope="module")
def player(own_cluster):
    return Player(own_cluster, {})


class Collection:
    """A collection of two shards, on the nodes 0 and 1, that gets a third one on node 2."""

    def __init__(self, player, name):
        self.player = player
        self.name = name
        player.create(name, BODY, {0: [0], 1: [1]})
        self.points = [{"id": i, "vector": [i, 1, 2, 3]} for i in range(POINTS)]
        player.upsert(name, self.points)

    def step(self, name, **args):
        path = f"/collections/{self.name}/cluster?timeout=30"
        assert self.player.call("POST", path, {name: args}) is True
        self.player.wait_consensus()

    def migrate(self, shard, node, target_shard=2):
        peers = self.player.peer_ids
        ends = {"shard_id": shard, "to_shard_id": target_shard, "from_peer_id": peers[node]}
        ends |= {"to_peer_id": peers[2], "method": "resharding_stream_records"}
        self.step("replicate_shard", **ends)

    def migrate_all(self):
        self.step("start_resharding", direction="up", peer_id=self.player.peer_ids[2])
        for shard in (0, 1):
            self.migrate(shard, shard)
            wait_for("the migration", lambda: not self.player.transfers(self.name), 30)

    def clean(self):
        for shard in (0, 1):
            path = f"/collections/{self.name}/shards/{shard}/cleanup?wait=true"
            assert self.player.call("POST", path, node=shard) == {"status": "completed"}

    def count(self):
        path = f"/collections/{self.name}/points/count"
        return self.player.call("POST", path, {"exact": True})["count"]


def test_reads_fail_when_the_read_ring_is_committed_before_the_migration_is_finished(player):
    collection = Collection(player, "early")
    collection.migrate_all()
    collection.step("commit_read_hash_ring")
    with pytest.raises(RestError, match="500.*does not have enough active replicas"):
        collection.count()
    collection.step("finish_migrating_points")
    assert collection.count() > POINTS
    collection.migrate(0, 0)  # A later migration takes the new shard away from readers again.
    wait_for("the migration", lambda: not player.transfers("early"), 30)
    with pytest.raises(RestError, match="500.*does not have enough active replicas"):
        collection.count()
    collection.step("finish_migrating_points")
    collection.clean()
    assert collection.count() == POINTS


def test_a_clean_up_before_the_read_ring_is_committed_hides_points_and_an_abort_loses_them(player):
    collection = Collection(player, "lost")
    collection.migrate_all()
    collection.clean()
    left = collection.count()
    assert left < POINTS
    collection.step("abort_resharding")
    assert collection.count() == left


def test_a_migration_after_the_write_ring_is_committed_hangs_until_the_resharding_is_finished(
    player,
):
    collection = Collection(player, "late")
    collection.migrate_all()
    collection.step("finish_migrating_points")
    collection.step("commit_read_hash_ring")
    collection.clean()
    collection.step("commit_write_hash_ring")
    collection.migrate(0, 0)
    peers = player.peer_ids
    key = {"shard_id": 0, "to_shard_id": 2, "from_peer_id": peers[0], "to_peer_id": peers[2]}
    time.sleep(5)
    with pytest.raises(RestError, match="400.*can't abort resharding"):
        collection.step("abort_transfer", **key)
    assert player.transfers("late")
    collection.step("finish_migrating_points")
    collection.step("finish_resharding")
    assert player.transfers("late")
    collection.step("abort_transfer", **key)
    assert not player.transfers("late")
    assert collection.count() == POINTS


def test_a_migration_to_a_shard_that_is_gone_ends_the_cluster_for_good(player, own_cluster):
    """It may be gone because the resharding was aborted a moment ago; points stay where they are.

    This is the last test of this cluster: its nodes do not start any more.
    """
    collection = Collection(player, "gone")
    collection.step("start_resharding", direction="up", peer_id=player.peer_ids[2])
    collection.step("abort_resharding")
    with pytest.raises(RestError, match="500.*Destination shard 0 does not exist"):
        collection.migrate(0, 0)
    with pytest.raises(RestError, match="500.*(Channel closed|commit failed)"):
        player.call("PUT", "/collections/more?timeout=2", BODY)
    time.sleep(1)
    for node in range(3):
        status = player.call("GET", "/cluster", node=node)["consensus_thread_status"]
        error = "Failed to handle committed entries"
        assert status == {"consensus_thread_status": "stopped_with_err", "err": error}
    player.upsert("gone", [{**p, "payload": {"late": True}} for p in collection.points])
    assert collection.count() == POINTS
    own_cluster.kill(2)
    with pytest.raises(Exception, match="initialize consensus"):
        own_cluster.start(2)
