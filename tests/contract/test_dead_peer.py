"""Measured fact 18 and transcript 5: a cluster of which one peer is dead; ends with it."""

import time

import captures
import dataset
import pytest
from holdfast_sandbox.demo_client import RestError, wait_for
from player import Player


@pytest.fixture(scope="module")
def dead(own_cluster):
    """Node 2 is dead; `lone` has its only replica there, `pair` one of two."""
    tools = Player(own_cluster, {})
    vectors = {"size": 8, "distance": "Dot"}
    tools.create("lone", {"vectors": vectors, "shard_number": 1}, {0: [2]})
    pair = {"vectors": vectors, "shard_number": 1, "replication_factor": 2}
    tools.create("pair", pair, {0: [0, 2]})
    for name in ("lone", "pair"):
        tools.upsert(name, dataset.plain_points(list(range(50)), 8))
    own_cluster.kill(own_cluster.urls.index(tools.urls[2]))
    tools.alive = [0, 1]
    wait_for("notice", lambda: tools.call("GET", "/cluster")["message_send_failures"], 30)
    return tools


def test_a_lone_replica_on_a_dead_peer_still_reads_active(dead):
    assert dead.placement("lone") == {0: {2: "Active"}}
    told = dead.call("GET", "/cluster/telemetry?details_level=3&timeout=5")
    (replica,) = told["collections"]["lone"]["shards"][0]["replicas"]
    assert replica == {"peer_id": dead.peer_ids[2], "state": "Active"}
    peer = told["cluster"]["peers"][str(dead.peer_ids[2])]
    assert peer["responsive"] is False and peer["details"] is None


def test_reading_it_fails(dead):
    with pytest.raises(RestError) as raised:
        dead.call("POST", "/collections/lone/points/count", {"exact": True})
    assert raised.value.status == 500


def test_a_replica_elsewhere_answers_and_is_streamed(dead):
    body = {"exact": True}
    assert dead.call("POST", "/collections/pair/points/count", body)["count"] == 50
    assert len(captures.image_ids(dead.image("pair", 0))) == 50


def test_a_write_marks_the_dead_replica(dead):
    dead.upsert("pair", dataset.plain_points([99], 8))
    wait_for("Dead", lambda: dead.placement("pair")[0] == {0: "Active", 2: "Dead"}, 10)


def test_creating_a_collection_takes_the_whole_timeout_and_uses_the_dead_peer(dead):
    began = time.monotonic()
    body = {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 3}
    assert dead.call("PUT", "/collections/late?timeout=2", body) is True
    assert time.monotonic() - began >= 2
    states = {
        node: state for nodes in dead.placement("late").values() for node, state in nodes.items()
    }
    assert states == {0: "Active", 1: "Active", 2: "Initializing"}


def test_the_peer_comes_back_with_its_data(dead, own_cluster):
    """Runs last: the replica that missed a write heals, the lone one answers again."""
    own_cluster.start(own_cluster.urls.index(dead.urls[2]))
    dead.alive = [0, 1, 2]
    dead.wait_active("pair", 60)
    body = {"exact": True}
    assert dead.call("POST", "/collections/lone/points/count", body, node=2)["count"] == 50
    path = "/collections/pair/shards/0/points/count"
    assert dead.call("POST", path, body, node=2)["count"] == 51
