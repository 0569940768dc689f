"""Snapshot calls of the REST API (reference 3.1)."""

import asyncio
import logging
import os

import orjson
from aiohttp import web

from . import errors, images, snapshots
from .edge_filter import json_id
from .errors import ApiError
from .http_base import accepted, envelope, flag, json_object, path_shard
from .recover import Spool, recover_shard, spool_multipart, spool_url
from .ringreads import foreign_ids
from .streams import Cut, Sender

log = logging.getLogger(__name__)

_PRIORITIES = ("no_sync", "snapshot", "replica")
_MANIFEST_LIMIT = 2 << 20  # Plain actix JSON (reference 0.1).
_CHUNK = 256 << 10


def _collection(node, request):
    return node.state.resolve(request.match_info["name"])


def _shard(node, request):
    collection = _collection(node, request)
    return collection, snapshots.local_shard(node, collection, path_shard(request))


def _in_background(node, work):
    """`wait=false`: the work goes on, its error is only logged (reference 0.1)."""

    async def run():
        try:
            await work
        except ApiError as error:
            log.error("a snapshot call without wait failed: %s", error)

    node.background(run())


async def _waited(node, request, work):
    """The result of `work`; dropping the connection cancels nothing (reference 0.1)."""
    if not flag(request, "wait", True):
        _in_background(node, work)
        return accepted(request)
    return envelope(request, await asyncio.shield(node.background(work)))


# -- streamed --------------------------------------------------------------------------------------


async def stream(node, request):
    collection, shard = _shard(node, request)
    return await snapshots.stream_shard(
        node, request, collection, shard, snapshots.streamable(node)
    )


async def partial_manifest(node, request):
    _, shard = _shard(node, request)
    return envelope(request, shard.manifest())


async def partial_create(node, request):
    """Changed files only; 304 when the two manifests are equal (reference 4.8)."""
    collection, shard = _shard(node, request)
    asked = await _asked_manifest(request)
    if asked and asked == shard.manifest():
        return web.Response(status=304, headers={"Content-Type": "text/plain; charset=utf-8"})

    def build(cut, replicas):
        seed = node.random.getrandbits(32)
        return images.partial(cut.folder, cut.manifest, asked, node.peer_id, replicas, seed)

    return await snapshots.stream_shard(node, request, collection, shard, build)


async def _asked_manifest(request):
    raw = await request.read()
    if len(raw) > _MANIFEST_LIMIT:
        raise ApiError(413, "JSON payload has exceeded limit (2097152 bytes).")
    try:
        asked = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise errors.bad_json(str(error)) from None
    for name, segment in asked.items():
        if not isinstance(segment, dict):
            kind = f"integer `{segment}`" if isinstance(segment, int) else type(segment).__name__
            at = len(orjson.dumps({name: segment})) + 1  # After the blank that JSON writers put.
            text = (
                f"invalid type: {kind}, expected struct SegmentManifest at line 1 column {at - 1}"
            )
            raise errors.bad_json(text)
    return asked


# -- stored ----------------------------------------------------------------------------------------


def _store_dir(node, request):
    collection = _collection(node, request)
    if "shard" not in request.match_info:
        return snapshots.store_dir(node, collection)
    shard_id = path_shard(request)
    if shard_id not in collection.shards:
        raise errors.not_found(f"shard {shard_id} not found")
    return snapshots.store_dir(node, collection, shard_id)


async def list_stored(node, request):
    return envelope(request, snapshots.list_stored(_store_dir(node, request)))


async def create_stored(node, request):
    if "shard" in request.match_info:
        collection, shard = _shard(node, request)
        return await _waited(node, request, snapshots.store_shard(node, collection, shard))
    return await _waited(
        node, request, snapshots.store_collection(node, _collection(node, request))
    )


async def delete_stored(node, request):
    folder, name = _store_dir(node, request), request.match_info["snapshot"]
    snapshots.delete_stored(folder, name)
    return envelope(request, True)


async def download_stored(node, request):
    path = snapshots.find_stored(_store_dir(node, request), request.match_info["snapshot"])
    return await _download(node, request, path)


async def _download(node, request, path):
    """A stored file, with Range, ETag and Last-Modified (reference 3.1)."""
    info = os.stat(path)
    etag = f'"{info.st_ino:x}:{info.st_size:x}:{info.st_mtime_ns:x}"'
    if etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers={"ETag": etag})
    try:
        wanted = request.http_range
    except ValueError:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{info.st_size}"})
    start, stop = _bounds(wanted, info.st_size)
    if start >= info.st_size and info.st_size:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{info.st_size}"})
    ranged = "Range" in request.headers
    response = web.StreamResponse(status=206 if ranged else 200)
    response.content_type = "application/octet-stream"
    response.content_length = stop - start
    response.last_modified = info.st_mtime
    response.headers["ETag"] = etag
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Content-Disposition"] = (
        f'attachment; filename="{snapshots.file_name(os.path.basename(path))}"'
    )
    if ranged:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{info.st_size}"
    await response.prepare(request)
    await _send_file(node, request, response, path, start, stop)
    return response


def _bounds(wanted, size):
    start, stop = wanted.start, wanted.stop
    if start is None:
        return 0, size
    if start < 0:
        return max(0, size + start), size
    return start, size if stop is None else min(stop, size)


async def _send_file(node, request, response, path, start, stop):
    where = {"collection": request.match_info.get("name")}
    if "shard" in request.match_info:
        where["shard"] = int(request.match_info["shard"])
    sender = Sender(node, request, response, **where)
    try:
        with open(path, "rb") as file:
            file.seek(start)
            while start < stop and (data := file.read(min(_CHUNK, stop - start))):
                await sender.send(data)
                start += len(data)
    except Cut:
        sender.reset()  # With a length a short body cannot end cleanly.
        return
    await response.write_eof()


# -- recovery --------------------------------------------------------------------------------------


def _priority(value):
    """The default at shard level is `snapshot` (reference 3.6)."""
    value = value or "snapshot"
    if value not in _PRIORITIES:
        allowed = "`no_sync`, `snapshot`, `replica`"
        raise ApiError(
            400, f"Query deserialize error: unknown variant `{value}`, expected one of {allowed}"
        )
    return value


def _checksum(value):
    if value is not None and (
        len(value) != 64 or any(c not in "0123456789abcdefABCDEF" for c in value)
    ):
        raise errors.invalid("query parameters: [checksum: value is not a valid SHA256 hash]")
    return value


def _recovery_target(node, request):
    collection, shard_id = _collection(node, request), path_shard(request)
    if shard_id not in collection.shards:
        raise errors.not_found(f"shard {shard_id} not found")
    return collection, shard_id


async def upload(node, request):
    """Takes a shard tar from the client (transcript 2)."""
    collection, shard_id = _recovery_target(node, request)
    priority = _priority(request.query.get("priority"))
    checksum = _checksum(request.query.get("checksum"))
    node.faults.check_disk(collection.name, shard_id)
    spool = Spool(node)
    try:
        actual = await spool_multipart(request, spool)
        if checksum is not None and checksum.lower() != actual:
            # The server swaps the two words; transcript 2 has them in this order.
            raise ApiError(400, f"Checksum mismatch: expected {actual}, actual {checksum}")
    except BaseException:
        spool.remove()
        raise
    return await _waited(node, request, _recover(node, collection, shard_id, spool, priority))


async def _recover(node, collection, shard_id, spool, priority):
    try:
        await recover_shard(node, collection, shard_id, spool.path, priority)
    finally:
        spool.remove()


async def recover(node, request):
    """Takes a shard tar from a URL, or from a stored snapshot of this node (reference 3.5)."""
    collection, shard_id = _recovery_target(node, request)
    body = await json_object(request)
    priority = _priority(body.get("priority"))
    checksum = _checksum(body.get("checksum"))
    location = body["location"]
    node.faults.check_disk(collection.name, shard_id)
    work = _pull(node, collection, shard_id, location, body.get("api_key"), priority, checksum)
    return await _waited(node, request, work)


async def _pull(node, collection, shard_id, location, api_key, priority, checksum):
    if "://" not in location:
        folder = snapshots.store_dir(node, collection, shard_id)
        path = snapshots.find_stored(folder, location)
        _compare(checksum, snapshots.describe(path)["checksum"])
        await recover_shard(node, collection, shard_id, path, priority)
        return True
    if not location.startswith(("http://", "https://")):
        scheme = location.split(":", 1)[0]
        raise errors.bad_request(f"URL scheme {scheme} is not supported in location: {location}")
    spool = Spool(node)
    try:
        _compare(checksum, await spool_url(node, spool, location, api_key))
        await recover_shard(node, collection, shard_id, spool.path, priority)
    finally:
        spool.remove()
    return True


def _compare(checksum, actual):
    if checksum is not None and checksum.lower() != actual:
        raise errors.bad_input(f"Snapshot checksum mismatch: expected {checksum}, got {actual}")


async def cleanup(node, request):
    """Deletes what the ring gives to other shards (transcript 4)."""
    collection, shard = _shard(node, request)
    if not flag(request, "wait", False):
        _in_background(node, _clean(collection, shard))
        return envelope(request, {"status": "acknowledged"})
    await _clean(collection, shard)
    return envelope(request, {"status": "completed"})


async def _clean(collection, shard):
    hidden = [json_id(i) for i in shard.moved]
    if hidden:
        shard.apply({"kind": "delete", "points": hidden})
    shard.moved = set()
    async for ids in foreign_ids(collection, shard):
        if ids:
            shard.apply({"kind": "delete", "points": ids})
    shard.cleaned = True


# -- full storage ----------------------------------------------------------------------------------


async def list_full(node, request):
    return envelope(request, snapshots.list_stored(node.snapshots))


async def create_full(node, request):
    return await _waited(node, request, snapshots.store_full(node))


async def download_full(node, request):
    return await _download(
        node, request, snapshots.find_stored(node.snapshots, request.match_info["snapshot"])
    )


async def delete_full(node, request):
    snapshots.delete_stored(node.snapshots, request.match_info["snapshot"])
    return envelope(request, True)


def register(routes):
    base = "/collections/{name}"
    shard = base + "/shards/{shard}"
    routes.add("GET", shard + "/snapshot", stream, "w", plain=True)
    routes.add("GET", shard + "/snapshot/partial/manifest", partial_manifest)
    routes.add("POST", shard + "/snapshot/partial/create", partial_create, "w", plain=True)
    for root in (base, shard):
        routes.add("GET", root + "/snapshots", list_stored)
        routes.add("POST", root + "/snapshots", create_stored, "w")
        routes.add("GET", root + "/snapshots/{snapshot}", download_stored, plain=True)
        routes.add("DELETE", root + "/snapshots/{snapshot}", delete_stored, "w")
    routes.add("POST", shard + "/snapshots/upload", upload, "w")
    routes.add("PUT", shard + "/snapshots/recover", recover, "w")
    routes.add("POST", shard + "/cleanup", cleanup, "w")
    routes.add("GET", "/snapshots", list_full)
    routes.add("POST", "/snapshots", create_full, "w")
    routes.add("GET", "/snapshots/{snapshot}", download_full, plain=True)
    routes.add("DELETE", "/snapshots/{snapshot}", delete_full, "w")
