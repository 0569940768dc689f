"""Clusters for the tests: the sandbox, and a real server where HOLDFAST_TEST_QDRANT names one."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parents[1]
for folder in (_TESTS / "e2e", _TESTS / "contract", _TESTS.parent / "sandbox"):
    sys.path.insert(0, str(folder))
pytest.register_assert_rewrite("golden")

import golden  # noqa: E402
import small  # noqa: E402
from clusters import RealThree, SandboxCluster  # noqa: E402
from holdfast_sandbox.demo_client import Client  # noqa: E402
from program import BINARY, Program  # noqa: E402
from reshard_tools import alias, names  # noqa: E402


def call(method: str, url: str, body: object = None) -> dict:
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


@pytest.fixture(scope="module")
def sandbox_arguments():
    """Of the sandbox that `servers` starts; a module may want others."""
    return ("--optimizer", "auto")


@pytest.fixture(scope="module", params=["sandbox", "real"])
def servers(request, tmp_path_factory, sandbox_arguments):
    """A cluster of three nodes, of each kind in turn; nodes may be killed and started."""
    if not BINARY.exists():
        pytest.fail(f"{BINARY} is missing: ./dev build holdfast")
    folder = tmp_path_factory.mktemp(request.param) / "c"
    if request.param == "real":
        made = RealThree(folder, request.getfixturevalue("real_binary"))
    else:
        made = SandboxCluster(folder, 3, sandbox_arguments)
    yield made
    made.down()


@pytest.fixture(scope="module")
def client(servers):
    """Asks all nodes of that cluster."""
    return Client(servers.urls)


@pytest.fixture(scope="module")
def wanted(client, program):
    """Every point of `docs` as it was when the module's `program` took its group."""
    return golden.points(client, small.NAME)


@pytest.fixture()
def docs(client):
    """`docs` with two shards of two replicas, read as `live`; nothing is left of the test."""
    small.make(client, replicas=2)
    alias(client, "live", small.NAME)
    yield small.NAME
    for name in names(client):
        small.drop(client, name)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """A sandbox of three nodes."""
    if not BINARY.exists():
        pytest.fail(f"{BINARY} is missing: ./dev build holdfast")
    made = SandboxCluster(tmp_path_factory.mktemp("cluster") / "c", 3)
    yield made
    made.down()


@pytest.fixture(scope="module")
def cluster(sandbox):
    """URLs of a running cluster with `docs`: 3 shards, 2 replicas, 300 points, alias `live`."""
    first = sandbox.urls[0]
    body = {
        "vectors": {"size": 4, "distance": "Cosine"},
        "shard_number": 3,
        "replication_factor": 2,
    }
    call("PUT", f"{first}/collections/docs?timeout=60", body)
    index = {"field_name": "n", "field_schema": "integer"}
    call("PUT", f"{first}/collections/docs/index?wait=true", index)
    points = [
        {"id": i, "vector": [1.5, i % 7 + 0.25, i % 11 + 0.5, 2.25], "payload": {"n": i}}
        for i in range(300)
    ]
    call("PUT", f"{first}/collections/docs/points?wait=true", {"points": points})
    alias = {"create_alias": {"collection_name": "docs", "alias_name": "live"}}
    call("POST", f"{first}/collections/aliases", {"actions": [alias]})
    return sandbox.urls


@pytest.fixture()
def program(cluster, tmp_path):
    """holdfast with an empty repository for that cluster."""
    made = Program(tmp_path, cluster)
    assert made.run("init").status == 0
    return made


@pytest.fixture()
def ask():
    return call
