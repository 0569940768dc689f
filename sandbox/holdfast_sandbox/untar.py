"""Unpacking of uploaded shard tars with the strictness and the leniency of the server.

What the tar crate takes and refuses is in reference 3.5 and transcript 2: an end of file between
two entries is a normal end, inside an entry it is a failure.  Content goes from file to file inside
the kernel, so memory stays constant.
"""

import os
import shutil

from . import errors
from .clone import copy_range
from .tarformat import BLOCK

_MALFORMED = "File IO error: Malformed tar archive, reached unknown entry"
_LONG_NAME_LIMIT = 1 << 20  # No honest name is longer; a hostile size must not fill the memory.


class TarEntry:
    """The head of one entry; `data_at` is where its content starts in the file."""

    def __init__(self, name, kind, size, data_at, sparse=None, real_size=None):
        self.name = name
        self.kind = kind
        self.size = size
        self.data_at = data_at
        self.sparse = sparse
        self.real_size = size if real_size is None else real_size


def _malformed():
    return errors.service_error(_MALFORMED)


def _number(field):
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
    text = field.rstrip(b"\0 ").strip()
    try:
        return int(text or b"0", 8)
    except ValueError:
        raise _malformed() from None


def _sparse_pairs(data):
    pairs = []
    for i in range(0, len(data), 24):
        if data[i] == 0:
            break
        pairs.append((_number(data[i : i + 12]), _number(data[i + 12 : i + 24])))
    return pairs


class TarReader:
    """Entries of a tar in the file `fd`, between `start` and `end`."""

    def __init__(self, fd, start, end):
        self._fd = fd
        self._at = start
        self._end = end

    def _block(self):
        data = os.pread(self._fd, min(BLOCK, max(0, self._end - self._at)), self._at)
        self._at += len(data)
        return data

    def __iter__(self):
        long_name = None
        while True:
            block = self._block()
            if not block or block == b"\0" * BLOCK:
                return
            entry = self._parse(block)
            if entry.kind in ("L", "x", "g"):
                long_name = self._special(entry, long_name)
                continue
            if long_name is not None:
                entry.name, long_name = long_name, None
            yield entry
            self._at = entry.data_at + -(-entry.size // BLOCK) * BLOCK

    def _parse(self, block):
        if len(block) < BLOCK:
            raise _malformed()
        wanted = _number(block[148:156])
        if wanted != sum(block[:148]) + 8 * 32 + sum(block[156:]):
            raise _malformed()
        name = block[:100].rstrip(b"\0")
        kind = chr(block[156])
        size = _number(block[124:136])
        if block[257:262] == b"ustar" and block[257:265] != b"ustar  \0" and block[345]:
            name = block[345:500].rstrip(b"\0") + b"/" + name
        if kind != "S":
            return TarEntry(name.decode("utf-8", "surrogateescape"), kind, size, self._at)
        pairs, more = _sparse_pairs(block[386:482]), block[482]
        while more:
            extension = self._block()
            if len(extension) < BLOCK:
                raise _malformed()
            pairs += _sparse_pairs(extension[:504])
            more = extension[504]
        real = _number(block[483:495])
        return TarEntry(name.decode("utf-8", "surrogateescape"), kind, size, self._at, pairs, real)

    def _special(self, entry, long_name):
        """A GNU long name, or a pax header of which only `path` counts."""
        if entry.size > _LONG_NAME_LIMIT:
            raise _malformed()
        data = os.pread(self._fd, entry.size, entry.data_at)
        if len(data) < entry.size:
            raise _malformed()
        self._at = entry.data_at + -(-entry.size // BLOCK) * BLOCK
        if entry.kind == "L":
            return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
        return _pax_path(data) or long_name if entry.kind == "x" else long_name


def _pax_path(data):
    while data:
        length, _, rest = data.partition(b" ")
        if not length.isdigit():
            raise _malformed()
        record = rest[: int(length) - len(length) - 1].rstrip(b"\n")
        data = data[int(length) :]
        if record.startswith(b"path="):
            return record[5:].decode("utf-8", "surrogateescape")
    return None


def unpack(fd, target, shown, start=0, end=None):
    """Unpacks a tar into the folder `target`; a generator, to be run to its end.

    It yields after every entry, so that the caller can let others have their turn.  `shown` is the
    folder as error texts name it.
    """
    size = os.fstat(fd).st_size
    end = size if end is None else end
    os.makedirs(target, exist_ok=True)
    for entry in TarReader(fd, start, end):
        parts = [p for p in entry.name.split("/") if p not in ("", ".")]
        if ".." in parts or not parts:
            continue  # Skipped silently (reference 3.5).
        path = os.path.join(target, *parts)
        if entry.kind == "5":
            os.makedirs(path, exist_ok=True)
        elif entry.kind in ("0", "\0", "S"):
            _unpack_file(fd, entry, path, os.path.join(shown, *parts), end)
        else:
            raise errors.service_error(
                f"File IO error: Forbidden entry type in tar archive: {_kind(entry.kind)}"
            )
        yield


def _kind(kind):
    return {"1": "Link", "2": "Symlink", "3": "Char", "4": "Block", "6": "Fifo"}.get(kind, kind)


def _unpack_file(fd, entry, path, shown, end):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError:
        raise errors.service_error(f"File IO error: failed to unpack `{shown}`") from None
    try:
        if entry.data_at + entry.size > end:  # The file ends inside this entry (transcript 2).
            raise errors.service_error(f"File IO error: failed to unpack `{shown}`")
        os.ftruncate(out, entry.real_size)
        at = entry.data_at
        for offset, length in entry.sparse if entry.sparse is not None else [(0, entry.size)]:
            if length:
                copy_range(fd, out, at, length, offset)
            at += length
    except OSError as error:
        raise errors.service_error(f"File IO error: failed to unpack `{shown}`") from error
    finally:
        os.close(out)


def flatten(folder, shown):
    """Brings unpacked segments into the form the engine opens; a generator like `unpack`.

    `segments/<uuid>.tar` (Regular) is unpacked, the level `files/` or `snapshot/files/` goes.
    """
    root = os.path.join(folder, "segments")
    for name in sorted(os.listdir(root)):
        path = os.path.join(root, name)
        if name.endswith(".tar") and os.path.isfile(path):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield from unpack(fd, path[:-4], os.path.join(shown, "segments", name[:-4]))
            finally:
                os.close(fd)
            os.unlink(path)
            path = path[:-4]
        for level in ("snapshot/files", "files"):
            inner = os.path.join(path, level)
            if os.path.isdir(inner):
                part = path + ".flat"
                os.rename(inner, part)
                shutil.rmtree(path)
                os.rename(part, path)
                break
        yield
