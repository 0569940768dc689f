"""`POST /collections/{c}/cluster`: transfers, replicas, keys, resharding (reference 5)."""

from . import errors, resharding
from .rest_collections import create_shard_key, drop_shard_key
from .state import RESHARDING_METHOD
from .transfers import METHODS


NO_SUCH_OPERATION = errors.bad_json(
    "data did not match any variant of untagged enum ClusterOperations", at_end=False
)


def _start_op(state, collection, args, sync):
    """A transfer as an operation of the log, or the server's refusal (reference 5, checks)."""
    current = state.resolve(collection.name)
    shard_id, source, target = args["shard_id"], args["from_peer_id"], args["to_peer_id"]
    to_shard = args.get("to_shard_id")
    method = args.get("method") or "snapshot"
    shard = current.shards.get(shard_id)
    if shard is None:
        raise errors.bad_request(f"Shard {shard_id} of {current.name} does not exist")
    for peer in (target, source):
        if peer not in state.peers:
            raise errors.bad_request(f"Peer {peer} does not exist")
    if method not in METHODS:
        raise NO_SUCH_OPERATION
    if shard.replicas.get(source) not in ("Active", "ReshardingScaleDown"):
        raise errors.bad_request(f"Shard {shard_id} is not active on peer {source}")
    _check_conflicts(current, shard_id, source, target)
    if method == RESHARDING_METHOD and to_shard not in current.shards:
        # No peer can apply this, nor what comes after it (measured; see `ClusterState._op_stop`).
        error = f"Service internal error: Destination shard {shard_id} does not exist"
        return {"op": "stop", "error": error}
    if method != RESHARDING_METHOD and to_shard is not None:
        text = "ReshardingStreamRecords or filtered streaming records transfers"
        raise errors.bad_request(f"Target shard {to_shard} can only be set for {text}")
    transfer = {
        "shard_id": shard_id,
        "source": source,
        "target": target,
        "sync": sync,
        "method": method,
    }
    if to_shard is not None:
        transfer["to_shard_id"] = to_shard
        resharding.check_migration(current, transfer)
    op = {"op": "transfer_start", "collection": current.name, "uuid": current.uuid}
    return op | {"transfer": transfer}


def _check_conflicts(collection, shard_id, source, target):
    for other in collection.transfers:
        if other.shard_id == shard_id and {source, target} & {other.source, other.target}:
            text = (
                f"Shard {shard_id} is already involved in transfer {other.source} -> {other.target}"
            )
            raise errors.bad_request(text)


def _check_peers(name, args):
    """The validator of the request; a target that has the shard already is taken (run)."""
    source = args["from_peer_id"]
    if source == args["to_peer_id"] and args.get("to_shard_id") is None:
        text = f'cannot transfer shard to itself, "to_peer_id" must be different than {source}'
        raise errors.invalid(f'JSON body: [{name}.to_peer_id: {text} in "from_peer_id"]')


async def _start(node, collection, args, sync, timeout):
    made = await node.consensus.propose(lambda s: _start_op(s, collection, args, sync), timeout)
    if made["op"] == "stop":
        raise errors.ApiError(500, made["error"])


async def move_shard(node, collection, args, timeout):
    _check_peers("move_shard", args)
    await _start(node, collection, args, False, timeout)


async def replicate_shard(node, collection, args, timeout):
    _check_peers("replicate_shard", args)
    await _start(node, collection, args, True, timeout)


def _existing(collection, args):
    key = (args["shard_id"], args["from_peer_id"], args["to_peer_id"], args.get("to_shard_id"))
    found = next((t for t in collection.transfers if t.key() == key), None)
    if found is None:
        source, target, shard = args["from_peer_id"], args["to_peer_id"], args["shard_id"]
        where = f"for collection {collection.name}:{shard}"
        raise errors.not_found(f"Shard transfer {source} -> {target} {where} does not exist")
    return found


def _abort_op(collection, transfer):
    op = {"op": "transfer_abort", "collection": collection.name, "uuid": collection.uuid}
    return op | {"key": list(transfer.key()), "dead_target": True}


async def abort_transfer(node, collection, args, timeout):
    def make(state):
        current = state.resolve(collection.name)
        return _abort_op(current, _existing(current, args))

    await node.consensus.propose(make, timeout)


async def restart_transfer(node, collection, args, timeout):
    """The same transfer by another method."""
    found = _existing(node.state.resolve(collection.name), args)
    if found.method == args["method"]:
        raise errors.bad_request(
            f"Cannot restart transfer for shard {found.shard_id}, its configuration did not change"
        )
    sync = found.sync
    await abort_transfer(node, collection, args, timeout)
    await _start(node, collection, args, sync, timeout)


async def drop_replica(node, collection, args, timeout):
    def make(state):
        current = state.resolve(collection.name)
        if args["shard_id"] not in current.shards:
            raise errors.bad_request(f"Shard {args['shard_id']} of {current.name} does not exist")
        if args["peer_id"] not in state.peers:
            raise errors.bad_request(f"Peer {args['peer_id']} does not exist")
        op = {"op": "drop_replica", "collection": current.name, "uuid": current.uuid}
        return op | {"shard": args["shard_id"], "peer": args["peer_id"]}

    await node.consensus.propose(make, timeout)


async def create_key(node, collection, args, timeout):
    await create_shard_key(node, collection, args, timeout)


async def drop_key(node, collection, args, timeout):
    await drop_shard_key(node, collection, args, timeout)


CLUSTER_OPERATIONS = {
    "move_shard": move_shard,
    "replicate_shard": replicate_shard,
    "abort_transfer": abort_transfer,
    "restart_transfer": restart_transfer,
    "drop_replica": drop_replica,
    "create_sharding_key": create_key,
    "drop_sharding_key": drop_key,
    **resharding.OPERATIONS,
}
