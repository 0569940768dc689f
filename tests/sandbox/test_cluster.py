"""A cluster from outside: keys, odd names, crashes, transfers and optimizations under writers."""

import random
import time
from urllib.parse import quote

import pytest
from nodes import Sandbox, wait_for
from writers import Writers, all_active

ODD_NAMES = [
    "with blank",
    "ümläut 漢字",
    "a%2Fb",
    "..dots..",
    "-",
    "semi;colon=1&x",
    "x" * 200,
    "a'b",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_work_everywhere(sandbox, name):
    sandbox.create(name, shard_number=2)
    sandbox.fill(name, 0, 50)
    assert [sandbox.count(name, node) for node in range(3)] == [50] * 3
    assert {"name": name} in sandbox.call(1, "GET", "/collections").result["collections"]
    path = f"/collections/{quote(name, safe='')}"
    node = sandbox.holder(name)
    tar = sandbox.stream(name)
    assert tar.body.endswith(b"\0" * 1024)
    assert sandbox.upload(node, name, 0, tar.body).status == 200
    stored = sandbox.call(node, "POST", f"{path}/shards/0/snapshots").result["name"]
    stored = f"{path}/shards/0/snapshots/{quote(stored, safe='')}"
    assert sandbox.call(node, "GET", stored).status == 200
    assert sandbox.call(node, "DELETE", stored).result is True
    assert sandbox.count(name) == 50
    assert sandbox.call(2, "DELETE", path).result is True
    assert sandbox.call(0, "GET", path).status == 404


@pytest.mark.parametrize("name", ["a/b", "a<b", 'a"b', "a*b", "y" * 256])
def test_names_the_server_refuses_are_refused(sandbox, name):
    body = {"vectors": {"size": 4, "distance": "Dot"}}
    path = f"/collections/{quote(name, safe='')}"
    assert sandbox.call(0, "PUT", path, body).status in (404, 422)


def test_stored_snapshots_are_read_in_ranges(sandbox):
    sandbox.create("ranges")
    sandbox.fill("ranges", 0, 500)
    node = sandbox.holder("ranges")
    path = "/collections/ranges/shards/0/snapshots"
    made = sandbox.call(node, "POST", path).result
    whole = sandbox.call(node, "GET", f"{path}/{made['name']}")
    assert len(whole.body) == made["size"] == int(whole.headers["Content-Length"])
    part = sandbox.call(node, "GET", f"{path}/{made['name']}", headers={"Range": "bytes=100-199"})
    assert (part.status, part.body) == (206, whole.body[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{made['size']}"
    rest = sandbox.call(node, "GET", f"{path}/{made['name']}", headers={"Range": "bytes=-10"})
    assert rest.body == whole.body[-10:]
    beyond = {"Range": f"bytes={made['size']}-"}
    assert sandbox.call(node, "GET", f"{path}/{made['name']}", headers=beyond).status == 416
    same = {"If-None-Match": whole.headers["ETag"]}
    assert sandbox.call(node, "GET", f"{path}/{made['name']}", headers=same).status == 304
    sandbox.call(0, "DELETE", "/collections/ranges")


def test_keys_separate_who_may_do_what(tmp_path):
    """Texts and statuses of reference 0.1 and 0.2; streaming needs more than a read-only key."""
    for name in ("full", "read"):
        (tmp_path / name).write_text(f"{name}-secret\n")
    keys = ["--api-key-file", str(tmp_path / "full"), "--read-key-file", str(tmp_path / "read")]
    cluster = Sandbox(tmp_path / "c", 1, *keys)
    try:
        assert [cluster.call(0, "GET", p).status for p in ("/", "/healthz", "/readyz")] == [200] * 3
        none = cluster.call(0, "GET", "/collections")
        assert none.status == 401
        assert none.body == b"Must provide an API key or an Authorization bearer token"
        wrong = cluster.call(0, "GET", "/collections", headers={"api-key": "guess"})
        assert (wrong.status, wrong.body) == (401, b"Invalid API key or JWT")
        bearer = {"Authorization": "Bearer full-secret"}
        assert cluster.call(0, "GET", "/collections", headers=bearer).status == 200
        cluster.key = "full-secret"
        cluster.create("c")
        cluster.fill("c", 0, 10)
        assert cluster.stream("c").status == 200
        cluster.key = "read-secret"
        assert cluster.count("c") == 10
        write = cluster.call(0, "DELETE", "/collections/c")
        assert (write.status, write.message) == (403, "Forbidden: Global manage access is required")
        stream = cluster.stream("c")
        assert (stream.status, stream.body) == (403, b"Forbidden: Global manage access is required")
        log = (tmp_path / "c" / "node-0" / "log").read_text()
        assert "secret" not in log
    finally:
        cluster.key = None
        cluster.down()


def test_nothing_acknowledged_is_lost_when_nodes_are_killed(sandbox):
    sandbox.create("killed", shard_number=3, replication_factor=2)
    writers = Writers(sandbox, "killed")
    chance = random.Random(5)
    try:
        for node in (0, 1, 2):
            time.sleep(0.5 + chance.random())
            sandbox.run("kill", str(node))
            time.sleep(chance.random())
            sandbox.run("start", str(node))
    finally:
        writers.stop()
    wait_for("healed replicas", lambda: all_active(sandbox, "killed"), 60)
    writers.check()


@pytest.mark.parametrize("method", ["stream_records", "snapshot"])
def test_shards_move_under_writers_without_a_loss(sandbox, method):
    name = f"moved-{method}"
    sandbox.create(name, shard_number=2, replication_factor=2)
    peers = sandbox.peers()
    writers = Writers(sandbox, name)
    try:
        for _ in range(3):
            for shard, replicas in sandbox.replicas(name).items():
                [free] = [p for p in peers if p not in replicas]
                move = {"shard_id": shard, "from_peer_id": max(replicas), "to_peer_id": free}
                body = {"move_shard": {**move, "method": method}}
                assert sandbox.call(0, "POST", f"/collections/{name}/cluster", body).result is True
            wait_for("the moves", lambda: all_active(sandbox, name), 60)
    finally:
        writers.stop()
    writers.check()


@pytest.mark.parametrize("real", [False, True])
def test_an_optimization_under_writers_loses_nothing(sandbox, real):
    name = f"optimized-{real}".lower()
    sandbox.create(name, shard_number=2, optimizers_config={"indexing_threshold": 1})
    sandbox.fill(name, 500_000, 502_000)
    writers = Writers(sandbox, name)
    try:
        holders = sorted({sandbox.holder(name, shard) for shard in (0, 1)})
        for node in holders:
            sandbox.fault(node, "optimizing", collection=name, real=real, seconds=600)

        def status():
            return sandbox.call(0, "GET", f"/collections/{name}").result["status"]

        assert status() == "yellow"
        time.sleep(1)  # Writers work meanwhile.
        for node in holders:
            sandbox.fault(node, "optimizing", collection=name, on=False)
        wait_for("the end of the optimization", lambda: status() == "green", 60)
        info = sandbox.call(0, "GET", f"/collections/{name}").result
        assert (info["indexed_vectors_count"] > 0) == real
    finally:
        writers.stop()
    writers.truth |= {i: "filled" for i in range(500_000, 502_000)}
    found = {}
    for shard in (0, 1):
        found |= sandbox.shard_points(name, shard, sandbox.holder(name, shard))
    wanted = {i for i, v in writers.truth.items() if v is not None} - writers.unsure
    assert set(found) - writers.unsure == wanted


def test_a_node_without_its_disk_is_a_new_peer_and_the_old_one_stays_dead(tmp_path):
    cluster = Sandbox(tmp_path / "c", 3)
    try:
        cluster.create("c", shard_number=3)
        old = cluster.peers()
        cluster.run("kill", "2", "--with-disk")
        cluster.run("start", "2")
        new = cluster.peers()
        assert new[:2] == old[:2] and new[2] != old[2]
        peers = cluster.call(0, "GET", "/cluster/telemetry").result["cluster"]["peers"]
        dead = {int(p) for p, v in peers.items() if not v["responsive"]}
        assert (dead, len(peers)) == ({old[2]}, 4)
        uris = [v["uri"] for v in peers.values()]
        assert len(set(uris)) == 4
        refused = cluster.call(0, "DELETE", f"/cluster/peer/{old[2]}")
        assert (refused.status, "shards on it" in refused.message) == (400, True)
        assert cluster.call(0, "DELETE", f"/cluster/peer/{old[2]}?force=true").result is True
        assert str(old[2]) not in cluster.call(1, "GET", "/cluster").result["peers"]
    finally:
        cluster.down()


def test_a_snapshot_whose_files_do_not_load_takes_the_old_data_and_heals_from_a_replica(sandbox):
    """Reference 3.6, step 4: content faults show up at load, after the old data is deleted."""
    sandbox.create("broken", replication_factor=2)
    sandbox.fill("broken", 0, 200)
    node = sandbox.holder("broken")
    tar = bytearray(sandbox.stream("broken").body)
    at = tar.index(b'{"initial_version"')
    tar[at : at + 18] = b"x" * 18
    failed = sandbox.upload(node, "broken", 0, bytes(tar))
    assert failed.status == 500
    assert failed.message.startswith("Service internal error: Failed to load local shard")

    def healed():
        if not all_active(sandbox, "broken"):
            return False
        try:
            points = [
                len(sandbox.shard_points("broken", 0, sandbox.peers().index(p)))
                for p in sandbox.replicas("broken")[0]
            ]
        except AssertionError:  # A peer may show the old state a moment longer.
            return False
        return points == [200, 200]

    wait_for("the healing", healed)
    sandbox.call(0, "DELETE", "/collections/broken")


def test_a_collection_snapshot_finds_its_name_again_after_a_new_start(sandbox):
    sandbox.create("again")
    sandbox.fill("again", 0, 10)
    made = sandbox.call(1, "POST", "/collections/again/snapshots").result
    assert sandbox.call(1, "GET", "/collections/again/snapshots").result == [made]
    sandbox.call(0, "DELETE", "/collections/again")
    assert sandbox.call(1, "GET", "/collections/again/snapshots").status == 404
    sandbox.create("again")
    assert sandbox.call(1, "GET", "/collections/again/snapshots").result == [made]
    path = f"/collections/again/snapshots/{made['name']}"
    assert sandbox.call(1, "DELETE", path).result is True
    assert sandbox.call(1, "GET", path).status == 404
    sandbox.call(0, "DELETE", "/collections/again")


def test_without_a_majority_nothing_changes_and_reads_go_on(tmp_path):
    """Reference 1.2: the text of a change that cannot be committed."""
    cluster = Sandbox(tmp_path / "c", 3)
    try:
        cluster.create("c", replication_factor=3)
        cluster.fill("c", 0, 10)
        cluster.run("kill", "1")
        cluster.run("kill", "2")
        body = {"vectors": {"size": 4, "distance": "Dot"}}
        failed = cluster.call(0, "PUT", "/collections/d?timeout=1", body)
        text = "Waiting for consensus operation commit failed. Timeout set at: 1 seconds"
        assert (failed.status, failed.message) == (500, f"Service internal error: {text}")
        assert cluster.count("c") == 10
        cluster.run("start", "1")
        wait_for(
            "the majority",
            lambda: cluster.call(0, "PUT", "/collections/d?timeout=1", body).status == 200,
        )
    finally:
        cluster.down()


def test_optimizations_ask_every_replica_and_a_dead_peer_fails_them(tmp_path):
    """As run on a real cluster: 500 until a write has set the replica Dead."""
    cluster = Sandbox(tmp_path / "c", 3)
    try:
        cluster.create("one", shard_number=3)
        cluster.create("two", shard_number=3, replication_factor=2)
        cluster.fill("two", 0, 30)
        path = "/collections/two/optimizations"
        assert cluster.call(0, "GET", path).result["summary"]["idle_segments"] == 6
        cluster.fault(2, "optimizing", collection="two")
        assert len(cluster.call(0, "GET", path).result["running"]) == 2
        cluster.run("kill", "2")
        failed = cluster.call(0, "GET", path)
        assert failed.status == 500
        assert "Tonic status error" in failed.message
        cluster.fill("two", 0, 30)  # Marks the dead replicas.
        assert cluster.call(0, "GET", path).result["summary"]["idle_segments"] == 4
        points = [{"id": i, "vector": [i, 1, 0, 0]} for i in range(30)]
        partly = cluster.call(0, "PUT", "/collections/one/points?wait=true", {"points": points})
        text = "Service internal error: 1 out of 3 shards failed to apply operation."
        assert (partly.status, partly.message.startswith(text)) == (500, True)
    finally:
        cluster.down()
