"""The log that stands for the consensus of the cluster: one file, one operation a line.

Every node reads it in order; whoever proposes holds the lock of the file, so that all nodes see the
same sequence.  A line counts when it is whole: checksum, JSON and the newline.  What a killed
writer left behind it is cut off by the next one.
"""

import fcntl
import os
import zlib

import orjson


class MetaLog:
    """Reader and writer of one log; `applied` is the number of lines this reader has handed out."""

    def __init__(self, path):
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._offset = 0
        self.applied = 0

    def close(self):
        os.close(self._fd)

    def has_news(self):
        """Whether the file is longer than what was read: one fstat."""
        return os.fstat(self._fd).st_size > self._offset

    def read_new(self):
        """The operations since the last call; an unfinished last line is left for later."""
        size = os.fstat(self._fd).st_size
        if size <= self._offset:
            return []
        data = os.pread(self._fd, size - self._offset, self._offset)
        ops = []
        for line in data.splitlines(keepends=True):
            op = _decode(line)
            if op is None:
                break
            ops.append(op)
            self._offset += len(line)
        self.applied += len(ops)
        return ops

    def try_lock(self):
        """Takes the lock of the writers; False when another node has it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False

    def unlock(self):
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def append(self, op):
        """Writes one operation durably.  The caller holds the lock and has read everything."""
        os.ftruncate(self._fd, self._offset)  # The rest of a writer that was killed.
        body = orjson.dumps(op)
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        view = memoryview(line)
        while view:
            view = view[os.write(self._fd, view) :]
        os.fdatasync(self._fd)
        self._offset += len(line)
        self.applied += 1


def _decode(line):
    """The operation of a line, or None when the line is not whole."""
    if not line.endswith(b"\n") or len(line) < 11:
        return None
    body = line[9:-1]
    try:
        if int(line[:8], 16) != zlib.crc32(body):
            return None
        return orjson.loads(body)
    except ValueError:
        return None
