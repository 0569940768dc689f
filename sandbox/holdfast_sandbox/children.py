"""Work with the engine that would stop a node: it runs in processes of its own."""

import os
import sys
import uuid

import qdrant_edge as edge


def optimize(folder):
    """Optimizes a copy of a shard; prints whether anything changed."""
    os.nice(10)
    shard = edge.EdgeShard.load(folder)
    changed = shard.optimize()
    shard.flush()
    shard.close()
    print("changed" if changed else "same", flush=True)


def waltail(folder):
    """Deletes the ids on standard input and ends without a flush: only the WAL has the deletes."""
    ids = [int(t) if t.isdigit() else uuid.UUID(t) for t in sys.stdin.read().split()]
    shard = edge.EdgeShard.load(folder)
    shard.update(edge.UpdateOperation.delete_points(ids))
    os._exit(0)
