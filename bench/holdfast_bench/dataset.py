"""Shard snapshot tars that the benchmarks stream: made once by the real engine, then kept.

Points are passages of real text (four WordNet glosses each) with the vector that the demo's static
model gives such a passage, spread over shards by the server's own hash ring, held by
`qdrant_edge`, with HNSW index and two payload indexes. Every shard is packed twice: as
it was loaded, and after 1 % of its points, chosen at random, were written anew (other text, other
vector). What that does to the files is the engine's doing: a segment with an index is never
written into, so the new points go to another segment, and in the old one marks of deletion and
versions change, which are spread over their whole files.

They lie below `$HOLDFAST_CACHE/bench/data-<key>`; the key names the recipe and the size.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from holdfast_sandbox import demo_data

from holdfast_bench.scratch import scratch_folder

COLLECTION = "passages"
UUID = "5f0d3b54-2c1e-4c38-9d5c-8a4f6f1c7e21"
SHARDS = 6
PEERS = (101, 102, 103)
VECTORS = {"size": demo_data.DIMENSIONS, "distance": "Cosine"}
INDEXES = {"pos": "keyword", "lex": "integer"}
CHANGED_SHARE = 0.01
STATES = ("first", "second")  # As loaded; after the changes.

# Raised whenever the same size would give other files.
_RECIPE = 2
_BYTES_PER_POINT = 1650  # Of a tar: vector, payload, graph, ids. Measured; decides the points only.
_GLOSSES = 4
_BATCH = 1000
# Fewer candidates than the server's default of 100: the graph is of the same size, in a third of
# the time.
_EF_CONSTRUCT = 32


class Corpus:
    """The points as a pure function of id and revision."""

    def __init__(self) -> None:
        """Opens the demo data, which `demo_data.fetch` has put into the cache."""
        data = demo_data.load()
        self._documents = data.documents
        self._vectors = data.vectors

    def rows(self, point: int, rev: int) -> list[int]:
        """The documents of a passage."""
        total = len(self._documents)
        begin = point * 7919 + (point // total) * 31 + rev * 15485863
        return [
            (begin + gloss * 104729 * (1 + point // total)) % total for gloss in range(_GLOSSES)
        ]

    def payload(self, point: int, rev: int) -> dict[str, Any]:
        """The payload of a point."""
        docs = [self._documents[row] for row in self.rows(point, rev)]
        return {
            "pos": docs[0].pos,
            "lex": docs[0].lex,
            "rev": rev,
            "words": [doc.words[0] for doc in docs],
            "text": " ".join(doc.text for doc in docs),
        }

    def vectors(self, points: list[int], rev: int) -> Any:
        """float32 array, one unit vector a point."""
        import numpy

        rows = numpy.array([self.rows(point, rev) for point in points])
        sums = self._vectors[rows].sum(1, dtype=numpy.float32)
        lengths = numpy.linalg.norm(sums, axis=1, keepdims=True)
        return (sums / numpy.maximum(lengths, 1e-9)).astype(numpy.float32)


def corpus(say: Callable[[str], None]) -> Corpus:
    """The corpus, after its data was fetched into the cache where it lacked."""
    demo_data.fetch(say=say)
    return Corpus()


@dataclass(frozen=True)
class Dataset:
    """Tars that are there."""

    folder: Path

    @property
    def facts(self) -> dict[str, Any]:
        """What `build` wrote down about it."""
        return json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))

    def tar(self, state: str, shard: int) -> Path:
        """The snapshot of a shard in one of STATES."""
        return self.folder / f"{state}-{shard}.tar"

    def tars(self, state: str) -> list[Path]:
        """Those of all shards."""
        return [self.tar(state, shard) for shard in range(SHARDS)]

    def bytes(self, state: str) -> int:
        """Their size in all."""
        return sum(path.stat().st_size for path in self.tars(state))


def obtain(gigabytes: float, say: Callable[[str], None]) -> Dataset:
    """The data set of that size (10^9 bytes of tars); built when it is not in the cache."""
    key = hashlib.sha256(f"{_RECIPE} {gigabytes}".encode()).hexdigest()[:12]
    cache = demo_data.cache_folder().parent / "bench"
    final = cache / f"data-{key}"
    if not (final / "facts.json").exists():
        demo_data.fetch(say=say)
        points = max(SHARDS * 1000, int(gigabytes * 1e9 / _BYTES_PER_POINT))
        say(f"Building {points:,} points in {SHARDS} shards, once; this takes several minutes ...")
        cache.mkdir(parents=True, exist_ok=True)
        with scratch_folder(cache) as scratch:
            work = scratch / "data"
            work.mkdir()
            _build(work, points, say)
            shutil.rmtree(final, ignore_errors=True)
            work.rename(final)
    return Dataset(final)


def _build(work: Path, points: int, say: Callable[[str], None]) -> None:
    def one(shard: int) -> dict[str, Any]:
        # A process each: the engine holds Python's lock during every call.
        command = [
            sys.executable,
            "-m",
            "holdfast_bench.dataset",
            str(work),
            str(points),
            str(shard),
        ]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        say(f"  shard {shard} is ready")
        return json.loads(done.stdout)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        shards = list(pool.map(one, range(SHARDS)))
    facts = {"points": points, "shards": shards}
    (work / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _edge_config() -> dict[str, Any]:
    from holdfast_sandbox.defaults import new_config
    from holdfast_sandbox.edge_config import edge_config

    return edge_config(new_config(creation(), len(PEERS)))


def creation() -> dict[str, Any]:
    """The body that would create the collection."""
    return {
        "vectors": VECTORS,
        "shard_number": SHARDS,
        "hnsw_config": {"ef_construct": _EF_CONSTRUCT},
    }


def _build_shard(work: Path, points: int, shard: int) -> dict[str, Any]:
    import qdrant_edge as edge
    from holdfast_sandbox.edge_index import field_schema
    from holdfast_sandbox.ring import HashRing

    corpus = Corpus()
    owners = HashRing(range(SHARDS)).owners(list(range(points)))
    mine = [point for point, owner in enumerate(owners) if owner == shard]
    changed = sorted(random.Random(shard).sample(mine, round(len(mine) * CHANGED_SHARE)))
    folder = work / f"shard-{shard}"
    folder.mkdir()
    (folder / "edge_config.json").write_text(json.dumps(_edge_config()), encoding="utf-8")
    held = edge.EdgeShard.load(str(folder))
    for field, schema in INDEXES.items():
        held.update(edge.UpdateOperation.create_field_index(field, field_schema(schema)))

    def write(ids: list[int], rev: int) -> None:
        for begin in range(0, len(ids), _BATCH):
            batch = ids[begin : begin + _BATCH]
            rows = zip(batch, corpus.vectors(batch, rev))
            made = [edge.Point(i, vector, corpus.payload(i, rev)) for i, vector in rows]
            held.update(edge.UpdateOperation.upsert_points(made, None, None))

    write(mine, 0)
    held.optimize()
    _pack(held, folder, work / f"first-{shard}.tar", shard)
    write(changed, 1)
    _pack(held, folder, work / f"second-{shard}.tar", shard)
    held.close()
    shutil.rmtree(folder)
    return {"points": len(mine), "first_ids": mine[:100], "changed": changed}


def _pack(held: Any, folder: Path, tar: Path, shard: int) -> None:
    from holdfast_sandbox import images
    from holdfast_sandbox.tarformat import END

    held.flush()
    peer = PEERS[shard % len(PEERS)]
    entries = images.streamable(
        str(folder), held.snapshot_manifest(), peer, {peer: "Active"}, seed=shard
    )
    with open(tar, "wb") as out:
        for entry in entries:
            for chunk in entry.chunks():
                out.write(chunk)
        out.write(END)


if __name__ == "__main__":
    json.dump(_build_shard(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), sys.stdout)
