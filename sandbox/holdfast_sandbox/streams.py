"""The bytes of snapshots on their way to a client, and the faults that befall them."""

import asyncio
import logging
import socket
import struct

from aiohttp import web

from .faults import STREAM_KINDS, kill_self
from .tarformat import END

log = logging.getLogger(__name__)

WRITE_IDLE_SECONDS = 300.0  # SNAPSHOT_STREAM_WRITE_IDLE_TIMEOUT (reference 3.2).
_TURN_BYTES = 1 << 20  # After so many bytes other requests of the node get their turn.


class Cut(Exception):
    """The stream ends here: `clean` with a normal end of the chunked body, else by a reset."""

    def __init__(self, clean):
        super().__init__("stream cut")
        self.clean = clean


class Sender:
    """Sends one body and plays the faults that were set for it."""

    def __init__(self, node, request, response, **where):
        self._request = request
        self._response = response
        self._sent = 0
        self._turn = 0
        self._faults = {}
        for kind in STREAM_KINDS:
            spec = node.faults.take((kind,), method=request.method, path=request.path_qs, **where)
            if spec is not None:
                self._faults[kind] = spec

    def ends_before(self, index, count, name):
        """Whether the fault `end` stops the stream before this entry."""
        entry = self._faults.get("end", {}).get("entry")
        if entry is None:
            return False
        if isinstance(entry, int):
            return index == (entry if entry >= 0 else max(0, count + entry))
        return entry in name

    async def send(self, data):
        """Sends a chunk; raises Cut where a fault ends the stream."""
        view = memoryview(data)
        while view:
            stop = self._next_stop(len(view))
            if stop > 0:
                await self._write(view[:stop])
                view = view[stop:]
            await self._act()

    def _next_stop(self, size):
        """Bytes until the next fault that is bound to a byte; without a byte it is the first."""
        marks = []
        for kind in ("end", "reset", "stall", "die"):
            spec = self._faults.get(kind)
            if spec is not None and (kind != "end" or "byte" in spec):
                marks.append(spec.get("byte", 0) - self._sent)
        return min([size, *(m for m in marks if m >= 0)])

    def _due(self, kind):
        spec = self._faults.get(kind)
        if spec is None or (kind == "end" and "byte" not in spec):
            return None
        return spec if spec.get("byte", 0) <= self._sent else None

    async def _act(self):
        if self._due("die"):
            kill_self()
        if self._due("reset"):
            raise Cut(clean=False)
        if self._due("end"):
            raise Cut(clean=True)
        stall = self._due("stall")
        if stall:
            del self._faults["stall"]
            await self._stall(stall.get("seconds"))

    async def _stall(self, seconds):
        """Nothing flows, until the time is over or the client has gone."""
        loop = asyncio.get_running_loop()
        until = None if seconds is None else loop.time() + seconds
        while until is None or loop.time() < until:
            if self._request.transport is None or self._request.transport.is_closing():
                raise ConnectionResetError("the client has gone")
            await asyncio.sleep(0.05)

    async def _write(self, view):
        flip = self._faults.get("flip")
        if flip is not None and self._sent <= flip["byte"] < self._sent + len(view):
            changed = bytearray(view)
            changed[flip["byte"] - self._sent] ^= 1
            view = memoryview(changed)
        slow = self._faults.get("slow")
        if slow is not None:
            await self._write_slowly(view, slow["rate"])
        else:
            await self._put(view)

    async def _write_slowly(self, view, rate):
        step = max(1, min(len(view), rate // 20 or 1))
        for at in range(0, len(view), step):
            part = view[at : at + step]
            await self._put(part)
            await asyncio.sleep(len(part) / rate)

    async def _put(self, view):
        async with asyncio.timeout(WRITE_IDLE_SECONDS):
            await self._response.write(bytes(view))
        self._sent += len(view)
        self._turn += len(view)
        if self._turn >= _TURN_BYTES:
            self._turn = 0
            await asyncio.sleep(0)

    def reset(self):
        """Resets the connection: the client sees an error, not an end."""
        transport = self._request.transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


async def send_entries(sender, response, entries):
    """A whole tar.  What goes wrong after the headers ends the body cleanly (measured 2)."""
    try:
        for index, entry in enumerate(entries):
            if sender.ends_before(index, len(entries), entry.name):
                raise Cut(clean=True)
            for chunk in entry.chunks():
                await sender.send(chunk)
        await sender.send(END)
    except Cut as cut:
        if not cut.clean:
            sender.reset()
            return
    except TimeoutError:
        log.error("the client took nothing for %s s: the stream ends", WRITE_IDLE_SECONDS)
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise
        log.error("a stream of a snapshot failed: %s", error)
    await response.write_eof()


def stream_response(filename):
    """Headers of a streamed snapshot: chunked, no length, no checksum (reference 3.2)."""
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f'attachment; filename="{filename}"',
    }
    response = web.StreamResponse(headers=headers)
    response.enable_chunked_encoding()
    return response
