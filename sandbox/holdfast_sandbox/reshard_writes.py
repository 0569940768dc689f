"""Writes during a resharding: which of them may only change points that are there.

The rules are those of the server (lib/collection/src/shards/shard_holder/resharding.rs,
`split_by_mode`), with its defect: they look at the ring of the key that is resharded, also for
shards of other keys, whose new points are then acknowledged and lost (transcript 6).
"""

import json
import os

from .errors import ApiError
from .ringreads import foreign_ids

_SWEPT = "swept.json"
_POINT_KINDS = {
    "upsert", "update_vectors", "set_payload", "overwrite_payload", "delete_payload",
    "clear_payload", "delete_vectors",
}  # fmt: skip


def is_missing_point(error):
    """Whether an update failed only because a point of it is not there."""
    return isinstance(error, ApiError) and error.status == 404 and "No point with id" in str(error)


def _id(item):
    return item["id"] if isinstance(item, dict) else item


def _part(op, wanted):
    return {**op, "points": [p for p, keep in zip(op["points"], wanted) if keep]}


def still_owned(collection, shard_id, op):
    """An update that was split by two rings, without points that no ring gives to this shard.

    It may arrive when the resharding it knew of has ended; the owner has the point then.
    """
    if not op.get("by_both_rings") or op.get("points") is None:
        return op
    ids = [_id(p) for p in op["points"]]
    owners = [ring.owners(ids) for ring in collection.rings(collection.shards[shard_id].key)]
    return _part(op, [shard_id in owned for owned in zip(*owners)])


def by_mode(collection, shard_id, op):
    """An update as one or two: of points that it may make, and of such as must be there."""
    op = still_owned(collection, shard_id, op)
    moving = collection.resharding
    if op.get("by_both_rings") and op.get("points") == []:
        return []
    if moving is None or not op.get("points") or op["kind"] not in _POINT_KINDS:
        return [op]
    is_target, up = shard_id == moving.shard_id, moving.direction == "up"
    receives = is_target == up
    plain_upsert = op["kind"] == "upsert" and not {"update_filter", "update_mode"} & op.keys()
    migrating = receives and moving.stage == "MigratingPoints" and not plain_upsert
    moved = not receives and up and moving.reached("ReadHashRingCommitted")
    if not migrating and not moved:
        return [op]
    owners = collection.ring(moving.shard_key).owners([_id(p) for p in op["points"]])
    rest = _part(op, [o != moving.shard_id for o in owners])
    only = _existing_only(_part(op, [o == moving.shard_id for o in owners]))
    return [part for part in (rest, only) if part["points"]]


def _existing_only(op):
    """Changes what is there; what is not there is no error."""
    if op["kind"] == "upsert":
        return {**op, "update_mode": "update_only"}
    return {**op, "existing_only": True}


# -- what a node removes ---------------------------------------------------------------------------


async def remove_foreign(collection, shard):
    """Deletes what the ring gives to other shards; writers get their turn between the pages."""
    async for ids in foreign_ids(collection, shard):
        if ids:
            shard.apply({"kind": "delete", "points": ids})


def _swept(shard):
    try:
        with open(os.path.join(shard.folder, _SWEPT), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return 0


def mark_swept(collection, shard):
    """The shard holds nothing that an aborted resharding left; kept over a restart."""
    count = collection.sweeps.get(shard.id, 0)
    if count and shard.usable:
        with open(os.path.join(shard.folder, _SWEPT), "w", encoding="utf-8") as file:
            json.dump(count, file)


async def follow_stages(node, collection, shard):
    """What a step of a resharding does to a shard of this node.

    On a real cluster writes that are on their way at an abort may stay behind on one replica, in a
    shard that does not own them, until a clean-up (measured); here only the fault leaves points.
    """
    if shard.dirtied != collection.dirtied.get(shard.id, 0):
        shard.dirtied, shard.cleaned = collection.dirtied.get(shard.id, 0), False
    if shard.usable and collection.sweeps.get(shard.id, 0) > _swept(shard):
        if not node.faults.take(("abort_leaves",), collection=collection.name, shard=shard.id):
            async with shard.write_lock:
                await remove_foreign(collection, shard)
        mark_swept(collection, shard)


def is_ready(collection, shard):
    """Whether points can be migrated to the shard: nothing of an aborted resharding is in it."""
    return shard.usable and collection.sweeps.get(shard.id, 0) <= _swept(shard)
