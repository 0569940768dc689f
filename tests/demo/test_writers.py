"""Writers, a capture in the middle, a restore beside, and the check: on a cluster, with real data.

The capture here is the plain one of a script (all streams at once, whole tars, sent to every
replica), so that the check is tried before holdfast itself is.
"""

import json
import subprocess
import sys
import threading
import time

import captures
import pytest
import tarcheck
from clusters import SANDBOX, SandboxCluster
from holdfast_sandbox import demo, demo_points, demo_writers, journal
from holdfast_sandbox.demo_client import Client, quote, wait_for
from player import multipart


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = SandboxCluster(tmp_path_factory.mktemp("demo") / "c", 3)
    yield made
    made.down()


@pytest.fixture(scope="module")
def client(cluster):
    return Client(cluster.urls)


def capture(client, name):
    """Streams of all shards, opened at once: images, T1 and T2 on CLOCK_MONOTONIC."""
    path = f"/collections/{quote(name)}"
    replicas = {}
    for url in client.urls:
        for shard in client.call("GET", f"{path}/cluster", url=url)["local_shards"]:
            replicas.setdefault(shard["shard_id"], url)
    images = {}

    def one(shard, url):
        images[shard] = captures.stream(url, f"{path}/shards/{shard}/snapshot")

    t1 = journal.now_ns()
    threads = [threading.Thread(target=one, args=item) for item in replicas.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for image in images.values():
        assert image.status == 200 and not tarcheck.check_shard_stream(image.data)
    t2 = int(max(image.began for image in images.values()) * 1e9) + 1
    return {shard: image.data for shard, image in images.items()}, t1, t2


def restore(client, images, source, target):
    """A collection like the source, its shards filled from the images, every replica."""
    info = client.call("GET", f"/collections/{quote(source)}")["config"]
    body = {key: info["params"][key] for key in ("vectors", "shard_number", "replication_factor")}
    body.update(
        {k: v for k, v in info["params"].items() if k in ("sparse_vectors", "sharding_method")}
    )
    body["quantization_config"] = info["quantization_config"]
    path = f"/collections/{quote(target)}"
    client.call("PUT", f"{path}?timeout=60", {k: v for k, v in body.items() if v is not None})
    if body.get("sharding_method") == "custom":
        shards = client.call("GET", f"/collections/{quote(source)}/cluster")
        keys = {}
        for shard in shards["local_shards"] + shards["remote_shards"]:
            keys.setdefault(shard["shard_id"], shard["shard_key"])
        for key in dict.fromkeys(keys[shard] for shard in sorted(keys)):
            client.call("PUT", f"{path}/shards?timeout=60", {"shard_key": key})
    for url in client.urls:
        for shard in client.call("GET", f"{path}/cluster", url=url)["local_shards"]:
            number = shard["shard_id"]
            content, headers = multipart(images[number])
            where = f"{path}/shards/{number}/snapshots/upload?wait=true&priority=no_sync"
            assert client.send("POST", where, content, headers, url).status == 200
    wait_for("the restored replicas", lambda: _all_active(client, path), 30)


def _all_active(client, path):
    for url in client.urls:
        view = client.call("GET", f"{path}/cluster", url=url)
        if any(s["state"] != "Active" for s in view["local_shards"] + view["remote_shards"]):
            return False
    return True


@pytest.fixture
def names(client, request):
    """Names of a source and a target that are gone after the test."""
    base = request.node.name.split("[")[0][5:40] + str(time.monotonic_ns() % 10**6)
    yield base, f"{base}__restored"
    for name in (base, f"{base}__restored"):
        client.call("DELETE", f"/collections/{quote(name)}?timeout=60")


def write_around_a_capture(client, data, name, tmp_path, **settings):
    run = demo_writers.Run(
        demo_writers.Settings(client.urls, name, tmp_path / "journal", own=40, **settings), data
    )
    run.start()
    time.sleep(1.0)
    captured = capture(client, name)
    time.sleep(0.7)
    totals = run.finish()
    assert totals.errors == [] and totals.gave_up == 0
    return captured, totals


SHAPES = {
    "plain": {},
    "replicated": {"replication": 2, "shards": 3},
    "shard keys": {"by_key": True, "shards": 1},
    "hybrid, quantized": {"hybrid": True, "quantized": True, "shards": 2},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_sound_capture_keeps_all_promises(client, data, names, tmp_path, shape):
    source, target = names
    demo.load_collection(client, data, source, points=400, **{"shards": 4, **SHAPES[shape]})
    (images, t1, t2), totals = write_around_a_capture(client, data, source, tmp_path)
    restore(client, images, source, target)
    told = journal.read_journal(tmp_path / "journal")
    report = demo.check_restored(client, data, target, told, t1, t2)
    assert report.ok, "\n".join(map(str, report.violations))
    assert report.before > 20 and report.after > 20
    assert report.deleted_before > 5
    assert set(totals.by_action) == set(journal.ACTIONS)


def test_the_check_finds_what_is_broken_in_a_restored_collection(client, data, names, tmp_path):
    source, target = names
    demo.load_collection(client, data, source, points=400, shards=3, alias="")
    (images, t1, t2), _ = write_around_a_capture(client, data, source, tmp_path)
    restore(client, images, source, target)
    told = journal.read_journal(tmp_path / "journal")
    path = f"/collections/{quote(target)}/points"

    def kinds():
        return {v.kind for v in demo.check_restored(client, data, target, told, t1, t2).violations}

    def delete(point_id):
        client.call("POST", f"{path}/delete?wait=true", {"points": [point_id]})

    def put(point_id, row, payload):
        point = {"id": point_id, "vector": data.vectors[row], "payload": payload}
        client.call("PUT", f"{path}?wait=true", {"points": [point]})

    def last_before_t1(point_id):
        """The point and its last state, where that was over before T1 and never came again."""
        history = told.histories[point_id]
        last = max((k for k, state in enumerate(history.states()) if state is not None), default=-1)
        if last < 0 or (last > 0 and not (history.steps[last - 1][0].acked or t1) < t1):
            return None
        return point_id, history.states()[last]

    checker = journal.Checker(told, t1, t2, lambda row, vectors: True)
    # A point that was deleted after the capture would be told as late when it is missing.
    there = [i for i in checker.must_answer() if None not in told.histories[i].states()]
    gone = checker.must_not_answer()
    assert kinds() == set()

    # A point that must answer is gone.
    record = client.call("POST", path, {"ids": there[:1], "with_payload": True})[0]
    delete(there[0])
    assert kinds() == {journal.LOST}
    put(there[0], record["payload"]["row"], record["payload"])
    assert kinds() == set()

    # A deleted point answers, as it was.
    dead, state = next(found for found in map(last_before_t1, gone) if found)
    put(dead, state["row"], state["payload"])
    assert kinds() == {journal.RETURNED}
    delete(dead)

    # Vectors of another document under the right payload.
    put(there[0], (record["payload"]["row"] + 1) % len(data.documents), record["payload"])
    assert kinds() == {journal.WRONG_VECTOR}
    put(there[0], record["payload"]["row"], record["payload"])

    # A point that no writer touched is gone, or changed.
    rest = [
        record
        for record in client.scroll(path.rsplit("/", 1)[0], with_vector=False)
        if record["id"] not in told.histories
    ]
    delete(rest[0]["id"])
    assert kinds() == {journal.UNTOUCHED}
    put(rest[0]["id"], rest[0]["payload"]["row"], {**rest[0]["payload"], "text": "another"})
    assert kinds() == {journal.UNTOUCHED}
    put(rest[0]["id"], rest[0]["payload"]["row"], rest[0]["payload"])
    assert kinds() == set()


def test_a_shard_that_was_sent_to_the_wrong_place_is_found(client, data, names, tmp_path):
    source, target = names
    demo.load_collection(client, data, source, points=400, shards=2, alias="")
    (images, t1, t2), _ = write_around_a_capture(client, data, source, tmp_path)
    restore(client, {0: images[1], 1: images[0]}, source, target)
    told = journal.read_journal(tmp_path / "journal")
    report = demo.check_restored(client, data, target, told, t1, t2)
    assert {violation.kind for violation in report.violations} == {journal.MISPLACED}


def test_replicas_that_differ_are_found(client, data, names, tmp_path):
    source, target = names
    demo.load_collection(client, data, source, points=300, shards=1, replication=2, alias="")
    (images, t1, t2), _ = write_around_a_capture(client, data, source, tmp_path)
    restore(client, images, source, target)
    older, _, _ = capture(client, source)  # The end of the run, sent to one replica only.
    path = f"/collections/{quote(target)}"
    url = next(
        u for u in client.urls if client.call("GET", f"{path}/cluster", url=u)["local_shards"]
    )
    content, headers = multipart(older[0])
    where = f"{path}/shards/0/snapshots/upload?wait=true&priority=no_sync"
    assert client.send("POST", where, content, headers, url).status == 200
    told = journal.read_journal(tmp_path / "journal")
    report = demo.check_restored(client, data, target, told, t1, t2)
    assert journal.REPLICAS in {violation.kind for violation in report.violations}


def test_deletes_that_came_back_are_found(client, cluster, data, names, tmp_path):
    """The trap of measured fact 7, under writers: the plain capture breaks its promise."""
    if not hasattr(cluster, "fault"):
        pytest.skip("a real server (HOLDFAST_TEST_QDRANT) takes no faults")
    source, target = names
    demo.load_collection(client, data, source, points=400, shards=2, alias="")
    for node in range(3):
        if client.call("GET", f"/collections/{quote(source)}/cluster", url=cluster.urls[node])[
            "local_shards"
        ]:
            cluster.fault(node, "optimizing", collection=source, on=True)
    (images, t1, t2), _ = write_around_a_capture(client, data, source, tmp_path)
    restore(client, images, source, target)
    told = journal.read_journal(tmp_path / "journal")
    report = demo.check_restored(client, data, target, told, t1, t2)
    assert {violation.kind for violation in report.violations} == {journal.RETURNED}


def test_writers_go_on_when_a_node_dies(client, cluster, data, names, tmp_path):
    source, _ = names
    demo.load_collection(client, data, source, points=300, shards=3, replication=3, alias="")
    run = demo_writers.Run(
        demo_writers.Settings(client.urls, source, tmp_path / "journal", own=40), data
    )
    run.start()
    time.sleep(0.5)
    cluster.kill(2)
    time.sleep(1.5)
    cluster.start(2)
    time.sleep(0.5)
    totals = run.finish()
    assert totals.errors == [] and totals.gave_up == 0
    # Nothing acknowledged was lost: the collection is in the state after all operations.
    wait_for("the replicas", lambda: _all_active(client, f"/collections/{quote(source)}"), 60)
    told = journal.read_journal(tmp_path / "journal")
    now = journal.now_ns()
    report = demo.check_restored(client, data, source, told, now, now)
    assert report.ok, "\n".join(map(str, report.violations))


def test_freeze_holds_the_writers_until_thaw(client, data, names, tmp_path):
    source, _ = names
    demo.load_collection(client, data, source, points=200, shards=2, alias="")
    pause = tmp_path / "pause"
    run = demo_writers.Run(
        demo_writers.Settings(
            client.urls, source, tmp_path / "journal", own=30, pause_file=pause, seconds=30
        ),
        data,
    )
    run.start()
    waiter = threading.Thread(target=run.wait_for_end)
    waiter.start()
    time.sleep(0.5)
    demo_writers.freeze(pause)
    frozen = journal.now_ns()
    time.sleep(0.5)
    thawed = journal.now_ns()
    demo_writers.thaw(pause)
    time.sleep(0.5)
    run.stop()
    waiter.join()
    run.finish()
    told = journal.read_journal(tmp_path / "journal")
    assert not [op for op in told.operations if op.sent < thawed and op.acked > frozen]
    assert any(op.acked < frozen for op in told.operations)
    assert any(op.sent > thawed for op in told.operations)


def command(*arguments, ok=True):
    done = subprocess.run(
        [sys.executable, "-m", "holdfast_sandbox.demo", *map(str, arguments)],
        cwd=SANDBOX,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode == 0) == ok, done.stderr + done.stdout
    return done


def test_the_command_line_from_loading_to_checking(client, cluster, data, names, tmp_path):
    source, target = names
    urls = [word for url in cluster.urls for word in ("--url", url)]
    loaded = command("demo-load", *urls, "--collection", source, "--points", 300, "--shards", 2)
    assert json.loads(loaded.stdout)["points"] == 300
    again = command("demo-load", *urls, "--collection", source, ok=False)
    assert "exists" in again.stderr
    asked = command("demo-ask", *urls, "--collection", f"{source}-live", "--json", "to run away")
    answers = [json.loads(line) for line in asked.stdout.splitlines()]
    assert [answer["place"] for answer in answers] == [1, 2, 3, 4, 5]
    assert all(0 < answer["score"] <= 1 and answer["text"] for answer in answers)

    until = tmp_path / "until"
    told = tmp_path / "journal"
    writer = subprocess.Popen(
        [sys.executable, "-m", "holdfast_sandbox.demo", "demo-write", *urls]
        + ["--collection", source, "--journal", str(told), "--own", "30"]
        + ["--until-file", str(until), "--wait", "mixed"],
        cwd=SANDBOX,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert json.loads(writer.stdout.readline())["event"] == "started"
    time.sleep(1.0)
    images, t1, t2 = capture(client, source)
    time.sleep(0.7)
    until.touch()
    assert json.loads(writer.stdout.readline())["acknowledged"] > 20
    assert writer.wait(30) == 0
    writer.stdout.close()

    restore(client, images, source, target)
    check = ["demo-check", *urls, "--collection", target, "--journal", told, "--json"]
    times = ["--first-request-in", t1, "--last-first-byte", t2]
    assert json.loads(command(*check, *times).stdout)["ok"] is True
    # The same restore, held against a later cut, has lost operations.
    now = journal.now_ns()
    late = command(
        *check, "--first-request-in", now, "--last-first-byte", now, "--allow-narrow", ok=False
    )
    assert json.loads(late.stdout)["violation_count"] > 0
    narrow = command(*check, "--first-request-in", now, "--last-first-byte", now, ok=False)
    assert "--allow-narrow" in narrow.stderr


def test_ids_are_those_of_their_documents(client, data, names):
    source, _ = names
    demo.load_collection(client, data, source, points=50, shards=2, ids="mixed")
    wanted = {
        demo_points.point_id(data.documents[row], "mixed"): row
        for row in demo_points.spread(len(data.documents), 50)
    }
    found = {r["id"]: r["payload"]["row"] for r in client.scroll(f"/collections/{quote(source)}")}
    assert found == wanted


@pytest.mark.parametrize("points", [0, 1])
def test_empty_and_single_collections_load(client, data, names, points):
    source, _ = names
    told = demo.load_collection(client, data, source, points=points, shards=2)
    assert told["points"] == points
