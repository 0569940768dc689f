"""Lines in and out: bounded, and nothing else ever gets onto standard output."""

import os
import sys

import orjson

from .faults import Fault

REQUEST_BYTES_MAX = 4 << 20
_CHUNK = 1 << 16


class Lines:
    """The two ends of the line protocol."""

    def __init__(self, line_bytes):
        self._line_bytes = line_bytes
        self._in = 0
        # What a library prints goes to standard error: the protocol has this end alone.
        self._out = os.dup(1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self._buffer = bytearray()

    def request(self):
        """The next request; None at the end of input, however it comes."""
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return self._parse(line)
            searched = len(self._buffer)
            if searched > REQUEST_BYTES_MAX:
                raise Fault("request", f"a request is longer than {REQUEST_BYTES_MAX} bytes")
            more = os.read(self._in, _CHUNK)
            if not more:
                return None
            self._buffer += more

    @staticmethod
    def _parse(line):
        try:
            request = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise Fault("request", f"a request is no JSON: {error}") from None
        number = request.get("id") if isinstance(request, dict) else None
        if not isinstance(number, int) or not isinstance(request.get("op"), str):
            raise Fault("request", "a request needs a number 'id' and a text 'op'")
        return request

    def point(self, line):
        """Writes the line of a point."""
        if len(line) > self._line_bytes:
            start = line[:60].decode("utf-8", "replace")
            raise Fault(
                "too_large",
                f"the point {start}... takes {len(line)} bytes, more than {self._line_bytes}",
            )
        self._write(line)

    def answer(self, value):
        """Writes the answer to a request."""
        self._write(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE))

    def _write(self, line):
        view = memoryview(line)
        while view:
            view = view[os.write(self._out, view) :]
