"""The engine's own count of every recorded image: what the inspector in C++ is measured by."""

import json
import pathlib

import pytest

qdrant_edge = pytest.importorskip("qdrant_edge")

ROOT = pathlib.Path(__file__).resolve().parents[2]
POINTS = json.loads((ROOT / "tests/engine/data/image_points.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("image", sorted(POINTS))
def test_the_engine_counts_what_the_table_says(image, tmp_path):
    folder = tmp_path / "shard"
    qdrant_edge.EdgeShard.unpack_snapshot(str(ROOT / image), str(folder))
    shard = qdrant_edge.EdgeShard.load(str(folder))
    try:
        assert shard.count(qdrant_edge.CountRequest(exact=True)) == POINTS[image]
    finally:
        shard.close()


def test_the_engine_scrolls_the_ids_that_the_live_replica_listed(tmp_path):
    folder = tmp_path / "shard"
    data = ROOT / "tests/engine/data"
    qdrant_edge.EdgeShard.unpack_snapshot(str(data / "shard-optimized.tar"), str(folder))
    shard = qdrant_edge.EdgeShard.load(str(folder))
    try:
        records, _ = shard.scroll(qdrant_edge.ScrollRequest(limit=10_000))
        listed = [json.dumps(r.id if isinstance(r.id, int) else str(r.id)) for r in records]
    finally:
        shard.close()
    assert listed == (data / "shard-optimized.ids").read_text(encoding="utf-8").split()
