"""Real servers for the tests: HOLDFAST_TEST_QDRANT names the binary, or they are skipped."""

import sys
from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_TESTS.parent / "sandbox"))
sys.path.insert(0, str(_TESTS / "contract"))
sys.path.insert(0, str(_TESTS / "demo"))
pytest.register_assert_rewrite(
    "test_traps", "test_dead_peer", "test_resharding_traps", "test_writers"
)

from clusters import RealThree  # noqa: E402


@pytest.fixture(scope="module")
def own_cluster(real_binary, tmp_path_factory):
    """A real cluster of which a test may kill nodes."""
    made = RealThree(tmp_path_factory.mktemp("real") / "c", real_binary)
    yield made
    made.down()


@pytest.fixture(scope="module")
def cluster(own_cluster):
    """A real cluster of three nodes."""
    return own_cluster
