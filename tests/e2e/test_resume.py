"""`restore --resume JOB` after a kill at each recorded step; `--in-place` on a live cluster."""

from __future__ import annotations

import threading

import golden
import pytest
import small
from holdfast_sandbox.demo_client import Client, RestError, wait_for

# What a restore of the small collection records, in this order; sends may come in any order.
STEPS = ["create/copy", "send/copy/0", "send/copy/1", "collection/copy", "metadata"]


@pytest.fixture(scope="module")
def client(sandbox):
    made = Client(sandbox.urls)
    small.make(made, replicas=2)
    return made


@pytest.fixture(scope="module")
def program(client, tmp_path_factory):
    """With one group of `docs` and of a key of the cluster's metadata."""
    client.call("PUT", "/cluster/metadata/keys/owner?wait=true", {"team": "search"})
    made = small.program(tmp_path_factory.mktemp("resume"), client.urls)
    made.done("backup")
    return made


def await_owner(client, value):
    """Each peer hears of a change of the cluster's metadata in its own time."""
    path = "/cluster/metadata/keys/owner"
    wait_for(
        f"the key to be {value} on every peer",
        lambda: all(client.call("GET", path, url=url) == value for url in client.urls),
        30,
        0.05,
    )


@pytest.fixture()
def owner_is_lost(client):
    """The restore has metadata to write back."""
    client.call("DELETE", "/cluster/metadata/keys/owner")
    await_owner(client, None)


@pytest.fixture(autouse=True)
def no_copies_are_left(client):
    """A test that fails leaves nothing that the next one would trip over."""
    yield
    for name in ("copy", "other"):
        if small.exists(client, name):
            small.drop(client, name)


RESTORE = ("restore", "latest", "--as", "docs=copy", "--json")


def test_a_restore_records_the_steps_that_are_tested_here(program, client, wanted, owner_is_lost):
    steps = small.steps_of(program.done(*RESTORE).events)
    assert sorted(steps) == sorted(STEPS) and not any(steps.values())


@pytest.mark.parametrize("step", STEPS)
def test_a_restore_that_dies_after_a_step_is_resumed(program, client, wanted, owner_is_lost, step):
    told = small.kill_at_step(program.start(*RESTORE), step)
    done = small.steps_of(told)
    assert step in done
    again = program.run("restore", "--resume", small.job_of(told), "--json")
    if again.status != 0:
        # The last steps are close to the end: the whole job may have been over.
        assert step in ("collection/copy", "metadata"), again
        assert "has ended: it is complete" in again.result["error"]["message"]
    else:
        resumed = small.steps_of(again.events)
        skipped = {key for key, before in resumed.items() if before}
        # What is within a step that was done is not even looked at again. More may have been
        # recorded between the line that was read and the kill.
        outer = done.keys() & {"collection/copy", "metadata"}
        assert (outer or done.keys()) <= skipped, resumed
        assert again.result["collections"][0]["points"] == small.POINTS
    small.check_copy(client, "copy", wanted)
    await_owner(client, {"team": "search"})


def test_a_restore_that_died_twice_is_resumed_a_third_time(program, client, wanted):
    told = small.kill_at_step(program.start(*RESTORE), "create/copy")
    job = small.job_of(told)
    small.kill_at_step(program.start("restore", "--resume", job, "--json"), "send/copy/1")
    again = program.done("restore", "--resume", job, "--json")
    assert again.events[0]["attempt"] == 3
    small.check_copy(client, "copy", wanted)
    small.drop(client, "copy")
    ended = program.run("restore", "--resume", job, "--json")
    assert ended.status == 1 and "has ended" in ended.result["error"]["message"]


def test_a_new_restore_tells_of_the_one_that_was_interrupted(program, client, wanted):
    job = small.job_of(small.kill_at_step(program.start(*RESTORE), "create/copy"))
    other = program.done("restore", "latest", "--as", "docs=other", "--json")
    warnings = [event["message"] for event in other.events if event["event"] == "warning"]
    assert any(f"--resume {job}" in text for text in warnings), warnings
    small.check_copy(client, "other", wanted)
    small.drop(client, "other")
    program.done("restore", "--resume", job)
    small.check_copy(client, "copy", wanted)
    small.drop(client, "copy")
    quiet = program.done(*RESTORE).events
    assert not [event for event in quiet if event["event"] == "warning"]


def test_a_job_that_is_no_restore_is_refused(program, client):
    refused = program.run("restore", "--resume", "20260101T000000Z-0000000000000000", "--json")
    assert refused.status == 1 and refused.result["error"]["code"] == "not_found"
    backup = small.job_of(program.done("backup", "--json").events)
    refused = program.run("restore", "--resume", backup, "--json")
    assert refused.status == 1 and "no restore job" in refused.result["error"]["message"]


# --- in place ------------------------------------------------------------------------------------


def test_in_place_replaces_the_live_collection_after_a_safety_backup(program, client, wanted):
    group = program.groups()[-1]["group"]
    small.fill(client, 77)
    client.call("POST", f"/collections/{small.NAME}/points/delete?wait=true", {"points": [1, 2]})
    changed = golden.points(client, small.NAME)
    assert changed != wanted
    refused = program.run("restore", group, "--json")
    assert refused.status == 1 and "--in-place" in refused.result["error"]["hint"]
    assert golden.points(client, small.NAME) == changed
    groups = len(program.groups())

    program.done("restore", group, "--in-place")
    assert golden.points(client, small.NAME) == wanted
    safety = program.groups()
    assert len(safety) == groups + 1
    # What was replaced is not lost.
    program.done("restore", safety[0]["group"], "--as", "docs=copy")
    assert golden.points(client, "copy") == changed


def test_in_place_is_refused_while_the_collection_takes_writes(program, client):
    ending = threading.Event()

    def write() -> None:
        own = Client(client.urls)
        point = {"id": 1, "vector": [1.0] * 32, "payload": {"n": 1}}
        while not ending.wait(0.05):
            try:
                own.call("PUT", "/collections/docs/points?wait=true", {"points": [point]})
            except RestError:
                pass

    writer = threading.Thread(target=write)
    writer.start()
    try:
        groups = len(program.groups())
        refused = program.run("restore", "latest", "--in-place", "--json")
    finally:
        ending.set()
        writer.join()
    assert refused.status == 1
    assert "takes writes" in refused.result["error"]["message"]
    assert len(golden.points(client, small.NAME)) == small.POINTS
    assert len(program.groups()) == groups, "refused before anything was done"


@pytest.mark.parametrize("step", ["replace/docs", "create/docs", "send/docs/0", "send/docs/1"])
def test_in_place_that_dies_is_resumed_and_makes_one_safety_backup(program, client, step):
    group = program.groups()[0]["group"]
    wanted = golden.points(client, small.NAME)
    program.done("backup")
    small.fill(client, 78)
    changed = golden.points(client, small.NAME)
    groups = len(program.groups())
    told = small.kill_at_step(program.start("restore", "latest", "--in-place", "--json"), step)
    assert step in small.steps_of(told)
    program.done("restore", "--resume", small.job_of(told))
    assert golden.points(client, small.NAME) == wanted
    safety = program.groups()
    assert len(safety) == groups + 1 and group in {g["group"] for g in safety}
    program.done("restore", safety[0]["group"], "--as", "docs=copy")
    assert golden.points(client, "copy") == changed
