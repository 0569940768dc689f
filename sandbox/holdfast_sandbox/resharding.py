"""Resharding as an outside driver runs it, step by step (transcripts 4 and 6, measured 21).

How writes go meanwhile is in reshard_writes.py, the migration of points in ring_transfer.py.
"""

import uuid as uuidlib

from . import errors, state as states

# -- what the log does -----------------------------------------------------------------------------


def apply(collection, op):
    """Carries out one step; a refused one raises ApiError and changes nothing."""
    _STEPS[op["step"]](collection, op)


def _moving(collection):
    if collection.resharding is None:
        raise errors.bad_request(f"resharding is not in progress for collection {collection.name}")
    return collection.resharding


def _expect(moving, stage):
    if moving.stage != stage:
        raise errors.bad_request(
            f"expected resharding stage {stage}, but resharding is at stage {moving.stage}"
        )


def _start(collection, op):
    moving = states.Resharding(**op["resharding"])
    if moving.direction == "up":
        collection.shards[moving.shard_id] = states.Shard(
            moving.shard_id, moving.shard_key, {moving.peer_id: "Resharding"}
        )
    collection.resharding = moving
    _set_shard_number(collection)


def _finish_migrating(collection, op):
    """One replica has all points: it becomes Active."""
    moving = _moving(collection)
    shard = collection.shards.get(op["shard"])
    if shard is None:
        raise errors.not_found(f"shard {op['shard']} not found")
    have, wanted = shard.replicas.get(op["peer"]), moving.replica_state()
    if have != wanted:
        text = f"Replica {op['peer']} of shard {op['shard']} has state {_option(have)}"
        raise errors.bad_input(f"{text}, but expected {_option(wanted)}")
    shard.replicas[op["peer"]] = "Active"


def _commit_read(collection, _op):
    moving = _moving(collection)
    if moving.reached("ReadHashRingCommitted"):
        return
    moving.stage = "ReadHashRingCommitted"
    # These hold points of others now, whatever was cleaned up before.
    up = moving.direction == "up"
    _dirty(collection, _others(collection) if up else [moving.shard_id])


def _commit_write(collection, _op):
    moving = _moving(collection)
    if not moving.reached("WriteHashRingCommitted"):
        _expect(moving, "ReadHashRingCommitted")
        moving.stage = "WriteHashRingCommitted"


def _finish(collection, _op):
    moving = _moving(collection)
    _expect(moving, "WriteHashRingCommitted")
    collection.resharding = None
    if moving.direction == "down":
        _drop(collection, moving.shard_id)
    _set_shard_number(collection)


def _abort_step(collection, _op):
    _moving(collection)
    check_abort(collection)
    abort(collection)


def check_abort(collection):
    """Refuses the end of what must be completed; a migration that fails late hangs until then."""
    moving = collection.resharding
    if moving and moving.reached("ReadHashRingCommitted"):
        named = f"{moving.peer_id}/{moving.shard_id}/{_shown_key(moving.shard_key)}"
        raise errors.bad_request(
            f"can't abort resharding {named}, because read hash ring has been committed already, "
            "resharding must be completed"
        )


_STEPS = {
    "start": _start,
    "finish_migrating": _finish_migrating,
    "commit_read": _commit_read,
    "commit_write": _commit_write,
    "finish": _finish,
    "abort": _abort_step,
}


def abort(collection):
    """Takes a resharding back, in whatever stage it is."""
    moving = collection.resharding
    others = _others(collection)
    collection.resharding = None
    if moving.direction == "up":
        _drop(collection, moving.shard_id)
    else:
        collection.transfers = [t for t in collection.transfers if t.shard_id != moving.shard_id]
        for shard_id in others:
            replicas = collection.shards[shard_id].replicas
            for peer in [p for p, s in replicas.items() if s == "ReshardingScaleDown"]:
                replicas[peer] = "Active"
            # Each peer removes what had been migrated (see `sweep` in reshard_writes.py).
            collection.sweeps[shard_id] = collection.sweeps.get(shard_id, 0) + 1
        _dirty(collection, others)
    _set_shard_number(collection)


def transfer_failed(collection):
    """A migration that fails takes the resharding with it, unless that must be completed."""
    moving = collection.resharding
    if moving and not moving.reached("ReadHashRingCommitted"):
        abort(collection)


def replica_dies(collection, shard, peer):
    """Whether a replica can become Dead; one that points are migrated to ends the resharding."""
    moving = collection.resharding
    if moving is None or shard.replicas.get(peer) != moving.replica_state():
        return True
    if moving.reached("ReadHashRingCommitted"):
        return False
    abort(collection)
    return shard.id in collection.shards


def migrating_to(collection):
    """The state of the replica that a migration goes to."""
    if collection.resharding is None:
        raise errors.bad_input(
            "can't start resharding transfer, because resharding is not in progress"
        )
    return collection.resharding.replica_state()


def _others(collection):
    """The shards that take part, but for the one that comes or goes."""
    moving = collection.resharding
    key = moving.shard_key
    ids = sorted(collection.shards) if key is None else collection.shards_of_key(key)
    return [i for i in ids if i != moving.shard_id]


def _drop(collection, shard_id):
    collection.transfers = [
        t for t in collection.transfers if shard_id not in (t.shard_id, t.to_shard_id)
    ]
    collection.shards.pop(shard_id, None)


def _dirty(collection, shard_ids):
    for shard_id in shard_ids:
        collection.dirtied[shard_id] = collection.dirtied.get(shard_id, 0) + 1


def _set_shard_number(collection):
    if not collection.custom_sharding:
        params = {**collection.config["params"], "shard_number": len(collection.shards)}
        collection.config = {**collection.config, "params": params}


# -- how the server prints -------------------------------------------------------------------------


def _option(value):
    return "None" if value is None else f"Some({value})"


def _shown_key(key):
    if key is None:
        return "None"
    return f'Some(Keyword("{key}"))' if isinstance(key, str) else f"Some(Number({key}))"


def _shown(moving):
    return (
        f"ReshardState {{ uuid: {moving.uuid}, peer_id: {moving.peer_id}, "
        f"shard_id: {moving.shard_id}, shard_key: {_shown_key(moving.shard_key)}, "
        f"direction: {moving.direction.capitalize()}, stage: {moving.stage} }}"
    )


# -- the calls -------------------------------------------------------------------------------------


def check_migration(collection, transfer):
    """The server's checks of a migration whose target shard exists."""
    source, target = transfer["shard_id"], transfer["to_shard_id"]
    if source == target:
        text = "Source and target shard must be different for resharding transfer"
        raise errors.bad_request(f"{text}, both are {target}")
    if collection.shards[target].replicas.get(transfer["target"]) == "Dead":
        where = f"destination shard {transfer['target']}/{target} is dead"
        raise errors.bad_request(f"Resharding shard transfer can't be started, because {where}")
    migrating_to(collection)


def _check_start(state, collection, args):
    key, peer = args.get("shard_key"), args.get("peer_id")
    if key is not None and not collection.shards_of_key(key):
        shown = f'"{key}"' if isinstance(key, str) else key
        raise errors.bad_request(
            f"sharding key {shown} does not exist for collection {collection.name}"
        )
    if peer is not None and peer not in state.peers:
        raise errors.bad_request(f"Peer {peer} does not exist")
    if collection.resharding is not None:
        raise errors.bad_request(
            f"resharding {_shown(collection.resharding)} is already in progress for collection "
            f"{collection.name}"
        )
    if collection.custom_sharding and key is None:
        raise errors.bad_request("must specify shard key on collection with custom sharding")


def _chosen(node, state, collection, args):
    """The shard that comes or goes, and the peer."""
    key, peer = args.get("shard_key"), args.get("peer_id")
    if args["direction"] == "up":
        load = {p: sum(p in s.replicas for s in collection.shards.values()) for p in state.peers}
        least = min(load, key=lambda p: (load[p], not node.peers.is_alive(p)))
        return max(collection.shards, default=-1) + 1, peer or least
    ids = sorted(collection.shards) if key is None else collection.shards_of_key(key)
    shard_id = max(ids)
    if len(ids) == 1:
        text = f"cannot remove shard {shard_id} by resharding down, it is the last shard"
        raise errors.bad_request(text)
    return shard_id, peer or min(collection.shards[shard_id].replicas)


async def start_resharding(node, collection, args, timeout):
    if args.get("direction") not in ("up", "down"):
        raise KeyError("direction")
    if not node.cluster.resharding:  # Off by default: the server's own 400 (measured 21).
        raise errors.bad_request("resharding is only supported in Qdrant Cloud")

    def make(state):
        current = state.resolve(collection.name)
        _check_start(state, current, args)
        shard_id, peer = _chosen(node, state, current, args)
        moving = {
            "uuid": args.get("uuid") or str(uuidlib.uuid4()),
            "direction": args["direction"],
            "shard_id": shard_id,
            "peer_id": peer,
            "shard_key": args.get("shard_key"),
        }
        return {**_step_op("start", current), "resharding": moving}

    await node.consensus.propose(make, timeout)


def _step_op(name, collection):
    return {"op": "reshard", "step": name, "collection": collection.name, "uuid": collection.uuid}


def _step(name):
    async def call(node, collection, _args, timeout):
        await node.consensus.propose(_step_op(name, collection), timeout)

    return call


async def finish_migrating_points(node, collection, args, timeout):
    """Up, the shard and the peer are known; down, they must be told."""

    def make(state):
        current = state.resolve(collection.name)
        moving = _moving(current)
        shard_id, peer = args.get("shard_id"), args.get("peer_id")
        if moving.direction == "down" and shard_id is None:
            raise errors.bad_request("shard ID must be specified when resharding down")
        if moving.direction == "down" and peer is None:
            raise errors.bad_request("peer ID must be specified when resharding down")
        op = _step_op("finish_migrating", current)
        op["shard"] = moving.shard_id if shard_id is None else shard_id
        return op | {"peer": moving.peer_id if peer is None else peer}

    await node.consensus.propose(make, timeout)


OPERATIONS = {
    "start_resharding": start_resharding,
    "finish_migrating_points": finish_migrating_points,
    "commit_read_hash_ring": _step("commit_read"),
    "commit_write_hash_ring": _step("commit_write"),
    "finish_resharding": _step("finish"),
    "abort_resharding": _step("abort"),
}
