"""Real servers for the tests: HOLDFAST_TEST_QDRANT names the binary, or they are skipped."""

import os
import sys
from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_TESTS.parent / "sandbox"))
sys.path.insert(0, str(_TESTS / "contract"))
sys.path.insert(0, str(_TESTS / "demo"))
pytest.register_assert_rewrite("test_traps", "test_dead_peer", "test_writers")

from clusters import RealThree  # noqa: E402

VARIABLE = "HOLDFAST_TEST_QDRANT"


@pytest.fixture(scope="session")
def binary():
    """The server to test against."""
    path = os.environ.get(VARIABLE)
    if not path:
        pytest.skip(f"{VARIABLE} does not name a Qdrant server, so nothing real was tested")
    if not os.access(path, os.X_OK):
        pytest.fail(f"{VARIABLE} names {path}, which is no program that can be run")
    return Path(path)


@pytest.fixture(scope="module")
def own_cluster(binary, tmp_path_factory):
    """A real cluster of which a test may kill nodes."""
    made = RealThree(tmp_path_factory.mktemp("real") / "c", binary)
    yield made
    made.down()


@pytest.fixture(scope="module")
def cluster(own_cluster):
    """A real cluster of three nodes."""
    return own_cluster
