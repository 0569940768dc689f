"""Streams with their instants, and what is in an image: opened with the engine itself."""

from __future__ import annotations

import http.client
import shutil
import tempfile
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import qdrant_edge
from holdfast_sandbox.demo_client import Client, RestError


@dataclass
class Stream:
    """One GET of a snapshot. Instants are of time.monotonic()."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    asked: float = 0.0  # Just before the request was sent.
    answered: float = 0.0  # The headers are here.
    began: float = 0.0  # The first byte of the body is here.
    ended: float = 0.0
    error: Exception | None = None  # The connection broke; a clean end is none.


def stream(url: str, path: str, timeout: float = 60.0) -> Stream:
    """Reads a snapshot and notes when what came."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    result = Stream()
    try:
        connection.connect()
        result.asked = time.monotonic()
        connection.request("GET", path, headers={"accept-encoding": "identity"})
        response = connection.getresponse()
        result.answered = time.monotonic()
        result.status = response.status
        result.headers = {name.lower(): value for name, value in response.getheaders()}
        pieces = [response.read(1)]
        result.began = time.monotonic()
        while piece := response.read1(1 << 16):
            pieces.append(piece)
            result.data = b"".join(pieces) if len(pieces) < 2 else b""
        result.data = b"".join(pieces)
    except (OSError, http.client.HTTPException) as error:
        result.error = error
    finally:
        connection.close()
    result.ended = time.monotonic()
    return result


class Writer(threading.Thread):
    """Upserts new points, one small batch after the other, and notes when each was acknowledged."""

    def __init__(self, url: str, collection: str, first: int, size: int, batch: int = 5) -> None:
        super().__init__(daemon=True)
        self.done: list[tuple[float, float, range]] = []  # sent, acknowledged, ids
        self.failures: list[str] = []
        self._client = Client([url])
        self._path = f"/collections/{collection}/points?wait=true"
        self._next = first
        self._size = size
        self._batch = batch
        self._ending = threading.Event()

    def run(self) -> None:
        """Writes until it is told to stop."""
        while not self._ending.is_set():
            ids = range(self._next, self._next + self._batch)
            self._next += self._batch
            points = [{"id": i, "vector": [float(i % 7 + 1)] * self._size} for i in ids]
            sent = time.monotonic()
            try:
                self._client.call("PUT", self._path, {"points": points})
            except RestError as error:
                self.failures.append(str(error))
                return
            self.done.append((sent, time.monotonic(), ids))

    def stop(self) -> None:
        """Ends the thread."""
        self._ending.set()
        self.join(30)


def image_points(data: bytes) -> dict[Any, dict[str, Any] | None]:
    """Ids and payloads of the points in a shard tar, as the engine reads it."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-image-"))
    try:
        (folder / "tar").write_bytes(data)
        qdrant_edge.EdgeShard.unpack_snapshot(str(folder / "tar"), str(folder / "shard"))
        shard = qdrant_edge.EdgeShard.load(str(folder / "shard"))
        found: dict[Any, dict[str, Any] | None] = {}
        offset = None
        while True:
            request = qdrant_edge.ScrollRequest(limit=1000, offset=offset, with_payload=True)
            records, offset = shard.scroll(request)
            for record in records:
                name = record.id if isinstance(record.id, int) else str(record.id)
                found[name] = record.payload
            if offset is None:
                break
        shard.close()
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def image_ids(data: bytes) -> set:
    """The ids in a shard tar."""
    return set(image_points(data))
