"""Cluster calls: `/cluster…` and `/collections/{c}/cluster` (reference 1 and 5)."""

from aiohttp import web

from . import telemetry
from .http_base import consensus_timeout, envelope, json_body, json_object, number
from .cluster_ops import CLUSTER_OPERATIONS, NO_SUCH_OPERATION


async def get_cluster(node, request):
    return envelope(request, telemetry.cluster_status(node))


async def get_cluster_telemetry(node, request):
    timeout = min(float(number(request, "timeout", 60)), node.telemetry_seconds)
    return envelope(request, await telemetry.cluster_telemetry(node, timeout))


async def recover(_node, request):
    """Asks for a fresh snapshot of the consensus; here every node reads the log anyway."""
    return envelope(request, True)


async def delete_peer(node, request):
    text = request.match_info["peer"]
    if not text.isdigit():
        return web.Response(status=404, text=f'can not parse "{text}" to a u64')
    op = {"op": "remove_peer", "peer": int(text), "force": request.query.get("force") == "true"}
    await node.consensus.propose(op, consensus_timeout(request))
    await node.peers.seen_by_all()
    return envelope(request, True)


async def metadata_keys(node, request):
    return envelope(request, sorted(node.state.metadata))


async def get_metadata(node, request):
    return envelope(request, node.state.metadata.get(request.match_info["key"]))


async def put_metadata(node, request):
    op = {"op": "metadata", "key": request.match_info["key"], "value": await json_body(request)}
    await node.consensus.propose(op)
    return envelope(request, True)


async def delete_metadata(node, request):
    await node.consensus.propose(
        {"op": "metadata", "key": request.match_info["key"], "value": None}
    )
    return envelope(request, True)


async def collection_cluster(node, request):
    """The placement as this peer sees it (transcript 1)."""
    collection = node.state.resolve(request.match_info["name"])
    local, remote = [], []
    for shard in sorted(collection.shards.values(), key=lambda s: s.id):
        head = {"shard_id": shard.id}
        if shard.key is not None:
            head["shard_key"] = shard.key
        for peer, state in shard.replicas.items():
            if peer == node.peer_id:
                held = node.local(collection, shard.id)
                points = held.info()["points"] if held else 0
                local.append({**head, "points_count": points, "state": state})
            else:
                remote.append({**head, "peer_id": peer, "state": state})
    out = {
        "peer_id": node.peer_id,
        "shard_count": len(collection.shards),
        "local_shards": local,
        "remote_shards": remote,
        "shard_transfers": [
            t.info(node.transfers.comment(collection, t)) for t in collection.transfers
        ],
    }
    if collection.resharding:
        out["resharding_operations"] = [telemetry.resharding_info(collection.resharding)]
    return envelope(request, out)


async def change_cluster(node, request):
    """One operation a call (reference 5)."""
    collection = node.state.resolve(request.match_info["name"])
    body = await json_object(request)
    if len(body) != 1 or next(iter(body)) not in CLUSTER_OPERATIONS:
        raise NO_SUCH_OPERATION
    [(name, args)] = body.items()
    try:
        await CLUSTER_OPERATIONS[name](node, collection, args or {}, consensus_timeout(request))
    except KeyError:
        raise NO_SUCH_OPERATION from None
    await node.peers.seen_by_all()
    return envelope(request, True)


def register(routes):
    routes.add("GET", "/cluster", get_cluster)
    routes.add("GET", "/cluster/telemetry", get_cluster_telemetry)
    routes.add("POST", "/cluster/recover", recover, "w")
    routes.add("DELETE", "/cluster/peer/{peer}", delete_peer, "w")
    routes.add("GET", "/cluster/metadata/keys", metadata_keys)
    routes.add("GET", "/cluster/metadata/keys/{key}", get_metadata)
    routes.add("PUT", "/cluster/metadata/keys/{key}", put_metadata, "w")
    routes.add("DELETE", "/cluster/metadata/keys/{key}", delete_metadata, "w")
    routes.add("GET", "/collections/{name}/cluster", collection_cluster)
    routes.add("POST", "/collections/{name}/cluster", change_cluster, "w")
