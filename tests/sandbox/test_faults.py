"""Faults of a node: what a client sees of each."""

import time

import pytest
from nodes import Sandbox, wait_for

END = b"\0" * 1024


def _whole(answer):
    return answer.status == 200 and answer.error is None and answer.body.endswith(END)


def test_without_a_fault_a_stream_is_whole(sandbox, collection):
    assert _whole(sandbox.stream(collection))


@pytest.mark.parametrize("entry", [0, 3, -1, "wal/", "replica_state.json"])
def test_end_stops_between_two_entries_with_status_200(sandbox, collection, faults, entry):
    node = sandbox.holder(collection)
    whole = sandbox.stream(collection)
    faults(node, "end", entry=entry, collection=collection, shard=0, times=1)
    cut = sandbox.stream(collection)
    assert cut.status == 200 and cut.error is None
    assert len(cut.body) < len(whole.body) and len(cut.body) % 512 == 0
    assert (b"replica_state.json" in cut.body) == (entry == -1)
    assert _whole(sandbox.stream(collection))  # It was for one stream only.


def test_end_stops_at_a_byte(sandbox, collection, faults):
    faults(sandbox.holder(collection), "end", byte=5000, times=1)
    cut = sandbox.stream(collection)
    assert (cut.status, cut.error, len(cut.body)) == (200, None, 5000)


def test_reset_breaks_the_connection_at_a_byte(sandbox, collection, faults):
    faults(sandbox.holder(collection), "reset", byte=5000, times=1)
    cut = sandbox.stream(collection)
    assert cut.status == 200 and cut.error is not None and len(cut.body) <= 5000


def test_stall_stops_the_bytes_for_a_while(sandbox, collection, faults):
    faults(sandbox.holder(collection), "stall", byte=5000, seconds=0.7, times=1)
    began = time.monotonic()
    assert _whole(sandbox.stream(collection))
    assert time.monotonic() - began > 0.7


def test_slow_throttles_a_stream_and_leaves_the_node_usable(sandbox, collection, faults):
    size = len(sandbox.stream(collection).body)
    faults(sandbox.holder(collection), "slow", rate=size, times=1)
    began = time.monotonic()
    assert _whole(sandbox.stream(collection))
    assert time.monotonic() - began > 0.8


def test_flip_changes_one_bit(sandbox, collection, faults):
    node = sandbox.holder(collection)
    plain = sandbox.stream(collection).body
    faults(node, "flip", byte=len(plain) - 1, times=1)
    flipped = sandbox.stream(collection).body
    assert len(flipped) == len(plain)
    assert (plain[-1], flipped[-1]) == (0, 1)


def test_a_fault_with_a_place_hits_nothing_else(sandbox, collection, faults):
    faults(sandbox.holder(collection), "end", entry=0, collection="another")
    assert _whole(sandbox.stream(collection))


def test_error_answers_matching_requests(sandbox, collection, faults):
    faults(0, "error", status=503, message="busy", method="GET", path="^/collections$", times=2)
    for _ in range(2):
        refused = sandbox.call(0, "GET", "/collections")
        assert (refused.status, refused.message) == (503, "busy")
    assert sandbox.call(0, "GET", "/collections").status == 200


def test_refuse_closes_the_rest_port_for_a_while(sandbox, collection, faults):
    faults(1, "refuse", seconds=1)
    assert isinstance(sandbox.call(1, "GET", "/").error, ConnectionRefusedError)
    peers = sandbox.call(0, "GET", "/cluster/telemetry").result["cluster"]["peers"].values()
    assert all(p["responsive"] for p in peers)  # Peers use another port.
    wait_for("the port", lambda: sandbox.call(1, "GET", "/").status == 200)


def test_disk_full_fails_snapshots_and_uploads(sandbox, collection, faults):
    node = sandbox.holder(collection)
    tar = sandbox.stream(collection).body
    faults(node, "disk_full", times=3)
    base = f"/collections/{collection}"
    answers = [
        sandbox.call(node, "POST", f"{base}/shards/0/snapshots"),
        sandbox.call(node, "POST", f"{base}/snapshots"),
        sandbox.upload(node, collection, 0, tar),
    ]
    for answer in answers:
        assert answer.status == 500
        assert answer.message == "Service internal error: No space left on device (os error 28)"
    assert sandbox.count(collection) == 2000
    assert sandbox.call(node, "GET", f"{base}/snapshots").result == []


def test_queue_delays_the_first_byte_and_is_seen_to_fall(sandbox, collection, faults):
    node = sandbox.holder(collection)

    def queue():
        told = sandbox.call(node, "GET", "/telemetry?details_level=3").result
        [mine] = [c for c in told["collections"]["collections"] if c["id"] == collection]
        return mine["shards"][0]["local"]["update_queue"]["length"]

    assert queue() == 0
    faults(node, "queue", collection=collection, seconds=1.0, length=1000)
    first = queue()
    began = time.monotonic()
    assert 0 < first <= 1000
    assert _whole(sandbox.stream(collection))
    assert time.monotonic() - began > 0.5
    assert queue() == 0


def test_dead_sets_the_replica_and_it_heals_from_another_one(sandbox, faults):
    sandbox.create("twice", replication_factor=2)
    sandbox.fill("twice", 0, 300)
    faults(sandbox.holder("twice"), "transfer_delay", seconds=1)
    faults(sandbox.holder("twice"), "dead", collection="twice")
    states = sandbox.replicas("twice")[0].values()
    assert sorted(states) in (["Active", "Dead"], ["Active", "Recovery"])
    wait_for("the healing", lambda: set(sandbox.replicas("twice")[0].values()) == {"Active"})
    sandbox.call(0, "DELETE", "/collections/twice")


def test_a_lone_replica_is_never_set_dead(sandbox, collection, faults):
    faults(sandbox.holder(collection), "dead", collection=collection)
    assert set(sandbox.replicas(collection)[0].values()) == {"Active"}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"kind": "nonsense"}, "`kind` is one of"),
        ({"kind": "reset", "bite": 5}, "unknown field `bite` of fault reset: allowed are byte,"),
        ({"kind": "dead", "collection": "nowhere"}, "check collection and shard"),
    ],
)
def test_a_fault_with_a_typing_error_is_refused(sandbox, values, text):
    kind = values.pop("kind")
    told = [f"{k}={v}" for k, v in values.items()]
    failed = sandbox.run("fault", "0", kind, *told, status=1)
    assert failed["state"] == "failed" and text in failed["error"]["message"]


def test_faults_are_listed_and_cleared(sandbox):
    sandbox.fault(0, "slow", rate=10, collection="x")
    [shown] = sandbox.run("fault", "0")["faults"]
    assert (shown["kind"], shown["rate"], shown["collection"]) == ("slow", 10, "x")
    sandbox.fault(0, "clear")
    assert sandbox.run("fault", "0")["faults"] == []


def test_die_kills_the_node_in_the_middle_of_a_stream(tmp_path):
    spec = '{"0": [{"kind": "die", "byte": 5000}]}'
    (tmp_path / "faults.json").write_text(spec)
    cluster = Sandbox(tmp_path / "c", 1, "--faults", str(tmp_path / "faults.json"))
    try:
        cluster.create("c")
        cluster.fill("c", 0, 1000)
        cut = cluster.stream("c", node=0)
        assert cut.status == 200 and cut.error is not None and len(cut.body) <= 5000
        assert not cluster.run("status", status=1)["nodes"][0]["running"]
        cluster.run("start", "0")
        assert cluster.count("c") == 1000
    finally:
        cluster.down()
