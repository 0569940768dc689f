"""The way of a write: from the coordinator to the leader of each shard, from there to the replicas.

The leader of a shard is its Active replica with the lowest peer id, or the source of a running
transfer.  It orders all writes of the shard under one lock, so that replicas stay equal.  The real
server has no such leader for weak ordering; what a client sees is the same.
"""

import asyncio
import logging
import time

from . import errors
from .errors import ApiError, PeerUnavailable
from .reshard_writes import by_mode, is_missing_point, still_owned
from .state import SOURCES, UPDATABLE

log = logging.getLogger(__name__)

LOCAL_SECONDS = 2.0  # How long a write waits for a replica that this node is about to make.
MAX_HOPS = 8  # Leaders may change while a write is on its way; each change costs one hop.


def _no_active(shard_id):
    return errors.service_error(f"The replica set for shard {shard_id} has no active replica")


def _failed(error):
    return {"error": error.to_wire()}


def _gone(collection, item, name):
    """The result of a write on a shard that is gone; a resharding has left its points elsewhere."""
    if collection is not None and item[1].get("by_both_rings"):
        return {"number": None}
    return _failed(errors.no_collection(name if collection is None else collection.name))


def _only_existing(op):
    """Whether points that are not there are no error of this update."""
    return bool(op.get("existing_only") or op.get("update_mode") == "update_only")


def _failure(failed, total):
    """Some shards have the write and some do not: the server says how many (run).

    Its status is that of the first error (lib/collection/src/collection/point_ops.rs).
    """
    wire = failed[0]
    if len(failed) == total:
        return ApiError(**wire)
    kind = wire["message"].partition(": ")[0]
    text = f"{kind}: {len(failed)} out of {total} shards failed to apply operation. "
    text += f"First error captured: {wire['message']}"
    return ApiError(wire["status"], text, wire["retry_after"], wire["at_end"])


class Writer:
    """Writes of one node, as coordinator and as leader."""

    def __init__(self, node):
        self._node = node
        self._running = set()  # One future for each write that this node coordinates.

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
        """Applies `ops`, a list of (shard id, update).  Returns the largest operation number.

        None when nothing was to be changed.
        """
        done = asyncio.get_running_loop().create_future()
        self._running.add(done)
        try:
            return await self._write(collection, ops)
        finally:
            self._running.discard(done)
            done.set_result(None)

    async def settle(self, seconds):
        """Waits until the writes that run now are done, but not longer than this."""
        if self._running:
            await asyncio.wait(list(self._running), timeout=seconds)

    async def _write(self, collection, ops):
        by_leader = {}
        for shard_id, op in ops:
            shard = collection.shards.get(shard_id)
            if shard is None:
                raise errors.not_found(f"shard {shard_id} not found")
            by_leader.setdefault(self.leader(collection, shard), []).append((shard_id, op))
        sent = await asyncio.gather(
            *(self._send(collection, leader, items, 0) for leader, items in by_leader.items())
        )
        results = [r for part in sent for r in part]
        self._node.consensus.catch_up()  # A leader may have set replicas Dead: the client sees it.
        failed = [r["error"] for r in results if "error" in r]
        if failed:
            raise _failure(failed, len(results))
        numbers = [r["number"] for r in results if r["number"] is not None]
        return max(numbers, default=None if results else 0)

    async def _send(self, collection, leader, items, hops):
        """Gives writes to their leader; when it is dead, to the next one.

        One result an item: {"number": N} or {"error": the error as sent between nodes}.
        """
        if leader == self._node.peer_id:
            return await self.lead(collection, items, hops)
        if leader is None:
            return [_failed(_no_active(shard_id)) for shard_id, _ in items]
        body = {"uuid": collection.uuid, "items": items, "hops": hops}
        try:
            results = await self._node.peers.call(leader, "/internal/write", body)
        except PeerUnavailable as error:
            return await self._next_leader(collection, leader, items, hops, error)
        except ApiError as error:
            return [_failed(error) for _ in items]
        return [_failed(ApiError.from_wire(r["error"])) if "error" in r else r for r in results]

    async def _next_leader(self, collection, dead, items, hops, error):
        """Marks the dead leader's replicas and tries again where another one is left."""
        try:
            await self._mark_dead(collection, [(shard_id, dead) for shard_id, _ in items])
        except ApiError as refused:
            return [_failed(refused) for _ in items]
        return [await self._retry(collection.uuid, dead, item, hops, error) for item in items]

    async def _retry(self, uuid, dead, item, hops, error):
        current = self._node.state.find(uuid)
        if current is None or item[0] not in current.shards:
            return _gone(current, item, uuid)
        leader = self.leader(current, current.shards[item[0]])
        if leader == dead or hops >= MAX_HOPS:
            # It was the last replica: nobody can take the write (measured 18).
            return _failed(error.as_service_error())
        [result] = await self._send(current, leader, [item], hops + 1)
        return result

    async def _mark_dead(self, collection, pairs):
        """Dead, where another Active replica exists (measured, transcript 5)."""
        changes = [
            [shard_id, peer, "Dead", None]
            for shard_id, peer in pairs
            if peer in collection.shards[shard_id].replicas
        ]
        if changes:
            await self._node.set_replicas(collection, changes)

    # -- leader -------------------------------------------------------------------------------

    async def lead(self, collection, items, hops):
        """Orders and applies writes whose leader this node is; passes others on."""
        calls = (self._lead_one(collection, shard_id, op, hops) for shard_id, op in items)
        return await asyncio.gather(*calls)

    async def _lead_one(self, collection, shard_id, op, hops):
        """The result of one item; each shard succeeds or fails by itself."""
        try:
            done = await self._if_leader(collection, shard_id, op)
        except ApiError as error:
            return _failed(error)
        if done is not None:
            return done
        return await self._pass_on(collection, shard_id, op, hops)

    async def _if_leader(self, collection, shard_id, op):
        """The result, or None when this node does not lead the shard."""
        local = await self._local(collection.uuid, shard_id)
        if local is None:
            return None
        async with local.write_lock:
            current = self._node.state.find(collection.uuid)
            shard = current.shards.get(shard_id) if current else None
            if shard is None:
                return None
            local = self._node.local(current, shard_id)  # A recovery may have replaced it.
            if local is None or self.leader(current, shard) != self._node.peer_id:
                return None
            return {"number": await self._replicate(current, shard, local, op)}

    async def _local(self, uuid, shard_id):
        """The replica of this node; one that the metadata has already is waited for."""
        deadline = time.monotonic() + LOCAL_SECONDS
        while (uuid, shard_id) not in self._node.shards and time.monotonic() < deadline:
            self._node.consensus.catch_up()
            found = self._node.state.find(uuid)
            shard = found.shards.get(shard_id) if found else None
            if shard is None or self._node.peer_id not in shard.replicas:
                break
            await asyncio.sleep(0.01)
        return self._node.shards.get((uuid, shard_id))

    async def _pass_on(self, collection, shard_id, op, hops):
        """This node is not the leader (any more): its view or the sender's was old."""
        await asyncio.sleep(0.01 * hops)
        current = self._node.state.find(collection.uuid)
        shard = current.shards.get(shard_id) if current else None
        if shard is None:
            return _gone(current, (shard_id, op), collection.name)
        if hops >= MAX_HOPS:
            return _failed(_no_active(shard_id))
        [result] = await self._send(
            current, self.leader(current, shard), [(shard_id, op)], hops + 1
        )
        return result

    async def _replicate(self, collection, shard, local, op):
        """Here first, then on every other replica that takes writes, before anybody is told."""
        number = None
        for part in by_mode(collection, shard.id, op):
            try:
                number = await self._apply_everywhere(collection, shard, local, part)
            except ApiError as error:
                if not (is_missing_point(error) and _only_existing(part)):
                    raise
        return number

    async def _apply_everywhere(self, collection, shard, local, op):
        missing = number = None
        try:
            number = await self._node.transfers.apply(collection, local, op)
        except ApiError as error:
            if not is_missing_point(error):
                raise
            missing = error  # Points that are there were changed, so the others must follow.
        forward = self._node.transfers.forward(collection, shard.id, op)
        if forward is not None:
            await forward
        followers = [
            p for p, s in shard.replicas.items() if s in UPDATABLE and p != self._node.peer_id
        ]
        if followers:
            await self._follow(collection, shard, followers, op, missing is not None)
        if missing is not None:
            raise missing
        return number

    async def _follow(self, collection, shard, followers, op, may_miss):
        body = {"uuid": collection.uuid, "shard": shard.id, "op": op}
        calls = (self._node.peers.call(p, "/internal/apply", body) for p in followers)
        results = await asyncio.gather(*calls, return_exceptions=True)
        failed = []
        for peer, result in zip(followers, results):
            if may_miss and is_missing_point(result):
                continue
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

    async def follow(self, uuid, shard_id, op):
        """A write that the leader, or the source of a migration, passes to this replica."""
        local = await self._local(uuid, shard_id)
        collection = self._node.state.find(uuid)
        if local is None or collection is None or shard_id not in collection.shards:
            raise errors.service_error(f"Local shard {shard_id} not found")
        op = still_owned(collection, shard_id, op)  # This node may know more than the sender.
        if op.get("points") == []:
            return None
        try:
            return await self._node.transfers.apply(collection, local, op)
        except ApiError as error:
            if is_missing_point(error) and _only_existing(op):
                return None
            raise
