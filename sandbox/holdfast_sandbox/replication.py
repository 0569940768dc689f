"""The way of a write: from the coordinator to the leader of each shard, from there to the replicas.

The leader of a shard is its Active replica with the lowest peer id, or the source of a running
transfer.  It orders all writes of the shard under one lock, so that replicas stay equal.  The real
server has no such leader for weak ordering; what a client sees is the same.
"""

import asyncio
import logging

from . import errors, resharding
from .errors import ApiError, PeerUnavailable
from .state import SOURCES, UPDATABLE

log = logging.getLogger(__name__)

MAX_HOPS = 8  # Leaders may change while a write is on its way; each change costs one hop.


class Writer:
    """Writes of one node, as coordinator and as leader."""

    def __init__(self, node):
        self._node = node

    def leader(self, collection, shard):
        """The peer that orders the writes of a shard, or None when no replica takes writes."""
        transfer = collection.transfer_of(shard.id)
        if transfer is not None and shard.replicas.get(transfer.source) in SOURCES:
            return transfer.source
        for states in (("Active",), SOURCES, UPDATABLE):
            peers = [p for p, s in shard.replicas.items() if s in states]
            if peers:
                return min(peers)
        return None

    # -- coordinator --------------------------------------------------------------------------

    async def write(self, collection, ops):
        """Applies `ops`, a list of (shard id, update).  Returns the largest operation number."""
        by_leader = {}
        for shard_id, op in ops:
            shard = collection.shards.get(shard_id)
            if shard is None:
                raise errors.not_found(f"shard {shard_id} not found")
            by_leader.setdefault(self.leader(collection, shard), []).append((shard_id, op))
        results = await asyncio.gather(
            *(self._send(collection, leader, items, 0) for leader, items in by_leader.items()),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return max((n for numbers in results for n in numbers), default=0)

    async def _send(self, collection, leader, items, hops):
        """Gives writes to their leader; when it is dead, to the next one."""
        if leader is None:
            raise errors.service_error(
                f"The replica set for shard {items[0][0]} has no active replica"
            )
        if leader == self._node.peer_id:
            return await self.lead(collection, items, hops)
        body = {"uuid": collection.uuid, "items": items, "hops": hops}
        try:
            return await self._node.peers.call(leader, "/internal/write", body)
        except PeerUnavailable as error:
            return await self._next_leader(collection, leader, items, hops, error)

    async def _next_leader(self, collection, dead, items, hops, error):
        """Marks the dead leader's replicas and tries again where another one is left."""
        if hops >= MAX_HOPS:
            raise error.as_service_error() from error
        await self._mark_dead(collection, [(shard_id, dead) for shard_id, _ in items])
        current = self._node.state.find(collection.uuid)
        if current is None:
            raise errors.no_collection(collection.name) from error
        numbers = []
        for shard_id, op in items:
            leader = self.leader(current, current.shards[shard_id])
            if leader == dead:  # It was the last replica: nobody can take the write (measured 18).
                raise error.as_service_error() from error
            numbers += await self._send(current, leader, [(shard_id, op)], hops + 1)
        return numbers

    async def _mark_dead(self, collection, pairs):
        """Dead, where another Active replica exists (measured, transcript 5)."""
        changes = [
            [shard_id, peer, "Dead", None]
            for shard_id, peer in pairs
            if self._may_die(collection, shard_id, peer)
        ]
        if changes:
            await self._node.set_replicas(collection, changes)

    @staticmethod
    def _may_die(collection, shard_id, peer):
        return peer in collection.shards[shard_id].replicas

    # -- leader -------------------------------------------------------------------------------

    async def lead(self, collection, items, hops):
        """Orders and applies writes whose leader this node is; passes others on."""
        return [await self._lead_one(collection, shard_id, op, hops) for shard_id, op in items]

    async def _lead_one(self, collection, shard_id, op, hops):
        local = self._node.local(collection, shard_id)
        if local is None:
            return await self._pass_on(collection, shard_id, op, hops)
        async with local.write_lock:
            current = self._node.state.find(collection.uuid)
            shard = current.shards.get(shard_id) if current else None
            if shard is None:
                raise errors.no_collection(collection.name)
            local = self._node.local(current, shard_id)  # A recovery may have replaced it.
            if local is not None and self.leader(current, shard) == self._node.peer_id:
                return await self._replicate(current, shard, local, op)
        return await self._pass_on(collection, shard_id, op, hops)

    async def _pass_on(self, collection, shard_id, op, hops):
        """This node is not the leader (any more): its view or the sender's was old."""
        if hops >= MAX_HOPS:
            raise errors.service_error(f"no leader for shard {shard_id} of {collection.name}")
        await asyncio.sleep(0.01 * hops)
        current = self._node.state.find(collection.uuid)
        if current is None or shard_id not in current.shards:
            raise errors.no_collection(collection.name)
        leader = self.leader(current, current.shards[shard_id])
        numbers = await self._send(current, leader, [(shard_id, op)], hops + 1)
        return numbers[0]

    async def _replicate(self, collection, shard, local, op):
        """Here first, then on every other replica that takes writes, before anybody is told."""
        op = resharding.owned_part(collection, shard.id, op)
        number = local.apply(op)
        forward = self._node.transfers.forward(collection, shard.id, op)
        if forward is not None:
            await forward
        followers = [
            p for p, s in shard.replicas.items() if s in UPDATABLE and p != self._node.peer_id
        ]
        if followers:
            await self._follow(collection, shard, followers, op)
        return number

    async def _follow(self, collection, shard, followers, op):
        body = {"uuid": collection.uuid, "shard": shard.id, "op": op}
        calls = (self._node.peers.call(p, "/internal/apply", body) for p in followers)
        results = await asyncio.gather(*calls, return_exceptions=True)
        failed = []
        for peer, result in zip(followers, results):
            if isinstance(result, (PeerUnavailable, ApiError)):
                log.warning(
                    "shard %s of %s on peer %s: %s", shard.id, collection.name, peer, result
                )
                failed.append((shard.id, peer))
            elif isinstance(result, BaseException):
                raise result
        if failed:
            await self._mark_dead(collection, failed)
        self._check_factor(collection, shard, len(followers) - len(failed) + 1)

    @staticmethod
    def _check_factor(collection, shard, done):
        wanted = min(collection.config["params"]["write_consistency_factor"], len(shard.replicas))
        if done < wanted:
            text = f"only {done} of {len(shard.replicas)} did"
            raise errors.service_error(
                f"Failed to apply operation to at least {wanted} replicas: {text}"
            )

    def follow(self, uuid, shard_id, op):
        """A write that the leader passes to this replica."""
        local = self._node.shards.get((uuid, shard_id))
        if local is None:
            raise errors.service_error(f"Local shard {shard_id} not found")
        return local.apply(op)
