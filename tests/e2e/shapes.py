"""The collections that the order names: one of each shape, filled the same way on every cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import dataset
from holdfast_sandbox.demo_client import Client, quote

DENSE = {"size": 16, "distance": "Cosine"}
BATCH = 200


@dataclass
class Shape:
    """One collection. `keys` are shard keys, points go to them in turn."""

    name: str
    body: dict[str, Any]
    points: int = 150
    keys: tuple[str | int, ...] = ()
    alias: str = ""
    indexes: dict[str, Any] = field(default_factory=lambda: {"n": "integer", "words": "keyword"})
    # Names of vectors that are asked for; None is the unnamed one.
    queries: tuple[str | None, ...] = (None,)
    hybrid: bool = False

    def point(self, number: int) -> dict[str, Any]:
        """The point with this number: every tenth has a UUID."""
        payload = {"n": number, "words": [f"w{number % 7}", "é ☃"], "deep": {"x": [None, 1.5]}}
        point = {"id": dataset.docs_id(number), "payload": payload}
        if not self.hybrid:
            return {**point, "vector": dataset.vector(number, DENSE["size"])}
        return {**dataset.hybrid_point(number), **point}

    def query(self, using: str | None) -> Any:
        """A question that a point of another collection would be the answer to."""
        if not self.hybrid:
            return dataset.vector(10**6, DENSE["size"])
        return dataset.hybrid_point(10**6)["vector"][using]


_HYBRID = {
    "vectors": {
        "text": {"size": 16, "distance": "Cosine"},
        "img": {"size": 8, "distance": "Euclid", "datatype": "float16"},
        "colbert": {
            "size": 4,
            "distance": "Dot",
            "multivector_config": {"comparator": "max_sim"},
        },
    },
    "sparse_vectors": {"bm25": {"modifier": "idf"}},
    "shard_number": 2,
}
_QUANTIZED = {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}}

SHAPES = [
    Shape("empty", {"vectors": DENSE, "shard_number": 2}, points=0, queries=()),
    Shape("one-point", {"vectors": DENSE, "shard_number": 2}, points=1),
    Shape(
        "quantized",
        {"vectors": DENSE, "shard_number": 2, "quantization_config": _QUANTIZED},
    ),
    Shape("hybrid", _HYBRID, queries=("text", "img", "colbert", "bm25"), hybrid=True),
    Shape(
        "by-key",
        {"vectors": DENSE, "shard_number": 1, "sharding_method": "custom"},
        keys=("north", "süd / 100%", 7),
    ),
    Shape(
        "replicated",
        {"vectors": DENSE, "shard_number": 3, "replication_factor": 2},
        alias="replicated live",
    ),
    # Odd names, as far as the server permits: a slash it refuses in every form but this one.
    Shape("two words", {"vectors": DENSE, "shard_number": 1}, alias="ein Näme"),
    Shape("ünï-☃", {"vectors": DENSE, "shard_number": 1}),
    Shape("50%", {"vectors": DENSE, "shard_number": 1}),
    Shape("a%2Fb", {"vectors": DENSE, "shard_number": 1}),
    Shape("a#b&c+d", {"vectors": DENSE, "shard_number": 1}),
]


def make(client: Client, shape: Shape) -> None:
    """Creates and fills it."""
    path = f"/collections/{quote(shape.name)}"
    client.call("PUT", f"{path}?timeout=60", shape.body)
    for key in shape.keys:
        client.call("PUT", f"{path}/shards?timeout=60", {"shard_key": key})
    for name, schema in shape.indexes.items():
        wanted = {"field_name": name, "field_schema": schema}
        client.call("PUT", f"{path}/index?wait=true&timeout=60", wanted)
    for first in range(0, shape.points, BATCH):
        numbers = range(first, min(first + BATCH, shape.points))
        for at, key in enumerate(shape.keys or (None,)):
            part = [shape.point(n) for n in numbers if not shape.keys or n % len(shape.keys) == at]
            body = {"points": part} if key is None else {"points": part, "shard_key": key}
            client.call("PUT", f"{path}/points?wait=true", body)
    if shape.alias:
        action = {"create_alias": {"collection_name": shape.name, "alias_name": shape.alias}}
        client.call("POST", "/collections/aliases?timeout=60", {"actions": [action]})
