"""kill -9 at random moments of backup and of restore: nothing half done, everything goes on.

HOLDFAST_TEST_KILLS says how often each is killed (the order names 100); seeds are fixed.
"""

from __future__ import annotations

import os
import random

import golden
import pytest
import small
from holdfast_sandbox.demo_client import Client

KILLS = int(os.environ.get("HOLDFAST_TEST_KILLS", "15"))
# A whole run after so many kills, with all that is asked only of whole runs.
ROUND = 5


@pytest.fixture(scope="module")
def client(sandbox):
    made = Client(sandbox.urls)
    small.make(made)
    return made


@pytest.fixture()
def program(client, tmp_path):
    return small.program(tmp_path, client.urls)


def test_a_backup_that_is_killed_anywhere(program, client):
    chance = random.Random(11)
    whole = small.seconds_of(lambda: program.done("backup"))
    writings = {program.groups()[0]["group"]: golden.points(client, small.NAME)}
    killed = 0
    for number in range(KILLS):
        mode = chance.choice(["auto", "staged"])
        small.fill(client, number + 1)
        there = {g["group"] for g in program.groups()}
        running = program.start("backup", "--mode", mode, "--json")
        answer = small.kill_after(running, chance.uniform(0, whole * 1.1))
        killed += answer.status == -9
        groups = program.groups()
        new = [g["group"] for g in groups if g["group"] not in there]
        assert there <= {g["group"] for g in groups} and len(new) <= 1
        assert answer.status in (-9, 0) and (new or answer.status != 0), answer
        for group in new:
            writings[group] = golden.points(client, small.NAME)
        for group in groups:
            assert (group["points"], group["collections"]) == (small.POINTS, 1)
        program.done("verify")
        if number % ROUND == ROUND - 1:
            # Nobody waits for the dead: the lease of a process that is gone blocks nobody.
            last = program.done("backup", "--mode", mode, "--json").result
            writings[last["group"]] = golden.points(client, small.NAME)
            assert small.node_side(client) == [], "a killed backup left its files on the nodes"
    assert killed > KILLS / 2, "hardly any run was killed before its end"
    program.done("backup", "--mode", "staged")
    assert small.node_side(client) == []
    verified = program.done("verify", "--json").result
    assert not verified["damaged"]
    for group, wanted in writings.items():
        program.done("restore", group, "--as", f"{small.NAME}=copy")
        small.check_copy(client, "copy", wanted)
        small.drop(client, "copy")


def test_a_restore_that_is_killed_anywhere(program, client):
    chance = random.Random(12)
    small.fill(client, 1000)
    wanted = golden.points(client, small.NAME)
    program.done("backup")
    restore = ("restore", "latest", "--as", f"{small.NAME}=copy", "--json")
    whole = small.seconds_of(lambda: program.done(*restore))
    small.drop(client, "copy")
    killed = resumed = 0
    for number in range(KILLS):
        running = program.start(*restore)
        answer = small.kill_after(running, chance.uniform(0, whole * 1.1))
        killed += answer.status == -9
        job = small.job_of(small.whole_lines(answer))
        if answer.status == 0:
            small.check_copy(client, "copy", wanted)
        elif job is None:
            assert not small.exists(client, "copy"), "something was made before the job began"
            continue
        else:
            again = program.run("restore", "--resume", job, "--json")
            # The killed one may have come to its end, or its last line may not have been read.
            if again.status != 0:
                assert "has ended: it is complete" in again.result["error"]["message"], again
            else:
                resumed += 1
                assert again.result["collections"][0]["points"] == small.POINTS
            small.check_copy(client, "copy", wanted)
        assert golden.points(client, small.NAME) == wanted, "the live collection was touched"
        small.drop(client, "copy")
    assert killed > KILLS / 2 and resumed > KILLS / 4
    program.done("verify")
    program.done("backup")


def test_what_a_killed_backup_stored_is_not_stored_twice(program, client, tmp_path):
    """Killed when its last image has landed and the manifest has not."""
    packs = program.folder / "backups" / "packs"
    images = program.folder / "backups" / "images"

    def stored() -> int:
        return sum(path.stat().st_size for path in packs.rglob("*") if path.is_file())

    program.done("backup")
    once = stored()
    for tries in range(10):
        small.fill(client, 2000 + tries)
        there = len([p for p in images.rglob("*") if p.is_file()]) if images.exists() else 0
        groups = len(program.groups())
        before = stored()
        running = program.start("backup", "--json")
        while running.poll() is None:
            now = len([p for p in images.rglob("*") if p.is_file()]) if images.exists() else 0
            if now > there:
                running.kill()
                break
        running.communicate()
        if len(program.groups()) == groups and stored() > before:
            break
    else:
        pytest.fail("no kill fell between the images and the manifest")
    after_kill = stored()
    program.done("backup")
    assert stored() - after_kill < once / 5, "its blocks were stored again"
    program.done("verify")
