"""What the process gives of an image is what the engine has, exactly and in order."""

import json
import random
import struct
import uuid

import numpy as np
import pytest
import qdrant_edge as edge
from process import DATA, make_shard, reference_points

IMAGES = {
    "shard-stream.tar": 1014,
    "shard-regular.tar": 1014,
    "shard-hybrid.tar": 265,
    "shard-empty.tar": 0,
    "partial-full.tar": 1014,
}
HUGE = [0, 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]


def f32(value):
    """What a server keeps of a number in JSON: it reads a double and rounds it."""
    return struct.pack("<f", value)


def plain(value):
    """A vector of JSON or of the library with its float32 bytes."""
    if isinstance(value, edge.SparseVector):
        return plain({"indices": value.indices, "values": value.values})
    if isinstance(value, dict) and set(value) == {"indices", "values"}:
        return [list(value["indices"]), [f32(v) for v in value["values"]]]
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if value and isinstance(value[0], list):
        return [plain(row) for row in value]
    return [f32(v) for v in value]


def order(point_id):
    return (0, point_id) if isinstance(point_id, int) else (1, uuid.UUID(point_id).bytes)


def check_order(points):
    keys = [order(p["id"]) for p in points]
    assert all(a < b for a, b in zip(keys, keys[1:]))


@pytest.mark.parametrize("image", sorted(IMAGES))
def test_every_point_of_a_recorded_image_is_given_as_the_engine_has_it(image, engine, tmp_path):
    answer = engine.open(DATA / image)
    assert answer["ok"] and answer["points"] == IMAGES[image]
    points = engine.points(limit=97)
    check_order(points)
    wanted = reference_points(DATA / image, tmp_path / "reference")
    assert len(points) == len(wanted) == IMAGES[image]
    for point, record in zip(points, wanted):
        assert set(point) == {"id", "vector", "payload"}
        assert point["id"] == (record.id if isinstance(record.id, int) else str(record.id))
        assert point["payload"] == (record.payload or {})
        assert plain(point["vector"]) == plain(record.vector)


def test_an_image_tells_its_vectors(engine):
    answer = engine.open(DATA / "shard-hybrid.tar")
    assert {name: v["kind"] for name, v in answer["vectors"].items()} == {
        "text": "dense", "img": "dense", "colbert": "multi", "bm25": "sparse",
    }  # fmt: skip
    assert engine.ask("info")[1]["points"] == answer["points"]


def test_ids_are_exact_and_in_the_order_of_the_server_at_every_page_size(engine, scratch):
    chance = random.Random(4)
    uuids = [uuid.UUID(int=chance.getrandbits(128)) for _ in range(40)]
    uuids += [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)]
    ids = HUGE + [chance.getrandbits(64) for _ in range(60)] + uuids
    chance.shuffle(ids)
    make_shard(scratch / "shard", [edge.Point(i, [1.0, 2.0], {}) for i in ids])
    assert engine.open()["ok"]
    wanted = sorted(
        [i if isinstance(i, int) else str(i) for i in set(ids)],
        key=order,
    )
    for limit in (1, 2, 7, 100, 1000):
        assert [p["id"] for p in engine.points(limit)] == wanted
    # Page by page from any position, also from an id that is not there.
    for after in (3, 2**53 + 2, wanted[10], str(uuid.UUID(int=1))):
        lines, _ = engine.ask("page", after=after, limit=5, bytes=1 << 20)
        following = [i for i in wanted if order(i) > order(after)][:5]
        assert [json.loads(line)["id"] for line in lines] == following


def test_points_in_many_segments_come_once_and_in_order(engine, scratch):
    points = [edge.Point(i, [float(i), 0.5], {"n": i}) for i in range(3000)]
    make_shard(scratch / "shard", points, optimizers={"default_segment_number": 3})
    shard = edge.EdgeShard.load(str(scratch / "shard"))
    shard.optimize()
    changed = [edge.Point(i, [float(-i), 0.5], {"n": -i}) for i in range(0, 3000, 7)]
    shard.update(edge.UpdateOperation.upsert_points(changed))
    shard.update(edge.UpdateOperation.delete_points(list(range(0, 3000, 5))))
    shard.flush()
    shard.close()
    assert engine.open()["ok"]
    found = engine.points(limit=333)
    check_order(found)
    assert {p["id"]: p["payload"]["n"] for p in found} == {
        i: -i if i % 7 == 0 else i for i in range(3000) if i % 5
    }


def test_float32_values_are_printed_so_that_they_come_back(engine, scratch):
    chance = np.random.default_rng(5)
    bits = chance.integers(0, 2**32, 64_000, np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)][: 60_000 - 60_000 % 64].reshape(-1, 64)
    points = [edge.Point(i, row, {}) for i, row in enumerate(values.tolist())]
    make_shard(scratch / "shard", points, {"": {"size": 64, "distance": "Dot"}})
    assert engine.open()["ok"]
    for point in engine.points():
        assert [f32(v) for v in point["vector"]] == [f32(v) for v in values[point["id"]]]


def test_payloads_keep_their_numbers_texts_and_shapes(engine, scratch):
    payload = {
        "u64": 2**64 - 1, "i64": -(2**63), "whole": 1.0, "large": 1e22, "tenth": 0.1,
        "tiny": 5e-324, "yes": True, "none": None, "text": "\0 \ud7ff é 😀 \u2028", "": "empty name",
        "deep": [1, [2.5, {"x": [None, {}]}], []],
    }  # fmt: skip
    make_shard(scratch / "shard", [edge.Point(1, [0.5, 1.0], payload), edge.Point(2, [1.0, 0.0])])
    engine.open()
    first, second = engine.points()
    assert first["payload"] == payload
    assert [type(first["payload"][k]) for k in ("u64", "whole", "yes")] == [int, float, bool]
    assert second["payload"] == {}


def test_points_without_vectors_and_with_some_of_them(engine, scratch):
    vectors = {"a": {"size": 2, "distance": "Dot"}, "b": {"size": 1, "distance": "Cosine"}}
    points = [
        edge.Point(1, {}, {"n": 1}),
        edge.Point(2, {"a": [1.0, 2.0]}),
        edge.Point(3, {"s": edge.SparseVector([7, 2**32 - 1], [0.5, -1.5]), "b": [3.0]}),
    ]
    make_shard(scratch / "shard", points, vectors, {"s": {}})
    engine.open()
    one, two, three = (p["vector"] for p in engine.points())
    assert one == {} and two == {"a": [1.0, 2.0]}
    assert three["b"] == [1.0]  # Normalized when it was stored, as the server has it.
    assert dict(zip(three["s"]["indices"], three["s"]["values"])) == {7: 0.5, 2**32 - 1: -1.5}


def test_a_page_keeps_to_its_bytes_and_large_points_come_alone(engine, scratch):
    chance = random.Random(6)
    sizes = {i: chance.choice([10, 10, 10, 50_000]) for i in range(300)}
    points = [edge.Point(i, [0.0, 1.0], {"t": "x" * size}) for i, size in sizes.items()]
    make_shard(scratch / "shard", points)
    engine.open()
    found = engine.points(limit=50, size=30_000)  # `points` checks the bound of every page.
    assert {p["id"]: len(p["payload"]["t"]) for p in found} == sizes


def test_points_by_id_and_exact_queries(engine, scratch):
    points = [edge.Point(i, [float(i % 17), float(i % 5)], {"n": i}) for i in range(200)]
    make_shard(scratch / "shard", points)
    engine.open()
    lines, answer = engine.ask("points", ids=[5, 10**6, 3, 5, str(uuid.UUID(int=1))])
    assert [json.loads(line)["id"] for line in lines] == [5, 3] and answer["count"] == 2
    _, answer = engine.ask("query", request={"query": [1.0, 0.5], "limit": 3})
    scores = sorted((i % 17 + 0.5 * (i % 5) for i in range(200)), reverse=True)
    assert [hit["score"] for hit in answer["hits"]] == scores[:3]
    assert all(set(hit) == {"id", "score"} for hit in answer["hits"])


def test_one_image_after_another(engine, scratch):
    for number, image in enumerate(("shard-hybrid.tar", "shard-empty.tar")):
        assert engine.open(DATA / image, scratch / str(number))["ok"]
        assert len(engine.points()) == IMAGES[image]
        assert engine.ask("close")[1]["ok"]
    assert engine.ask("page", limit=1, bytes=1)[1]["code"] == "request"
    assert engine.end() == (0, "")
