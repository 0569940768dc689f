"""Finds the sandbox package of this tree; one cluster for the tests of a module."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "sandbox"))
sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """Three nodes."""
    from nodes import Sandbox

    cluster = Sandbox(tmp_path_factory.mktemp("sandbox") / "c", 3)
    yield cluster
    cluster.down()


@pytest.fixture
def faults(sandbox):
    """Sets faults that are gone after the test."""
    touched = set()

    def set_fault(node, kind, **values):
        touched.add(node)
        return sandbox.fault(node, kind, **values)

    yield set_fault
    for node in touched:
        if sandbox.run("status", status=0 if _all_run(sandbox) else 1)["nodes"][node]["running"]:
            sandbox.fault(node, "clear")


def _all_run(sandbox):
    import os

    return all(os.path.exists(f"{sandbox.folder}/node-{i}/pid.json") for i in range(3))


@pytest.fixture
def collection(sandbox, request):
    """A collection of one shard with 2,000 points, gone after the test."""
    name = request.node.name.split("[")[0][5:60]
    sandbox.create(name)
    sandbox.fill(name, 0, 2000)
    yield name
    sandbox.call(0, "DELETE", f"/collections/{name}?timeout=30")
