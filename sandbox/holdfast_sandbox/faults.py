"""Faults that a node plays, set at its start or at run time (`/sandbox/faults`).

A fault is a JSON object: `kind`, where it applies (`collection`, `shard`, `method`, `path`), how
often (`times`, else until it is cleared) and its own values:

    end          {"entry": N | "name", "byte": N}  the stream ends early and cleanly, status 200
    reset        {"byte": N}                       the connection is reset at that byte
    stall        {"byte": N, "seconds": S}         nothing flows for that long (forever without it)
    slow         {"rate": bytes per second}        the stream is throttled
    flip         {"byte": N}                       one bit of the stream is flipped
    die          {"byte": N}                       the node kills itself at that byte of a stream
    error        {"status": S, "message": T}       matching requests answer so
    delay        {"seconds": S}                    matching requests wait first
    refuse       {"seconds": S}                    the REST port takes no connection
    disk_full    {}                                snapshots and uploads fail for lack of space
    queue        {"seconds": S, "length": N}       an update queue that takes so long to drain
    optimizing   {"on": bool, "seconds": S}        an optimization that holds deletes back
    transfer_delay {"seconds": S}                  a shard transfer from here waits before it copies
    abort_leaves {}                                what an aborted resharding had brought stays
    dead         {}                                the replica is set to Dead

`end`, `reset`, `stall`, `slow`, `flip` and `die` act on streamed snapshots, partial snapshots and
downloads of stored ones.  "entry": N ends the stream before entry N (from 0, negative from the
end), "entry": "name" before the first entry whose name contains it.
"""

import asyncio
import itertools
import os
import re
import signal
import time

from . import errors

STREAM_KINDS = ("end", "reset", "stall", "slow", "flip", "die")
REQUEST_KINDS = ("error", "delay", "disk_full")
ACTION_KINDS = ("refuse", "queue", "optimizing", "dead")
_FIELDS = {
    "end": {"entry", "byte"},
    "reset": {"byte"},
    "stall": {"byte", "seconds"},
    "slow": {"rate"},
    "flip": {"byte"},
    "die": {"byte"},
    "error": {"status", "message"},
    "delay": {"seconds"},
    "disk_full": set(),
    "refuse": {"seconds"},
    "queue": {"seconds", "length"},
    "optimizing": {"on", "seconds", "real"},
    "dead": set(),
    "transfer_delay": {"seconds"},
    "abort_leaves": set(),
}
_COMMON = {"kind", "collection", "shard", "method", "path", "times"}


class Fault:
    """One fault that is set."""

    def __init__(self, number, spec):
        self.id = number
        self.spec = spec
        self.kind = spec["kind"]
        self.left = spec.get("times")

    def matches(self, kinds, collection=None, shard=None, method=None, path=None):
        spec = self.spec
        if self.kind not in kinds or self.left == 0:
            return False
        if spec.get("collection") not in (None, collection):
            return False
        if spec.get("shard") is not None and spec["shard"] != shard:
            return False
        if spec.get("method") and spec["method"].upper() != method:
            return False
        return not spec.get("path") or re.search(spec["path"], path or "") is not None

    def take(self):
        """Uses the fault up once; its values."""
        if self.left is not None:
            self.left -= 1
        return self.spec

    def shown(self):
        return {"id": self.id, "left": self.left, **self.spec}


class Faults:
    """The faults of one node."""

    def __init__(self, node):
        self._node = node
        self._numbers = itertools.count(1)
        self._faults = []
        self.set_listening = (
            None  # Set by the server: a coroutine that opens or closes the REST port.
        )

    def list(self):
        return [f.shown() for f in self._faults]

    async def add(self, spec):
        """Sets a fault, or does at once what it asks for.  Returns its number."""
        _check(spec)
        fault = Fault(next(self._numbers), spec)
        if fault.kind in ACTION_KINDS:
            await self._act(spec)
        else:
            self._faults.append(fault)
        return fault.id

    async def clear(self, number=None):
        """Removes one fault or all; the REST port opens again."""
        self._faults = [f for f in self._faults if number is not None and f.id != number]
        if number is None and self.set_listening:
            await self.set_listening(True)

    def take(self, kinds, **where):
        """The values of the first matching fault, used up once, or None."""
        for fault in self._faults:
            if fault.matches(kinds, **where):
                spec = fault.take()
                self._faults = [f for f in self._faults if f.left != 0]
                return spec
        return None

    def check_disk(self, collection, shard=None):
        """Raises what the server answers on a full disk."""
        if self.take(("disk_full",), collection=collection, shard=shard):
            raise errors.service_error("No space left on device (os error 28)")

    # -- faults that are actions ---------------------------------------------------------------

    async def _act(self, spec):
        if spec["kind"] == "refuse":
            await self._refuse(spec.get("seconds"))
            return
        for shard, collection in self._shards(spec):
            if spec["kind"] == "queue":
                now = time.monotonic()
                end = now + spec.get("seconds", 1.0)
                shard.pretended_queue = (now, end, spec.get("length", 1))
            elif spec["kind"] == "optimizing":
                await self._node.optimizers.set(shard, collection, spec)
            elif spec["kind"] == "dead":
                await self._node.set_replicas(
                    collection, [[shard.id, self._node.peer_id, "Dead", None]]
                )

    def _shards(self, spec):
        found = []
        for (uuid, shard_id), shard in list(self._node.shards.items()):
            collection = self._node.state.find(uuid)
            if collection is None or spec.get("shard") not in (None, shard_id):
                continue
            if spec.get("collection") in (None, collection.name):
                found.append((shard, collection))
        if not found:
            raise errors.not_found(
                "no shard of this node matches the fault: check collection and shard"
            )
        return found

    async def _refuse(self, seconds):
        await self.set_listening(False)
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._listen_again)

    def _listen_again(self):
        self._reopening = asyncio.ensure_future(self.set_listening(True))


def _check(spec):
    """Refuses unknown kinds and fields: a fault with a typing error would prove nothing."""
    if not isinstance(spec, dict) or spec.get("kind") not in _FIELDS:
        known = ", ".join(sorted(_FIELDS))
        raise errors.bad_request(f"unknown fault {spec!r}: `kind` is one of {known}")
    unknown = set(spec) - _COMMON - _FIELDS[spec["kind"]]
    if unknown:
        allowed = ", ".join(sorted(_COMMON | _FIELDS[spec["kind"]]))
        raise errors.bad_request(
            f"unknown field `{sorted(unknown)[0]}` of fault {spec['kind']}: allowed are {allowed}"
        )


def kill_self():
    """Ends this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)
