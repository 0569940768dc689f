"""A group that was taken on three nodes comes back on one, two and five: every shape by id,
payload, vectors and golden queries, with its shard keys, on each replica. Replication goes 2, 1, 2;
peers are lost on the way or too small. On the sandbox and on a real server."""

from __future__ import annotations

import contextlib
import json

import golden
import pytest
import shapes
import small
from clusters import SandboxCluster
from holdfast_sandbox.demo_client import Client, quote, wait_for
from holdfast_sandbox.realcluster import RealCluster
from reshard_tools import all_active, behind
from shapes import DENSE, Shape

# Shard keys with replicas; one was dropped, so that the ids of those behind it have a gap before.
GAPS = Shape(
    "gaps",
    {"vectors": DENSE, "shard_number": 2, "replication_factor": 2, "sharding_method": "custom"},
    keys=("first", "dropped", "last", 9),
)
NAMES = ("quantized", "hybrid", "by-key", "replicated", "empty")
SHAPES = [*(shape for shape in shapes.SHAPES if shape.name in NAMES), GAPS]
REPLICATED = [s.name for s in SHAPES if s.body.get("replication_factor") == 2]
TO = ("--cluster", "other", "--json")
RESTORE = ("restore", "latest", "--from", "test", *TO)


@pytest.fixture(scope="module")
def client(servers):
    made = Client(servers.urls)
    for shape in SHAPES:
        shapes.make(made, shape)
    path = f"/collections/{GAPS.name}/shards/delete?timeout=60"
    made.call("POST", path, {"shard_key": "dropped"})
    return made


@pytest.fixture(scope="module")
def program(servers, client, tmp_path_factory):
    made = small.program(tmp_path_factory.mktemp("nodes"), servers.urls)
    made.done("backup")
    return made


@pytest.fixture(scope="module")
def wanted(client, program):
    found = {shape.name: golden.points(client, shape.name) for shape in SHAPES}
    assert all(len(found[s.name]) == s.points for s in SHAPES if s is not GAPS)
    assert 0 < len(found[GAPS.name]) < GAPS.points
    return found


@pytest.fixture()
def other(servers, program, tmp_path, request):
    """Makes an empty cluster of so many nodes, which the program knows as `other`."""
    before = program.config.read_text()
    with contextlib.ExitStack() as stack:

        def make(count):
            folder = tmp_path / "other"
            if servers.kind == "real":
                binary = request.getfixturevalue("real_binary")
                made = RealCluster.up(folder, binary, count, "ports")
            else:
                made = SandboxCluster(folder, count, ("--optimizer", "auto"))
            stack.callback(made.down)
            listed = ", ".join(f'"{url}"' for url in made.urls)
            program.config.write_text(f"{before}[cluster.other]\nurls = [{listed}]\n")
            return made

        yield make
    program.config.write_text(before)


@contextlib.contextmanager
def configured(program, text):
    """With more in its configuration for a while."""
    before = program.config.read_text()
    program.config.write_text(before + text)
    try:
        yield
    finally:
        program.config.write_text(before)


def of_peer(peer, line):
    return f'[cluster.other.peer."{peer}"]\n{line}\n'


def peers_of(urls):
    """Ids by node."""
    return [Client([url]).call("GET", "/cluster")["peer_id"] for url in urls]


def replicas(client, name):
    """Shard -> peers; fails when a replica is not Active."""
    view = client.call("GET", f"/collections/{quote(name)}/cluster")
    local = [{**shard, "peer_id": view["peer_id"]} for shard in view["local_shards"]]
    found = {}
    for shard in local + view["remote_shards"]:
        assert shard["state"] == "Active", (name, shard)
        found.setdefault(shard["shard_id"], set()).add(shard["peer_id"])
    assert not view["shard_transfers"]
    return found


def check_whole(client, there, wanted, number):
    """Everything is as in the source, and each shard has `number` replicas, or as many as were
    asked for; all of them hold the same."""
    urls = {Client([url]).call("GET", "/cluster")["peer_id"]: url for url in there.urls}
    for shape in SHAPES:
        name = shape.name
        assert golden.points(there, name) == wanted[name], name
        assert golden.shape(there, name) == golden.shape(client, name)
        for using in shape.queries:
            query = shape.query(using)
            answers = golden.ask(client, name, using, query)
            assert answers and golden.same_answers(
                answers, golden.ask(there, name, using, query)
            ), (name, using)
        if shape.alias:
            assert behind(there, shape.alias) == name
        expected = min(number, shape.body.get("replication_factor", 1))
        together = {}
        for shard, peers in replicas(there, name).items():
            assert len(peers) == expected, (name, shard, peers)
            held = [golden.points_of_shard(there, name, shard, urls[peer]) for peer in peers]
            assert all(one == held[0] for one in held), (name, shard)
            assert not together.keys() & held[0].keys()
            together |= held[0]
        assert together == wanted[name], name


def used(there, names=tuple(shape.name for shape in SHAPES)):
    """The peers that hold anything."""
    return {peer for name in names for held in replicas(there, name).values() for peer in held}


@pytest.mark.parametrize("nodes", [2, 5])
def test_it_comes_back_on_another_number_of_nodes(client, program, wanted, other, nodes):
    cluster = other(nodes)
    there = Client(cluster.urls)
    done = program.done(*RESTORE).result
    assert done["given_up"] == []
    check_whole(client, there, wanted, 2)
    assert used(there) == set(peers_of(cluster.urls)), "spread over all of them"
    again = program.done("rebalance", *TO).result
    assert again["left"] == []
    check_whole(client, there, wanted, 2)
    # A group of the new place is as good as the first one: back into the old one, beside.
    program.done("backup", *TO)
    asked = ["--as=gaps=gaps copy", "--as=by-key=by-key copy", "--collections", "gaps,by-key"]
    group = program.groups()[0]["group"]
    program.done("restore", group, "--from", "other", "--cluster", "test", *asked)
    for name in ("gaps", "by-key"):
        assert golden.points(client, f"{name} copy") == wanted[name]
        assert golden.shape(client, f"{name} copy") == golden.shape(client, name)
        small.drop(client, f"{name} copy")


def test_it_comes_back_on_one_node_if_that_is_wanted(client, program, wanted, other):
    there = Client(other(1).urls)
    refused = program.run(*RESTORE)
    assert refused.status == 1 and "--allow-consolidation" in refused.result["error"]["hint"]
    assert there.call("GET", "/collections")["collections"] == []
    done = program.run(*RESTORE, "--allow-consolidation")
    assert done.status == 3, done
    for name in REPLICATED:
        assert any(f"'{name}'" in t and "1 of 2 replicas" in t for t in done.result["given_up"])
    check_whole(client, there, wanted, 1)
    dry = program.run("rebalance", "--dry-run", *TO)
    assert dry.status == 3 and dry.result["plan"]["steps"] == [], dry


def test_replication_of_two_goes_to_one_and_back(client, program, wanted, other, tmp_path):
    cluster = other(2)
    there = Client(cluster.urls)
    kept, away = peers_of(cluster.urls)
    draining = of_peer(away, "draining = true")
    with configured(program, draining):
        done = program.run(*RESTORE, "--allow-consolidation")
        assert done.status == 3, done
        assert used(there) == {kept}
        check_whole(client, there, wanted, 1)
    raised = program.done("rebalance", *TO).result
    assert raised["replicated"] > 0 and raised["left"] == []
    check_whole(client, there, wanted, 2)
    with configured(program, draining):
        # What nobody else can take stays.
        drained = program.run("rebalance", *TO)
        assert drained.status == 3 and drained.result["dropped"] == 0, drained
        assert any(f"{away} keeps" in text for text in drained.result["left"])
        check_whole(client, there, wanted, 2)
    file = tmp_path / "layout.json"
    on_one = {
        shape.name: [{"shard": n, "peers": [kept]} for n in replicas(there, shape.name)]
        for shape in SHAPES
    }
    file.write_text(json.dumps({"collections": on_one}))
    assert program.done("rebalance", "--to", str(file), *TO).result["dropped"] > 0
    assert used(there) == {kept}
    check_whole(client, there, wanted, 1)
    assert program.done("rebalance", *TO).result["left"] == []
    check_whole(client, there, wanted, 2)


def test_a_peer_of_five_is_lost_amid_the_images(client, program, wanted, other):
    cluster = other(5)
    # The lost one answers nobody, so the others are asked.
    lost = 4
    there = Client(cluster.urls[:lost])
    ids = peers_of(cluster.urls)
    running = program.start(*RESTORE)
    told = []
    for line in running.stdout:
        told.append(json.loads(line))
        if told[-1]["event"] == "step" and told[-1]["key"].startswith("send/"):
            cluster.kill(lost)
            break
    told += [json.loads(line) for line in running.stdout]
    trouble = running.stderr.read()
    assert running.wait(300) == 0, (told[-1], trouble)
    cluster.start(lost)
    wait_for("all replicas", lambda: all_active(there), 120, 0.5)
    # A collection that was ready when it was lost has kept what it held.
    there = Client(cluster.urls)
    wait_for("all replicas", lambda: all_active(there), 120, 0.5)
    check_whole(client, there, wanted, 2)
    last = told[-1]["collections"][-1]["target"]
    assert ids[lost] not in used(there, [last])
    evened = program.done("rebalance", "--wait", "2m", *TO).result
    assert evened["left"] == []
    check_whole(client, there, wanted, 2)
    assert ids[lost] in used(there)


TOO_SMALL = 'disk_free = "1KiB"'


def test_a_peer_that_is_too_small_gets_nothing_and_others_take_its_part(
    client, program, wanted, other
):
    cluster = other(3)
    there = Client(cluster.urls)
    tiny = peers_of(cluster.urls)[1]
    with configured(program, of_peer(tiny, TOO_SMALL)):
        # Twelve replicas of one collection on two of three peers is more than spreading.
        refused = program.run(*RESTORE)
        assert refused.status == 1, refused
        assert f"as peer {tiny} has 1.0 KiB of disk" in refused.result["error"]["message"]
        few = ("by-key", "hybrid", "replicated")
        done = program.done(*RESTORE, "--collections", ",".join(few)).result
        assert done["given_up"] == []
        assert tiny not in used(there, few)
        for name in few:
            assert golden.points(there, name) == wanted[name]
            small.drop(there, name)
        done = program.run(*RESTORE, "--allow-consolidation")
        assert done.status == 3 and all("'gaps'" in text for text in done.result["given_up"]), done
        assert tiny not in used(there)
        check_whole(client, there, wanted, 2)
        program.run("rebalance", *TO)
        assert tiny not in used(there, [s.name for s in SHAPES if s.points])
        check_whole(client, there, wanted, 2)
    # It was given a larger disk.
    program.done("rebalance", *TO)
    assert tiny in used(there)
    check_whole(client, there, wanted, 2)


def test_where_nobody_can_take_the_part_of_a_peer_that_is_too_small_it_is_refused(
    program, wanted, other
):
    cluster = other(2)
    there = Client(cluster.urls)
    tiny = peers_of(cluster.urls)[1]
    with configured(program, of_peer(tiny, TOO_SMALL)):
        for more in ([], ["--allow-consolidation"]):
            refused = program.run(*RESTORE, *more)
            assert refused.status == 1, refused
            error = refused.result["error"]
            assert f"peer {tiny} would need" in error["message"]
            assert "and has 1.0 KiB" in error["message"]
        assert "disk_free" in error["hint"]
    assert there.call("GET", "/collections")["collections"] == []
