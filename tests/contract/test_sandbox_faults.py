"""Each fault of the sandbox does what it says, where it says, as often as it says."""

import socket
import time
import urllib.parse

import captures
import dataset
import pytest
import tarcheck
from holdfast_sandbox.demo_client import Client, RestError, wait_for
from player import Player, Request, multipart

PATH = "/collections/f/shards/0/snapshot"


@pytest.fixture(scope="module")
def tools(own_cluster):
    """The collection `f` has one shard on node 1, `g` one on nodes 1 and 2."""
    player = Player(own_cluster, {})
    # 2,000 points of 256 numbers: an image of some 2 MB.
    body = {"vectors": {"size": 256, "distance": "Dot"}, "shard_number": 1}
    player.create("f", body, {0: [1]})
    player.upsert("f", dataset.plain_points(list(range(2000)), 256))
    player.create("g", {**body, "replication_factor": 2}, {0: [1, 2]})
    player.upsert("g", dataset.plain_points(list(range(50)), 256))
    return player


@pytest.fixture
def fault(own_cluster, tools):
    """Sets a fault of node 1; all are gone after the test and the node is whole."""
    node = own_cluster.urls.index(tools.urls[1])

    def set_fault(kind, **values):
        return own_cluster.fault(node, kind, **values)

    yield set_fault
    if not own_cluster.status()[node]["running"]:
        own_cluster.start(node)
    own_cluster.fault(node, "clear")
    wait_for("the shard", lambda: not tarcheck.check_shard_stream(read(tools).data), 30)


def read(tools, path=PATH, timeout=30.0):
    return captures.stream(tools.urls[1], path, timeout)


def status_of(tools, method="GET", path="/collections", body=None):
    return tools.send(Request(1, method, path, body)).status


def test_end_before_an_entry_by_number_and_by_name(tools, fault):
    for entry, wanted in ((0, 0), (3, 3), (-1, None), ("wal/", None)):
        fault("end", entry=entry, times=1)
        short = read(tools)
        entries = tarcheck.read(short.data).entries
        assert short.error is None and not tarcheck.read(short.data).ended
        if wanted is not None:
            assert len(entries) == wanted
    whole = tarcheck.read(read(tools).data).names()
    fault("end", entry=-1, times=1)
    assert tarcheck.read(read(tools).data).names() == whole[:-1]


def test_end_at_a_byte(tools, fault):
    fault("end", byte=100_000, times=1)
    short = read(tools)
    assert (short.status, short.error, len(short.data)) == (200, None, 100_000)


def test_reset_breaks_the_connection(tools, fault):
    fault("reset", byte=100_000, times=1)
    broken = read(tools)
    assert broken.status == 200 and broken.error is not None


def test_reset_before_the_first_byte(tools, fault):
    fault("reset", byte=0, times=1)
    broken = read(tools)
    assert broken.error is not None and not broken.data


def test_stall_for_some_seconds_then_the_stream_goes_on(tools, fault):
    fault("stall", byte=50_000, seconds=1.0, times=1)
    late = read(tools)
    assert late.error is None and not tarcheck.check_shard_stream(late.data)
    assert late.ended - late.began >= 1.0


def test_stall_for_ever_ends_with_the_patience_of_the_client(tools, fault):
    fault("stall", byte=50_000, times=1)
    stuck = read(tools, timeout=1.0)
    assert isinstance(stuck.error, TimeoutError)


def test_stall_before_the_first_byte(tools, fault):
    fault("stall", byte=0, seconds=0.7, times=1)
    late = read(tools)
    assert late.began - late.answered >= 0.7 and not tarcheck.check_shard_stream(late.data)


def test_slow_keeps_to_its_rate(tools, fault):
    size = len(read(tools).data)
    fault("slow", rate=size // 2, times=1)
    slow = read(tools)
    assert not tarcheck.check_shard_stream(slow.data)
    assert slow.ended - slow.began >= 1.5  # Twice the rate would be done in one second.


def test_flip_changes_one_bit_and_nothing_else(tools, fault):
    fault("flip", byte=100_000, times=1)
    flipped = read(tools).data
    right = read(tools).data
    assert len(flipped) == len(right)
    # Images differ in times and in the seed of the WAL, so look at where the fault is said to be.
    assert bin(flipped[100_000] ^ right[100_000]).count("1") == 1


def test_die_ends_the_node_in_the_middle_of_the_stream(own_cluster, tools, fault):
    node = own_cluster.urls.index(tools.urls[1])
    fault("die", byte=100_000, times=1)
    broken = read(tools)
    assert broken.error is not None
    wait_for("its end", lambda: not own_cluster.status()[node]["running"], 10)
    own_cluster.start(node)
    assert captures.image_ids(read(tools).data) == set(range(2000))
    assert tools.call("POST", "/collections/f/points/count", {"exact": True})["count"] == 2000


@pytest.mark.parametrize("status", [500, 503, 429, 403])
def test_error_answers_with_a_status(tools, fault, status):
    fault("error", status=status, message="as told", times=1)
    answer = tools.send(Request(1, "GET", "/collections", None))
    assert answer.status == status and b"as told" in answer.body
    assert status_of(tools) == 200


def test_error_can_be_limited_to_a_method_and_a_path(tools, fault):
    fault("error", status=500, message="no", method="POST", path="/snapshots")
    assert status_of(tools) == 200
    assert status_of(tools, "GET", "/collections/f/snapshots") == 200
    for _ in range(3):
        assert status_of(tools, "POST", "/collections/f/snapshots?wait=true") == 500


def test_error_in_the_place_of_a_stream_is_plain_text(tools, fault):
    fault("error", status=500, message="no stream", collection="f", times=1)
    refused = read(tools)
    assert refused.status == 500 and refused.headers["content-type"].startswith("text/plain")


def test_delay_waits_first(tools, fault):
    fault("delay", seconds=0.8, path="^/collections$", times=1)
    began = time.monotonic()
    assert status_of(tools) == 200
    assert time.monotonic() - began >= 0.8


def test_refuse_closes_the_port_and_opens_it_again(tools, fault):
    parts = urllib.parse.urlsplit(tools.urls[1])
    fault("refuse", seconds=1.0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((parts.hostname, parts.port), 2).close()
    client = Client([tools.urls[1]], timeout=2)

    def answers():
        try:
            return client.send("GET", "/").status == 200
        except RestError:
            return False

    wait_for("the port", answers, 10)


def test_refuse_until_it_is_cleared(own_cluster, tools, fault):
    node = own_cluster.urls.index(tools.urls[1])
    fault("refuse")
    with pytest.raises(RestError) as raised:
        Client([tools.urls[1]], timeout=2).send("GET", "/")
    assert raised.value.status == 0
    own_cluster.fault(node, "clear")
    assert status_of(tools) == 200


def test_disk_full_refuses_snapshots_and_uploads(tools, fault):
    image = read(tools).data
    fault("disk_full")
    body, headers = multipart(image)
    path = "/collections/f/shards/0/snapshots/upload?wait=true&priority=no_sync"
    answer = tools.send(Request(1, "POST", path, body, headers))
    assert answer.status == 500 and b"No space left" in answer.body
    for path in ("/collections/f/shards/0/snapshots", "/collections/f/snapshots", "/snapshots"):
        answer = tools.send(Request(1, "POST", f"{path}?wait=true", None))
        assert answer.status == 500 and b"No space left" in answer.body, path
    # What needs no space still works, and nothing was left behind.
    assert not tarcheck.check_shard_stream(read(tools).data)
    assert tools.call("GET", "/collections/f/shards/0/snapshots", node=1) == []
    assert tools.call("POST", "/collections/f/points/count", {"exact": True})["count"] == 2000


def test_queue_delays_the_first_byte_and_shows_in_telemetry(tools, fault):
    fault("queue", collection="f", shard=0, seconds=1.5, length=7)
    told = tools.call("GET", "/telemetry?details_level=3", node=1)
    (shard,) = [
        shard
        for collection in told["collections"]["collections"]
        if collection["id"] == "f"
        for shard in collection["shards"]
    ]
    assert 1 <= shard["local"]["update_queue"]["length"] <= 7
    late = read(tools)
    assert late.began - late.answered >= 0.8
    assert late.answered - late.asked < 0.5


def test_optimizing_shows_and_ends(own_cluster, tools, fault):
    fault("optimizing", collection="f", on=True, seconds=0.5)
    told = tools.call("GET", "/collections/f/optimizations", node=1)
    assert told["running"]
    assert tools.call("GET", "/collections/f")["status"] == "yellow"
    wait_for("green", lambda: tools.call("GET", "/collections/f")["status"] == "green", 10)
    assert tools.call("GET", "/collections/f/optimizations", node=1)["running"] == []


def test_a_real_optimization_leaves_the_data_as_it_was(tools, fault):
    fault("optimizing", collection="f", on=True, real=True)
    ids = list(range(100, 110))
    tools.call("POST", "/collections/f/points/delete?wait=true", {"points": ids})
    tools.upsert("f", dataset.plain_points([5000], 256))
    fault("optimizing", collection="f", on=False)
    path = "/collections/f/optimizations"
    wait_for("its end", lambda: not tools.call("GET", path, node=1)["running"], 60)
    wanted = (set(range(2000)) | {5000}) - set(ids)
    assert captures.image_ids(read(tools).data) == wanted
    tools.upsert("f", dataset.plain_points(ids, 256))
    tools.call("POST", "/collections/f/points/delete?wait=true", {"points": [5000]})


def test_dead_marks_the_replica_and_it_heals(own_cluster, tools, fault):
    seen = []
    fault("dead", collection="g", shard=0)

    def healed():
        state = tools.placement("g")[0][1]
        seen.append(state)
        return state == "Active" and len(set(seen)) > 1

    wait_for("the replica to heal", healed, 30, 0.005)
    assert set(seen) - {"Active"}
    path = "/collections/g/shards/0/points/count"
    assert tools.call("POST", path, {"exact": True}, node=1)["count"] == 50


def test_a_fault_is_used_up(tools, fault):
    fault("end", entry=2, times=2)
    ends = [tarcheck.read(read(tools).data).ended for _ in range(3)]
    assert ends == [False, False, True]


def test_a_fault_of_another_collection_does_nothing_here(tools, fault):
    fault("end", collection="g", entry=2)
    assert tarcheck.read(read(tools).data).ended
    assert not tarcheck.read(read(tools, "/collections/g/shards/0/snapshot").data).ended


@pytest.mark.parametrize("kind, values", [("explode", {}), ("end", {"bite": 1})])
def test_a_fault_with_a_typing_error_is_refused(fault, kind, values):
    with pytest.raises(RuntimeError, match="unknown"):
        fault(kind, **values)


def test_kill_with_disk_and_start_gives_a_new_peer(own_cluster, tools):
    """Runs last: a wiped node comes back as another peer, its shards are lost or heal elsewhere."""
    node = own_cluster.urls.index(tools.urls[2])
    before = tools.peer_ids[2]
    own_cluster.kill(node, with_disk=True)
    own_cluster.start(node)
    view = Client([own_cluster.status()[node]["url"]]).call("GET", "/cluster")
    assert view["peer_id"] != before
    assert str(before) in view["peers"]
