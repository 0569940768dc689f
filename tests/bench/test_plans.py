"""Rows of plans, from a program that says how long each took."""

import dataclasses
import stat
from pathlib import Path

import pytest
from holdfast_bench import plans
from holdfast_bench.settings import Settings

SAID = """\
{"what":"read","seconds":[0.1,0.3,0.2]}
{"what":"quick","seconds":[0.2,0.6,0.4]}
{"what":"slow","seconds":[1.5,1.5,1.5]}
"""


@pytest.fixture()
def settings(tmp_path):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/plan_bench"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{SAID}END\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return Settings(tmp_path / "bin/holdfast", 1.0, 3, {}, print, None)


def test_plans_are_compared_with_reading_the_topology(settings):
    floor, quick, slow = plans.run(settings)
    assert floor.note == "floor" and floor.value == 0.2
    assert quick.floor == "read" and quick.ratio == 2.0 and quick.note == "within a second"
    assert slow.note.startswith("LONGER")


def test_a_program_that_is_missing_is_an_error(settings):
    gone = dataclasses.replace(settings, binary=Path("/nowhere/bin/holdfast"))
    with pytest.raises(OSError):
        plans.run(gone)
