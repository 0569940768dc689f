"""Taking shards in through the REST API: upload, pull from a URL, cleanup (reference 3.5, 3.6)."""

from aiohttp import web

from . import errors, snapshots
from .errors import ApiError
from .http_base import envelope, flag, in_background, json_object, path_shard, waited
from .recover import Spool, recover_shard, spool_multipart, spool_url
from .reshard_writes import remove_foreign

PRIORITIES = ("no_sync", "snapshot", "replica")
_HEX = frozenset("0123456789abcdefABCDEF")


def _target(node, request):
    collection = node.state.resolve(request.match_info["name"])
    shard_id = path_shard(request)
    if shard_id not in collection.shards:
        raise errors.not_found(f"shard {shard_id} not found")
    return collection, shard_id


# -- upload ----------------------------------------------------------------------------------------


def _upload_refused(request):
    """What the decoders of this route refuse, in plain text and before anything else (run)."""
    for name in ("wait", "priority"):
        value = request.query.get(name)
        known = ("true", "false") if name == "wait" else PRIORITIES
        if value is not None and value not in known:
            text = "provided string was not `true` or `false`"
            if name == "priority":
                text = f"unknown variant `{value}`, expected one of {_listed(PRIORITIES)}"
            return web.Response(status=400, text=f"Query deserialize error: {text}")
    kind = request.headers.get("Content-Type")
    if kind is None:
        return web.Response(status=400, text="Could not find Content-Type header")
    if not kind.startswith("multipart/"):
        return web.Response(status=415, text="ContentTypeIncompatible")
    return None


def _listed(names):
    return ", ".join(f"`{n}`" for n in names)


async def upload(node, request):
    """Takes a shard tar from the client (transcript 2).  The default priority is `snapshot`."""
    refused = _upload_refused(request)
    if refused is not None:
        return refused
    spool = Spool(node)
    try:
        actual = await spool_multipart(request, spool)
        if actual is None:
            spool.remove()
            return web.Response(status=400, text="Required field is missing: snapshot")
        collection, shard_id = _target(node, request)
        node.faults.check_disk(collection.name, shard_id)
        checksum = request.query.get("checksum")
        if checksum is not None and checksum.lower() != actual:
            # The server swaps the two words; transcript 2 has them in this order.
            raise ApiError(400, f"Checksum mismatch: expected {actual}, actual {checksum}")
    except BaseException:
        spool.remove()
        raise
    priority = request.query.get("priority", "snapshot")
    return await waited(node, request, _recover(node, collection, shard_id, spool, priority))


async def _recover(node, collection, shard_id, spool, priority):
    try:
        await recover_shard(node, collection, shard_id, spool.path, priority)
    finally:
        spool.remove()


# -- pull ------------------------------------------------------------------------------------------


def _checked(body):
    """Priority and checksum of a body (run)."""
    priority, checksum = body.get("priority") or "snapshot", body.get("checksum")
    if priority not in PRIORITIES:
        text = f"unknown variant `{priority}`, expected one of {_listed(PRIORITIES)}"
        raise errors.bad_json(text)
    if checksum is not None and (len(checksum) != 64 or set(checksum) - _HEX):
        what = f'"expected_length": Number(64), "value": String("{checksum}")'
        what = f'invalid_sha256_hash [{{{what}, "length": Number({len(checksum)})}}]'
        raise errors.invalid(f"JSON body: [checksum: Validation error: {what}]")
    return priority, checksum


async def recover(node, request):
    """Takes a shard tar from a URL, or from a stored snapshot of this node (reference 3.5)."""
    body = await json_object(request)
    location = body["location"]
    priority, checksum = _checked(body)
    collection, shard_id = _target(node, request)
    node.faults.check_disk(collection.name, shard_id)
    if "://" in location:
        scheme = location.partition("://")[0]
        if scheme not in ("http", "https"):
            text = f"URLs with {scheme} scheme are not supported"
            raise errors.bad_input(f"Invalid snapshot URL {location}: {text}")
        work = _pull(node, collection, shard_id, location, body.get("api_key"), priority, checksum)
    else:
        path = _stored(node, collection, shard_id, location)
        work = _from_file(node, collection, shard_id, path, priority, checksum)
    return await waited(node, request, work)


def _stored(node, collection, shard_id, name):
    if node.local(collection, shard_id) is None:
        raise errors.bad_input(f"Shard {shard_id} is not a local or queue proxy shard")
    path = snapshots.find_stored(snapshots.store_dir(node, collection, shard_id), name)
    if path is None:
        raise errors.not_found(snapshots.missing_shard_file(collection.name, shard_id, name))
    return path


async def _from_file(node, collection, shard_id, path, priority, checksum):
    _compare(checksum, snapshots.describe(path)["checksum"])
    await recover_shard(node, collection, shard_id, path, priority)
    return True


async def _pull(node, collection, shard_id, url, api_key, priority, checksum):
    spool = Spool(node)
    try:
        _compare(checksum, await spool_url(node, spool, url, api_key))
        await recover_shard(node, collection, shard_id, spool.path, priority)
    finally:
        spool.remove()
    return True


def _compare(checksum, actual):
    if checksum is not None and checksum.lower() != actual:
        raise errors.bad_input(f"Snapshot checksum mismatch: expected {checksum}, got {actual}")


# -- cleanup ---------------------------------------------------------------------------------------


async def cleanup(node, request):
    """Deletes what the ring gives to other shards (transcript 4)."""
    collection, shard_id = _target(node, request)
    shard = node.local(collection, shard_id)
    if shard is None:
        raise errors.not_found(f"Shard {shard_id} is not a local shard not found")
    if flag(request, "wait", False):
        await _clean(collection, shard)
    elif not shard.cleaned:
        in_background(node, _clean(collection, shard))
        return envelope(request, {"status": "acknowledged"})
    return envelope(request, {"status": "completed"})


async def _clean(collection, shard):
    stages = shard.dirtied
    await remove_foreign(collection, shard)
    shard.cleaned = shard.dirtied == stages


def register(routes):
    shard = "/collections/{name}/shards/{shard}"
    routes.add("POST", shard + "/snapshots/upload", upload, "w")
    routes.add("PUT", shard + "/snapshots/recover", recover, "w")
    routes.add("POST", shard + "/cleanup", cleanup, "w")
