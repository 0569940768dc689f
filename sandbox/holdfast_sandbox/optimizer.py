"""Optimizations: a flag that holds deletes back, or the engine's own work in a child process.

The engine's `optimize()` stops its whole process (sandbox notes e), so it runs on a copy in a
child; what is written meanwhile is kept and applied to the copy before it takes the shard's place.
"""

import asyncio
import logging
import os
import sys
import time
import uuid as uuidlib
import weakref

from . import images
from .defaults import vector_params
from .edge_config import write_config
from .edge_filter import json_id
from .shard import LocalShard
from .trash import discard

log = logging.getLogger(__name__)

LOG_POINTS = 50_000  # Points kept for the copy; an optimization that sees more is given up.
COMPLETED = 16  # Finished optimizations that are remembered for each collection.
WATCH_SECONDS = 0.5
_STEP_SECONDS = 0.05


def op_weight(op):
    """How many points an update holds in memory."""
    return max(1, len(op.get("points") or ()))


class Optimization:
    """One optimization of a shard, while it works."""

    def __init__(self, shard, collection, real):
        self.shard = shard
        self.collection_uuid = collection.uuid
        self.real = real
        self.uuid = str(uuidlib.uuid4())
        self.started = time.monotonic()
        self.until = None  # For the flag: when it ends; None means when it is told to.
        self.stop = False
        self.cancelled = False
        self.ops = []
        self.points = 0
        self.process = None

    def log(self, op):
        """Keeps a write for the optimized copy."""
        if self.real and not self.cancelled:
            self.ops.append(op)
            self.points += op_weight(op)
            if self.points > LOG_POINTS:
                log.warning(
                    "optimization of shard %s: too many writes meanwhile, given up", self.shard.id
                )
                self.cancel()

    def cancel(self):
        """Gives up: the shard stays as it is."""
        self.cancelled = self.stop = True
        self.ops = []
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    def shown(self, segments, status="optimizing"):
        """The entry of `running` or `completed` (reference 6.2)."""
        progress = {
            "name": "Segment Optimizing",
            "duration_sec": round(time.monotonic() - self.started, 3),
        }
        return {
            "uuid": self.uuid,
            "optimizer": "indexing",
            "status": status,
            "segments": segments,
            "progress": progress,
        }

    def log_entry(self):
        return {"name": "indexing", "uuid": self.uuid, "segment_ids": [], "status": "optimizing"}


class Optimizers:
    """Starts and ends the optimizations of a node."""

    def __init__(self, node):
        self._node = node
        self._seen = (
            weakref.WeakKeyDictionary()
        )  # Shard -> points when an optimization last found nothing to do.
        self._task = None

    def start(self):
        if self._node.cluster.optimizer == "auto":
            self._task = asyncio.create_task(self._watch())

    def stop(self):
        if self._task:
            self._task.cancel()
        for shard in self._node.shards.values():
            if shard.optimizing:
                shard.optimizing.cancel()

    async def set(self, shard, collection, spec):
        """The fault `optimizing`: on or off, for some seconds, by flag or real."""
        if spec.get("on", True):
            if shard.optimizing is None:
                self.begin(shard, collection, spec.get("real", False), spec.get("seconds"))
            return
        if shard.optimizing:
            shard.optimizing.stop = True
            while shard.optimizing:
                await asyncio.sleep(_STEP_SECONDS)

    def begin(self, shard, collection, real, seconds=None):
        """Starts an optimization: from here on plain deletes are only remembered (measured 7)."""
        work = shard.optimizing = Optimization(shard, collection, real)
        if seconds is not None:
            work.until = work.started + seconds
        folder = self._copy(shard) if real else None
        self._node.background(self._run(work, folder))

    def _copy(self, shard):
        """The copy that the child works on: segments, an empty WAL, the configuration."""
        folder = f"{shard.folder}.new"
        discard(folder)
        shard.cut(folder)
        os.makedirs(os.path.join(folder, "wal"))
        index = images.next_index(shard.manifest())
        with open(os.path.join(folder, "wal", f"closed-{index}"), "wb") as out:
            out.write(b"wal\0" + self._node.random.getrandbits(32).to_bytes(4, "little"))
        write_config(folder, shard.config)
        return folder

    async def _run(self, work, folder):
        shard = work.shard
        try:
            changed = await self._child(work, folder) if work.real else await self._wait(work)
            async with shard.snapshot_lock:  # Its end waits for snapshots (reference 3.2).
                async with shard.write_lock:
                    self._end(work, folder, changed)
        except Exception:
            log.exception("optimization of shard %s", shard.id)
            work.cancel()
        finally:
            if folder:
                discard(folder)
            if shard.optimizing is work:
                shard.optimizing = None
                if shard.usable:
                    shard.apply_held()

    async def _wait(self, work):
        """The flag: until told, or its time is over; while paused it does not end (measured 7)."""
        while not work.stop:
            over = work.until is not None and time.monotonic() >= work.until
            if over and not self._paused(work):
                break
            await asyncio.sleep(_STEP_SECONDS)
        return False

    def _paused(self, work):
        collection = self._node.state.find(work.collection_uuid)
        return (
            collection is not None
            and collection.config["optimizer_config"].get("max_optimization_threads") == 0
        )

    async def _child(self, work, folder):
        """Runs `optimize()` on the copy; whether it changed anything."""
        work.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "holdfast_sandbox", "optimize", folder,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await work.process.communicate()
        if work.process.returncode != 0 and not work.cancelled:
            raise RuntimeError(f"the child ended with status {work.process.returncode}")
        while work.until is not None and time.monotonic() < work.until and not work.stop:
            await asyncio.sleep(_STEP_SECONDS)
        return output.strip() == b"changed"

    def _end(self, work, folder, changed):
        """Swaps the copy in, or just carries out the deletes that were held back."""
        shard = work.shard
        if (
            work.cancelled
            or not shard.usable
            or self._node.shards.get((work.collection_uuid, shard.id)) is not shard
        ):
            return
        if changed:
            swap_in(shard, folder, work.ops)
            shard.optimized_points += shard.info()["points"]
        else:
            self._seen[shard] = shard.info()["points"]
        shard.optimizing = None
        shard.apply_held()
        done = self._node.completed_optimizations.setdefault(work.collection_uuid, [])
        done.insert(0, work.shown([], "done"))
        del done[COMPLETED:]

    async def _watch(self):
        """Optimizes where unindexed vectors outgrow `indexing_threshold`, one shard at a time."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if any(s.optimizing for s in self._node.shards.values()):
                continue
            for (uuid, _), shard in list(self._node.shards.items()):
                collection = self._node.state.find(uuid)
                if collection is not None and self._wants(shard, collection):
                    self.begin(shard, collection, real=True)
                    break

    def _wants(self, shard, collection):
        config = collection.config["optimizer_config"]
        threshold = config.get("indexing_threshold") or 0
        if (
            not shard.usable
            or shard.recovering
            or threshold <= 0
            or config.get("max_optimization_threads") == 0
        ):
            return False
        info = shard.info()
        if self._seen.get(shard) == info["points"]:
            return False
        dense = vector_params(collection.config)
        width = sum(v["size"] * 4 for v in dense.values())
        plain = info["points"] - info["indexed"] // max(1, len(dense))
        return plain * width / 1024 > threshold

    @staticmethod
    async def add_wal_tail(held, config, folder):
        """Puts remembered deletes into the WAL of a frozen shard, as the server's WAL has them.

        A child opens the folder, deletes, and ends without a flush: the segments stay as they are
        (reference 4.4, measured 7).
        """
        if not held:
            return
        write_config(folder, config)
        ids = ("\n".join(str(json_id(i)) for i in held)).encode()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "holdfast_sandbox", "waltail", folder,
            stdin=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await process.communicate(ids)
        if process.returncode != 0:
            raise RuntimeError(f"the child for the WAL ended with status {process.returncode}")


def swap_in(shard, folder, ops):
    """Puts the optimized copy, brought up to date, in the place of the shard.

    Before the renames the copy has everything in its own WAL; `tidy` brings a crash between them in
    order again.
    """
    op_num = shard.op_num
    copy = LocalShard(folder, shard.id, shard.config).open()
    copy.check_usable()
    copy.replay(ops)
    copy.close()
    shard.close()
    old = f"{shard.folder}.old"
    os.rename(shard.folder, old)
    os.rename(folder, shard.folder)
    shard.held = set()
    shard.reopen()
    shard.op_num = max(shard.op_num, op_num)
    discard(old)


def tidy(folder):
    """Leftovers of a swap that a crash interrupted: without a new folder the old one counts."""
    if not os.path.isdir(folder) and os.path.isdir(f"{folder}.old"):
        os.rename(f"{folder}.old", folder)
    for suffix in (".old", ".new"):
        discard(folder + suffix)
