"""Four writers, the optimizer at work, and a node that dies in the middle of its stream; then
backups and a restore while it is dead. On the sandbox and on a real server."""

from __future__ import annotations

import threading
import time

import golden
import pytest
from holdfast_sandbox import demo, demo_data, demo_writers, journal
from holdfast_sandbox.demo_client import Client, wait_for
from program import Program
from proxy import StreamDoor

DYING = 2
POINTS = 2400


@pytest.fixture(scope="module")
def client(servers):
    return Client(servers.urls)


@pytest.fixture(scope="module")
def door(servers):
    """The way to the node that will die."""
    made = StreamDoor(servers.urls[DYING])
    yield made
    made.close()


@pytest.fixture(scope="module")
def program(servers, door, tmp_path_factory):
    urls = [*servers.urls[:DYING], door.url]
    made = Program(tmp_path_factory.mktemp("writers"), urls)
    made.done("init")
    return made


@pytest.fixture(scope="module")
def quiet(client, data):
    """A collection that nobody writes to: no write will mark its replicas on the dead peer."""
    demo.load_collection(client, data, "quiet", points=300, shards=3, replication=2)
    return golden.points(client, "quiet")


def check(urls, data, target, journal_file, result):
    """Promises of the cut: the program says when the first request and the last first byte were."""
    report = demo.check_restored(
        Client(urls),
        data,
        target,
        journal.read_journal(journal_file),
        result["first_request_monotonic_us"] * 1000,
        (result["last_first_byte_monotonic_us"] + 1) * 1000,
    )
    assert report.ok, "\n".join(map(str, report.violations[:10]))
    return report


def write_around(client, data, path, work, name="busy"):
    """Runs `work` while four writers work on a collection; what it returned."""
    settings = demo_writers.Settings(client.urls, name, path, own=60)
    run = demo_writers.Run(settings, data)
    run.start()
    try:
        time.sleep(1.5)
        return work()
    finally:
        time.sleep(0.5)
        totals = run.finish()
        assert totals.errors == [], totals.errors[:3]


def test_shards_that_are_being_optimized_come_from_stored_collection_snapshots(
    servers, client, program, data, tmp_path
):
    """Their images carry the log, so deletes that the optimizer holds back are not lost."""
    sandbox = servers.kind == "sandbox"
    load = {"points": 2000 if sandbox else 30_000, "shards": 3, "wait": False}
    demo.load_collection(client, data, "indexed", indexing_threshold=200, **load)
    if sandbox:  # It would be done too soon.
        for node in range(len(servers.urls)):
            servers.fault(node, "optimizing", on=True, collection="indexed")

    def back_up():
        some = ("--collections", "indexed", "--settle", "0s")
        return program.run("backup", *some, "--json")

    backup = write_around(client, data, tmp_path / "journal", back_up, "indexed")
    if sandbox:
        for node in range(len(servers.urls)):
            servers.fault(node, "clear")
    try:
        assert backup.status == 0, str(backup)
        steps = [e["key"] for e in backup.events if e["event"] == "step"]
        # On the sandbox a replica may come to rest for a moment and be streamed then.
        staged = [key for key in steps if key.startswith("staged/")]
        assert staged or sandbox, "no shard was being optimized"
        program.done("restore", backup.result["group"], "--as", "indexed=indexed2")
        report = check(client.urls, data, "indexed2", tmp_path / "journal", backup.result)
        assert report.deleted_before > 2
    finally:
        for name in ("indexed", "indexed2"):
            client.call("DELETE", f"/collections/{name}?timeout=60")


def test_a_node_that_dies_in_the_middle_of_its_stream(
    servers, client, program, door, data, quiet, tmp_path
):
    # Indexed from the first kilobytes on, so that the optimizer is at work during the backup.
    load = {"points": POINTS, "shards": 4, "replication": 2, "wait": False}
    demo.load_collection(client, data, "busy", indexing_threshold=50, **load)
    killers = []

    def die():
        killers.append(threading.Thread(target=servers.kill, args=(DYING,)))
        killers[0].start()

    def back_up():
        door.arm(100_000, die)
        return program.run("backup", "--settle", "5s", "--wait", "60s", "--json")

    backup = write_around(client, data, tmp_path / "journal", back_up)
    for killer in killers:
        killer.join()
    assert door.acted, "no stream came through the door"
    assert backup.status == 0, str(backup)
    result = backup.result
    assert result["collections"] == 2 and result["shards"] == 7
    restored = program.done("restore", result["group"], "--as=busy=busy2", "--as=quiet=quiet2")
    assert restored.status == 0
    report = check(servers.urls[:DYING], data, "busy2", tmp_path / "journal", result)
    assert report.before > 20 and report.deleted_before > 2
    assert golden.points(client, "quiet2") == quiet


def test_a_backup_while_a_peer_is_dead(servers, client, program, data, quiet, tmp_path):
    """Also of a collection that no write has told of it: there it still reads Active."""

    def back_up():
        return program.run("backup", "--settle", "5s", "--json")

    backup = write_around(client, data, tmp_path / "journal", back_up)
    assert backup.status == 0, str(backup)
    result = backup.result
    began = time.monotonic()
    some = "--collections=busy,quiet"
    program.done("restore", result["group"], "--as=busy=busy3", "--as=quiet=quiet3", some)
    print(f"restored while a peer is dead in {time.monotonic() - began:.1f} s")
    check(servers.urls[:DYING], data, "busy3", tmp_path / "journal", result)
    assert golden.points(client, "quiet3") == quiet
    for name in ("quiet", "quiet3"):
        query = [1.0] + [0.0] * (demo_data.DIMENSIONS - 1)
        assert golden.same_answers(
            golden.ask(client, "quiet", None, query), golden.ask(client, name, None, query)
        )


def test_the_peer_comes_back_and_everything_is_backed_up(servers, client, program, quiet):
    servers.start(DYING)

    def healed():
        topology = program.run("topology", "--json")
        return topology.status == 0 and program.run("backup", "--dry-run").status == 0

    wait_for("the peer's replicas", healed, 120, 1.0)
    program.done("backup", "--wait", "60s", "--settle", "30s")
    assert not program.done("verify", "--json").result["damaged"]
