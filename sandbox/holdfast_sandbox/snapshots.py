"""Cuts, streams and stored snapshots of local shards (reference 3, measured 1 to 7)."""

import asyncio
import contextlib
import datetime
import hashlib
import json
import os
import uuid as uuidlib

from . import errors, images
from .streams import Sender, send_entries, stream_response
from .tarformat import END, DataEntry, FileEntry
from .trash import discard

# A cut lies up to 30 ms after the headers under writers (measured 1); the first byte follows it.
CUT_DELAY_SECONDS = 0.03
BYTE_DELAY_SECONDS = 0.005
_HASH_CHUNK = 1 << 20


def file_name(text):
    """A name that fits a header, whatever the collection is called."""
    return "".join(c if c.isprintable() and c not in '"\\' else "_" for c in text)


def timestamp(now=None):
    """The time in names of snapshots: one-second resolution (reference 3.1)."""
    now = now or datetime.datetime.now(datetime.timezone.utc)
    return now.strftime("%Y-%m-%d-%H-%M-%S")


def local_shard(node, collection, shard_id):
    """The shard to be captured; the texts are those of transcript 1."""
    if shard_id not in collection.shards:
        raise errors.not_found(f"shard {shard_id} not found")
    shard = node.local(collection, shard_id)
    transfer = collection.transfer_of(shard_id)
    forwarding = (
        transfer and transfer.source == node.peer_id and transfer.method == "stream_records"
    )
    if shard is None or forwarding:
        # A forward proxy cannot be streamed meanwhile (reference 5, methods).
        raise errors.bad_input(f"Shard {shard_id} is not a local or queue proxy shard")
    shard.check_usable()
    return shard


class Frozen:
    """A cut: the folder it lies in, the manifest that goes with it, the deletes it lacks."""

    def __init__(self, folder, manifest, held):
        self.folder = folder
        self.manifest = manifest
        self.held = held


@contextlib.contextmanager
def frozen(node, shard, with_wal=False):
    """Cuts a shard now; the folder goes when the block ends."""
    folder = os.path.join(node.tmp, f"cut-{uuidlib.uuid4().hex}")
    try:
        shard.cut(folder, with_wal)
        yield Frozen(folder, shard.manifest(), set(shard.held))
    finally:
        discard(folder)


@contextlib.contextmanager
def counted(shard):
    shard.snapshots_running += 1
    try:
        yield
    finally:
        shard.snapshots_running -= 1


async def wait_queue(shard):
    """No byte flows before the update queue has drained (reference 3.2)."""
    while (left := shard.queue_seconds()) > 0:
        await asyncio.sleep(min(left, 0.05))


async def stream_shard(node, request, collection, shard, build):
    """Streams a snapshot of a shard.

    Headers at once; a second stream of the shard waits for the first, and its cut is after that
    (measured 1, sandbox notes d).  `build(frozen, replicas)` makes the tar entries.
    """
    name = file_name(f"{collection.name}-shard-{shard.id}-{timestamp()}.snapshot")
    response = stream_response(name)
    if "Accept-Encoding" in request.headers:
        response.enable_compression()  # As the server does, to who allows it (reference 0.1).
    await response.prepare(request)
    async with shard.snapshot_lock:
        await wait_queue(shard)
        await asyncio.sleep(node.random.uniform(0, CUT_DELAY_SECONDS))
        shard = node.shards.get(
            (collection.uuid, shard.id), shard
        )  # A recovery may have replaced it.
        shard.check_usable()
        with frozen(node, shard) as cut:
            entries = build(cut, collection.shards[shard.id].replicas)
            await asyncio.sleep(node.random.uniform(0, BYTE_DELAY_SECONDS))
            sender = Sender(node, request, response, collection=collection.name, shard=shard.id)
            await send_entries(sender, response, entries)
    return response


def streamable(node):
    """Entries of the streamable format."""

    def build(cut, replicas):
        return images.streamable(
            cut.folder, cut.manifest, node.peer_id, replicas, node.random.getrandbits(32)
        )

    return build


# -- stored snapshots ------------------------------------------------------------------------------


def store_dir(node, collection, shard_id=None):
    """Where stored snapshots of a collection or of one of its shards lie on this node."""
    # By name, as on the server: a collection made again finds the snapshots of the old one.
    root = os.path.join(node.snapshots, hashlib.sha256(collection.name.encode()).hexdigest()[:32])
    return root if shard_id is None else os.path.join(root, "shards", str(shard_id))


async def write_tar(node, entries, path):
    """Writes a tar and its checksum file; it appears under its name when it is complete."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # Two creations in one second have the same name (reference 3.1); the later one stays.
    part, digest = os.path.join(node.tmp, f"{uuidlib.uuid4().hex}.part"), hashlib.sha256()
    with open(part, "wb") as out:
        turn = 0
        for data in _all_chunks(entries):
            out.write(data)
            digest.update(data)
            turn += len(data)
            if turn > _HASH_CHUNK:
                turn = 0
                await asyncio.sleep(0)
        out.flush()
        os.fsync(out.fileno())
    with open(path + ".checksum", "w", encoding="ascii") as out:
        out.write(digest.hexdigest())
    os.replace(part, path)


def _all_chunks(entries):
    for entry in entries:
        yield from entry.chunks()
    yield END


def describe(path):
    """The description of a stored snapshot (transcript 1)."""
    info = os.stat(path)
    created = datetime.datetime.fromtimestamp(int(info.st_mtime), datetime.timezone.utc)
    checksum = None
    with contextlib.suppress(FileNotFoundError):
        with open(path + ".checksum", encoding="ascii") as file:
            checksum = file.read().strip()
    return {
        "name": os.path.basename(path),
        "creation_time": created.strftime("%Y-%m-%dT%H:%M:%S"),
        "size": info.st_size,
        "checksum": checksum,
    }


def list_stored(folder):
    if not os.path.isdir(folder):
        return []
    names = sorted(n for n in os.listdir(folder) if n.endswith(".snapshot"))
    return [describe(os.path.join(folder, n)) for n in names]


def find_stored(folder, name):
    """The path of a stored snapshot, or None; the name is a bare file name."""
    path = os.path.join(folder, name)
    bad = "/" in name or name in ("", ".", "..") or name.endswith(".checksum")
    return None if bad or not os.path.isfile(path) else path


def missing_shard_file(collection_name, shard_id, name):
    """What the server says about a stored shard snapshot that is not there (run)."""
    return f'Snapshot "./snapshots/{collection_name}/shards/{shard_id}/{name}" not found'


def delete_stored(path):
    os.unlink(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path + ".checksum")


async def store_shard(node, collection, shard):
    """A stored shard snapshot: Regular format, without WAL (reference 3.3)."""
    node.faults.check_disk(collection.name, shard.id)
    with counted(shard):
        async with shard.snapshot_lock:
            await wait_queue(shard)
            await asyncio.sleep(node.random.uniform(0, CUT_DELAY_SECONDS))
            with frozen(node, shard) as cut:
                replicas = collection.shards[shard.id].replicas
                entries = images.regular(
                    cut.folder, cut.manifest, node.peer_id, replicas, node.random.getrandbits(32)
                )
                name = f"{collection.name}-shard-{shard.id}-{timestamp()}.snapshot"
                path = os.path.join(store_dir(node, collection, shard.id), name)
                await write_tar(node, entries, path)
    node.count_snapshot(collection)
    return describe(path)


async def store_collection(node, collection):
    """A stored collection snapshot: all local shards, each with its WAL (reference 3.3, 4.4)."""
    node.faults.check_disk(collection.name)
    name = f"{collection.name}-{node.peer_id}-{timestamp()}.snapshot"
    path = os.path.join(store_dir(node, collection), name)
    async with contextlib.AsyncExitStack() as stack:
        parts = []
        for shard_id in sorted(collection.shards):
            shard = node.local(collection, shard_id)
            folder, op_num = None, 0
            if shard is not None and shard.usable:
                stack.enter_context(counted(shard))
                async with shard.snapshot_lock:  # One shard after the other, each at its moment.
                    await asyncio.sleep(node.random.uniform(0, CUT_DELAY_SECONDS))
                    cut = stack.enter_context(frozen(node, shard, with_wal=True))
                await node.optimizers.add_wal_tail(cut.held, shard.config, cut.folder)
                folder, op_num = cut.folder, images.next_index(cut.manifest) - 1
            parts.append(
                (shard_id, folder, op_num, node.peer_id, collection.shards[shard_id].replicas)
            )
        await write_tar(node, images.collection(parts, config_files(collection)), path)
    node.count_snapshot(collection)
    return describe(path)


def config_files(collection):
    """The files beside the shards of a collection snapshot (reference 4.6)."""
    config = {**collection.config, "uuid": collection.uuid}
    config.setdefault("strict_mode_config", None)
    keys = [{"key": k, "shard_ids": collection.shards_of_key(k)} for k in collection.shard_keys()]
    return {
        "config.json": config,
        "shard_key_mapping.json": keys,
        "payload_index.json": {"schema": collection.schema},
    }


async def store_full(node):
    """A full storage snapshot of this node: one tar of all collection snapshots (reference 3.3)."""
    node.faults.check_disk(None)
    mapping, entries, made = {}, [], []
    try:
        for collection in list(node.state.collections.values()):
            stored = await store_collection(node, collection)
            path = os.path.join(store_dir(node, collection), stored["name"])
            made.append(path)
            mapping[collection.name] = stored["name"]
            entries.append(FileEntry(stored["name"], path))
        config = {"collections_mapping": mapping, "collections_aliases": node.state.aliases}
        entries.append(DataEntry("config.json", json.dumps(config).encode()))
        path = os.path.join(node.snapshots, f"full-snapshot-{timestamp()}.snapshot")
        await write_tar(node, entries, path)
    finally:
        for stored in made:
            delete_stored(stored)
    return describe(path)
