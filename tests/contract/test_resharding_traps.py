"""What a resharding does to a cluster when it is driven wrong; on clusters of its own."""

import time

import pytest
from holdfast_sandbox.demo_client import RestError
from player import Player

BODY = {"vectors": {"size": 4, "distance": "Dot"}, "replication_factor": 1}


@pytest.fixture(scope="module")
def player(own_cluster):
    return Player(own_cluster, {})


def migrate(player, target_shard):
    ends = {"shard_id": 0, "to_shard_id": target_shard, "method": "resharding_stream_records"}
    ends |= {"from_peer_id": player.peer_ids[0], "to_peer_id": player.peer_ids[1]}
    return player.call("POST", "/collections/t/cluster?timeout=5", {"replicate_shard": ends})


def test_a_migration_to_a_shard_that_is_gone_ends_the_cluster_for_good(player, own_cluster):
    """It may be gone because the resharding was aborted a moment ago; points stay where they are.

    This is the last test of this cluster: its nodes do not start any more.
    """
    player.create("t", {**BODY, "shard_number": 2}, {0: [0], 1: [1]})
    points = [{"id": i, "vector": [i, 1, 2, 3]} for i in range(100)]
    player.upsert("t", points)
    for name in ("start_resharding", "abort_resharding"):
        args = {"direction": "up"} if name.startswith("start") else {}
        player.call("POST", "/collections/t/cluster?timeout=30", {name: args})
    with pytest.raises(RestError, match="500.*Destination shard 0 does not exist"):
        migrate(player, 2)
    with pytest.raises(RestError, match="500.*(Channel closed|commit failed)"):
        player.call("PUT", "/collections/u?timeout=2", {**BODY, "shard_number": 1})
    time.sleep(1)
    for node in range(3):
        status = player.call("GET", "/cluster", node=node)["consensus_thread_status"]
        error = "Failed to handle committed entries"
        assert status == {"consensus_thread_status": "stopped_with_err", "err": error}
    player.upsert("t", [{**p, "payload": {"late": True}} for p in points])
    assert player.call("POST", "/collections/t/points/count", {"exact": True})["count"] == 100
    own_cluster.kill(2)
    with pytest.raises(Exception, match="initialize consensus"):
        own_cluster.start(2)
