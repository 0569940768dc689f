"""What every REST handler shares: the envelope, decoding, keys and error answers (reference 0)."""

import asyncio
import hmac
import logging
import time

import orjson
from aiohttp import web

from . import errors
from .errors import ApiError, PeerUnavailable

log = logging.getLogger(__name__)

BODY_LIMIT = 32 << 20  # `service.max_request_size_mb` (reference 0.1).
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def envelope(request, value):
    body = {"result": value, "status": "ok", "time": time.perf_counter() - request["started"]}
    return web.Response(body=orjson.dumps(body, option=_OPTIONS), content_type="application/json")


def accepted(request):
    """The answer to `wait=false` on snapshot calls (reference 0.1)."""
    body = {"status": "accepted", "time": time.perf_counter() - request["started"]}
    return web.Response(status=202, body=orjson.dumps(body), content_type="application/json")


def failure(request, error):
    """The answer to a failed request; handlers of streams answer in plain text (reference 0.1)."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    message = error.message
    if error.at_end:
        message += f" at line 1 column {request.get('body_size', 0)}"
    if request.get("plain_errors"):
        return web.Response(status=error.status, text=message, headers=headers)
    spent = time.perf_counter() - request["started"]
    body = {"status": {"error": message}, "time": spent}
    return web.Response(
        status=error.status,
        body=orjson.dumps(body),
        content_type="application/json",
        headers=headers,
    )


def in_background(node, work):
    """`wait=false`: the work goes on, its error is only logged (reference 0.1)."""

    async def run():
        try:
            await work
        except ApiError as error:
            log.error("a call without wait failed: %s", error)

    node.background(run())


async def waited(node, request, work):
    """The result of `work`; dropping the connection cancels nothing (reference 0.1)."""
    if not flag(request, "wait", True):
        in_background(node, work)
        return accepted(request)
    return envelope(request, await asyncio.shield(node.background(work)))


def flag(request, name, default):
    """A boolean of the query string; 400 for anything else."""
    value = request.query.get(name)
    if value is None:
        return default
    if value not in ("true", "false"):
        raise errors.bad_query("provided string was not `true` or `false`")
    return value == "true"


def number(request, name, default):
    value = request.query.get(name)
    if value is None:
        return default
    try:
        return int(value)
    except ValueError:
        raise errors.bad_query("invalid digit found in string") from None


def consensus_timeout(request):
    """`?timeout=` of calls that change the cluster, in seconds (reference 1.2)."""
    return float(number(request, "timeout", 10))


async def json_body(request, default=None):
    """The decoded body; 400 when it is not JSON."""
    raw = await request.read()
    request["body_size"] = len(raw)
    if not raw and default is not None:
        return default
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if not raw:
            raise errors.bad_json("EOF while parsing a value") from None
        text = f"expected value at line {error.lineno} column {error.colno}"
        raise errors.bad_json(text, at_end=False) from None


async def json_object(request, default=None):
    body = await json_body(request, default)
    if not isinstance(body, dict):
        raise errors.bad_json("invalid type: expected a map")
    return body


def path_shard(request):
    """The shard id of the path; 400 when it is no number (reference 3.1)."""
    text = request.match_info["shard"]
    if not text.isdigit() or int(text) >= 1 << 32:
        request["plain_errors"] = False
        raise errors.bad_path(f'can not parse "{text}" to a u32')
    return int(text)


class Routes:
    """A table of routes; each says what right it needs and how it reports errors."""

    def __init__(self):
        self.table = []

    def add(self, method, path, handler, need="r", plain=False):
        self.table.append((method, path, handler, need, plain))

    def register(self, app, node, keys=True):
        for method, path, handler, need, plain in self.table:
            app.router.add_route(
                method, path, _wrap(node, handler, need if keys else "open", plain)
            )


def _wrap(node, handler, need, plain):
    async def run(request):
        request["plain_errors"] = plain
        await _play_faults(node, request)
        refused = _authorize(node, request, need)
        if refused is not None:
            return refused
        return await handler(node, request)

    return run


async def _play_faults(node, request):
    """Plays the faults `delay` and `error` on matching requests."""
    if request.path.startswith("/sandbox/"):
        return
    name = request.match_info.get("name")
    where = {"method": request.method, "path": request.path_qs, "collection": name}
    shard = request.match_info.get("shard", "")
    where["shard"] = int(shard) if shard.isdigit() else None
    delay = node.faults.take(("delay",), **where)
    if delay:
        await asyncio.sleep(delay.get("seconds", 1.0))
    error = node.faults.take(("error",), **where)
    if error:
        text = error.get("message", "Service internal error: a fault of the sandbox")
        raise ApiError(error.get("status", 500), text)


def _given_key(request):
    key = request.headers.get("api-key")
    if key is None:
        bearer = request.headers.get("Authorization", "")
        key = bearer[7:] if bearer.startswith("Bearer ") else None
    return key


def _same(given, key):
    return bool(key) and hmac.compare_digest(given.encode(), key.encode())


def _authorize(node, request, need):
    """None when the call is allowed.  Missing and wrong keys: 401 in plain text (reference 0.1)."""
    if need == "open" or not (node.api_key or node.read_key):
        return None
    given = _given_key(request)
    if given is None:
        return web.Response(
            status=401, text="Must provide an API key or an Authorization bearer token"
        )
    if _same(given, node.api_key):
        return None
    if not _same(given, node.read_key):
        return web.Response(status=401, text="Invalid API key or JWT")
    if need == "r":
        return None
    # A read-only key may not even stream a snapshot (reference 0.2).
    return failure(request, errors.forbidden("Global manage access is required"))


@web.middleware
async def errors_middleware(request, handler):
    """Turns errors into answers; nothing is swallowed: what is unexpected is logged and a 500."""
    request["started"] = time.perf_counter()
    try:
        return await handler(request)
    except ApiError as error:
        return failure(request, error)
    except PeerUnavailable as error:
        return failure(request, error.as_service_error())
    except web.HTTPException as error:
        if error.status in (404, 405):
            return web.Response(status=404)  # Unknown routes: 404 without a body (transcript 1).
        if error.status == 413:
            return failure(
                request,
                ApiError(
                    413, f"Payload error: JSON payload has exceeded limit ({BODY_LIMIT} bytes)."
                ),
            )
        raise
    except (asyncio.CancelledError, ConnectionError):
        raise
    except OSError as error:
        return failure(request, errors.service_error(f"File IO error: {error}"))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        missing = isinstance(error, KeyError) and error.args and isinstance(error.args[0], str)
        if not missing:
            log.exception("%s %s", request.method, request.path)
        text = f"missing field `{error.args[0]}`" if missing else f"invalid type: {error}"
        return failure(request, errors.bad_json(text))
    except Exception as error:
        log.exception("%s %s", request.method, request.path)
        return failure(request, errors.service_error(f"{type(error).__name__}: {error}"))


def stats_middleware(node):
    """Counts answers by route for the telemetry."""

    @web.middleware
    async def middleware(request, handler):
        started = time.perf_counter()
        response = await handler(request)
        resource = request.match_info.route.resource
        if resource is not None:
            node.requests.note(f"{request.method} {resource.canonical}", response.status, started)
        return response

    return middleware
