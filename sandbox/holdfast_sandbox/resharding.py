"""Resharding as an outside driver runs it, step by step (transcript 4, measured 21)."""

import uuid as uuidlib

from . import errors
from .edge_filter import edge_id
from .ringreads import foreign_ids
from .state import Resharding, Shard


def _moving(collection):
    if collection.resharding is None:
        raise errors.bad_request(f"resharding is not in progress for collection {collection.name}")
    return collection.resharding


def _expect(collection, stage, step):
    moving = _moving(collection)
    if moving.stage != stage:
        raise errors.bad_request(
            f"{step} is not possible while resharding is in stage {moving.stage}"
        )
    return moving


def check_transfer(collection, to_shard):
    """A resharding transfer needs a resharding and goes to its shard."""
    if _moving(collection).shard_id != to_shard:
        raise errors.bad_request(
            f"Resharding transfer must go to shard {collection.resharding.shard_id}"
        )


def owned_part(collection, shard_id, op):
    """An update without the points that have moved to another shard.

    Once reads use the new ring, a late write must not bring a moved point back to its old shard.
    """
    moving = collection.resharding
    if moving is None or not moving.reads_moved() or op.get("points") is None:
        return op
    ids = [p["id"] if isinstance(p, dict) else p for p in op["points"]]
    owners = collection.ring(collection.shards[shard_id].key).owners(ids)
    return {**op, "points": [p for p, owner in zip(op["points"], owners) if owner == shard_id]}


async def hide_moved(collection, shard):
    """Until a cleanup has run, reads of an old shard leave out what has moved away."""
    moving = collection.resharding
    if moving is None or not moving.reads_moved():
        shard.moved = set()
        shard.cleaned = shard.cleaned and moving is None
        return
    if shard.moved or shard.cleaned or shard.id == moving.shard_id or not shard.usable:
        return
    moved = set()
    async for ids in foreign_ids(collection, shard):
        moved |= {edge_id(i) for i in ids}
    shard.moved = moved


# -- what the log does -----------------------------------------------------------------------------


def apply(_state, collection, op):
    _STEPS[op["step"]](collection, op)


def _start(collection, op):
    if collection.resharding is not None:
        raise errors.bad_request(
            f"Resharding is already in progress for collection {collection.name}"
        )
    moving = Resharding(**op["resharding"])
    if moving.direction == "up":
        collection.shards[moving.shard_id] = Shard(
            moving.shard_id, moving.shard_key, {moving.peer_id: "Resharding"}
        )
    collection.resharding = moving
    _set_shard_number(collection)


def _finish_migrating(collection, _op):
    moving = _expect(collection, "migrating", "finish_migrating_points")
    if any(t.to_shard_id == moving.shard_id for t in collection.transfers):
        raise errors.bad_request("points are still being migrated")
    shard = collection.shards[moving.shard_id]
    shard.replicas[moving.peer_id] = "Active"
    moving.stage = "migrated"


def _commit_read(collection, _op):
    _expect(collection, "migrated", "commit_read_hash_ring").stage = "read_committed"


def _commit_write(collection, _op):
    _expect(collection, "read_committed", "commit_write_hash_ring").stage = "write_committed"


def _finish(collection, _op):
    _expect(collection, "write_committed", "finish_resharding")
    collection.resharding = None
    _set_shard_number(collection)


def _abort(collection, _op):
    moving = _moving(collection)
    if moving.stage == "write_committed":
        raise errors.bad_request(
            "resharding cannot be aborted after the write hash ring was committed"
        )
    collection.transfers = [t for t in collection.transfers if t.to_shard_id != moving.shard_id]
    collection.shards.pop(moving.shard_id, None)
    collection.resharding = None
    _set_shard_number(collection)


def _set_shard_number(collection):
    if not collection.custom_sharding:
        params = {**collection.config["params"], "shard_number": len(collection.shards)}
        collection.config = {**collection.config, "params": params}


_STEPS = {
    "start": _start,
    "finish_migrating": _finish_migrating,
    "commit_read": _commit_read,
    "commit_write": _commit_write,
    "finish": _finish,
    "abort": _abort,
}


# -- the calls -------------------------------------------------------------------------------------


def _check_enabled(node):
    """Off by default: the server's own 400 (measured 21)."""
    if not node.cluster.resharding:
        raise errors.bad_request("resharding is only supported in Qdrant Cloud")


async def start_resharding(node, collection, args, timeout):
    _check_enabled(node)
    if args.get("direction") != "up":
        raise errors.bad_request("the sandbox reshards up only")

    def make(state):
        current = state.resolve(collection.name)
        key = args.get("shard_key")
        load = {p: sum(p in s.replicas for s in current.shards.values()) for p in state.peers}
        peer = args.get("peer_id") or min(load, key=lambda p: (load[p], not node.peers.is_alive(p)))
        moving = {
            "uuid": args.get("uuid") or str(uuidlib.uuid4()),
            "direction": "up",
            "shard_id": max(current.shards, default=-1) + 1,
            "peer_id": peer,
            "shard_key": key,
        }
        op = {"op": "reshard", "step": "start", "collection": current.name, "uuid": current.uuid}
        return op | {"resharding": moving}

    await node.consensus.propose(make, timeout)


def _step(name):
    async def call(node, collection, _args, timeout):
        op = {"op": "reshard", "step": name, "collection": collection.name, "uuid": collection.uuid}
        await node.consensus.propose(op, timeout)

    return call


OPERATIONS = {
    "start_resharding": start_resharding,
    "finish_migrating_points": _step("finish_migrating"),
    "commit_read_hash_ring": _step("commit_read"),
    "commit_write_hash_ring": _step("commit_write"),
    "finish_resharding": _step("finish"),
    "abort_resharding": _step("abort"),
}
