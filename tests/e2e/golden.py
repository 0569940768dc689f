"""Everything that a client can read of a collection, to compare it with its restored copy."""

from __future__ import annotations

import random
from typing import Any

from holdfast_sandbox.demo_client import Client, quote

# Exact queries: same ids up to ties, scores within this (design, "Verified means").
SCORE_TOLERANCE = 1e-5


Points = dict[Any, tuple[Any, Any]]


def points(client: Client, name: str) -> Points:
    """Payload and vectors of every point by id; fails when a scroll gives an id twice."""
    return _read(client, f"/collections/{quote(name)}", None)


def points_of_shard(client: Client, name: str, shard: int, url: str) -> Points:
    """The same of one replica: that of this node."""
    return _read(client, f"/collections/{quote(name)}/shards/{shard}", url)


def _read(client: Client, path: str, url: str | None) -> Points:
    found: Points = {}
    for record in client.scroll(path, url=url):
        assert record["id"] not in found, f"{path}: {record['id']} came twice"
        found[record["id"]] = (record.get("payload"), _plain(record.get("vector")))
    return found


def _plain(vector: Any) -> Any:
    """A sparse vector's order of indices means nothing."""
    if isinstance(vector, dict) and "indices" in vector:
        return sorted(zip(vector["indices"], vector["values"]))
    if isinstance(vector, dict):
        return {name: _plain(value) for name, value in vector.items()}
    return vector


def shape(client: Client, name: str) -> dict[str, Any]:
    """What a client sees of a collection beside its points."""
    info = client.call("GET", f"/collections/{quote(name)}")
    schema = {
        field: {key: value for key, value in index.items() if key != "points"}
        for field, index in info["payload_schema"].items()
    }
    config = dict(info["config"])
    # Set by the server itself from 1.17 on; the optimizer's own business.
    config.pop("uuid", None)
    cluster = client.call("GET", f"/collections/{quote(name)}/cluster")
    keys = {
        (shard["shard_id"], str(shard.get("shard_key")))
        for shard in cluster["local_shards"] + cluster["remote_shards"]
    }
    return {"config": config, "payload_schema": schema, "shards": sorted(keys)}


def ask(client: Client, name: str, using: str | None, query: Any) -> list[tuple[Any, float]]:
    """The ten nearest, exactly."""
    body = {"query": query, "limit": 10, "params": {"exact": True}}
    if using:
        body["using"] = using
    told = client.call("POST", f"/collections/{quote(name)}/points/query", body)
    return [(point["id"], point["score"]) for point in told["points"]]


def answers(client: Client, name: str, size: int) -> list[list[tuple[Any, float]]]:
    """The ten nearest to each of a few vectors that are the same every time."""
    chance = random.Random(size)
    queries = [[chance.uniform(-1, 1) for _ in range(size)] for _ in range(5)]
    return [ask(client, name, None, query) for query in queries]


def all_same_answers(
    wanted: list[list[tuple[Any, float]]], found: list[list[tuple[Any, float]]]
) -> bool:
    """Whether `found` is what answers() gave before."""
    return len(wanted) == len(found) and all(map(same_answers, wanted, found))


def same_answers(wanted: list[tuple[Any, float]], found: list[tuple[Any, float]]) -> bool:
    """Same scores in order, and same ids but for those that tie with the last one."""
    if len(wanted) != len(found):
        return False
    if any(abs(a[1] - b[1]) > SCORE_TOLERANCE for a, b in zip(wanted, found)):
        return False
    if not wanted:
        return True
    last = wanted[-1][1] + SCORE_TOLERANCE
    return {i for i, score in wanted if score > last} <= {i for i, _ in found}
