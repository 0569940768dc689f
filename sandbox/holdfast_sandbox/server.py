"""The process of one node: listeners, signals, log."""

import asyncio
import logging
import os
import signal
import sys

from aiohttp import web

from . import (
    http_base,
    internal,
    layout,
    rest_cluster,
    rest_collections,
    rest_points,
    rest_recovery,
)
from . import rest_sandbox, rest_service, rest_snapshots
from .node import Node

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 1.0  # Open streams are cut when a node is told to stop.
KEEP_ALIVE_SECONDS = 5  # Idle pooled connections are closed after 5 s (reference 0.1).


def rest_application(node):
    """The application behind the REST port."""
    middlewares = [
        http_base.stats_middleware(node),
        http_base.errors_middleware,
    ]
    app = web.Application(client_max_size=http_base.BODY_LIMIT, middlewares=middlewares)
    routes = http_base.Routes()
    for module in (
        rest_service,
        rest_cluster,
        rest_collections,
        rest_points,
        rest_recovery,
        rest_snapshots,
        rest_sandbox,
    ):
        module.register(routes)
    routes.register(app, node)
    return app


class Listeners:
    """The REST port, which a fault may close for a while, and the port between peers."""

    def __init__(self, node):
        self._node = node
        self._rest = web.AppRunner(
            rest_application(node),
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        self._peers = web.AppRunner(
            internal.application(node),
            access_log=None,
            keepalive_timeout=60,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        self._site = None

    async def open_peers(self):
        await self._peers.setup()
        address = self._node.address
        await web.TCPSite(self._peers, address.host, address.p2p_port, backlog=512).start()

    async def open_rest(self):
        await self._rest.setup()
        await self.listen(True)

    async def listen(self, on):
        """Opens or closes the REST port; open connections stay."""
        address = self._node.address
        if on and self._site is None:
            self._site = web.TCPSite(
                self._rest, address.host, address.rest_port, backlog=512, reuse_address=True
            )
            await self._site.start()
        elif not on and self._site is not None:
            site, self._site = self._site, None
            site._server.close()  # Only the listening socket; `stop` would wait for connections.
            site._runner._unreg_site(site)

    async def close(self):
        await self._rest.cleanup()
        await self._peers.cleanup()


async def _serve(root, index):
    node = Node(root, index)
    listeners = Listeners(node)
    node.faults.set_listening = listeners.listen
    await listeners.open_peers()
    await node.start()
    await listeners.open_rest()
    log.info("peer %s serves %s", node.peer_id, node.address.rest)
    for spec in node.cluster.faults.get(str(index), []):
        await node.faults.add(spec)
    _write_ready(node)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    await asyncio.wait_for(listeners.close(), 10)
    await node.stop()


def _write_ready(node):
    """Tells who started the process that it serves."""
    layout.write_json(
        os.path.join(node.dir, "ready.json"), {"pid": os.getpid(), "peer_id": node.peer_id}
    )


def main(root, index):
    """Runs one node until it is told to stop."""
    level = layout.ClusterFile.load(root).log_level.upper()
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        asyncio.run(_serve(root, index))
    except (asyncio.TimeoutError, KeyboardInterrupt):
        pass
