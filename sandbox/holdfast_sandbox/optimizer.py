"""Optimizations: a flag that holds deletes back, or the engine's own work in a child process."""

import time
import uuid as uuidlib


class Optimization:
    """One optimization of a shard, while it works."""

    def __init__(self, shard):
        self.shard = shard
        self.uuid = str(uuidlib.uuid4())
        self.started = time.time()

    def log(self, op):
        """Keeps a write for the optimized copy."""

    def cancel(self):
        self.shard.optimizing = None

    def shown(self, segments):
        return {"uuid": self.uuid, "optimizer": "indexing", "status": "optimizing", "segments": segments, "progress": {"name": "Segment Optimizing"}}

    def log_entry(self):
        return {"name": "indexing", "segment_ids": [], "status": "optimizing"}


class Optimizers:
    """Starts and ends optimizations of a node."""

    def __init__(self, node):
        self._node = node

    def set(self, shard, collection, spec):
        if spec.get("on", True):
            shard.optimizing = shard.optimizing or Optimization(shard)
        elif shard.optimizing:
            shard.optimizing = None
            shard.apply_held()

    async def add_wal_tail(self, shard, folder):
        """Later."""
