"""Doors in front of a server, to do something at a known moment of an exchange."""

from __future__ import annotations

import re
import socket
import threading
import urllib.parse
from collections.abc import Callable

_STREAM = re.compile(rb"GET /collections/[^ ]*/shards/[0-9]+/snapshot[ ?]")
_REQUEST = re.compile(rb"(GET|PUT|HEAD|POST|DELETE) /")
_SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\nconnection: close\r\n"
    b"content-length: 66\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>Slow down.</Message></Error>\n"
)


class Door:
    """Passes every connection on to `target`; a subclass looks at what goes by."""

    def __init__(self, target: str) -> None:
        parts = urllib.parse.urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Its own address."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()

    def asked(self, piece: bytes, state: dict) -> bytes | None:
        """A piece of a request. An answer of our own ends the connection; `state` is its own."""

    def answered(self, piece: bytes, state: dict) -> bool:
        """A piece of an answer; False ends the connection without passing it on."""
        return True

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            node = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        node.settimeout(None)
        state: dict = {}
        back = threading.Thread(target=self._pass_answers, args=(node, client, state), daemon=True)
        back.start()
        try:
            while piece := client.recv(1 << 16):
                own = self.asked(piece, state)
                if own is not None:
                    client.sendall(own)
                    break
                node.sendall(piece)
        except OSError:
            pass
        self._end(client, node)
        back.join()
        client.close()
        node.close()

    def _pass_answers(self, node: socket.socket, client: socket.socket, state: dict) -> None:
        try:
            while piece := node.recv(1 << 16):
                if not self.answered(piece, state):
                    break
                client.sendall(piece)
        except OSError:
            pass
        self._end(client, node)

    @staticmethod
    def _end(*connections: socket.socket) -> None:
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class StreamDoor(Door):
    """In front of a node: calls `act` once, when so many bytes of one shard's stream have gone by.
    Arm it first: until then it only passes on."""

    def __init__(self, target: str) -> None:
        self._lock = threading.Lock()
        self._act: Callable[[], None] | None = None
        self._bytes = 0
        self.acted = False
        super().__init__(target)

    def arm(self, after_bytes: int, act: Callable[[], None]) -> None:
        """What to do, and when."""
        with self._lock:
            self._bytes, self._act, self.acted = after_bytes, act, False

    def asked(self, piece: bytes, state: dict) -> None:
        """Finds out what is streamed."""
        if _STREAM.search(piece):
            state["passed"] = 0

    def answered(self, piece: bytes, state: dict) -> bool:
        """Counts."""
        if "passed" not in state:
            return True
        state["passed"] += len(piece)
        with self._lock:
            if self._act is None or state["passed"] < self._bytes:
                return True
            act, self._act, self.acted = self._act, None, True
        act()
        return True


class FlakyDoor(Door):
    """In front of an S3 server: every so many requests one is refused with SlowDown, or done and
    its reply lost, in turn."""

    def __init__(self, target: str, every: int) -> None:
        self._lock = threading.Lock()
        self._every = every
        self._requests = 0
        self.refused = 0
        self.lost = 0
        super().__init__(target)

    def asked(self, piece: bytes, state: dict) -> bytes | None:
        """A request begins with a piece of its own: the client waits for the answer before."""
        if not _REQUEST.match(piece):
            return None
        with self._lock:
            self._requests += 1
            if self._requests % self._every:
                return None
            if self.refused <= self.lost:
                self.refused += 1
                return _SLOW_DOWN
            self.lost += 1
        state["lose"] = True
        return None

    def answered(self, piece: bytes, state: dict) -> bool:
        """The reply to a request that was done."""
        return not (state.get("lose") and not piece.startswith(b"HTTP/1.1 100"))
