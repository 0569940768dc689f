"""The data of the recorded cluster, made again: ids, payloads and counts are those of the record.

How the points looked follows from the transcripts and from tests/data/shard-stream.tar, which holds
1,014 of them. Only the vectors were random; here they follow from the id.
"""

from __future__ import annotations

import datetime
import functools
import random
import uuid
from typing import Any

import numpy

DOCS = 6000
_LANGUAGES = {"en": 2052, "es": 1975, "de": 1973}  # Recorded counts.
_FIRST_LANGUAGES = {1: "de", 2: "en", 3: "en"}  # Recorded in the scroll.


def vector(number: int, size: int) -> list[float]:
    """A unit vector that follows from a number."""
    values = numpy.random.default_rng([number, size]).normal(size=size)
    return [round(float(x), 6) for x in values / numpy.linalg.norm(values)]


def docs_id(number: int) -> int | str:
    """Every tenth point of `docs` has a UUID."""
    return str(uuid.UUID(int=10**9 + number)) if number % 10 == 0 else number


@functools.cache
def _languages() -> list[str]:
    rest = [name for name, count in _LANGUAGES.items() for _ in range(count)]
    for name in _FIRST_LANGUAGES.values():
        rest.remove(name)
    random.Random(6000).shuffle(rest)
    return [_FIRST_LANGUAGES[n] if n in _FIRST_LANGUAGES else rest.pop() for n in range(DOCS)]


def docs_payload(number: int) -> dict[str, Any]:
    """The payload of a point of `docs`."""
    day = datetime.date(2026, 1, 1) + datetime.timedelta(days=number % 28)
    return {
        "lang": _languages()[number],
        "year": 2000 + number % 25,
        "price": number / 7,
        "loc": {"lon": number % 90, "lat": number % 80},
        "ts": f"{day.isoformat()}T00:00:00Z",
        "flag": number % 2 == 0,
        "uid": str(uuid.UUID(int=number)),
        "body": f"the quick brown fox {number}",
        "tenant": f"t{number % 5}",
        "source": {"doc": f"doc-{number // 10}", "chunk": number % 10},
    }


def docs_point(number: int) -> dict[str, Any]:
    """A point of `docs`."""
    return {"id": docs_id(number), "vector": vector(number, 64), "payload": docs_payload(number)}


# One percent of `docs` changed before the partial snapshot: these were deleted, one each in the
# shards 1, 3 and 5 (the recorded counts say so); the others were overwritten.
CHURN_DELETED = (9, 1, 7)
CHURN_CHANGED = range(100, 157)


def churn_point(number: int) -> dict[str, Any]:
    """A point of `docs` with another vector."""
    return {**docs_point(number), "vector": vector(number + DOCS, 64)}


def plain_points(ids: list[int], size: int) -> list[dict[str, Any]]:
    """Points without payload."""
    return [{"id": number, "vector": vector(number, size)} for number in ids]


def hybrid_point(number: int) -> dict[str, Any]:
    """A point with named, multi and sparse vectors."""
    return {
        "id": number,
        "vector": {
            "text": vector(number, 16),
            "img": vector(number, 8),
            "colbert": [vector(3 * number + i, 4) for i in range(3)],
            "bm25": {"indices": [number % 50, 50 + number % 7], "values": [1.5, 0.5]},
        },
    }


def ids_for(ring: Any, wanted: dict[int, int], first: int) -> list[int]:
    """The lowest ids from `first` on that put the wanted number of points into each shard."""
    left = dict(wanted)
    found = []
    number = first
    while any(left.values()):
        shard = ring.owner(number)
        if left.get(shard, 0):
            left[shard] -= 1
            found.append(number)
        number += 1
    return found
