"""Restores onto fewer peers, chosen peers and peers that are lost on the way. On the sandbox and on
a real server."""

from __future__ import annotations

import golden
import pytest
import small
from holdfast_sandbox.demo_client import Client, quote

LOST = 2


@pytest.fixture(scope="module")
def client(servers):
    return Client(servers.urls[:LOST])


@pytest.fixture(scope="module")
def program(servers, client, tmp_path_factory):
    return small.program_with_group(tmp_path_factory.mktemp("layouts"), servers.urls, client)


def peers(program):
    return [p["id"] for p in program.done("topology", "--json").result["topology"]["peers"]]


def peers_of(client, name):
    """The peers that hold shards of a collection, as its own cluster view has them."""
    view = client.call("GET", f"/collections/{quote(name)}/cluster")
    held = [view["peer_id"]] * len(view["local_shards"])
    return held + [shard["peer_id"] for shard in view["remote_shards"]]


def configured(program, text):
    """The same program with more in its configuration."""
    program.config.write_text(program.config.read_text() + text)


@pytest.fixture()
def as_it_was(program):
    before = program.config.read_text()
    yield
    program.config.write_text(before)


def test_the_plan_says_then_and_now_and_why(program):
    answer = program.done("restore", "latest", "--as", "docs=copy", "--dry-run", "--json").result
    rows = {row["what"]: row for row in answer["differences"]}
    assert rows["peers"]["then"] == rows["peers"]["now"] == "3"
    shards = answer["plan"]["collections"][0]["shards"]
    assert {reason for shard in shards for reason in shard["reasons"]} == {"had it"}
    assert program.done("topology", "--against", "latest", "--json").result["given_up"] == []


def test_everything_on_one_peer_must_be_wanted_twice(program, client, wanted):
    one = peers(program)[0]
    asked = ["restore", "latest", "--as", "docs=copy", "--layout", f"consolidate={one}"]
    refused = program.run(*asked, "--json")
    assert refused.status == 1 and "in use" in refused.result["error"]["message"]
    refused = program.run(*asked, "--yes", "--json")
    assert refused.status == 1
    assert "--allow-consolidation" in refused.result["error"]["hint"]
    assert not small.exists(client, "copy")
    done = program.run(*asked, "--yes", "--allow-consolidation", "--json")
    assert done.status == 3 and len(done.result["given_up"]) == 2
    assert set(peers_of(client, "copy")) == {one}
    assert golden.points(client, "copy") == wanted
    small.drop(client, "copy")


def test_a_peer_that_is_emptied_gets_nothing(program, client, wanted, as_it_was):
    spared = peers(program)[1]
    configured(program, f'[cluster.test.peer."{spared}"]\ndraining = true\n')
    program.done("restore", "latest", "--as", "docs=copy")
    held = peers_of(client, "copy")
    assert spared not in held and len(held) == 8
    assert golden.points(client, "copy") == wanted
    small.drop(client, "copy")


def test_peers_without_room_are_refused_before_anything_is_made(program, client, as_it_was):
    for peer in peers(program):
        configured(program, f'[cluster.test.peer."{peer}"]\ndisk_free = "10KiB"\n')
    refused = program.run("restore", "latest", "--as", "docs=copy", "--json")
    assert refused.status == 1 and "disk" in refused.result["error"]["message"]
    assert "disk_free" in refused.result["error"]["hint"]
    assert not small.exists(client, "copy")


def test_a_peer_that_is_lost_on_the_way_is_planned_around(servers, program, client, wanted):
    """Its death is told of, what was sent to the others stays, and the result is whole."""
    lost = peers(program)
    running = program.start("restore", "latest", "--as", "docs=copy", "--json")
    for line in running.stdout:
        if '"create/copy"' in line:
            servers.kill(LOST)
            break
    rest = running.stdout.read()
    running.stderr.read()
    assert running.wait(300) == 0, rest
    held = peers_of(client, "copy")
    alive = {p["id"] for p in topology_peers(program) if p["answers"]}
    assert len(alive) == len(lost) - 1 and set(held) == alive, rest
    assert golden.points(client, "copy") == wanted
    answers = golden.answers(client, small.NAME, small.DIMENSIONS)
    assert golden.all_same_answers(answers, golden.answers(client, "copy", small.DIMENSIONS))
    small.drop(client, "copy")


def topology_peers(program):
    return program.done("topology", "--json").result["topology"]["peers"]


def test_what_a_restore_would_give_up_now_is_told_at_any_time(servers, program, client, wanted):
    program.done("restore", "latest", "--as", "docs=copy")
    assert golden.points(client, "copy") == wanted
    small.drop(client, "copy")
    servers.kill(LOST - 1)
    told = program.run("topology", "--against", "latest", "--json")
    assert told.status == 3, str(told)
    assert any("1 of 2 replicas" in text for text in told.result["given_up"])
