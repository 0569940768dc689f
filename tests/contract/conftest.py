"""Finds the sandbox package of this tree and the modules beside this file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "sandbox"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import pytest  # noqa: E402

from clusters import SandboxCluster  # noqa: E402


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """A sandbox of three nodes that allows resharding, as the recorded cluster did."""
    cluster = SandboxCluster(tmp_path_factory.mktemp("sandbox") / "c", 3, ("--resharding",))
    yield cluster
    cluster.down()


@pytest.fixture(scope="module")
def cluster(sandbox):
    """The cluster that the tests of measured facts run on; tests/real has another."""
    return sandbox


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory):
    """A cluster of which a test may kill nodes."""
    made = SandboxCluster(tmp_path_factory.mktemp("sandbox") / "c", 3, ("--resharding",))
    yield made
    made.down()
