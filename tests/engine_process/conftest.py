"""One engine process a test."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "engine"))


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def engine(scratch):
    """A process that has said hello."""
    from process import Engine

    made = Engine(scratch)
    assert made.hello()["ok"]
    yield made
    made.kill()
