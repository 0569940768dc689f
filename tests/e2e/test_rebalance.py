"""`holdfast rebalance`: shards go where they should be, however it is interrupted, and every point
is there afterwards. On the sandbox and on a real server."""

from __future__ import annotations

import json
import random
import signal
import time

import golden
import pytest
import small
from holdfast_sandbox.demo_client import Client, RestError, quote, wait_for
from holdfast_sandbox.realcluster import RealCluster
from program import Answer

LOST = 2
BIG = "big"
BIG_SHARDS = 6
BIG_POINTS = 24_000


@pytest.fixture(scope="module")
def client(servers):
    return Client(servers.urls[:LOST])


@pytest.fixture(scope="module")
def program(servers, client, tmp_path_factory):
    return small.program_with_group(tmp_path_factory.mktemp("rebalance"), servers.urls, client)


@pytest.fixture(scope="module")
def ids(program):
    """Ids of the peers by node number."""
    peers = {p["url"].rstrip("/"): p["id"] for p in topology(program)["peers"]}
    return [peers[url.rstrip("/")] for url in node_urls(program)]


def node_urls(program):
    line = next(x for x in program.config.read_text().splitlines() if x.startswith("urls"))
    return json.loads(line.split("=", 1)[1])


@pytest.fixture()
def crowded(program, client, ids):
    """`copy`, all of it on the first peer with one replica, as a contingency restore leaves it."""
    asked = ["restore", "latest", "--as", "docs=copy", "--layout", f"consolidate={ids[0]}"]
    answer = program.run(*asked, "--yes", "--allow-consolidation", "--json")
    assert answer.status == 3
    assert all("holdfast rebalance" in text for text in answer.result["given_up"])
    yield answer.result
    small.drop(client, "copy")


@pytest.fixture(scope="module")
def big(servers, program, client, ids):
    """A collection that takes the servers some seconds to move, all of it on the first peer."""
    body = {
        "vectors": {"size": 64, "distance": "Dot"},
        "shard_number": BIG_SHARDS,
        "replication_factor": 1,
        "hnsw_config": {"m": 0},
    }
    client.call("PUT", f"/collections/{BIG}?timeout=60", body)
    chance = random.Random(5)
    for first in range(0, BIG_POINTS, 1000):
        points = [
            {"id": i, "vector": [chance.uniform(-1, 1) for _ in range(64)], "payload": {"n": i}}
            for i in range(first, first + 1000)
        ]
        client.call("PUT", f"/collections/{BIG}/points?wait=true", {"points": points})
    before = golden.points(client, BIG)
    yield before
    small.drop(client, BIG)


def gather(program, ids, tmp_path, name=BIG):
    """Brings all shards of a collection to the first peer again."""
    collection = find(topology(program), name)
    shards = [{"shard": s["id"], "peers": [ids[0]]} for s in collection["shards"]]
    file = tmp_path / "gather.json"
    file.write_text(json.dumps({"collections": {name: shards}}))
    program.done("rebalance", "--to", str(file), "--max-per-peer", "4")
    assert set(placement(program, name)) == {(ids[0],)}


def topology(program):
    return program.done("topology", "--json").result["topology"]


def find(seen, name):
    return next(c for c in seen["collections"] if c["name"] == name)


def placement(program, name):
    """The peers of every shard; fails when a replica is not Active or something is under way."""
    collection = find(topology(program), name)
    assert not collection["transfers"], collection["transfers"]
    for shard in collection["shards"]:
        assert {r["state"] for r in shard["replicas"]} == {"Active"}, shard
    return [tuple(sorted(r["peer"] for r in s["replicas"])) for s in collection["shards"]]


def loads(placed):
    held = {}
    for peers in placed:
        for peer in peers:
            held[peer] = held.get(peer, 0) + 1
    return sorted(held.values())


def transfers(client, name=BIG):
    """What any node lists as under way."""
    found = []
    for url in client.urls:
        try:
            view = client.call("GET", f"/collections/{quote(name)}/cluster", url=url)
        except RestError:
            continue
        found += [(t["shard_id"], t["from"], t["to"]) for t in view["shard_transfers"]]
    return set(found)


def started_with(running):
    """The job of a program that was started with --json."""
    for line in running.stdout:
        event = json.loads(line)
        if event["event"] == "started":
            return event["job"]
    raise AssertionError("it has not begun")


def finish(running):
    """As Program.ended, for one whose first lines were read already."""
    out, err = running.stdout.read(), running.stderr.read()
    return Answer(running.wait(300), out, err)


def wait_moving(client, name=BIG):
    return wait_for("a transfer to begin", lambda: transfers(client, name), 60, 0.02)


# --- the layout ----------------------------------------------------------------------------------


def test_what_was_consolidated_is_spread_and_replicated_again(
    program, client, wanted, crowded, ids
):
    assert set(placement(program, "copy")) == {(ids[0],)}
    dry = program.done("rebalance", "--dry-run", "--json").result
    steps = dry["plan"]["steps"]
    assert {step["action"] for step in steps} == {"move", "replicate"}
    assert set(placement(program, "copy")) == {(ids[0],)}, "a dry run changes nothing"
    shown = program.done("rebalance", "--dry-run").out
    assert shown.splitlines()[0].split() == "ACTION COLLECTION SHARD FROM TO SIZE".split()

    done = program.done("rebalance", "--json")
    assert done.result["state"] == "complete" and done.result["left"] == []
    assert done.result["moved"] + done.result["replicated"] == len(steps)
    placed = placement(program, "copy")
    assert loads(placed) == [2, 3, 3] and all(len(peers) == 2 for peers in placed)
    assert golden.points(client, "copy") == wanted
    # The wanted replication was never forgotten.
    assert golden.shape(client, "copy") == golden.shape(client, small.NAME)
    again = program.done("rebalance", "--json").result
    assert again["moved"] + again["replicated"] + again["dropped"] == 0
    assert "nothing to do" in program.done("rebalance").out


def test_a_plan_file_is_followed_exactly(program, client, wanted, crowded, ids, tmp_path):
    file = tmp_path / "layout.json"
    shards = [{"shard": 0, "peers": [ids[2]]}, {"shard": 1, "peers": [ids[1], ids[2]]}]
    file.write_text(json.dumps({"collections": {"copy": shards}}))
    done = program.done("rebalance", "--to", str(file), "--json").result
    assert (done["moved"], done["replicated"], done["dropped"]) == (2, 1, 0)
    expected = [(ids[2],), tuple(sorted(ids[1:])), (ids[0],), (ids[0],)]
    assert placement(program, "copy") == expected
    file.write_text(json.dumps({"collections": {"copy": [{"shard": 1, "peers": [ids[1]]}]}}))
    assert program.done("rebalance", "--to", str(file), "--json").result["dropped"] == 1
    assert golden.points(client, "copy") == wanted
    for bad in ("{", "{}", '{"collections":{"nope":[{"shard":0,"peers":[1]}]}}'):
        file.write_text(bad)
        refused = program.run("rebalance", "--to", str(file), "--json")
        assert refused.status == 2, refused
    assert program.run("rebalance", "--to", str(tmp_path / "none"), "--json").status == 2
    assert program.run("rebalance", "--collections", "nope", "--json").status == 1


def test_a_peer_that_is_drained_holds_nothing(program, client, wanted, ids):
    before = program.config.read_text()
    program.config.write_text(before + f'[cluster.test.peer."{ids[1]}"]\ndraining = true\n')
    try:
        done = program.done("rebalance", "--collections", "docs", "--json").result
        assert done["moved"] > 0
        assert all(ids[1] not in peers for peers in placement(program, "docs"))
    finally:
        program.config.write_text(before)
    program.done("rebalance", "--collections", "docs")
    assert loads(placement(program, "docs")) == [2, 3, 3]
    assert golden.points(client, "docs") == wanted


@pytest.mark.parametrize("servers", ["real"], indirect=True, scope="module")
def test_one_node_is_restored_onto_and_two_more_join(
    program, client, wanted, tmp_path, servers, request
):
    # Nodes of the sandbox are there from the beginning.
    cluster = RealCluster.reserve(tmp_path / "grows", request.getfixturevalue("real_binary"), 3)
    before = program.config.read_text()
    try:
        cluster.start(0)
        urls = ", ".join(f'"{url}"' for url in cluster.urls)
        program.config.write_text(before + f"[cluster.grows]\nurls = [{urls}]\n")
        to = ["--cluster", "grows", "--json"]
        asked = ["restore", "latest", "--from", "test", "--allow-consolidation", *to]
        restored = program.run(*asked)
        assert restored.status == 3, restored
        alone = program.run("rebalance", *to)
        assert alone.status == 3 and "2 replicas" in alone.result["left"][0]
        cluster.start(1)
        cluster.start(2)
        cluster._wait_for_peers()
        done = program.done("rebalance", *to).result
        assert done["replicated"] >= 4 and done["left"] == []
        there = Client(cluster.urls)
        seen = program.done("topology", *to).result["topology"]
        placed = [[r["peer"] for r in s["replicas"]] for s in find(seen, "docs")["shards"]]
        assert loads(placed) == [2, 3, 3] and all(len(peers) == 2 for peers in placed)
        assert golden.points(there, "docs") == wanted
        assert golden.shape(there, "docs") == golden.shape(client, "docs")
    finally:
        program.config.write_text(before)
        cluster.down()


# --- interrupted ---------------------------------------------------------------------------------

SLOW = ("rebalance", "--collections", BIG, "--max-transfers", "1", "--json")


def test_stopped_in_the_middle_it_leaves_no_transfer(program, client, big, ids, tmp_path):
    gather(program, ids, tmp_path)
    stopped = 0
    for number in range(3):
        running = program.start(*SLOW)
        started_with(running)
        wait_moving(client)
        time.sleep(0.1 * number)
        running.send_signal(signal.SIGINT)
        answer = finish(running)
        assert answer.status in (0, 130), answer
        if answer.status == 130:
            stopped += 1
            assert answer.result["state"] == "cancelled"
        assert all(len(peers) == 1 for peers in placement(program, BIG))
        assert not transfers(client)
        assert golden.points(client, BIG) == big
    assert stopped > 0
    program.done(*SLOW)
    assert loads(placement(program, BIG)) == [2, 2, 2]
    assert golden.points(client, BIG) == big


@pytest.mark.parametrize("how", ["resumed", "anew"])
def test_killed_in_the_middle_it_goes_on(program, client, big, ids, tmp_path, how):
    gather(program, ids, tmp_path)
    running = program.start(*SLOW)
    job = started_with(running)
    wait_moving(client)
    running.kill()
    finish(running)
    # While its lease lasts it reads as running; whoever wants that lease finds out.
    assert job in program.done("jobs").out
    if how == "resumed":
        refused = program.run("restore", "--resume", job, "--json")
        assert refused.status == 1 and "no restore job" in refused.result["error"]["message"]
        done = program.done("rebalance", "--resume", job, "--json")
        assert done.events[0]["attempt"] == 2
    else:
        done = program.done("rebalance", "--collections", BIG, "--json")
        warned = [e["message"] for e in done.events if e["event"] == "warning"]
        assert any("taken over" in text for text in warned)
        ended = program.run("rebalance", "--resume", job, "--json")
        assert ended.status == 1 and "has ended" in ended.result["error"]["message"]
    assert done.result["left"] == []
    assert loads(placement(program, BIG)) == [2, 2, 2]
    assert golden.points(client, BIG) == big


def test_others_transfers_are_refused_waited_for_and_left_alone(
    program, client, big, crowded, wanted, ids, tmp_path
):
    gather(program, ids, tmp_path)
    theirs = {"shard_id": 0, "from_peer_id": ids[0], "to_peer_id": ids[1]}
    move = {"move_shard": {**theirs, "method": "stream_records"}}
    client.call("POST", f"/collections/{BIG}/cluster?timeout=60", move)
    assert transfers(client), "the test needs a transfer that takes longer"
    refused = program.run("rebalance", "--collections", BIG, "--json")
    assert refused.status == 5 and "being transferred" in refused.result["error"]["message"]
    # Another collection's, with ours stopped meanwhile.
    running = program.start("rebalance", "--collections", "copy", "--json")
    started_with(running)
    running.send_signal(signal.SIGINT)
    finish(running)
    done = program.done("rebalance", "--wait", "5m", "--json")
    assert done.result["left"] == []
    assert placement(program, BIG)[0] == (ids[1],), "their transfer has not been aborted"
    assert loads(placement(program, BIG)) == [2, 2, 2]
    assert golden.points(client, BIG) == big
    assert golden.points(client, "copy") == wanted


def test_backup_restore_and_rebalance_take_turns(program, client, big, ids, tmp_path):
    gather(program, ids, tmp_path)
    running = program.start(*SLOW)
    job = started_with(running)
    for other in (["backup"], ["restore", "latest", "--as", "docs=x"], ["rebalance"]):
        refused = program.run(*other, "--json")
        assert refused.status == 5, refused
        assert job in refused.result["error"]["message"]
    waited = program.run("backup", "--wait", "5m", "--json")
    assert waited.status == 0, waited
    assert finish(running).status == 0
    assert golden.points(client, BIG) == big


@pytest.mark.parametrize("servers", ["real"], indirect=True, scope="module")
def test_deletes_stay_deleted_while_the_optimizer_works(servers, program, client, ids):
    # It takes the real optimizer.
    body = {
        "vectors": {"size": 64, "distance": "Dot"},
        "shard_number": 2,
        "hnsw_config": {"m": 48, "ef_construct": 400},
        "optimizers_config": {"default_segment_number": 2, "indexing_threshold": 1000},
    }
    client.call("PUT", "/collections/busy?timeout=60", body)
    chance = random.Random(6)
    for first in range(0, 20_000, 1000):
        points = [
            {"id": i, "vector": [chance.uniform(-1, 1) for _ in range(64)]}
            for i in range(first, first + 1000)
        ]
        client.call("PUT", "/collections/busy/points?wait=true", {"points": points})
    path = "/collections/busy/optimizations"
    wait_for("the optimizer to work", lambda: client.call("GET", path)["running"], 60, 0.05)
    gone = list(range(0, 20_000, 10))
    client.call("POST", "/collections/busy/points/delete?wait=true", {"points": gone})
    assert client.call("GET", path)["running"], "the optimizer was too fast"
    shards = find(topology(program), "busy")["shards"]
    moved = [
        {
            "shard": s["id"],
            "peers": [next(p for p in ids if p != s["replicas"][0]["peer"])],
        }
        for s in shards
    ]
    file = program.folder / "busy.json"
    file.write_text(json.dumps({"collections": {"busy": moved}}))
    assert program.done("rebalance", "--to", str(file), "--json").result["moved"] == 2
    found = golden.points(client, "busy")
    small.drop(client, "busy")
    assert len(found) == 18_000 and not set(gone) & set(found)


# --- a peer is lost; last, since it ends with one node less --------------------------------------


def test_a_peer_that_dies_on_the_way_is_planned_around(
    servers, program, client, big, ids, tmp_path
):
    gather(program, ids, tmp_path)
    answers = golden.answers(client, BIG, 64)
    running = program.start(*SLOW)
    started_with(running)
    for line in running.stdout:
        event = json.loads(line)
        if event["event"] == "step":
            break
    servers.kill(LOST)
    rest = finish(running)
    assert rest.status == 3, rest
    left = rest.result["left"]
    assert any(f"peer {ids[LOST]} does not answer" in text for text in left), left
    assert not transfers(client)
    # It comes back: everything is even, and whole.
    servers.start(LOST)
    program.done("rebalance", "--collections", BIG, "--wait", "2m")
    assert loads(placement(program, BIG)) == [2, 2, 2]
    assert golden.points(client, BIG) == big
    assert golden.all_same_answers(answers, golden.answers(client, BIG, 64))


def test_a_peer_that_is_given_up_is_replaced(servers, program, client, wanted, ids):
    program.done("rebalance", "--collections", "docs", "--wait", "2m")
    answers = golden.answers(client, "docs", small.DIMENSIONS)
    servers.kill(LOST)
    refused = program.run("rebalance", "--collections", "docs", "--json")
    assert refused.status == 1 and "--without" in refused.result["error"]["hint"]
    done = program.done("rebalance", "--collections", "docs", "--without", str(ids[LOST]), "--json")
    assert done.result["replicated"] > 0 and done.result["dropped"] > 0
    held = find(topology(program), "docs")["shards"]
    for shard in held:
        peers = sorted(r["peer"] for r in shard["replicas"])
        assert peers == sorted(ids[:LOST]), shard
    assert golden.points(client, "docs") == wanted
    assert golden.all_same_answers(answers, golden.answers(client, "docs", small.DIMENSIONS))
