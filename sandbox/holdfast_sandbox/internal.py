"""The port between peers: calls that nodes make to each other, without keys (reference 0.2)."""

import time

import orjson
from aiohttp import web

from . import http_base, rest_sandbox, telemetry
from .errors import ApiError, PeerUnavailable, no_collection
from .collection_info import local_optimizations
from .recover import install
from .reshard_writes import is_ready

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_LIMIT = 256 << 20  # A request of a client, split into updates, may grow.


def _collection(node, uuid):
    found = node.state.find(uuid)
    if found is None:
        node.consensus.catch_up()
        found = node.state.find(uuid)
    if found is None:
        raise no_collection(uuid)
    return found


async def ping(node, body):
    if body.get("catch_up"):
        node.consensus.catch_up()
    return {"commit": node.state.commit, "peer_id": node.peer_id}


async def report(node, _body):
    return telemetry.local_report(node)


async def write(node, body):
    items = [(shard_id, op) for shard_id, op in body["items"]]
    return await node.writer.lead(_collection(node, body["uuid"]), items, body["hops"])


async def apply(node, body):
    return await node.writer.follow(body["uuid"], body["shard"], body["op"])


async def read(node, body):
    return node.reader.local(body["uuid"], body["kind"], body["body"], body["shards"])


async def barrier(node, body):
    """Answers when this node has applied `commit` and no older write of the shard is on its way."""
    await node.consensus.wait_until(lambda s: s.commit >= body["commit"], body["timeout"])
    await node.writer.settle(body["timeout"])
    shard = node.shards.get((body["uuid"], body["shard"]))
    if shard is not None:
        async with shard.write_lock:
            pass
    return True


async def ready(node, body):
    """Whether points can be migrated to a shard of this node (see ring_transfer.py)."""
    collection = _collection(node, body["uuid"])
    shard = node.local(collection, body["shard"])
    return shard is not None and is_ready(collection, shard)


async def reset(node, body):
    """Empties a replica that is about to be filled; false while the node has not made it yet."""
    shard = node.shards.get((body["uuid"], body["shard"]))
    if shard is None:
        return False
    collection = _collection(node, body["uuid"])
    await install(node, collection, body["shard"], None)
    made = node.shards[(body["uuid"], body["shard"])]
    made.recovering = False
    for field, schema in collection.schema.items():
        made.apply({"kind": "create_index", "field": field, "schema": schema})
    return True


async def optimizations(node, body):
    return local_optimizations(node, _collection(node, body["uuid"]).uuid, body["shards"])


CALLS = {
    "optimizations": optimizations,
    "reset": reset,
    "ping": ping,
    "report": report,
    "write": write,
    "apply": apply,
    "read": read,
    "barrier": barrier,
    "ready": ready,
}


def _answer(value):
    return web.Response(body=orjson.dumps({"result": value}, option=_OPTIONS))


def application(node):
    """The application behind the port between peers."""
    app = web.Application(client_max_size=_LIMIT, middlewares=[http_base.errors_middleware])
    control = http_base.Routes()
    rest_sandbox.register(control)
    control.register(app, node, keys=False)

    async def call(request):
        name = request.match_info["call"]
        handler, started = CALLS[name], time.perf_counter()
        try:
            result = await handler(node, orjson.loads(await request.read()))
            node.calls.note(f"/sandbox.Internal/{name}", 0, started)
            return _answer(result)
        except ApiError as error:
            return web.Response(body=orjson.dumps({"error": error.to_wire()}))
        except PeerUnavailable as error:
            return web.Response(body=orjson.dumps({"error": error.as_service_error().to_wire()}))

    async def receive_shard(request):
        """The tar of a shard from the source of a transfer."""
        try:
            return _answer(await node.transfers.receive(request))
        except ApiError as error:
            return web.Response(body=orjson.dumps({"error": error.to_wire()}))

    app.router.add_post("/internal/shard/{uuid}/{shard}", receive_shard)
    app.router.add_post("/internal/{call}", call)
    return app
