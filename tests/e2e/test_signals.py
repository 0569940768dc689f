"""SIGINT and SIGTERM at random moments: exit 130 and 143, after thaw and clean-up."""

from __future__ import annotations

import os
import random
import signal
import time

import golden
import pytest
import small
from holdfast_sandbox.demo_client import Client

SIGNALS = int(os.environ.get("HOLDFAST_TEST_SIGNALS", "6"))
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(scope="module")
def client(sandbox):
    made = Client(sandbox.urls)
    small.make(made)
    return made


@pytest.fixture()
def frozen(tmp_path):
    """A file that is there while the writers are frozen."""
    return tmp_path / "frozen"


@pytest.fixture()
def program(client, tmp_path, frozen):
    made = small.program(tmp_path, client.urls)
    hooks = f'freeze = "touch {frozen}; sleep 0.2"\nthaw = "rm -f {frozen}"\n[repository.main]'
    made.config.write_text(made.config.read_text().replace("[repository.main]", hooks))
    return made


@pytest.mark.parametrize("how", STATUS, ids=lambda how: how.name)
def test_a_backup_that_is_asked_to_stop(program, client, frozen, how):
    chance = random.Random(21)
    whole = small.seconds_of(lambda: program.done("backup"))
    stopped = 0
    for number in range(SIGNALS):
        small.fill(client, number + 1)
        groups = len(program.groups())
        mode = chance.choice(["auto", "staged"])
        running = program.start("backup", "--mode", mode, "--json")
        answer = small.kill_after(running, chance.uniform(0.1, whole), how)
        assert answer.status in (0, STATUS[how]), answer
        assert not frozen.exists(), "the writers are still frozen"
        assert small.node_side(client) == [], "files are left on the nodes"
        if answer.status != 0:
            stopped += 1
            assert answer.result["state"] == "cancelled"
            assert len(program.groups()) == groups
        else:
            assert len(program.groups()) == groups + 1
        program.done("verify")
    assert stopped > 0
    program.done("backup")


@pytest.mark.parametrize("how", STATUS, ids=lambda how: how.name)
def test_a_restore_that_is_asked_to_stop(program, client, how):
    chance = random.Random(22)
    program.done("backup")
    wanted = golden.points(client, small.NAME)
    restore = ("restore", "latest", "--as", "docs=copy", "--json")
    whole = small.seconds_of(lambda: program.done(*restore))
    small.drop(client, "copy")
    stopped = 0
    for _ in range(SIGNALS):
        answer = small.kill_after(program.start(*restore), chance.uniform(0.1, whole), how)
        assert answer.status in (0, STATUS[how]), answer
        if answer.status == 0:
            small.check_copy(client, "copy", wanted)
            small.drop(client, "copy")
            continue
        stopped += 1
        assert answer.result["state"] == "cancelled"
        assert not small.exists(client, "copy"), "what was made for it is still there"
        assert golden.points(client, small.NAME) == wanted
    assert stopped > 0
    program.done(*restore)
    small.check_copy(client, "copy", wanted)
    small.drop(client, "copy")


def test_a_freeze_that_is_under_way_when_the_backup_is_killed_is_undone(program, frozen, tmp_path):
    """The hook must not finish its work after the thaw."""
    begun = tmp_path / "begun"
    text = program.config.read_text()
    slow = f"touch {begun}; sleep 0.7; touch {frozen}"
    program.config.write_text(text.replace(f"touch {frozen}; sleep 0.2", slow))
    running = program.start("backup")
    until = time.monotonic() + 60
    while not begun.exists() and time.monotonic() < until:
        time.sleep(0.005)
    assert begun.exists()
    running.kill()
    running.communicate()
    time.sleep(2)
    assert not frozen.exists(), "the writers were frozen after they had been released"
    assert program.done("backup", "--json").result["consistency"] == "fenced"


def test_a_second_signal_ends_it_at_once_and_the_writers_are_released(program, frozen):
    running = program.start("backup")
    until = time.monotonic() + 60
    while not frozen.exists() and time.monotonic() < until:
        time.sleep(0.005)
    assert frozen.exists()
    running.send_signal(signal.SIGTERM)
    time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 143
    while frozen.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not frozen.exists(), "nobody released the writers"
    assert program.done("backup", "--json").result["consistency"] == "fenced"
