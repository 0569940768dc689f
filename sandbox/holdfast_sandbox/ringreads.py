"""Reads of one replica by the hash ring: `hash_ring_filter` (reference 6.2, measured 16)."""

import asyncio

_PAGE = 5000


def _ring_of(collection, shard_id):
    """The ring that a shard belongs to, or None when the collection has no such shard."""
    shard = collection.shards.get(shard_id)
    return None if shard is None else collection.ring(shard.key)


async def _pages(shard, body):
    """Pages of a replica; other calls of the node get their turn between them."""
    offset = body.get("offset")
    while True:
        page = shard.read("scroll", {**body, "limit": _PAGE, "offset": offset})
        yield page["points"]
        offset = page["next_page_offset"]
        if offset is None:
            return
        await asyncio.sleep(0)


async def ring_count(collection, shard, body, expected):
    """How many points of the replica the ring gives to the shard `expected`."""
    ring = _ring_of(collection, expected)
    if ring is None:
        return 0
    total = 0
    async for points in _pages(shard, {"filter": body.get("filter"), "with_payload": False}):
        total += ring.owners([p["id"] for p in points]).count(expected)
    return total


async def ring_scroll(collection, shard, body, expected):
    """A page of the points that the ring gives to the shard `expected`."""
    limit, found = body.get("limit", 10), []
    ring = _ring_of(collection, expected)
    if ring is None:
        return {"points": [], "next_page_offset": None}
    async for points in _pages(shard, body):
        owners = ring.owners([p["id"] for p in points])
        found += [p for p, owner in zip(points, owners) if owner == expected]
        if len(found) > limit:
            return {"points": found[:limit], "next_page_offset": found[limit]["id"]}
    return {"points": found, "next_page_offset": None}


async def foreign_ids(collection, shard):
    """Ids of the replica that the ring gives to another shard; `cleanup` deletes them."""
    ring = collection.rings(collection.shards[shard.id].key)[-1]
    async for points in _pages(shard, {"with_payload": False}):
        owners = ring.owners([p["id"] for p in points])
        yield [p["id"] for p, owner in zip(points, owners) if owner != shard.id]
