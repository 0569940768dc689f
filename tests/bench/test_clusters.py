"""The benchmarks that need a cluster, at their smallest, on the sandbox and on a real server: every
row is there, and nothing is left behind."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from holdfast_bench.report import rated
from holdfast_bench.restores import members

_ROOT = Path(__file__).resolve().parents[2]
_VARIABLE = "HOLDFAST_TEST_QDRANT"


@pytest.fixture(params=["sandbox", "real"])
def kind(request):
    if request.param == "real":
        request.getfixturevalue("real_binary")
    return request.param


@pytest.fixture()
def rows(kind, tmp_path):
    """Runs one benchmark; its rows by what they are of."""

    def run(name, *arguments):
        there = {**os.environ}
        if kind == "sandbox":
            there.pop(_VARIABLE, None)
        done = subprocess.run(
            [str(_ROOT / "bench/run"), name, *arguments]
            + ["--repeat", "1", "--shared", "--dir", str(tmp_path), "--json"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=there,
        )
        assert done.returncode == 0, done.stderr
        *found, result = map(json.loads, done.stdout.splitlines())
        assert result["event"] == "result"
        assert not list(tmp_path.iterdir()), "the benchmark left something behind"
        assert all(row["bench"].startswith(f"{name} ({kind}") for row in found), found
        assert all(row["value"] > 0 for row in found), found
        return {row["what"]: row for row in found}

    return run


def test_layouts_are_measured_beside_the_servers_own_transfer(rows):
    found = rows("layouts", "--points", "300")
    floor = "the server's own transfer"
    assert found.pop(floor)["unit"] == "points/s"
    assert {row["floor"] for row in found.values()} == {floor}
    assert sorted(found) == [
        "of that: copying",
        "of that: migrating (native, one shard less)",
        "of that: migrating (native, one shard more)",
        "of that: one pass that compares",
        "of that: the end",
        "rebalance",
        "reshard by a copy",
        "reshard native, one shard less",
        "reshard native, one shard more",
    ]
    assert all(row["ratio"] > 0 for row in found.values())


def test_a_restore_of_many_tells_when_the_first_is_verified(rows):
    found = rows("restores", "--points", "300", "--collections", "4")
    first, whole = found["the first is verified"], found["all are verified"]
    assert first["floor"] == "restore of the first alone"
    assert whole["floor"] == "bare upload of the same images"
    assert 0 < first["value"] < found["half of all are verified"]["value"] < whole["value"]
    assert found["1 of 4, wanted first"]["value"] == first["value"]


def test_the_collections_are_of_mixed_size_and_wanted_in_another_order_than_that_of_names():
    found = members(20, 10_000)
    assert [member.wanted for member in found].count(0) == 2
    names = [member.name for member in found]
    assert len(set(names)) == 20 and names != sorted(names)
    ids = [i for member in found for i in member.points]
    assert ids == list(range(len(ids))) and 9_900 < len(ids) <= 10_000
    sizes = sorted(len(member.points) for member in found)
    assert sizes[-1] >= 10 * sizes[0] > 0


def test_a_rate_is_compared_within_a_repetition():
    row = rated("b", "move", 100, [1.0, 4.0], "floor", [200.0, 50.0], rss_mib=3)
    assert row.samples == [2.0, 2.0] and row.ratio == 2.0
    assert row.unit == "points/s" and row.value == 62.5 and row.floor_value == 125.0
    assert row.rss_mib == 3
