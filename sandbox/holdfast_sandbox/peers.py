"""Calls from one node to another: JSON over HTTP on the port between peers."""

import asyncio
import datetime
import errno
import time

import aiohttp
import orjson

from .errors import ApiError, PeerUnavailable

CONNECT_SECONDS = 1.0
CALL_SECONDS = (
    20.0  # A peer that needs longer counts as dead; the engine's longest stop is shorter.
)
SEND_SECONDS = 120.0  # A target answers when it has unpacked and loaded the whole shard.
PING_SECONDS = 1.0
SILENT_PINGS = 4  # So many calls in a row without an answer in time make a peer dead.
PING_EVERY = 0.5


def now_text():
    """The present in the form of the server's timestamps (transcript 1)."""
    moment = datetime.datetime.now(datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def _transport_error(uri):
    """The text of a failed message between peers (transcript 5)."""
    address = uri.removeprefix("http://").rstrip("/")
    kind = f"code: {errno.ECONNREFUSED}, kind: ConnectionRefused"
    source = f'Os {{ {kind}, message: "Connection refused" }}'
    return (
        "Error in closure supplied to transport channel pool: code: 'The service is currently "
        'unavailable\', message: "tcp connect error", source: tonic::transport::Error(Transport, '
        f'ConnectError(ConnectError("tcp connect error", {address}, {source})))'
    )


class Peers:
    """All calls to other nodes, and who answered last."""

    def __init__(self, node):
        self._node = node
        self._session = None
        self._task = None
        self._silent = {}  # peer id -> calls in a row that it did not answer in time.
        self.alive = {}  # peer id -> whether the last call or ping was answered.
        self.failures = {}  # address -> {"count", "latest_error", "latest_error_timestamp"}.

    async def start(self):
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        self._task = asyncio.create_task(self._ping_forever())

    async def stop(self):
        if self._task:
            self._task.cancel()
        if self._session:
            await self._session.close()

    @property
    def session(self):
        return self._session

    def others(self):
        return [p for p in self._node.state.peers if p != self._node.peer_id]

    def is_alive(self, peer):
        return peer == self._node.peer_id or self.alive.get(peer, False)

    def uri(self, peer):
        return self._node.state.peers[peer]["uri"]

    async def call(self, peer, path, body, timeout=CALL_SECONDS):
        """One call.  Raises the peer's ApiError, or PeerUnavailable when it does not answer."""
        data = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        raw = await self._exchange(peer, path, data, timeout)
        answer = orjson.loads(raw)
        if "error" in answer:
            raise ApiError.from_wire(answer["error"])
        return answer["result"]

    async def _exchange(self, peer, path, data, timeout):
        if peer not in self._node.state.peers:
            raise PeerUnavailable(f"peer {peer}", "it is not part of the cluster")
        uri = self.uri(peer)
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_SECONDS)
        try:
            async with self._session.post(
                uri + path.lstrip("/"), data=data, timeout=limits
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            self._failed(peer, uri, error)
            raise PeerUnavailable(uri, str(error) or type(error).__name__) from error
        self._answered(peer, uri)
        return raw

    def _answered(self, peer, uri):
        self.alive[peer] = True
        self._silent.pop(peer, None)
        self.failures.pop(uri, None)

    async def send_body(self, peer, path, body):
        """Posts a long body; only a connection that stands still counts as dead."""
        uri = self.uri(peer)
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=SEND_SECONDS
        )
        try:
            async with self._session.post(
                uri + path.lstrip("/"), data=body, timeout=limits
            ) as response:
                answer = orjson.loads(await response.read())
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            self._failed(peer, uri, error)
            raise PeerUnavailable(uri, str(error) or type(error).__name__) from error
        if "error" in answer:
            raise ApiError.from_wire(answer["error"])
        return answer["result"]

    def _failed(self, peer, uri, error):
        """A refused call means a dead peer; a silent peer may be busy with a call of the engine."""
        self._silent[peer] = self._silent.get(peer, 0) + 1
        refused = not isinstance(error, asyncio.TimeoutError)
        if refused or self._silent[peer] >= SILENT_PINGS:
            self.alive[peer] = False
        entry = self.failures.setdefault(uri, {"count": 0})
        entry["count"] += 1
        entry["latest_error"] = _transport_error(uri)
        entry["latest_error_timestamp"] = now_text()

    async def ping(self, peer, catch_up=False):
        """Asks a peer for its view; None when it does not answer in time."""
        try:
            return await self.call(peer, "/internal/ping", {"catch_up": catch_up}, PING_SECONDS)
        except (PeerUnavailable, ApiError):
            return None

    async def ping_all(self):
        await asyncio.gather(*(self.ping(p) for p in self.others()))

    async def majority_answers(self):
        """Whether more than half of all peers, this one included, answer now."""
        missing = len(self._node.state.peers) // 2  # Beside this node.
        if missing <= 0:
            return True
        pings = [asyncio.ensure_future(self.ping(p)) for p in self.others()]
        try:
            for answered in asyncio.as_completed(pings):
                missing -= await answered is not None
                if missing <= 0:
                    return True
            return False
        finally:
            for ping in pings:
                ping.cancel()

    async def seen_by_all(self):
        """Lets living peers catch up with the log, so that a client may go to any of them next.

        Changes of a configuration do not wait for it: on the real cluster they take effect on other
        peers a little later than the call returns (measured 20).
        """
        await asyncio.gather(
            *(self.ping(p, catch_up=True) for p in self.others() if self.is_alive(p))
        )

    async def _ping_forever(self):
        while True:
            started = time.monotonic()
            await self.ping_all()
            for peer in set(self.alive) - set(self._node.state.peers):
                del self.alive[peer]
            uris = {p["uri"] for p in self._node.state.peers.values()}
            self.failures = {u: f for u, f in self.failures.items() if u in uris}
            await asyncio.sleep(max(0.05, PING_EVERY - (time.monotonic() - started)))
