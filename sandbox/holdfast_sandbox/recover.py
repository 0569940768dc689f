"""Taking a shard tar in: unpack, check as little as the server, install (reference 3.5, 3.6)."""

import asyncio
import hashlib
import logging
import os
import uuid as uuidlib

import aiohttp

from . import errors
from .errors import ApiError
from .reshard_writes import mark_swept
from .shard import LocalShard
from .trash import discard
from .untar import flatten, unpack

log = logging.getLogger(__name__)

_CHUNK = 256 << 10
_DOWNLOAD_IDLE_SECONDS = 60  # Without bytes for so long a download has failed (reference 3.5).
_TURN_ENTRIES = 16


class Spool:
    """An uploaded file on disk with the hash of its bytes."""

    def __init__(self, node):
        os.makedirs(os.path.join(node.tmp, "upload"), exist_ok=True)
        self.path = os.path.join(node.tmp, "upload", uuidlib.uuid4().hex)
        self._digest = hashlib.sha256()
        self._file = open(self.path, "wb")
        self._turn = 0

    async def write(self, data):
        self._file.write(data)
        self._digest.update(data)
        self._turn += len(data)
        if self._turn > 1 << 20:
            self._turn = 0
            await asyncio.sleep(0)

    def finish(self):
        self._file.close()
        return self._digest.hexdigest()

    def remove(self):
        self._file.close()
        if os.path.exists(self.path):
            os.unlink(self.path)


async def spool_multipart(request, spool):
    """Spools the part `snapshot` of a multipart body; its SHA-256, or None without that part."""
    reader = await request.multipart()
    while (part := await reader.next()) is not None:
        if part.name == "snapshot":
            while data := await part.read_chunk(_CHUNK):
                await spool.write(data)
            return spool.finish()
    return None


async def spool_url(node, spool, url, api_key=None):
    """Downloads a snapshot; the texts of failures are the server's (transcript 2)."""
    headers = {"Accept-Encoding": "identity"}
    if api_key:
        headers["Api-key"] = api_key
    limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_DOWNLOAD_IDLE_SECONDS)
    try:
        async with node.peers.session.get(url, headers=headers, timeout=limits) as response:
            if response.status // 100 != 2:
                raise errors.bad_input(
                    f"Failed to download tar from {url}: "
                    f"status - {response.status} {response.reason}"
                )
            async for data in response.content.iter_chunked(_CHUNK):
                await spool.write(data)
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        text = f"Http request error: error sending request for url ({url})"
        raise errors.service_error(text) from error
    return spool.finish()


async def recover_shard(node, collection, shard_id, path, priority):
    """Replaces the local replica by the tar at `path` and proposes the states that follow."""
    lock = node.recover_lock(collection, shard_id)
    async with lock:
        mark = uuidlib.uuid4().hex
        shown = f"node{node.index}/storage/tmp/{collection.name}-shard-{shard_id}{mark[:6]}"
        folder = os.path.join(node.tmp, f"recover-{mark}")
        try:
            complete = await _unpack(path, folder, shown)
            await install(node, collection, shard_id, folder if complete else None)
        except ApiError:
            await _after_failure(node, collection, shard_id)
            raise
        finally:
            discard(folder)
    await _activate(node, collection, shard_id, priority)


async def _after_failure(node, collection, shard_id):
    """Files that do not load leave a replica that cannot answer: Dead, where another one is Active.

    The old data is gone then (reference 3.6, step 4).
    """
    local = node.shards.get((collection.uuid, shard_id))
    if local is not None and local.broken:
        await _propose(node, collection, shard_id, [[shard_id, node.peer_id, "Dead", None]])


async def receive_shard(node, collection, shard_id, path):
    """Installs a tar that a transfer brought; the metadata already names this replica."""
    folder = os.path.join(node.tmp, f"recover-{uuidlib.uuid4().hex}")
    try:
        if not await _unpack(path, folder, folder):
            raise errors.service_error("the transferred snapshot is incomplete")
        async with node.recover_lock(collection, shard_id):
            await install(node, collection, shard_id, folder)
    finally:
        discard(folder)
        local = node.shards.get((collection.uuid, shard_id))
        if local is not None:
            local.recovering = False


async def _unpack(path, folder, shown):
    """Unpacks and checks; False when the tar has no `replica_state.json`.

    Then the server's segments are not flattened and deleted at load: 200, and the shard is empty
    (measured 14).
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        await _run(unpack(fd, folder, shown))
    finally:
        os.close(fd)
    if not (
        os.path.isdir(os.path.join(folder, "wal"))
        and os.path.isdir(os.path.join(folder, "segments"))
    ):
        raise errors.bad_request("Invalid snapshot")
    if _has_manifest(folder):
        raise errors.bad_request("Invalid snapshot")
    if not os.path.exists(os.path.join(folder, "replica_state.json")):
        return False
    await _run(flatten(folder, shown))
    return True


def _has_manifest(folder):
    """A partial snapshot is refused where a full one is wanted (reference 3.5)."""
    root = os.path.join(folder, "segments")
    return any(
        os.path.exists(os.path.join(root, s, "files", "segment_manifest.json"))
        for s in os.listdir(root)
    )


async def _run(steps):
    for count, _ in enumerate(steps, 1):
        if count % _TURN_ENTRIES == 0:
            await asyncio.sleep(0)


_KEPT = ("segments", "wal", "newest_clocks.json", "oldest_clocks.json")


async def install(node, collection, shard_id, folder):
    """Puts unpacked files in the place of the local shard; no files make an empty one.

    From here on the old data is gone, whatever comes (reference 3.6, step 3).
    """
    if node.state.find(collection.uuid) is None:
        raise errors.no_collection(collection.name)
    key = (collection.uuid, shard_id)
    old = node.shards.get(key)
    if old is not None:
        async with old.write_lock:
            made = _replace(node, collection, shard_id, folder, old)
    else:
        made = _replace(node, collection, shard_id, folder, None)
    made.check_usable()


def _replace(node, collection, shard_id, folder, old):
    target = node.shard_dir(collection, shard_id)
    op_num = 0
    if old is not None:
        if old.optimizing:
            old.optimizing.cancel()
        op_num = old.op_num
        old.destroy()
    discard(target)
    config = node.state.find(collection.uuid).config
    if folder is None:
        made = LocalShard.create(target, shard_id, config)
    else:
        os.makedirs(target)
        for name in _KEPT:
            if os.path.exists(os.path.join(folder, name)):
                os.rename(os.path.join(folder, name), os.path.join(target, name))
        made = LocalShard(target, shard_id, config).open()
    if old is not None:
        # Who waits for the old shard's locks must find the new one: they stay the same.
        made.write_lock, made.snapshot_lock = old.write_lock, old.snapshot_lock
    made.op_num = max(made.op_num, op_num)
    mark_swept(node.state.find(collection.uuid), made)
    made.recovering = True
    node.shards[(collection.uuid, shard_id)] = made
    return made


async def _activate(node, collection, shard_id, priority):
    """The table of priorities in reference 3.6; changes are proposed, not awaited by others."""
    shard = node.state.find(collection.uuid).shards[shard_id]
    me = node.peer_id
    others = [
        p for p, s in shard.replicas.items() if p != me and s in ("Active", "ReshardingScaleDown")
    ]
    changes = [[shard_id, me, "Active", None]]
    if others and priority == "snapshot":
        changes += [[shard_id, p, "Dead", None] for p in others]
    elif others and priority == "replica":
        changes = [[shard_id, me, "Dead", None]]
    await _propose(node, collection, shard_id, changes)


async def _propose(node, collection, shard_id, changes):
    try:
        await node.set_replicas(collection, changes)
    except ApiError as error:
        log.error("cannot propose states of shard %s of %s: %s", shard_id, collection.name, error)
    finally:
        local = node.shards.get((collection.uuid, shard_id))
        if local is not None:
            local.recovering = False
