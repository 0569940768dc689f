"""Point writes: the body of a request as updates of shards (reference 6.1)."""

from . import errors, strict
from .edge_filter import edge_id
from .edge_points import SELECTING, batch_points
from .http_base import flag


def update_result(request, number):
    """`wait=true`: applied and visible; else acknowledged, which is the default."""
    if number is None:  # Nothing was changed (transcript 6).
        return {"status": "acknowledged"}
    done = flag(request, "wait", False)
    return {"operation_id": number, "status": "completed" if done else "acknowledged"}


_NO_SELECTION = {
    True: "data did not match any variant of untagged enum PointsSelector",
    False: "Either list of point ids or filter must be provided",
}


def _no_key(key):
    shown = f'"{key}"' if isinstance(key, str) else key
    return errors.bad_input(f"Shard key {shown} not found")


def shard_keys(body):
    """The shard keys of a request as a list, or None."""
    key = body.get("shard_key")
    if key is None:
        return None
    if isinstance(key, dict):
        return [key["target"]]
    return key if isinstance(key, list) else [key]


def write_targets(collection, body):
    """The rings that a point write goes to: one, or one for each key (reference 6.1)."""
    keys = shard_keys(body)
    if not collection.custom_sharding:
        if keys:
            raise _no_key(keys[0])
        return [(None, sorted(collection.shards))]
    if not keys:
        raise errors.bad_input("Shard key not specified")
    targets = []
    for key in keys:
        ids = collection.shards_of_key(key)
        if not ids:
            raise _no_key(key)
        targets.append((key, ids))
    return targets


def read_shards(collection, body):
    """The shards that a read asks: all, or those of its keys."""
    keys = shard_keys(body)
    if not keys or not collection.custom_sharding:
        return None
    ids = []
    for key in keys:
        found = collection.shards_of_key(key)
        if not found:
            raise _no_key(key)
        ids += found
    return sorted(set(ids))


def _by_ring(collection, key, ids, items):
    """Items by the shard that owns them; in a resharding by both rings."""
    rings = collection.rings(key)
    split = {}
    for ring in rings:
        for owner, item in zip(ring.owners(ids), items):
            split.setdefault(owner, []).append(item)
    if len(rings) > 1:
        split = {s: _distinct(chosen) for s, chosen in split.items()}
    return split


def _distinct(items):
    """Each object once, in order: two rings may name the same owner."""
    seen = {}
    for item in items:
        seen.setdefault(id(item) if isinstance(item, dict) else item, item)
    return list(seen.values())


def _normal_ids(ids):
    if not isinstance(ids, list):
        raise errors.bad_json("invalid type: expected a list of point ids")
    return [
        i if isinstance(i, int) and not isinstance(i, bool) and i >= 0 else edge_id(i) for i in ids
    ]


def split_points(collection, body, points, make):
    """Updates with a list of points: [(shard, update)]."""
    if not isinstance(points, list):
        raise errors.bad_json("invalid type: expected a list of points")
    ids = _normal_ids([p["id"] for p in points])
    ops = []
    for key, _ in write_targets(collection, body):
        for shard_id, part in _by_ring(collection, key, ids, points).items():
            ops.append((shard_id, make(part)))
    return _marked(collection, ops)


def _marked(collection, ops):
    """Tells who gets an update that it was split by two rings (see reshard_writes.py)."""
    if collection.resharding is None:
        return ops
    return [(shard_id, {**op, "by_both_rings": True}) for shard_id, op in ops]


def split_selection(collection, body, op):
    """Updates that select points by id or by filter: [(shard, update)]."""
    ops = []
    for key, shard_ids in write_targets(collection, body):
        if op.get("points") is not None:
            ids = _normal_ids(op["points"])
            for shard_id, part in _by_ring(collection, key, ids, op["points"]).items():
                ops.append((shard_id, {**op, "points": part}))
        elif op.get("filter") is not None:
            ops += [(shard_id, op) for shard_id in shard_ids]
        else:
            raise errors.bad_json(_NO_SELECTION[op["kind"] == "delete"], at_end=False)
    return _marked(collection, ops)


def upsert_ops(collection, body):
    points = batch_points(body["batch"]) if body.get("batch") is not None else body.get("points")
    if points is None:
        raise errors.bad_json("Invalid PointInsertOperations format", at_end=False)
    if not points:
        raise errors.bad_request("Empty update request")
    strict.check_upsert(collection, len(points))
    extra = {k: body[k] for k in ("update_filter", "update_mode") if body.get(k) is not None}
    return split_points(
        collection, body, points, lambda part: {"kind": "upsert", "points": part, **extra}
    )


def update_vectors_ops(collection, body):
    extra = {"update_filter": body["update_filter"]} if body.get("update_filter") else {}

    def make(part):
        return {"kind": "update_vectors", "points": part, **extra}

    return split_points(collection, body, body.get("points"), make)


_VALUES = {
    "delete": (),
    "set_payload": ("payload", "key"),
    "overwrite_payload": ("payload", "key"),
    "delete_payload": ("keys",),
    "clear_payload": (),
    "delete_vectors": ("vector",),
}


def selecting_ops(collection, kind, body):
    """delete, set / overwrite / delete / clear payload and delete vectors."""
    assert kind in SELECTING
    if isinstance(body, list):  # The old form of a delete: a bare list of ids.
        body = {"points": body}
    op = {"kind": kind}
    for name in _VALUES[kind]:
        if body.get(name) is not None:
            op[name] = body[name]
        elif name != "key":
            raise errors.bad_json(f"missing field `{name}`")
    for name in ("points", "filter"):
        if body.get(name) is not None:
            op[name] = body[name]
    return split_selection(collection, body, op)


_BATCH = {
    "upsert": upsert_ops,
    "update_vectors": update_vectors_ops,
}


def batch_ops(collection, operation):
    """The updates of one entry of `points/batch`."""
    if not isinstance(operation, dict) or len(operation) != 1:
        raise errors.bad_json("data did not match any variant of untagged enum UpdateOperation")
    [(kind, body)] = operation.items()
    if kind in _BATCH:
        return _BATCH[kind](collection, body)
    if kind in _VALUES:
        return selecting_ops(collection, kind, body)
    raise errors.bad_json("data did not match any variant of untagged enum UpdateOperation")
