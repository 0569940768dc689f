"""One node of the sandbox: its metadata, its shards, its listeners."""

import asyncio
import json
import logging
import os
import random
import time
import uuid as uuidlib

from . import layout, reshard_writes
from .consensus import Consensus
from .errors import ApiError
from .faults import Faults
from .optimizer import Optimizers, tidy
from .peers import Peers
from .reading import Reader
from .replication import Writer
from .requests import RequestStats
from .shard import LocalShard
from .snapshots import wait_queue
from .strict import RateLimits
from .transfers import Transfers
from .trash import discard, sweep

log = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0  # `flush_interval_sec` of the server's defaults (transcript 2).
FLUSH_OPS = 1000  # A busy shard is flushed when a restart would have to replay so much.


class Node:
    """Everything that one process holds."""

    def __init__(self, root, index):
        self.root = root
        self.index = index
        self.cluster = layout.ClusterFile.load(root)
        self.address = self.cluster.address(index)
        self.dir = layout.node_dir(root, index)
        self.storage = os.path.join(self.dir, "storage")
        self.tmp = os.path.join(self.storage, "tmp")
        self.snapshots = os.path.join(self.dir, "snapshots")
        self.api_key = layout.read_key(self.cluster.api_key_file)
        self.read_key = layout.read_key(self.cluster.read_key_file)
        self.process_id = str(uuidlib.uuid4())
        self.started_at = time.time()
        self.peer_id = 0
        self.shards = {}  # (collection uuid, shard id) -> LocalShard.
        self.random = random.Random(f"{self.cluster.seed}/{index}")
        self.faults = Faults(self)
        self.peers = Peers(self)
        self.transfers = Transfers(self)
        self.optimizers = Optimizers(self)
        self.reader = Reader(self)
        self.writer = Writer(self)
        self.rate_limits = RateLimits()
        self.requests = RequestStats()
        self.calls = RequestStats()  # Those between peers.
        self.ready = False
        self.telemetry_seconds = 2.0  # A peer that needs longer is shown as not responsive.
        self.snapshot_creations = {}
        self.completed_optimizations = {}
        self._recover_locks = {}
        self._background = set()
        self.consensus = Consensus(self, os.path.join(root, "meta.log"))
        self._tasks = []

    @property
    def state(self):
        return self.consensus.state

    # -- life ---------------------------------------------------------------------------------

    async def start(self):
        """Joins the cluster and opens the shards; the listeners come after it."""
        sweep(self.dir)
        discard(self.tmp)  # Wiped at start-up (reference 3.3).
        for folder in (self.storage, self.tmp, self.snapshots):
            os.makedirs(folder, exist_ok=True)
        self._load_identity()
        self.consensus.start()
        if self.state.stopped:
            raise SystemExit(f"Can't initialize consensus: {self.state.stopped}")
        await self.peers.start()
        await self._join()
        await self.transfers.abort_own()
        await self.reconcile()
        self._tasks = [asyncio.create_task(t) for t in (self._follow(), self._flush_forever())]
        self.transfers.start()
        self.optimizers.start()

    async def stop(self):
        self.transfers.stop()
        self.optimizers.stop()
        for task in self._tasks:
            task.cancel()
        await self.peers.stop()
        self.consensus.stop()
        for shard in self.shards.values():
            shard.close()

    def _load_identity(self):
        """The peer id lives on the disk of the node: without the disk it is a new peer."""
        path = os.path.join(self.dir, "node.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.peer_id = json.load(file)["peer_id"]
            return
        # Random integers in 1..2^53 (reference 1.1); from the system, a new disk is a new peer.
        self.peer_id = random.SystemRandom().randrange(1, 1 << 53)
        layout.write_json(path, {"peer_id": self.peer_id})

    async def _join(self):
        if self.peer_id in self.state.removed_peers:
            raise SystemExit(
                f"peer {self.peer_id} was removed from the cluster: "
                "kill the node --with-disk and start it again as a new peer"
            )
        known = self.state.peers.get(self.peer_id)
        wanted = {"uri": self.address.uri, "rest": self.address.rest}
        if known != wanted:
            op = {"op": "add_peer", "peer": self.peer_id, **wanted}
            await self.consensus.propose(op, need_quorum=False)

    # -- shards -------------------------------------------------------------------------------

    def shard_dir(self, collection, shard_id):
        return os.path.join(self.storage, "collections", collection.uuid, str(shard_id))

    def local(self, collection, shard_id):
        """The shard of this node, or None."""
        return self.shards.get((collection.uuid, shard_id))

    async def _follow(self):
        while True:
            await self.consensus.changed.wait()
            self.consensus.changed.clear()
            try:
                await self.reconcile()
            except ApiError as error:
                log.warning("cannot follow the metadata yet: %s", error)
                await self._again()
            except Exception:
                log.exception("cannot follow the metadata")
                await self._again()

    async def _again(self):
        await asyncio.sleep(0.2)
        self.consensus.changed.set()

    async def reconcile(self):
        """Makes the local shards what the metadata says, and tells the cluster about new ones."""
        wanted = {}
        for collection in self.state.collections.values():
            for shard in collection.shards.values():
                if self.peer_id in shard.replicas:
                    wanted[(collection.uuid, shard.id)] = collection
        self._drop_unwanted(wanted)
        for (uuid, shard_id), collection in wanted.items():
            shard = self.shards.get((uuid, shard_id))
            if shard is None:
                shard = self._open_or_create(collection, shard_id)
                self.shards[(uuid, shard_id)] = shard
                await asyncio.sleep(0)
            if not shard.recovering:
                shard.config = collection.config
                await reshard_writes.follow_stages(self, collection, shard)
        await self._announce_ready()
        self.transfers.wake()

    def _drop_unwanted(self, wanted):
        for key, shard in list(self.shards.items()):
            if key not in wanted and not shard.recovering:
                del self.shards[key]
                if shard.optimizing:
                    shard.optimizing.cancel()
                shard.destroy()
        self._remove_orphans({uuid for uuid, _ in wanted} | {uuid for uuid, _ in self.shards})

    def _remove_orphans(self, uuids):
        """Folders of collections that went while this node was away."""
        root = os.path.join(self.storage, "collections")
        if not os.path.isdir(root):
            return
        for name in os.listdir(root):
            if name not in uuids and not name.endswith(".trash"):
                discard(os.path.join(root, name))

    def _open_or_create(self, collection, shard_id):
        folder = self.shard_dir(collection, shard_id)
        tidy(folder)
        if os.path.isdir(os.path.join(folder, "segments")):
            return LocalShard(folder, shard_id, collection.config).open()
        made = LocalShard.create(folder, shard_id, collection.config)
        for field, schema in collection.schema.items():
            made.apply({"kind": "create_index", "field": field, "schema": schema})
        reshard_writes.mark_swept(collection, made)
        return made

    async def _announce_ready(self):
        """A replica is Initializing until its node has made it, Dead when it did not load (3.8)."""
        me = self.peer_id
        for collection in list(self.state.collections.values()):
            changes = []
            for shard in collection.shards.values():
                state, local = shard.replicas.get(me), self.local(collection, shard.id)
                if state == "Initializing":
                    changes.append([shard.id, me, "Active", "Initializing"])
                elif state == "Active" and local.broken and len(shard.active_peers()) > 1:
                    changes.append([shard.id, me, "Dead", "Active"])
            if changes:
                await self.set_replicas(collection, changes)

    async def set_replicas(self, collection, changes):
        """Proposes replica states: a list of [shard, peer, new state, old state or None]."""
        op = {
            "op": "replicas",
            "collection": collection.name,
            "uuid": collection.uuid,
            "set": changes,
        }
        await self.consensus.propose(op)

    async def _flush_forever(self):
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            for shard in list(self.shards.values()):
                quiet = time.monotonic() - shard.updated_at > FLUSH_SECONDS
                if shard.dirty and shard.usable and (quiet or shard.unflushed >= FLUSH_OPS):
                    try:
                        shard.flush()
                    except Exception:  # The WAL has everything; the next round tries again.
                        log.exception("cannot flush shard %s", shard.id)
                    await asyncio.sleep(0)

    # -- odds and ends ------------------------------------------------------------------------

    def recover_lock(self, collection, shard_id):
        """One recovery at a time for each shard."""
        return self._recover_locks.setdefault((collection.uuid, shard_id), asyncio.Lock())

    def count_snapshot(self, collection):
        self.snapshot_creations[collection.uuid] = (
            self.snapshot_creations.get(collection.uuid, 0) + 1
        )

    def background(self, work):
        """Runs work that outlives the request that asked for it."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def wait_queue(self, collection, ops, wait):
        """A write with wait=true returns when the artificial queue before it has drained."""
        if wait:
            for shard_id in {s for s, _ in ops}:
                shard = self.local(collection, shard_id)
                if shard is not None:
                    await wait_queue(shard)
