"""What the demo stores for a document: its id, payload and vectors, and the collection around it.

The content of a point is a pure function of a corpus row (and a revision), so that a restored
collection can be compared with the corpus itself.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from holdfast_sandbox.demo_data import DIMENSIONS, POSITIONS, DemoData, Document

# Names of the vectors of a hybrid collection.
GLOSS = "gloss"  # Dense: the text. The same vector that a plain collection has without a name.
HEAD = "head"  # Dense, half precision: the first word.
WORDS = "words"  # One vector a word.
TERMS = "terms"  # Sparse: how often each word piece occurs in the text.

_IDS = uuid.UUID("6b3f3c1e-6f0b-4b55-9d3e-6f6c2b7d0a11")  # Name space of the demo's UUIDs.
_HALF_PRECISION = 2e-3  # Unit vectors kept as float16.
_SINGLE_PRECISION = 1e-5

INDEXES: dict[str, Any] = {
    "pos": "keyword",
    "lex": "integer",
    "words": "keyword",
    "letters": "integer",
    "rev": "integer",
    "source.file": {"type": "keyword", "on_disk": True},
    "text": {"type": "text", "tokenizer": "word", "min_token_len": 2, "lowercase": True},
}


def point_id(doc: Document, ids: str) -> int | str:
    """The id of a document. `ids`: "int", "uuid", or "mixed" (every fourth document a UUID)."""
    if ids == "uuid" or (ids == "mixed" and doc.row % 4 == 3):
        return str(uuid.uuid5(_IDS, f"{doc.pos}/{doc.offset}"))
    return POSITIONS.index(doc.pos) * 10**8 + doc.offset


def new_uuid(name: str) -> str:
    """A UUID of the demo for something that is no document."""
    return str(uuid.uuid5(_IDS, name))


def payload(doc: Document, rev: int = 0) -> dict[str, Any]:
    """The payload of a document. `rev` tells one writing of it from another."""
    return {
        "row": doc.row,
        "rev": rev,
        "pos": doc.pos,
        "lex": doc.lex,
        "words": list(doc.words),
        "text": doc.text,
        "letters": len(doc.text),
        "source": {"file": f"data.{doc.pos}", "offset": doc.offset},
    }


@dataclass(frozen=True)
class Layout:
    """The vectors of a collection."""

    hybrid: bool

    def collection(self, shards: int, replication: int, by_key: bool, quantized: bool) -> dict:
        """The body that creates the collection. With `by_key`, `shards` counts for each key."""
        dense = {"size": DIMENSIONS, "distance": "Cosine"}
        body: dict[str, Any] = {
            "vectors": dense,
            "shard_number": shards,
            "replication_factor": replication,
            "metadata": {"made_by": "holdfast demo"},
        }
        if self.hybrid:
            body["vectors"] = {
                GLOSS: dense,
                HEAD: {**dense, "datatype": "float16"},
                WORDS: {**dense, "multivector_config": {"comparator": "max_sim"}},
            }
            body["sparse_vectors"] = {TERMS: {"modifier": "idf"}}
        if by_key:
            body["sharding_method"] = "custom"
        if quantized:
            body["quantization_config"] = {"scalar": {"type": "int8", "always_ram": True}}
        return body

    def vectors(self, data: DemoData, rows: list[int]) -> list[Any]:
        """What is sent as "vector" for each row."""
        dense = [data.vectors[row] for row in rows]
        if not self.hybrid:
            return dense
        docs = [data.documents[row] for row in rows]
        heads = data.model.embed([doc.words[0] for doc in docs])
        pieces = data.model.pieces([doc.text for doc in docs])
        result = []
        for doc, gloss, head, terms in zip(docs, dense, heads, pieces):
            words = data.model.embed(doc.words)
            indices = sorted(set(terms))
            sparse = {"indices": indices, "values": [float(terms.count(i)) for i in indices]}
            result.append({GLOSS: gloss, HEAD: head, WORDS: list(words), TERMS: sparse})
        return result

    def same(self, data: DemoData, row: int, found: Any) -> bool:
        """Whether `found`, as a server returned it, are the vectors of a row."""
        if not 0 <= row < len(data.documents) or not found:
            return False
        (wanted,) = self.vectors(data, [row])
        if not self.hybrid:
            return _close(wanted, found, _SINGLE_PRECISION)
        if not isinstance(found, dict) or set(found) != set(wanted):
            return False
        sparse = found[TERMS]
        return (
            _close(wanted[GLOSS], found[GLOSS], _SINGLE_PRECISION)
            and _close(wanted[HEAD], found[HEAD], _HALF_PRECISION)
            and len(wanted[WORDS]) == len(found[WORDS])
            and all(
                _close(one, other, _SINGLE_PRECISION)
                for one, other in zip(wanted[WORDS], found[WORDS])
            )
            and dict(zip(sparse["indices"], sparse["values"]))
            == dict(zip(wanted[TERMS]["indices"], wanted[TERMS]["values"]))
        )

    @staticmethod
    def of(info: dict[str, Any]) -> "Layout":
        """The layout of a collection that the demo made, from GET /collections/{name}."""
        return Layout(hybrid="size" not in info["config"]["params"]["vectors"])


def by_shard_key(info: dict[str, Any]) -> bool:
    """Whether a collection has custom shard keys (one for each part of speech)."""
    return info["config"]["params"].get("sharding_method") == "custom"


def _close(wanted: Any, found: Any, tolerance: float) -> bool:
    import numpy

    other = numpy.asarray(found, numpy.float32)
    return other.shape == wanted.shape and bool(numpy.abs(other - wanted).max() <= tolerance)


def spread(total: int, wanted: int) -> list[int]:
    """`wanted` of `total` rows, evenly spread, so that every part of speech has its share."""
    wanted = min(wanted, total)
    return [number * total // wanted for number in range(wanted)]
