"""`restore --shards`: points straight from a group's images into collections with another number of
shards. On the sandbox and on a real server, every point compared by id, payload and vectors."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import golden
import pytest
import shapes
import small
from clusters import SandboxCluster
from holdfast_sandbox.demo_client import Client, quote, wait_for
from program import PYTHON, SOURCE
from reshard_tools import all_active, notes

NAMES = ["quantized", "hybrid", "by-key", "replicated", "empty", "ünï-☃"]
SHAPES = [shape for shape in shapes.SHAPES if shape.name in NAMES]
ENGINE = f'[engine]\ncommand = ["{PYTHON}", "{SOURCE}/engine/holdfast-engine"]\n'
COPY = ("restore", "latest", "--as", "docs=copy", "--json")

# Slower than any machine, and quick enough to wait for.
SLOWLY = ("--shards", "5", "--max-points-per-second", "600")
POINTS = 3000
LOST = 2

pytest.importorskip("qdrant_edge")


def with_engine(made, text=ENGINE):
    """The program with the engine, and a scratch folder that the tests look into."""
    scratch = made.folder / "scratch"
    scratch.mkdir(exist_ok=True)
    made.config.write_text(
        f'{made.config.read_text()}[restore]\nscratch_directory = "{scratch}"\n{text}'
    )
    return made


def scratch_of(program):
    return list((program.folder / "scratch").iterdir())


def shards_of(client, name):
    """Number of shards of each shard key (None without one)."""
    view = client.call("GET", f"/collections/{quote(name)}/cluster")
    found = {}
    seen = set()
    for shard in view["local_shards"] + view["remote_shards"]:
        if shard["shard_id"] not in seen:
            seen.add(shard["shard_id"])
            key = shard.get("shard_key")
            found[key] = found.get(key, 0) + 1
    return found


def config_of(client, name):
    """What a copy has in common with its original."""
    shape = golden.shape(client, name)
    shape["config"]["params"].pop("shard_number")
    return shape["config"], shape["payload_schema"]


# --- every shape ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(servers):
    made = Client(servers.urls)
    for shape in SHAPES:
        shapes.make(made, shape)
    return made


@pytest.fixture(scope="module")
def program(servers, client, tmp_path_factory):
    made = with_engine(small.program(tmp_path_factory.mktemp("shards"), servers.urls))
    made.done("backup", "--collections", ",".join(shape.name for shape in SHAPES))
    return made


@pytest.fixture(scope="module")
def wanted(client, program):
    return {shape.name: golden.points(client, shape.name) for shape in SHAPES}


@pytest.mark.parametrize("shards", [5, 1])
def test_every_shape_comes_back_with_another_number_of_shards(client, program, wanted, shards):
    renames = [f"--as={shape.name}=copy {shape.name}" for shape in SHAPES]
    done = program.done("restore", "latest", "--shards", str(shards), *renames, "--json")
    told = {item["source"]: item for item in done.result["collections"]}
    compared = [text for text in notes(done) if "compared with the images, all the same" in text]
    # Those that keep their number get their images.
    copied = [shape for shape in SHAPES if shape.body["shard_number"] != shards]
    assert len(compared) == len(copied) > 3, notes(done)
    for shape in SHAPES:
        copy = f"copy {shape.name}"
        assert shards_of(client, copy) == {key: shards for key in shape.keys or (None,)}
        assert told[shape.name]["points"] == len(wanted[shape.name]) == shape.points
        assert golden.points(client, copy) == wanted[shape.name], shape.name
        assert config_of(client, copy) == config_of(client, shape.name)
        for using in shape.queries:
            # The statistics of idf are those of each shard.
            if using == "bm25":
                continue
            query = shape.query(using)
            assert golden.same_answers(
                golden.ask(client, shape.name, using, query),
                golden.ask(client, copy, using, query),
            ), (shape.name, using)
        small.drop(client, copy)
    assert scratch_of(program) == []


def test_points_of_a_shard_key_stay_under_it(client, program, wanted):
    program.done("restore", "latest", "--collections", "by-key", "--shards", "by-key=3",
                 "--as", "by-key=copy")  # fmt: skip
    for key in ("north", "süd / 100%", 7):
        bodies = [
            client.call("POST", f"/collections/{quote(name)}/points/count",
                        {"exact": True, "shard_key": key})["count"]
            for name in ("by-key", "copy")
        ]  # fmt: skip
        assert bodies[0] == bodies[1] > 0
    small.drop(client, "copy")


def test_the_plan_says_that_points_are_copied(client, program, wanted):
    asked = ["restore", "latest", "--collections", "quantized", "--as", "quantized=copy"]
    told = program.done(*asked, "--shards", "4", "--dry-run", "--json").result
    plan = told["plan"]["collections"][0]
    assert plan["copy_shards"] == 4 and plan["shards"] == []
    rows = {row["what"]: row for row in told["differences"]}
    assert rows["shards of 'quantized'"]["then"] == "2"
    assert "4" in rows["shards of 'quantized'"]["now"]
    text = program.done(*asked, "--shards", "4", "--dry-run").out
    assert "points are copied" in text and "server's choice" in text
    # The number it has needs no copy.
    same = program.done(*asked, "--shards", "2", "--dry-run", "--json").result
    assert same["plan"]["collections"][0]["copy_shards"] == 0
    assert not small.exists(client, "copy")


def test_readers_of_an_alias_are_switched_to_the_copy(client, program, wanted):
    program.done("restore", "latest", "--collections", "replicated", "--shards", "5")
    aliases = {a["alias_name"]: a["collection_name"]
               for a in client.call("GET", "/aliases")["aliases"]}  # fmt: skip
    copy = aliases["replicated live"]
    assert copy.startswith("replicated__") and shards_of(client, copy) == {None: 5}
    view = client.call("GET", f"/collections/{quote(copy)}/cluster")
    assert len(view["local_shards"] + view["remote_shards"]) == 10
    assert golden.points(client, "replicated live") == wanted["replicated"]
    action = {"create_alias": {"collection_name": "replicated", "alias_name": "replicated live"}}
    delete = {"delete_alias": {"alias_name": "replicated live"}}
    client.call("POST", "/collections/aliases?timeout=60", {"actions": [delete, action]})
    small.drop(client, copy)


def test_the_source_need_not_be_there(client, program, wanted):
    """Only the group is read: the collection it was taken from is gone."""
    before = config_of(client, "hybrid")
    small.drop(client, "hybrid")
    program.done("restore", "latest", "--collections", "hybrid", "--shards", "3")
    assert shards_of(client, "hybrid") == {None: 3}
    assert golden.points(client, "hybrid") == wanted["hybrid"]
    assert config_of(client, "hybrid") == before


# --- broken off ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def docs(client, tmp_path_factory):
    """One group of `docs`: two shards, more points than a page of each."""
    small.make(client)
    for first in range(small.POINTS, POINTS, 500):
        points = [
            {"id": i, "vector": [i / 7 + k for k in range(32)], "payload": {"n": i}}
            for i in range(first, min(first + 500, POINTS))
        ]
        client.call("PUT", f"/collections/{small.NAME}/points?wait=true", {"points": points})
    made = with_engine(small.program(tmp_path_factory.mktemp("docs"), client.urls))
    made.done("backup", "--collections", small.NAME)
    return made


@pytest.fixture(scope="module")
def documents(client, docs):
    return golden.points(client, small.NAME)


def engines_of(pid):
    """Processes of holdfast-engine that this one has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = []
    for task in children.parent.parent.glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return [
        child for child in found
        if b"holdfast-engine" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]  # fmt: skip


def an_engine_of(running, but=0):
    """One that copies; not the one that a restore starts and ends again to see whether it can."""
    until = time.monotonic() + 60
    while running.poll() is None and time.monotonic() < until:
        try:
            found = [pid for pid in engines_of(running.pid) if pid != but]
        except OSError:  # It may go while it is looked at.
            found = []
        if found:
            return found[0]
        time.sleep(0.01)
    raise AssertionError("no holdfast-engine was started")


def start_copying(program, *arguments):
    """A restore that has begun to copy."""
    running = program.start(*COPY, *arguments)
    told = []
    for line in running.stdout:
        told.append(json.loads(line))
        if told[-1].get("key") == "create/copy":
            return running, told
    raise AssertionError(f"it ended: {told}")


@pytest.mark.parametrize("step", ["create/copy", "copy/copy/0/0", "copy/copy/1/0"])
def test_a_copy_that_dies_after_a_step_is_resumed(client, docs, documents, step):
    told = small.kill_at_step(docs.start(*COPY, "--shards", "5"), step)
    again = docs.run("restore", "--resume", small.job_of(told), "--json")
    if again.status == 0:
        skipped = {key for key, before in small.steps_of(again.events).items() if before}
        assert step in skipped
        assert again.result["collections"][0]["points"] == len(documents)
    else:
        # The last step is close to the end: the whole job may have been over.
        assert "has ended: it is complete" in again.result["error"]["message"], again
    assert shards_of(client, "copy") == {None: 5}
    assert golden.points(client, "copy") == documents
    small.drop(client, "copy")
    # What the killed one had unpacked is gone with the next one.
    assert scratch_of(docs) == []


def test_a_copy_that_dies_amid_its_points_is_resumed(client, docs, documents):
    running, told = start_copying(docs, *SLOWLY)
    engine = an_engine_of(running)
    time.sleep(0.5)
    running.kill()
    running.communicate(timeout=120)
    until = time.monotonic() + 60
    while Path(f"/proc/{engine}").exists() and time.monotonic() < until:
        time.sleep(0.05)  # It dies with holdfast.
    assert not Path(f"/proc/{engine}").exists()
    docs.done("restore", "--resume", small.job_of(told))
    assert golden.points(client, "copy") == documents
    assert scratch_of(docs) == []
    small.drop(client, "copy")


def test_an_engine_that_is_killed_is_followed_by_another(client, docs, documents):
    running, _ = start_copying(docs, *SLOWLY)
    engine = an_engine_of(running)
    time.sleep(0.2)
    os.kill(engine, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # Its shard may be read by now.
        os.kill(an_engine_of(running, engine), signal.SIGKILL)
    out, err = running.communicate(timeout=300)
    assert running.returncode == 0, out + err
    assert golden.points(client, "copy") == documents
    assert scratch_of(docs) == []
    small.drop(client, "copy")


def test_a_peer_that_is_lost_while_points_are_copied(servers, client, program, wanted):
    """It comes back soon: the copy is whole then, or it was refused and nothing of it is left."""
    asked = ["restore", "latest", "--collections", "replicated", "--as", "replicated=copy"]
    asked += ["--shards", "5", "--json"]
    running = program.start(*asked, "--max-points-per-second", "60")
    told = []
    for line in running.stdout:
        told.append(json.loads(line))
        if told[-1].get("key") == "create/copy":
            servers.kill(LOST)
            break
    time.sleep(1)
    servers.start(LOST)
    told += [json.loads(line) for line in running.stdout]
    running.stderr.read()
    if running.wait(300) != 0:
        assert told[-1]["error"]["hint"], told[-1]
        assert not small.exists(client, "copy"), "what readers never saw is removed"
        program.done(*asked, "--wait", "2m")
    wait_for("all replicas", lambda: all_active(client), 120, 0.5)
    assert shards_of(client, "copy") == {None: 5}
    assert golden.points(client, "copy") == wanted["replicated"]
    assert scratch_of(program) == []
    small.drop(client, "copy")


# --- what is refused -----------------------------------------------------------------------------


def test_without_the_engine_all_else_works_and_the_command_says_what_to_install(
    client, docs, documents, tmp_path
):
    config = docs.config.read_text()
    try:
        docs.config.write_text(config.replace(ENGINE, ""))
        refused = docs.run(*COPY, "--shards", "5", env={"PATH": "/usr/bin:/bin"})
        assert refused.status == 1
        assert "holdfast-engine" in refused.result["error"]["message"]
        assert "pip install" in refused.result["error"]["hint"]
        assert not small.exists(client, "copy")
        docs.done(*COPY)
        assert golden.points(client, "copy") == documents
        small.drop(client, "copy")
        # A Python that has the package and lacks the library.
        lacking = ENGINE.replace(PYTHON, "/usr/bin/env\", \"PYTHONPATH=" + str(tmp_path) + "\", \""
                                 + PYTHON)  # fmt: skip
        (tmp_path / "qdrant_edge.py").write_text("raise ImportError('not here')\n")
        docs.config.write_text(config.replace(ENGINE, lacking))
        refused = docs.run(*COPY, "--shards", "5")
        assert refused.status == 1 and "qdrant-edge-py" in refused.result["error"]["message"]
        assert not small.exists(client, "copy")
    finally:
        docs.config.write_text(config)


def test_too_little_memory_or_room_is_told_with_its_key(client, docs, documents):
    for variable, value, hint in (
        ("HOLDFAST__ENGINE__MEMORY_BYTES", "40MiB", "memory_bytes"),
        ("HOLDFAST__RESTORE__SCRATCH_BYTES_MAX", "1MiB", "scratch_bytes_max"),
    ):
        refused = docs.run(*COPY, "--shards", "5", env={variable: value})
        assert refused.status == 1, str(refused)
        assert hint in refused.result["error"]["hint"], str(refused)
        assert not small.exists(client, "copy") and scratch_of(docs) == []


@pytest.mark.parametrize(
    "shards, said",
    [
        (["0"], "how many"),
        (["many"], "how many"),
        (["docs="], "how many"),
        (["nothing=3"], "'nothing'"),
        (["1001"], "1000"),
        (["3", "4"], "twice"),
        (["docs=3", "docs=4"], "twice"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(docs, shards, said):
    asked = [word for text in shards for word in ("--shards", text)]
    refused = docs.run(*COPY, *asked)
    assert refused.status in (1, 2) and said in refused.result["error"]["message"], str(refused)


# --- deletes -------------------------------------------------------------------------------------


def test_deletes_that_the_optimizer_held_back_stay_deleted(tmp_path_factory):
    """The image of a shard on which the optimizer works still has them (measured 7)."""
    cluster = SandboxCluster(tmp_path_factory.mktemp("held") / "c", 1)
    try:
        client = Client(cluster.urls)
        small.make(client)
        cluster.fault(0, "optimizing", collection=small.NAME, on=True)
        gone = list(range(0, small.POINTS, 3))
        client.call("POST", f"/collections/{small.NAME}/points/delete?wait=true", {"points": gone})
        program = with_engine(small.program(tmp_path_factory.mktemp("program"), cluster.urls))
        program.done("backup", "--settle", "1s")
        wanted = golden.points(client, small.NAME)
        assert len(wanted) == small.POINTS - len(gone)
        program.done(*COPY, "--shards", "3")
        assert golden.points(client, "copy") == wanted
    finally:
        cluster.down()
