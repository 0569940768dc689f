"""Snapshot calls of the REST API (reference 3.1)."""

import logging
import os

import orjson
from aiohttp import web

from . import errors, images, snapshots
from .errors import ApiError
from .http_base import accepted, envelope, flag, path_shard, waited
from .streams import Cut, Sender


log = logging.getLogger(__name__)

_MANIFEST_LIMIT = 2 << 20  # Plain actix JSON (reference 0.1).
_CHUNK = 256 << 10


def _collection(node, request):
    return node.state.resolve(request.match_info["name"])


def _shard(node, request):
    collection = _collection(node, request)
    return collection, snapshots.local_shard(node, collection, path_shard(request))


# -- streamed --------------------------------------------------------------------------------------


async def stream(node, request):
    collection, shard = _shard(node, request)
    return await snapshots.stream_shard(
        node, request, collection, shard, snapshots.streamable(node)
    )


def _partial_shard(node, request):
    """The shard of a partial snapshot; a missing one is told in words of its own (run)."""
    collection, shard_id = _collection(node, request), path_shard(request)
    if shard_id in collection.shards and node.local(collection, shard_id) is None:
        what = f"local shard {collection.name}:{shard_id} does not exist on peer {node.peer_id}"
        raise errors.not_found(f"{what} not found")
    return _shard(node, request)


async def partial_manifest(node, request):
    _, shard = _partial_shard(node, request)
    return envelope(request, shard.manifest())


async def partial_create(node, request):
    """Changed files only; 304 when the two manifests are equal (reference 4.8)."""
    collection, shard = _partial_shard(node, request)
    asked = await _asked_manifest(request)
    if asked and asked == shard.manifest():
        return web.Response(status=304, headers={"Content-Type": "text/plain; charset=utf-8"})

    def build(cut, replicas):
        seed = node.random.getrandbits(32)
        return images.partial(cut.folder, cut.manifest, asked, node.peer_id, replicas, seed)

    return await snapshots.stream_shard(node, request, collection, shard, build)


async def _asked_manifest(request):
    """The posted manifest.  This route decodes with actix's own JSON (transcript 1)."""
    raw = await request.read()
    if len(raw) > _MANIFEST_LIMIT:
        raise ApiError(413, "JSON payload has exceeded limit (2097152 bytes).")
    try:
        asked = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        text = f"expected value at line {error.lineno} column {error.colno}"
        raise ApiError(400, f"Json deserialize error: {text}") from None
    for segment in asked.values() if isinstance(asked, dict) else [asked]:
        if not isinstance(segment, dict):
            kind = f"integer `{segment}`" if isinstance(segment, int) else type(segment).__name__
            text = f"invalid type: {kind}, expected struct SegmentManifest"
            place = f"line 1 column {len(raw) - 1}"
            raise ApiError(400, f"Json deserialize error: {text} at {place}")
    return asked


# -- stored ----------------------------------------------------------------------------------------


def _store_dir(node, request, kind="local or queue proxy shard"):
    """Where the snapshots lie; those of a shard only where the shard is (run)."""
    collection = _collection(node, request)
    if "shard" not in request.match_info:
        return snapshots.store_dir(node, collection)
    shard_id = path_shard(request)
    if shard_id not in collection.shards:
        raise errors.not_found(f"shard {shard_id} not found")
    if node.local(collection, shard_id) is None:
        raise errors.bad_input(f"Shard {shard_id} is not a {kind}")
    return snapshots.store_dir(node, collection, shard_id)


def _find(node, request, folder):
    """The path of a stored snapshot, or the server's 404 (run)."""
    name = request.match_info["snapshot"]
    path = snapshots.find_stored(folder, name)
    if path is not None:
        return path
    if "shard" in request.match_info:
        if request.method == "GET":
            raise ApiError(404, "File not found: No such file or directory (os error 2)")
        shard_id, shown = path_shard(request), _collection(node, request).name
        raise errors.not_found(snapshots.missing_shard_file(shown, shard_id, name))
    if not os.path.isdir(folder):
        shown = request.match_info.get("name", "")
        raise errors.not_found(f"Snapshot directory: ./snapshots/{shown} not found")
    raise errors.not_found(f"Snapshot {name} not found")


async def list_stored(node, request):
    return envelope(request, snapshots.list_stored(_store_dir(node, request, "local shard")))


async def create_stored(node, request):
    if "shard" in request.match_info:
        collection, shard = _shard(node, request)
        return await waited(node, request, snapshots.store_shard(node, collection, shard))
    return await waited(node, request, snapshots.store_collection(node, _collection(node, request)))


async def delete_stored(node, request):
    path = _find(node, request, _store_dir(node, request))
    snapshots.delete_stored(path)
    return envelope(request, True) if flag(request, "wait", True) else accepted(request)


async def download_stored(node, request):
    return await _download(node, request, _find(node, request, _store_dir(node, request)))


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


# -- full storage ----------------------------------------------------------------------------------


async def list_full(node, request):
    return envelope(request, snapshots.list_stored(node.snapshots))


async def create_full(node, request):
    return await waited(node, request, snapshots.store_full(node))


async def download_full(node, request):
    return await _download(node, request, _find(node, request, node.snapshots))


async def delete_full(node, request):
    snapshots.delete_stored(_find(node, request, node.snapshots))
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
    routes.add("GET", "/snapshots", list_full)
    routes.add("POST", "/snapshots", create_full, "w")
    routes.add("GET", "/snapshots/{snapshot}", download_full, plain=True)
    routes.add("DELETE", "/snapshots/{snapshot}", delete_full, "w")
