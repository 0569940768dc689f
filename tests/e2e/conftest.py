"""A cluster of three embedded nodes with some real points, shared by the tests of one module."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from program import BINARY, Program, sandbox  # noqa: E402


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
def cluster(tmp_path_factory):
    """URLs of a running cluster with `docs`: 3 shards, 2 replicas, 300 points, alias `live`."""
    if not BINARY.exists():
        pytest.fail(f"{BINARY} is missing: ./dev build holdfast")
    folder = tmp_path_factory.mktemp("cluster")
    up = json.loads(sandbox("up", "--nodes", "3", "--dir", str(folder), "--json"))
    urls = [node["url"] for node in up["nodes"]]
    try:
        first = urls[0]
        call(
            "PUT",
            f"{first}/collections/docs?timeout=60",
            {
                "vectors": {"size": 4, "distance": "Cosine"},
                "shard_number": 3,
                "replication_factor": 2,
            },
        )
        call(
            "PUT",
            f"{first}/collections/docs/index?wait=true",
            {"field_name": "n", "field_schema": "integer"},
        )
        points = [
            {"id": i, "vector": [1.5, i % 7 + 0.25, i % 11 + 0.5, 2.25], "payload": {"n": i}}
            for i in range(300)
        ]
        call("PUT", f"{first}/collections/docs/points?wait=true", {"points": points})
        call(
            "POST",
            f"{first}/collections/aliases",
            {
                "actions": [
                    {"create_alias": {"collection_name": "docs", "alias_name": "live"}},
                ]
            },
        )
        yield urls
    finally:
        sandbox("down", "--dir", str(folder))


@pytest.fixture()
def program(cluster, tmp_path):
    """holdfast with an empty repository for that cluster."""
    made = Program(tmp_path, cluster)
    assert made.run("init").status == 0
    return made


@pytest.fixture()
def ask():
    return call
