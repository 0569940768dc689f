"""Every shape of collection, backed up at once and restored beside: on the sandbox and, where
HOLDFAST_TEST_QDRANT names the server, on a real cluster of three nodes."""

from __future__ import annotations

import golden
import pytest
from holdfast_sandbox.demo_client import quote
from program import Program
from shapes import SHAPES, make

METADATA = {"team": {"owner": "search", "n": [1, None]}, "odd key/50%": "x", "kept": 1}


@pytest.fixture(scope="module")
def world(servers, client, tmp_path_factory):
    """All shapes, a group of them, and their copies: names, what was there, what the program said.

    One backup and one restore for all: that is how the program is used.
    """
    for shape in SHAPES:
        make(client, shape)
    for key, value in METADATA.items():
        client.call("PUT", f"/cluster/metadata/keys/{quote(key)}?wait=true", value)
    before = {shape.name: golden.points(client, shape.name) for shape in SHAPES}
    program = Program(tmp_path_factory.mktemp("matrix"), servers.urls)
    program.done("init")
    backup = program.done("backup", "--json").result
    client.call("DELETE", f"/cluster/metadata/keys/{quote('odd key/50%')}")
    client.call("PUT", "/cluster/metadata/keys/kept?wait=true", 2)
    renames = [f"--as={shape.name}={shape.name} copy" for shape in SHAPES]
    restored = program.done("restore", backup["group"], *renames, "--json").result
    program.done("verify")
    return {"program": program, "before": before, "backup": backup, "restored": restored}


def test_the_group_holds_everything(world):
    assert world["backup"]["state"] == "complete"
    assert world["backup"]["collections"] == len(SHAPES)
    assert world["backup"]["points"] == sum(shape.points for shape in SHAPES)
    assert world["backup"]["consistency"] == "window"
    sources = {item["source"] for item in world["restored"]["collections"]}
    assert sources == {shape.name for shape in SHAPES}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_copy_is_the_collection(world, client, shape):
    before = world["before"][shape.name]
    assert len(before) == shape.points
    copy = f"{shape.name} copy"
    assert golden.points(client, copy) == before
    assert golden.points(client, shape.name) == before, "the live collection was touched"
    assert golden.shape(client, copy) == golden.shape(client, shape.name)
    for using in shape.queries:
        wanted = golden.ask(client, shape.name, using, shape.query(using))
        found = golden.ask(client, copy, using, shape.query(using))
        assert wanted and golden.same_answers(wanted, found), using
    filtered = {"filter": {"must": [{"key": "words", "match": {"value": "w3"}}]}, "exact": True}
    counts = {
        client.call("POST", f"/collections/{quote(name)}/points/count", filtered)["count"]
        for name in (shape.name, copy)
    }
    assert len(counts) == 1


def test_metadata_of_the_cluster_is_written_back_where_it_is_lacking(world, client):
    keys = client.call("GET", "/cluster/metadata/keys")
    assert sorted(keys) == sorted(METADATA)
    path = "/cluster/metadata/keys/"
    assert client.call("GET", path + quote("odd key/50%")) == METADATA["odd key/50%"]
    assert client.call("GET", path + "kept") == 2, "what is there stays"
    warned = " ".join(world["restored"]["warnings"])
    assert "'kept'" in warned and "'team'" not in warned


def test_a_dropped_collection_comes_back_under_its_name_with_its_aliases(world, client):
    for shape in SHAPES:
        if shape.alias:
            client.call("DELETE", f"/collections/{quote(shape.name)}?timeout=60")
    lost = [shape.name for shape in SHAPES if shape.alias]
    program = world["program"]
    program.done("restore", "latest", "--collections", ",".join(lost))
    aliases = client.call("GET", "/aliases")["aliases"]
    for shape in SHAPES:
        if shape.alias:
            wanted = {"alias_name": shape.alias, "collection_name": shape.name}
            assert wanted in aliases
            assert golden.points(client, shape.name) == world["before"][shape.name]
