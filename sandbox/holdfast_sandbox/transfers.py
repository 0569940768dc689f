"""Shard transfers: started by a user or to heal a Dead replica, driven by the source (reference 5).

While a transfer runs its source is the leader of the shard (see replication.py), so that the target
gets every write exactly in the source's order: beside the records for `stream_records`, after the
snapshot for `snapshot`.
"""

import asyncio
import collections
import logging
import time

import orjson

from . import errors, images, ring_transfer
from .errors import ApiError, PeerUnavailable
from .edge_filter import json_id
from .optimizer import op_weight
from .recover import Spool, receive_shard
from .snapshots import frozen
from .state import RESHARDING_METHOD, find_transfer
from .tarformat import END

log = logging.getLogger(__name__)

TRIES = 3  # Reference 5.
BATCH = 100  # Records a step of a stream transfer.
WATCH_SECONDS = 0.25
BARRIER_SECONDS = 5.0
QUEUE_POINTS = 50_000  # Points kept for a target that loads a snapshot; then writers wait.
METHODS = ("stream_records", "snapshot", "wal_delta", RESHARDING_METHOD)


class Job:
    """One transfer that this node drives."""

    def __init__(self, collection, transfer):
        self.uuid = collection.uuid
        self.name = collection.name
        self.transfer = transfer
        self.started = time.monotonic()
        self.stage = ""
        self.queue = None  # Writes since the cut, while a snapshot is on its way.
        self.queued = 0
        self.room = asyncio.Event()
        self.room.set()
        self.page_lock = asyncio.Lock()  # A page of a migration is on its way, or a write.
        self.forwards = False  # Whether writes go to the target of a migration as well.
        self.broken = None  # Why such a write did not get there.
        self.task = None

    def comment(self):
        """As in transcript 2: `transferring (0.08s) | Transferring records (5/7), ETA: 0.08s`."""
        if not self.stage:
            return ""
        spent = f"{time.monotonic() - self.started:.2f}s"
        head, _, rest = self.stage.partition(" | ")
        return f"{head} ({spent})" + (f" | {rest}" if rest else "")


class Transfers:
    """The transfers of one node."""

    def __init__(self, node):
        self._node = node
        self._jobs = {}
        self._task = None

    def start(self):
        self._task = asyncio.create_task(self._watch())

    def stop(self):
        for task in [self._task, *(j.task for j in self._jobs.values())]:
            if task:
                task.cancel()

    def comment(self, collection, transfer):
        job = self._jobs.get((collection.uuid, transfer.key()))
        return job.comment() if job else ""

    # -- following the metadata -----------------------------------------------------------------

    def wake(self):
        """Starts jobs for new transfers from this node and stops those that were aborted."""
        wanted = {}
        for collection in self._node.state.collections.values():
            for transfer in collection.transfers:
                if transfer.source == self._node.peer_id:
                    wanted[(collection.uuid, transfer.key())] = (collection, transfer)
        for key, job in list(self._jobs.items()):
            if key not in wanted:
                del self._jobs[key]
                job.task.cancel()
        for key, (collection, transfer) in wanted.items():
            if key not in self._jobs:
                job = self._jobs[key] = Job(collection, transfer)
                job.task = asyncio.create_task(self._drive(job))

    async def _watch(self):
        """Heals Dead replicas of this node and ends hopeless transfers."""
        while True:
            try:
                await self._recover_dead()
                await self._abort_hopeless()
            except (ApiError, PeerUnavailable) as error:
                log.warning("transfers: %s", error)
            except Exception:
                log.exception("transfers")
            await asyncio.sleep(WATCH_SECONDS)

    async def abort_own(self):
        """A restart of source or target aborts its transfers (reference 5)."""
        me = self._node.peer_id
        for collection in list(self._node.state.collections.values()):
            for transfer in [t for t in collection.transfers if t.involves(me)]:
                await self._abort(collection, transfer)

    async def _abort(self, collection, transfer):
        op = {"op": "transfer_abort", "collection": collection.name, "uuid": collection.uuid}
        op |= {"key": list(transfer.key()), "dead_target": True}
        try:
            await self._node.consensus.propose(op)
        except ApiError as error:
            log.info("abort of a transfer: %s", error)

    async def _abort_hopeless(self):
        """The first living peer ends transfers whose source is gone."""
        living = [p for p in self._node.state.peers if self._node.peers.is_alive(p)]
        if not living or living[0] != self._node.peer_id:
            return
        for collection in list(self._node.state.collections.values()):
            for transfer in list(collection.transfers):
                if not self._node.peers.is_alive(transfer.source):
                    await self._abort(collection, transfer)

    async def _recover_dead(self):
        """A Dead replica on a living node gets a transfer from an Active one (reference 3.8)."""
        me = self._node.peer_id
        for collection in list(self._node.state.collections.values()):
            dead = [s for s in collection.shards.values() if s.replicas.get(me) == "Dead"]
            for shard in dead:
                await self._heal(collection, shard.id)

    async def _heal(self, collection, shard_id):
        me, alive = self._node.peer_id, self._node.peers.is_alive

        def make(state):
            current = state.find(collection.uuid)
            shard = current.shards.get(shard_id) if current else None
            if shard is None or shard.replicas.get(me) != "Dead":
                return None
            # At most one incoming and one outgoing automatic transfer a collection and node.
            busy_in = {t.target for t in current.transfers}
            busy_out = {t.source for t in current.transfers}
            sources = [p for p in shard.active_peers() if alive(p) and p not in busy_out]
            if me in busy_in or not sources:
                return None
            transfer = {"shard_id": shard_id, "source": min(sources), "target": me}
            transfer |= {"sync": True, "method": "snapshot"}
            op = {"op": "transfer_start", "collection": current.name, "uuid": current.uuid}
            return op | {"transfer": transfer}

        if make(self._node.state) is not None:
            await self._node.consensus.propose(make)

    # -- driving --------------------------------------------------------------------------------

    async def _drive(self, job):
        """Up to three tries, then the transfer is aborted."""
        for attempt in range(1, TRIES + 1):
            try:
                await self._attempt(job)
                return
            except (ApiError, PeerUnavailable, OSError) as error:
                log.warning(
                    "transfer of shard %s of %s, try %s: %s",
                    job.transfer.shard_id,
                    job.name,
                    attempt,
                    error,
                )
                job.queue, job.forwards = None, False
                job.room.set()
                await asyncio.sleep(0.2 * attempt)
        collection = self._node.state.find(job.uuid)
        if collection is not None and find_transfer(collection, job.transfer.key()):
            await self._abort(collection, job.transfer)

    async def _attempt(self, job):
        collection = self._node.state.find(job.uuid)
        shard = self._node.local(collection, job.transfer.shard_id)
        if shard is None:
            raise errors.service_error(f"Local shard {job.transfer.shard_id} not found")
        await self._barrier(job)
        delay = self._node.faults.take(("transfer_delay",), collection=job.name, shard=shard.id)
        if delay:
            await asyncio.sleep(delay.get("seconds", 1.0))
        if job.transfer.method in ("snapshot", "wal_delta"):
            await self._by_snapshot(job, collection, shard)
        elif job.transfer.method == "stream_records":
            await self._by_records(job, collection, shard)
        else:
            await self._by_ring(job, collection, shard)

    async def _by_ring(self, job, collection, shard):
        target = {"uuid": job.uuid, "shard": job.transfer.to_shard_id}
        await ring_transfer.wait_ready(self._node.peers.call, job.transfer.target, target)
        await ring_transfer.migrate(
            job,
            collection,
            shard,
            self._page,
            lambda op: self._to_target(job, op),
            lambda sent, total: self._progress(job, sent, total),
            lambda: self._finish(job),
        )

    async def _barrier(self, job):
        """From here on every living peer sends writes of the shard to this node.

        What they had split before they knew of the transfer has arrived.
        """
        await self._node.writer.settle(BARRIER_SECONDS)
        body = {
            "uuid": job.uuid,
            "shard": job.transfer.shard_id,
            "commit": self._node.state.commit,
            "timeout": BARRIER_SECONDS,
        }
        peers = [p for p in self._node.peers.others() if self._node.peers.is_alive(p)]
        calls = (self._node.peers.call(p, "/internal/barrier", body) for p in peers)
        results = await asyncio.gather(*calls, return_exceptions=True)
        for peer, result in zip(peers, results):
            if isinstance(result, BaseException) and peer == job.transfer.target:
                raise result

    async def _finish(self, job):
        op = {
            "op": "transfer_finish",
            "collection": job.name,
            "uuid": job.uuid,
            "key": list(job.transfer.key()),
        }
        await self._node.consensus.propose(op)

    async def _to_target(self, job, op):
        transfer = job.transfer
        target = transfer.shard_id if transfer.to_shard_id is None else transfer.to_shard_id
        body = {"uuid": job.uuid, "shard": target, "op": op}
        if transfer.target == self._node.peer_id:
            # Through JSON, as to another peer: pages hold arrays that an update cannot take.
            plain = orjson.loads(orjson.dumps(op, option=orjson.OPT_SERIALIZE_NUMPY))
            return await self._node.writer.follow(job.uuid, target, plain)
        return await self._node.peers.call(transfer.target, "/internal/apply", body)

    def forward(self, collection, shard_id, op):
        """What a write on a shard whose snapshot is on its way must wait for, or None."""
        for job in self._jobs.values():
            if (job.uuid, job.transfer.shard_id) == (collection.uuid, shard_id) and (
                job.queue is not None
            ):
                return self._enqueue(job, op)
        return None

    async def apply(self, collection, local, op):
        """Applies an update to a replica of this node, and to where its points are migrated."""
        key = (collection.uuid, local.id, RESHARDING_METHOD)
        for job in self._jobs.values():
            if (job.uuid, job.transfer.shard_id, job.transfer.method) == key:
                return await ring_transfer.apply_and_forward(
                    job, collection, local, op, lambda part, job=job: self._to_target(job, part)
                )
        return local.apply(op)

    async def _enqueue(self, job, op):
        job.queue.append(op)
        job.queued += op_weight(op)
        if job.queued >= QUEUE_POINTS:
            job.room.clear()
            await job.room.wait()

    # -- snapshot ---------------------------------------------------------------------------------

    async def _by_snapshot(self, job, collection, shard):
        async with shard.snapshot_lock:
            async with shard.write_lock:
                cut = frozen(self._node, shard)
                image = cut.__enter__()
                job.queue, job.queued = collections.deque(), 0
                if shard.held:  # The image still has them (measured 7); the target must not.
                    ids = [json_id(i) for i in shard.held]
                    job.queue.append({"kind": "delete", "points": ids})
            try:
                job.stage = "recovering"
                await self._send_image(job, collection, shard, image)
            finally:
                cut.__exit__(None, None, None)
        await self._drain(job)
        async with shard.write_lock:
            await self._drain(job)
            job.queue = None
            await self._finish(job)

    async def _send_image(self, job, collection, shard, image):
        replicas = collection.shards[shard.id].replicas
        seed = self._node.random.getrandbits(32)
        entries = images.streamable(
            image.folder, image.manifest, self._node.peer_id, replicas, seed
        )

        async def body():
            for entry in entries:
                for chunk in entry.chunks():
                    yield chunk
                await asyncio.sleep(0)
            yield END

        path = f"/internal/shard/{job.uuid}/{shard.id}"
        await self._node.peers.send_body(job.transfer.target, path, body())

    async def _drain(self, job):
        while job.queue:
            op = job.queue.popleft()
            await self._to_target(job, op)
            job.queued -= op_weight(op)
            if job.queued < QUEUE_POINTS // 2:
                job.room.set()

    async def receive(self, request):
        """Target side: takes the tar of a shard and installs it."""
        node = self._node
        collection = node.state.find(request.match_info["uuid"])
        if collection is None:
            raise errors.no_collection(request.match_info["uuid"])
        shard_id = int(request.match_info["shard"])
        spool = Spool(node)
        try:
            async for data in request.content.iter_chunked(256 << 10):
                await spool.write(data)
            spool.finish()
            await receive_shard(node, collection, shard_id, spool.path)
        finally:
            spool.remove()
        return True

    # -- records ----------------------------------------------------------------------------------

    async def _by_records(self, job, collection, shard):
        async with shard.write_lock:
            await self._reset_target(job)
        total, sent, offset = shard.info()["points"], 0, None
        while True:
            async with shard.write_lock:
                page = self._page(shard, offset)
                if page["points"]:
                    await self._to_target(job, {"kind": "upsert", "points": page["points"]})
                offset = page["next_page_offset"]
                sent += len(page["points"])
                self._progress(job, sent, max(total, sent))
                if offset is None:
                    await self._finish(job)
                    return
            await asyncio.sleep(0)

    @staticmethod
    def _page(shard, offset):
        body = {"limit": BATCH, "offset": offset, "with_payload": True, "with_vector": True}
        return shard.read("scroll", body)

    @staticmethod
    def _progress(job, sent, total):
        spent = time.monotonic() - job.started
        left = spent / sent * (total - sent) if sent else 0.0
        job.stage = f"transferring | Transferring records ({sent}/{total}), ETA: {left:.2f}s"

    async def _reset_target(self, job):
        """The target starts empty; its node may still be about to make the shard."""
        body = {"uuid": job.uuid, "shard": job.transfer.shard_id}
        deadline = time.monotonic() + 5
        while not await self._node.peers.call(job.transfer.target, "/internal/reset", body):
            if time.monotonic() > deadline:
                raise errors.service_error(
                    f"peer {job.transfer.target} does not make shard {job.transfer.shard_id}"
                )
            await asyncio.sleep(0.02)
