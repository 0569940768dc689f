"""Tar entries in the dialect of the server (reference 4.5, sandbox notes c).

GNU headers, type `S` (old GNU sparse) for files with holes, `L` for names over 100 bytes.  An entry
knows its size beforehand, so that a tar can be put into a tar without a temporary file.
"""

import os

from .clone import data_runs

BLOCK = 512
END = b"\0" * (2 * BLOCK)
_IN_HEADER, _IN_EXTENSION = 4, 21  # Sparse pairs that fit a header and an extension block.
_CHUNK = 256 << 10


def _octal(number, width):
    """An octal field, NUL ended, or base 256 when it does not fit."""
    if number < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, number)
    return bytes([0x80]) + number.to_bytes(width - 1, "big")


def _padding(size):
    return -size % BLOCK


def _header(name, kind, size, mode, mtime, sparse=(), real_size=0):
    block = bytearray(BLOCK)
    block[0 : min(100, len(name))] = name[:100]
    block[100:108] = _octal(mode, 8)
    block[108:116] = block[116:124] = _octal(0, 8)
    block[124:136] = _octal(size, 12)
    block[136:148] = _octal(mtime, 12)
    block[148:156] = b" " * 8
    block[156] = ord(kind)
    block[257:265] = b"ustar  \0"
    if kind == "S":
        for i, (offset, length) in enumerate(sparse[:_IN_HEADER]):
            block[386 + 24 * i : 410 + 24 * i] = _octal(offset, 12) + _octal(length, 12)
        block[482] = 1 if len(sparse) > _IN_HEADER else 0
        block[483:495] = _octal(real_size, 12)
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _extensions(sparse):
    """The blocks that hold the sparse pairs beyond the fourth."""
    rest, blocks = list(sparse[_IN_HEADER:]), []
    while rest:
        block = bytearray(BLOCK)
        now, rest = rest[:_IN_EXTENSION], rest[_IN_EXTENSION:]
        for i, (offset, length) in enumerate(now):
            block[24 * i : 24 * i + 24] = _octal(offset, 12) + _octal(length, 12)
        block[504] = 1 if rest else 0
        blocks.append(bytes(block))
    return b"".join(blocks)


def entry_head(name, kind, size, mode=0o100644, mtime=0, sparse=(), real_size=0):
    """Everything before the content of an entry."""
    encoded, head = name.encode(), b""
    if len(encoded) > 100:
        text = encoded + b"\0"
        head = (
            _header(b"././@LongLink", "L", len(text), 0o644, 0) + text + b"\0" * _padding(len(text))
        )
    head += _header(encoded, kind, size, mode, mtime, sparse, real_size)
    return head + _extensions(sparse)


class DataEntry:
    """An entry made from memory: mode 0644, time 0 (reference 4.5)."""

    def __init__(self, name, data):
        self.name = name
        self._bytes = entry_head(name, "0", len(data), 0o644) + data + b"\0" * _padding(len(data))
        self.size = len(self._bytes)

    def chunks(self):
        yield self._bytes


class DirEntry:
    """A directory entry; the server writes one for `wal/` only."""

    def __init__(self, name):
        self.name = name
        self._bytes = entry_head(name, "5", 0, 0o40755)
        self.size = len(self._bytes)

    def chunks(self):
        yield self._bytes


class FileEntry:
    """A file of a frozen folder; its holes are left out."""

    def __init__(self, name, path):
        self.name = name
        self._path = path
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            info = os.fstat(fd)
            self._runs = data_runs(fd, info.st_size)
        finally:
            os.close(fd)
        mode, mtime, size = info.st_mode & 0o107777, int(info.st_mtime), info.st_size
        self._body = sum(length for _, length in self._runs)
        if self._body == size:
            self._head = entry_head(name, "0", size, mode, mtime)
        else:
            pairs = list(self._runs)
            if not pairs or sum(pairs[-1]) != size:
                pairs.append((size, 0))
            self._head = entry_head(name, "S", self._body, mode, mtime, pairs, size)
        self.size = len(self._head) + self._body + _padding(self._body)

    def chunks(self):
        yield self._head
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for offset, length in self._runs:
                while length:
                    data = os.pread(fd, min(length, _CHUNK), offset)
                    if not data:
                        raise OSError(f"{self._path} shrank while it was sent")
                    yield data
                    offset, length = offset + len(data), length - len(data)
        finally:
            os.close(fd)
        if _padding(self._body):
            yield b"\0" * _padding(self._body)


class NestedTar:
    """An entry whose content is a whole tar of other entries (Regular format, reference 4.2)."""

    def __init__(self, name, entries):
        self.name = name
        self._entries = entries
        inner = sum(e.size for e in entries) + len(END)
        self._head = entry_head(name, "0", inner)
        self._pad = _padding(inner)
        self.size = len(self._head) + inner + self._pad

    def chunks(self):
        yield self._head
        for entry in self._entries:
            yield from entry.chunks()
        yield END + b"\0" * self._pad


def wal_entry(name, next_index, seed, capacity=32 << 20):
    """An empty WAL file that says "the next operation is `next_index`" (sandbox notes c).

    Sparse, one block of data: 3 bytes `wal`, version 0, a random seed (reference 4.6).
    """
    data = b"wal\0" + seed.to_bytes(4, "little") + b"\0" * (4096 - 8)
    head = entry_head(
        f"{name}closed-{next_index}", "S", 4096, 0o100644, 0, [(0, 4096), (capacity, 0)], capacity
    )
    return RawEntry(f"{name}closed-{next_index}", head + data)


class RawEntry:
    """An entry whose bytes are complete already."""

    def __init__(self, name, data):
        self.name = name
        self._bytes = data
        self.size = len(data)

    def chunks(self):
        yield self._bytes
