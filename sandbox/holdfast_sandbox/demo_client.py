"""A small blocking client of Qdrant's REST API for the demo and the tests.

It speaks to the sandbox and to the real server alike. Standard library only; one object is used by
one thread at a time.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


class RestError(Exception):
    """A call failed. `status` is the HTTP status, or 0 when no answer came."""

    def __init__(self, method: str, url: str, status: int, message: str) -> None:
        super().__init__(f"{method} {url}: {status or 'no answer'}: {message}")
        self.status = status
        self.message = message


class Answer:
    """One HTTP answer, read whole: status, headers (names in lower case) and body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


def quote(name: str) -> str:
    """A collection or snapshot name as one path segment."""
    return urllib.parse.quote(name, safe="")


class Client:
    """Calls the nodes of a cluster; a node that does not answer is skipped for the next one."""

    def __init__(
        self,
        urls: Sequence[str],
        api_key: str | None = None,
        timeout: float = 60.0,
        ca_file: Path | None = None,
    ) -> None:
        """`timeout` is in seconds, for a connection and between bytes."""
        if not urls:
            raise ValueError("at least one URL is needed")
        self.urls = [url.rstrip("/") for url in urls]
        self._api_key = api_key
        self._timeout = timeout
        self._ca_file = ca_file
        self._current = 0
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def close(self) -> None:
        """Closes all connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections = {}

    def next_node(self) -> None:
        """Uses the next URL from now on."""
        self._current = (self._current + 1) % len(self.urls)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        url: str | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """One exchange with one node, whatever its status. Raises RestError when no answer came.

        A connection that was kept open and that the server closed meanwhile is opened again once:
        the caller's operations can be repeated.
        """
        base = url or self.urls[self._current]
        sent = dict(headers or {})
        if self._api_key:
            sent["api-key"] = self._api_key
        for attempt in (1, 2):
            kept = base in self._connections
            connection = self._connections.pop(base, None) or self._connect(base)
            connection.timeout = timeout or self._timeout
            if connection.sock is not None:
                connection.sock.settimeout(connection.timeout)
            try:
                connection.request(method, path, body, sent)
                response = connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                closed = isinstance(error, (http.client.RemoteDisconnected, BrokenPipeError))
                if attempt == 1 and kept and (closed or isinstance(error, ConnectionResetError)):
                    continue
                text = str(error) or type(error).__name__
                raise RestError(method, base + path, 0, text) from error
            if not response.will_close:
                self._connections[base] = connection
            else:
                connection.close()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, data)
        raise AssertionError("not reached")

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        url: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """The `result` of a call; tries every node when `url` is not given. Raises RestError."""
        data, headers = encode(body)
        tries = 1 if url else len(self.urls)
        while True:
            tries -= 1
            try:
                answer = self.send(method, path, data, headers, url, timeout)
            except RestError:
                if tries == 0:
                    raise
                self.next_node()
                continue
            if answer.status >= 300:
                base = url or self.urls[self._current]
                raise RestError(method, base + path, answer.status, error_text(answer))
            return answer.json().get("result") if answer.body else None

    def scroll(
        self,
        path: str,
        page: int = 500,
        with_payload: bool = True,
        with_vector: bool = True,
        url: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """All points below `path` (a collection or one shard of it), page by page."""
        offset = None
        while True:
            body = {"limit": page, "with_payload": with_payload, "with_vector": with_vector}
            if offset is not None:
                body["offset"] = offset
            result = self.call("POST", f"{path}/points/scroll", body, url)
            yield from result["points"]
            offset = result.get("next_page_offset")
            if offset is None:
                return

    def _connect(self, base: str) -> http.client.HTTPConnection:
        parts = urllib.parse.urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http or https URL: {base!r}")
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=self._ca_file)
            return http.client.HTTPSConnection(
                parts.hostname, parts.port or 443, timeout=self._timeout, context=context
            )
        return http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=self._timeout)


def encode(body: Any) -> tuple[bytes | None, dict[str, str]]:
    """A JSON body (numpy float arrays are allowed where orjson is installed) and its headers."""
    if body is None:
        return None, {}
    try:
        import orjson

        data = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    except ImportError:
        data = json.dumps(body).encode()
    return data, {"content-type": "application/json"}


def error_text(answer: Answer) -> str:
    """The text of an error answer, JSON or plain."""
    try:
        status = answer.json()["status"]
        return status["error"] if isinstance(status, dict) else str(status)
    except (ValueError, KeyError, TypeError):
        return answer.body.decode(errors="replace")[:500]


def wait_for(what: str, condition: Any, seconds: float = 30.0, step: float = 0.05) -> Any:
    """Calls `condition` until it returns something true, and returns that. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(step)
