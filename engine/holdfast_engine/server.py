"""The loop: one request, then its answer, until standard input ends."""

import os

from . import PROTOCOL
from .faults import Fault
from .image import Image
from .library import newest_segments, release
from .lines import Lines
from .points import id_from

_LIMIT_MAX = 100_000
_PAGE_BYTES_MAX = 1 << 30


def _number(request, name, most):
    value = request.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise Fault("request", f"'{name}' must be a number from 1 to {most}")
    return value


def _text(request, name, default=None):
    value = request.get(name, default)
    if value is not default and not isinstance(value, str):
        raise Fault("request", f"'{name}' must be a text")
    return value


class Server:
    """Serves one caller and at most one open image at a time."""

    def __init__(self, scratch, line_bytes):
        self._scratch = scratch
        self._lines = Lines(line_bytes)
        self._newest = None
        self._image = None
        self._calls = {
            "open": self._open,
            "info": self._info,
            "page": self._page,
            "points": self._points,
            "query": self._query,
            "close": self._close,
        }

    def run(self):
        """The exit status: 0 when input ended, 2 when a line was no request."""
        while True:
            try:
                request = self._lines.request()
            except Fault as fault:
                # Where the next request begins is not known any more.
                self._lines.answer(fault.answer(0))
                return 2
            if request is None:
                return 0
            self._lines.answer(self._serve(request))

    def _serve(self, request):
        number = request["id"]
        try:
            return {"re": number, "ok": True, **self._call(request)}
        except Fault as fault:
            return fault.answer(number)
        except MemoryError:
            return Fault("memory", "the memory limit was reached").answer(number)
        except OSError as error:
            code = "room" if error.errno == 28 else "internal"
            return Fault(code, f"{type(error).__name__}: {error}").answer(number)
        except BaseException as error:  # A panic of the library is no Exception.
            return Fault("internal", f"{type(error).__name__}: {error}").answer(number)

    def _call(self, request):
        op = request["op"]
        if op == "hello":
            return self._hello(request)
        if self._newest is None:
            raise Fault("protocol", "the first request must be 'hello'")
        if op not in self._calls:
            raise Fault("request", f"there is no request {op!r:.100}")
        return self._calls[op](request)

    def _hello(self, request):
        if request.get("protocol") != PROTOCOL:
            raise Fault(
                "protocol",
                f"holdfast speaks version {request.get('protocol')!r:.20} of the protocol, "
                f"this holdfast-engine {PROTOCOL}",
            )
        self._newest = newest_segments(self._scratch)
        return {
            "protocol": PROTOCOL,
            "engine": "qdrant-edge",
            "release": release(),
            "segments": self._newest,
            "pid": os.getpid(),
        }

    @property
    def _opened(self):
        if self._image is None:
            raise Fault("request", "no image is open")
        return self._image

    def _open(self, request):
        if self._image is not None:
            raise Fault("request", "an image is open already")
        folder = _text(request, "folder")
        if folder is None:
            raise Fault("request", "'folder' is missing")
        self._image = Image.open(folder, _text(request, "tar"), self._newest)
        return self._image.info()

    def _info(self, _):
        return self._opened.info()

    def _page(self, request):
        after = request.get("after")
        count, last, more = self._opened.page(
            None if after is None else id_from(after),
            _number(request, "limit", _LIMIT_MAX),
            _number(request, "bytes", _PAGE_BYTES_MAX),
            self._lines.point,
        )
        return {"count": count, "last": last, "more": more}

    def _points(self, request):
        return {"count": self._opened.points(request.get("ids"), self._lines.point)}

    def _query(self, request):
        return {"hits": self._opened.query(request.get("request"))}

    def _close(self, _):
        self._opened.close()
        self._image = None
        return {}
