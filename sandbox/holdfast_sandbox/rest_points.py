"""Point calls: writes, reads and the reads of one replica (reference 6)."""

from . import errors, strict
from .edge_filter import edge_id, json_id
from .http_base import envelope, json_body, json_object, path_shard
from .ringreads import ring_count, ring_scroll
from .writes import (
    batch_ops,
    read_shards,
    selecting_ops,
    update_result,
    update_vectors_ops,
    upsert_ops,
)


def _collection(node, request):
    return node.state.resolve(request.match_info["name"])


# -- writes ----------------------------------------------------------------------------------------


async def _finish(node, request, collection, ops):
    _check_rate(node, collection, ops)
    number = await node.writer.write(collection, ops)
    await node.wait_queue(collection, ops, request.query.get("wait") == "true")
    return envelope(request, update_result(request, number))


def _check_rate(node, collection, ops):
    """`write_rate_limit` counts points, and refuses deletes as well (measured 20)."""
    limit = strict.enabled(collection).get("write_rate_limit")
    if limit is None:
        return
    for shard_id, op in ops:
        cost = max(1, len(op.get("points") or ()))
        try:
            node.rate_limits.check(collection.uuid, shard_id, limit, cost)
        except errors.ApiError as error:
            # Told by a remote replica in the transcript; the text is the same for all here.
            raise errors.ApiError.from_wire(error.to_wire()) from None


async def upsert(node, request):
    collection = _collection(node, request)
    ops = upsert_ops(collection, await json_object(request))
    return await _finish(node, request, collection, ops)


def _selecting(kind):
    async def handler(node, request):
        collection = _collection(node, request)
        ops = selecting_ops(collection, kind, await json_body(request))
        return await _finish(node, request, collection, ops)

    return handler


async def update_vectors(node, request):
    collection = _collection(node, request)
    ops = update_vectors_ops(collection, await json_object(request))
    return await _finish(node, request, collection, ops)


async def batch(node, request):
    """The operations one after the other (reference 6.1)."""
    collection = _collection(node, request)
    body = await json_object(request)
    results = []
    for operation in body["operations"]:
        ops = batch_ops(collection, operation)
        _check_rate(node, collection, ops)
        results.append(update_result(request, await node.writer.write(collection, ops)))
    return envelope(request, results)


# -- reads -----------------------------------------------------------------------------------------


async def scroll(node, request):
    collection = _collection(node, request)
    body = await json_object(request, {})
    strict.check_read(collection, body)
    if body.get("limit", 10) < 1:
        text = "value 0 invalid, must be 1 or larger"
        raise errors.invalid(f"JSON body: [scroll_request.limit: {text}]")
    return envelope(
        request, await node.reader.scroll(collection, body, read_shards(collection, body))
    )


async def count(node, request):
    collection = _collection(node, request)
    body = await json_object(request, {})
    total = await node.reader.count(collection, body, read_shards(collection, body))
    return envelope(request, {"count": total})


async def retrieve(node, request):
    collection = _collection(node, request)
    body = await json_object(request)
    body["ids"] = [json_id(edge_id(i)) for i in body["ids"]]
    return envelope(
        request, await node.reader.retrieve(collection, body, read_shards(collection, body))
    )


async def get_point(node, request):
    collection = _collection(node, request)
    text = request.match_info["id"]
    try:
        point_id = int(text) if text.isdigit() else json_id(edge_id(text))
    except errors.ApiError:
        raise errors.bad_input(f'Can not recognize "{text}" as point id') from None
    body = {"ids": [point_id], "with_payload": True, "with_vector": True}
    found = await node.reader.retrieve(collection, body)
    if not found:
        raise errors.not_found(f"Point with id {point_id} does not exists!")
    return envelope(request, found[0])


async def query(node, request):
    collection = _collection(node, request)
    body = await json_object(request)
    strict.check_read(collection, body)
    return envelope(
        request,
        {"points": await node.reader.query(collection, body, read_shards(collection, body))},
    )


async def query_batch(node, request):
    collection = _collection(node, request)
    body = await json_object(request)
    results = []
    for search in body["searches"]:
        points = await node.reader.query(collection, search, read_shards(collection, search))
        results.append({"points": points})
    return envelope(request, results)


async def facet(node, request):
    collection = _collection(node, request)
    body = await json_object(request)
    return envelope(
        request, {"hits": await node.reader.facet(collection, body, read_shards(collection, body))}
    )


# -- reads of one replica --------------------------------------------------------------------------


def _local(node, request):
    """The replica of the contacted node, whatever its state (reference 6.2)."""
    collection = _collection(node, request)
    shard_id = path_shard(request)
    if shard_id not in collection.shards:
        raise errors.not_found(f"shard {shard_id} not found")
    shard = node.local(collection, shard_id)
    if shard is None:
        raise errors.service_error(f"Local shard {shard_id} not found")
    return collection, shard


def _expected(collection, body):
    """The shard of `hash_ring_filter`, or None without one."""
    ring_filter = body.pop("hash_ring_filter", None)
    if ring_filter is None:
        return None
    expected = ring_filter["expected_shard_id"]
    if expected not in collection.shards:
        raise errors.bad_request(f"shard {expected} does not exist in collection {collection.name}")
    return expected


async def local_points(node, request):
    _, shard = _local(node, request)
    body = await json_object(request)
    body.pop("hash_ring_filter", None)
    return envelope(request, shard.read("retrieve", body))


async def local_scroll(node, request):
    collection, shard = _local(node, request)
    body = await json_object(request, {})
    expected = _expected(collection, body)
    if body.get("limit", 10) < 1:
        raise errors.bad_request("Limit cannot be 0")
    if expected is not None:
        return envelope(request, await ring_scroll(collection, shard, body, expected))
    return envelope(request, shard.read("scroll", body))


async def local_count(node, request):
    collection, shard = _local(node, request)
    body = await json_object(request, {})
    expected = _expected(collection, body)
    if expected is not None:
        return envelope(request, {"count": await ring_count(collection, shard, body, expected)})
    return envelope(request, {"count": shard.read("count", body)})


def register(routes):
    base = "/collections/{name}"
    points = base + "/points"
    routes.add("PUT", points, upsert, "w")
    routes.add("POST", points + "/delete", _selecting("delete"), "w")
    routes.add("POST", points + "/payload", _selecting("set_payload"), "w")
    routes.add("PUT", points + "/payload", _selecting("overwrite_payload"), "w")
    routes.add("POST", points + "/payload/delete", _selecting("delete_payload"), "w")
    routes.add("POST", points + "/payload/clear", _selecting("clear_payload"), "w")
    routes.add("PUT", points + "/vectors", update_vectors, "w")
    routes.add("POST", points + "/vectors/delete", _selecting("delete_vectors"), "w")
    routes.add("POST", points + "/batch", batch, "w")
    routes.add("POST", points + "/scroll", scroll)
    routes.add("POST", points + "/count", count)
    routes.add("POST", points + "/query", query)
    routes.add("POST", points + "/query/batch", query_batch)
    routes.add("POST", base + "/facet", facet)
    routes.add("POST", points, retrieve)
    routes.add("GET", points + "/{id}", get_point)
    routes.add("POST", base + "/shards/{shard}/points", local_points)
    routes.add("POST", base + "/shards/{shard}/points/scroll", local_scroll)
    routes.add("POST", base + "/shards/{shard}/points/count", local_count)
