"""Service calls: version, health, metrics, issues."""

import orjson
from aiohttp import web

from . import COMMIT, VERSION, http_base, metrics, telemetry


async def root(_node, _request):
    """Bare JSON without an envelope (transcript 1)."""
    body = orjson.dumps(
        {"title": "qdrant - vector search engine", "version": VERSION, "commit": COMMIT}
    )
    return web.Response(body=body, content_type="application/json")


async def healthz(_node, _request):
    return web.Response(text="healthz check passed")


async def readyz(node, _request):
    """Latches to ready once all local shards were Active (reference 1.1)."""
    if not node.ready:
        states = [
            s.replicas.get(node.peer_id)
            for c in node.state.collections.values()
            for s in c.shards.values()
        ]
        node.ready = all(
            s not in ("Dead", "Partial", "Recovery", "Initializing") for s in states if s
        )
    if node.ready:
        return web.Response(text="all shards are ready")
    return web.Response(status=503, text="some shards are not ready")


async def get_metrics(node, _request):
    return web.Response(text=metrics.render(node), content_type="text/plain")


async def get_telemetry(node, request):
    level = http_base.number(request, "details_level", 0)
    return http_base.envelope(request, telemetry.node_telemetry(node, level))


async def issues(_node, request):
    return http_base.envelope(request, {"issues": []})


def register(routes):
    routes.add("GET", "/", root, "open")
    routes.add("GET", "/healthz", healthz, "open")
    routes.add("GET", "/livez", healthz, "open")
    routes.add("GET", "/readyz", readyz, "open")
    routes.add("GET", "/metrics", get_metrics)
    routes.add("GET", "/telemetry", get_telemetry)
    routes.add("GET", "/issues", issues)
