"""The migration of points to another shard: the transfer `resharding_stream_records`.

Its source sends, page by page, what the new ring gives to the target.  A write on the source waits
for the page that is on its way and then goes to the target as well, so that no page overtakes it.
"""

import asyncio
import time

from . import errors
from .errors import ApiError, PeerUnavailable
from .reshard_writes import is_missing_point

BATCH = 100  # Records a step.
READY_SECONDS = 5.0  # How long the target may take to make the shard.
_SCHEMA = ("create_index", "drop_index", "named_vector")


async def wait_ready(call, target, body):
    """Waits until the target's node has the shard and nothing of an aborted resharding in it."""
    deadline = time.monotonic() + READY_SECONDS
    while not await call(target, "/internal/ready", body):
        if time.monotonic() > deadline:
            raise errors.service_error(f"peer {target} does not make shard {body['shard']}")
        await asyncio.sleep(0.02)


async def migrate(job, collection, shard, page, send, progress, finish):
    """Sends the points of a shard that its new ring gives to the target, then finishes."""
    job.broken = None
    rings = collection.rings(collection.shards[shard.id].key)
    if len(rings) == 1:
        where = f"hash ring for shard {shard.id} not in resharding state"
        raise errors.service_error(f"Failed to do resharding transfer, {where}")
    ring = rings[-1]
    total, sent, offset = shard.info()["points"], 0, None
    while True:
        async with job.page_lock:
            job.forwards = True
            found = page(shard, offset)
            owners = ring.owners([p["id"] for p in found["points"]])
            target = job.transfer.to_shard_id
            moving = [p for p, owner in zip(found["points"], owners) if owner == target]
            if moving:
                await send({"kind": "upsert", "points": moving, "by_both_rings": True})
            offset = found["next_page_offset"]
            sent += len(found["points"])
            progress(sent, max(total, sent))
            if job.broken is not None:
                raise job.broken
            if offset is None:
                await finish()
                job.forwards = False
                return
        await asyncio.sleep(0)


async def apply_and_forward(job, collection, local, op, send):
    """A write on a shard whose points are migrated: here, then on the target of the migration.

    When the target cannot take it, the migration begins again or fails; the write does not.
    """
    async with job.page_lock:
        failed = None
        try:
            number = local.apply(op)
        except ApiError as error:
            if not is_missing_point(error):
                raise
            failed = error
        part = _forwarded(job, collection, op) if job.forwards else None
        if part is not None:
            try:
                await send({**part, "existing_only": True, "by_both_rings": True})
            except (ApiError, PeerUnavailable) as error:
                job.broken = error
        if failed is not None:
            raise failed
        return number


def _forwarded(job, collection, op):
    if op["kind"] in _SCHEMA or job.transfer.shard_id not in collection.shards:
        return None
    if op.get("points") is None:
        return op
    ids = [p["id"] if isinstance(p, dict) else p for p in op["points"]]
    ring = collection.rings(collection.shards[job.transfer.shard_id].key)[-1]
    target = job.transfer.to_shard_id
    points = [p for p, owner in zip(op["points"], ring.owners(ids)) if owner == target]
    return {**op, "points": points} if points else None
