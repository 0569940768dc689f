"""Another number of shards in place, driven through a cluster that allows it: every point by id,
payload and vector, under writers, kills and lost peers. On the sandbox and on a real server."""

from __future__ import annotations

import signal
import time

import golden
import pytest
import shapes
import small
from holdfast_sandbox.demo_client import quote, wait_for
from reshard_tools import Writer, all_active, names, shards_of

NATIVE = ("--method", "native", "--json")
LOST = 2


@pytest.fixture(scope="module")
def sandbox_arguments():
    """A cluster that reshards; a real one of these tests always does."""
    return ("--resharding",)


@pytest.fixture(scope="module")
def program(client, tmp_path_factory):
    return small.program(tmp_path_factory.mktemp("native"), client.urls)


def counts(client, name):
    """(shard, peer) -> (points, points that belong there)."""
    found = {}
    for url in client.urls:
        view = client.call("GET", f"/collections/{quote(name)}/cluster", url=url)
        for shard in view["local_shards"]:
            number = shard["shard_id"]
            path = f"/collections/{quote(name)}/shards/{number}/points/count"
            ring = {"exact": True, "hash_ring_filter": {"expected_shard_id": number}}
            plain = client.call("POST", path, {"exact": True}, url=url)["count"]
            belongs = client.call("POST", path, ring, url=url)["count"]
            found[number, view["peer_id"]] = (plain, belongs)
    return found


def check_whole(client, name, shards, replicas, wanted):
    """As many shards, each replica with exactly its own points, and every point as it was."""
    assert all_active(client)
    found = counts(client, name)
    assert all(plain == belongs for plain, belongs in found.values()), found
    assert len({number for number, _ in found}) == shards
    assert len(found) == shards * replicas
    assert golden.points(client, name) == wanted
    view = client.call("GET", f"/collections/{quote(name)}/cluster")
    assert not view.get("resharding_operations") and not view["shard_transfers"]


def test_more_and_fewer_shards_with_every_point(program, client, docs):
    wanted = golden.points(client, docs)
    up = program.done("reshard", "live", "--shards", "4", *NATIVE).result
    assert up["method"] == "native" and up["target"] == docs and up["points"] == len(wanted)
    check_whole(client, docs, 4, 2, wanted)
    down = program.done("reshard", docs, "--shards", "1", *NATIVE).result
    assert down["shards"] == 1 and down["points"] == len(wanted)
    check_whole(client, docs, 1, 2, wanted)


def test_auto_takes_it_and_tells_the_plan(program, client, docs):
    told = program.done("reshard", "live", "--shards", "3", "--dry-run", "--json").result
    assert told["plan"]["method"] == "native" and told["plan"]["target"] == docs
    assert shards_of(client, docs) == 2


def test_a_copy_can_be_asked_for_all_the_same(program, client, docs):
    wanted = golden.points(client, docs)
    copy = program.done("reshard", "live", "--shards", "3", "--method", "copy", "--json").result
    assert copy["method"] == "copy" and copy["target"] != docs
    assert golden.points(client, copy["target"]) == wanted == golden.points(client, docs)


@pytest.mark.parametrize("name", ["quantized", "hybrid"])
def test_shapes(program, client, name):
    shape = next(s for s in shapes.SHAPES if s.name == name)
    shapes.make(client, shape)
    try:
        wanted = golden.points(client, shape.name)
        before = shards_of(client, shape.name)
        program.done("reshard", shape.name, "--shards", str(before + 2), *NATIVE)
        assert shards_of(client, shape.name) == before + 2
        assert golden.points(client, shape.name) == wanted
    finally:
        for made in names(client):
            small.drop(client, made)


def test_several_shard_keys_are_resharded_behind_a_fence_only(program, client, tmp_path):
    shape = next(s for s in shapes.SHAPES if s.name == "by-key")
    shapes.make(client, shape)
    text = program.config.read_text()
    try:
        wanted = golden.points(client, shape.name)
        more = shards_of(client, shape.name) // len(shape.keys) + 1
        arguments = ("reshard", shape.name, "--shards", str(more), *NATIVE)
        refused = program.run(*arguments)
        assert refused.status == 1 and "shard keys" in refused.result["error"]["message"]
        frozen = tmp_path / "frozen"
        hooks = f'freeze = "touch {frozen}"\nthaw = "rm -f {frozen}"\n[repository.main]'
        program.config.write_text(text.replace("[repository.main]", hooks))
        done = program.done(*arguments).result
        assert done["fenced"] and not frozen.exists()
        assert shards_of(client, shape.name) == more * len(shape.keys)
        assert golden.points(client, shape.name) == wanted
        assert all(plain == belongs for plain, belongs in counts(client, shape.name).values())
    finally:
        program.config.write_text(text)
        for made in names(client):
            small.drop(client, made)


def test_writers_go_on_meanwhile(program, client, docs):
    with Writer(client) as writer:
        for shards in (3, 4, 2):
            program.done("reshard", "live", "--shards", str(shards), *NATIVE)
    assert not writer.errors and writer.writes > 5
    check_whole(client, docs, 2, 2, writer.want)


def test_killed_after_any_step_it_is_resumed(program, client, docs):
    wanted = golden.points(client, docs)
    now = 2
    first = "native/round/0/try/1/"
    for step in ("uuid", "start", "migrate/0", "complete"):
        now = 3 if now == 2 else 2
        key = first + step
        if step == "migrate/0" and now == 2:
            key = None
        running = program.start("reshard", "live", "--shards", str(now), *NATIVE)
        told = small.kill_at_step(running, key) if key else []
        if not told:
            program.ended(running)
            continue
        done = program.run("reshard", "--resume", small.job_of(told), "--json")
        assert done.status == 0, str(done)
        check_whole(client, docs, now, 2, wanted)


def test_killed_at_any_moment_it_goes_on(program, client, docs):
    wanted = golden.points(client, docs)
    now = 2
    for moment in (0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.2):
        aim = 3 if now == 2 else 2
        running = program.start("reshard", "live", "--shards", str(aim), *NATIVE)
        killed = small.kill_after(running, moment)
        job = small.job_of(small.whole_lines(killed))
        if killed.status != 0 and job is not None:
            resumed = program.run("reshard", "--resume", job, "--json")
            assert resumed.status == 0, str(resumed)
        now = shards_of(client, docs)
        check_whole(client, docs, now, 2, wanted)


def test_stopped_by_the_user_it_leaves_whole_rounds(program, client, docs):
    wanted = golden.points(client, docs)
    for moment in (0.2, 0.4, 0.6, 0.9):
        now = shards_of(client, docs)
        aim = 1 if now > 3 else now + 3
        running = program.start("reshard", "live", "--shards", str(aim), *NATIVE)
        time.sleep(moment)
        running.send_signal(signal.SIGINT)
        answer = program.ended(running)
        assert answer.status in (0, 130), str(answer)
        check_whole(client, docs, shards_of(client, docs), 2, wanted)


def test_a_peer_that_is_lost_on_the_way(servers, program, client, docs):
    wanted = golden.points(client, docs)
    answers = golden.answers(client, docs, small.DIMENSIONS)
    running = program.start("reshard", "live", "--shards", "5", *NATIVE)
    told = []
    for line in running.stdout:
        told.append(line)
        if '"native/round/0/try/1/start"' in line:
            servers.kill(LOST)
            break
    rest = running.stdout.read()
    running.stderr.read()
    status = running.wait(300)
    servers.start(LOST)
    wait_for("all replicas", lambda: all_active(client), 120, 0.5)
    if status != 0:
        assert '"event":"result"' in rest.replace(" ", ""), rest
        again = program.run("reshard", "live", "--shards", "5", *NATIVE)
        if again.status != 0:  # The first one is past the point of no return: it must be ended.
            job = small.job_of(small.whole_lines(small.Answer(status, "".join(told), "")))
            program.done("reshard", "--resume", job, "--json")
    assert golden.points(client, docs) == wanted
    assert golden.all_same_answers(answers, golden.answers(client, docs, small.DIMENSIONS))
    assert shards_of(client, docs) in (2, 3, 4, 5)
