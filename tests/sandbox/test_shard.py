"""One shard: deletes that are only remembered, operation numbers, reopening."""

import os

import pytest
from holdfast_sandbox import defaults, images
from holdfast_sandbox.clone import clone_tree
from holdfast_sandbox.errors import ApiError
from holdfast_sandbox.shard import LocalShard

CONFIG = defaults.new_config({"vectors": {"size": 4, "distance": "Dot"}}, 1)


class Working:
    """Stands for an optimization."""

    def __init__(self):
        self.ops = []

    def log(self, op):
        self.ops.append(op)


@pytest.fixture
def shard(tmp_path):
    made = LocalShard.create(str(tmp_path / "0"), 0, CONFIG)
    _upsert(made, range(10))
    yield made
    made.close()


def _upsert(shard, ids, value=0, **more):
    points = [{"id": i, "vector": [i, 1, 0, 0], "payload": {"k": i, "v": value}} for i in ids]
    return shard.apply({"kind": "upsert", "points": points, **more})


def _delete(shard, *ids):
    return shard.apply({"kind": "delete", "points": list(ids)})


def _live(shard):
    ids = [p["id"] for p in shard.read("scroll", {"limit": 100})["points"]]
    assert shard.read("count", {}) == len(ids) == shard.info()["points"]
    assert [i for page in shard.ids() for i in page] == ids
    return ids


def _image(shard, tmp_path, name="image"):
    """What a shard snapshot of this moment would hold."""
    folder = str(tmp_path / name)
    shard.cut(folder)
    os.makedirs(os.path.join(folder, "wal"))
    with open(
        os.path.join(folder, "wal", f"closed-{images.next_index(shard.manifest())}"), "wb"
    ) as out:
        out.write(b"wal\0abcd")
    opened = LocalShard(folder, 0, CONFIG).open()
    ids = _live(opened)
    opened.close()
    return ids


def test_operation_numbers_only_rise(shard):
    numbers = [_upsert(shard, [20]), _delete(shard, 20), _delete(shard, 999)]
    assert numbers == sorted(set(numbers))


def test_a_delete_without_an_optimization_is_in_the_image(shard, tmp_path):
    _delete(shard, 1, 2)
    assert _live(shard) == _image(shard, tmp_path) == [0, 3, 4, 5, 6, 7, 8, 9]


def test_deletes_during_an_optimization_are_live_and_missing_in_the_image(shard, tmp_path):
    shard.optimizing = Working()
    _delete(shard, 1, 2)
    shard.apply({"kind": "delete", "filter": {"must": [{"key": "k", "range": {"gte": 8}}]}})
    assert _live(shard) == [0, 3, 4, 5, 6, 7]
    assert _image(shard, tmp_path) == list(range(10))
    shard.optimizing = None
    shard.apply_held()
    assert _live(shard) == _image(shard, tmp_path, "after") == [0, 3, 4, 5, 6, 7]


def test_every_kind_of_read_hides_a_remembered_delete(shard):
    shard.apply({"kind": "create_index", "field": "k", "schema": "integer"})
    shard.optimizing = Working()
    _delete(shard, 5)
    query = {"query": [9, 0, 0, 0], "limit": 100}
    nested = {
        "prefetch": {"query": [9, 0, 0, 0], "limit": 100},
        "query": [9, 0, 0, 0],
        "limit": 100,
    }
    assert 5 not in [p["id"] for p in shard.read("query", query)]
    assert 5 not in [p["id"] for p in shard.read("query", nested)]
    assert shard.read("retrieve", {"ids": [5]}) == []
    assert 5 not in [h["value"] for h in shard.read("facet", {"key": "k", "limit": 100})]
    assert shard.read("count", {"filter": {"must": [{"key": "k", "match": {"value": 5}}]}}) == 0


def test_an_upsert_brings_a_remembered_delete_to_life_with_nothing_of_the_old_point(
    shard, tmp_path
):
    shard.optimizing = Working()
    _delete(shard, 5)
    shard.apply({"kind": "upsert", "points": [{"id": 5, "vector": [0, 0, 0, 1]}]})
    [point] = shard.read("retrieve", {"ids": [5], "with_payload": True})
    assert point["payload"] == {}
    assert 5 in _image(shard, tmp_path)


def test_conditional_updates_treat_a_remembered_delete_as_gone(shard):
    shard.optimizing = Working()
    _delete(shard, 5, 6)
    _upsert(shard, [5], value=1, update_mode="insert_only")
    _upsert(shard, [6], value=1, update_mode="update_only")
    found = shard.read("retrieve", {"ids": [5, 6], "with_payload": True})
    assert [(p["id"], p["payload"]["v"]) for p in found] == [(5, 1)]
    shard.apply({"kind": "set_payload", "payload": {"v": 7}, "points": [4, 6]})
    shard.apply({"kind": "set_payload", "payload": {"v": 8}, "filter": {"must": [{"has_id": [6]}]}})
    shard.apply({"kind": "update_vectors", "points": [{"id": 6, "vector": [1, 1, 1, 1]}]})
    assert 6 not in _live(shard)


def test_remembered_deletes_survive_a_kill(shard, tmp_path):
    """A copy of the folder without closing is what a kill leaves."""
    shard.optimizing = Working()
    _delete(shard, 1, 2, 3)
    _upsert(shard, [2], value=9)
    clone_tree(shard.folder, str(tmp_path / "killed"))
    again = LocalShard(str(tmp_path / "killed"), 0, CONFIG).open()
    assert _live(again) == [0, 2, 4, 5, 6, 7, 8, 9]
    assert not os.path.exists(tmp_path / "killed" / "held.jsonl")
    again.close()


def test_half_a_line_in_the_journal_was_never_acknowledged(shard, tmp_path):
    shard.optimizing = Working()
    _delete(shard, 1)
    clone_tree(shard.folder, str(tmp_path / "killed"))
    with open(tmp_path / "killed" / "held.jsonl", "a", encoding="ascii") as journal:
        journal.write('{"add":[7')
    again = LocalShard(str(tmp_path / "killed"), 0, CONFIG).open()
    assert 1 not in _live(again) and 7 in _live(again)
    again.close()


def test_a_shard_of_other_dimensions_opens_and_its_queries_fail(shard, tmp_path):
    shard.close()
    other = defaults.new_config({"vectors": {"size": 2, "distance": "Dot"}}, 1)
    opened = LocalShard(shard.folder, 0, other).open()
    assert _live(opened) == list(range(10))
    with pytest.raises(ApiError, match="Vector dimension error: expected dim: 4, got 2") as caught:
        opened.read("query", {"query": [1, 1]})
    assert caught.value.status == 400
    opened.close()


def test_a_shard_with_a_broken_file_fails_every_call(shard):
    shard.flush()
    shard.close()
    [segment] = os.listdir(os.path.join(shard.folder, "segments"))
    path = os.path.join(shard.folder, "segments", segment, "segment.json")
    with open(path, "w", encoding="ascii") as file:
        file.write("{")
    opened = LocalShard(shard.folder, 0, CONFIG).open()
    assert not opened.usable
    for call in (lambda: opened.read("count", {}), lambda: _upsert(opened, [1])):
        with pytest.raises(ApiError, match="Failed to load local shard") as caught:
            call()
        assert caught.value.status == 500


def test_bad_requests_are_told_apart_from_trouble(shard):
    for body in ({"query": [1, 2]}, {"query": [1, 2, 3, 4], "using": "no"}):
        with pytest.raises(ApiError) as caught:
            shard.read("query", body)
        assert caught.value.status == 400
    with pytest.raises(ApiError) as caught:
        shard.apply({"kind": "delete", "points": ["no uuid"]})
    assert caught.value.status == 400
