"""Looks at a snapshot as a tar: its entries, their order, its end. Knows nothing of the sandbox."""

from __future__ import annotations

import json
from dataclasses import dataclass

BLOCK = 512


class NotATar(Exception):
    """The bytes are no tar of the dialect that Qdrant writes; says where."""


@dataclass(frozen=True)
class Entry:
    """One entry: `begin` is its header (with a long name before it), `end` the next one's."""

    name: str
    kind: str  # "0" or "\0" file, "5" directory, "S" sparse file
    size: int  # Bytes in the archive.
    begin: int
    data: int
    end: int


@dataclass(frozen=True)
class Tar:
    """What was found."""

    entries: list[Entry]
    ended: bool  # Two blocks of zeros at an entry boundary, and nothing after them.

    def names(self) -> list[str]:
        """Names in order."""
        return [entry.name for entry in self.entries]


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.rstrip(b"\0 ") or b"0", 8)


def read(data: bytes) -> Tar:
    """The entries of a tar. Raises NotATar for anything but whole entries."""
    entries: list[Entry] = []
    at = 0
    long_name: str | None = None
    begin = 0
    while at < len(data):
        header = data[at : at + BLOCK]
        if len(header) < BLOCK:
            raise NotATar(f"ends in the middle of a header at {at}")
        if header == bytes(BLOCK):
            rest = data[at:]
            return Tar(entries, len(rest) >= 2 * BLOCK and not any(rest))
        if header[257:262] != b"ustar":
            raise NotATar(f"no tar header at {at}")
        checksum = sum(header[:148]) + 8 * 32 + sum(header[156:])
        if checksum != _number(header[148:156]):
            raise NotATar(f"wrong header checksum at {at}")
        kind = chr(header[156])
        size = _number(header[124:136])
        start = at + BLOCK
        if kind == "S" and header[482]:
            while True:
                start += BLOCK
                if not data[start - BLOCK + 504]:
                    break
        end = start + (size + BLOCK - 1) // BLOCK * BLOCK
        if end > len(data):
            raise NotATar(f"ends in the middle of an entry at {at}")
        if kind == "L":
            long_name = data[start : start + size].rstrip(b"\0").decode()
            at = end
            continue
        name = long_name or header[:100].split(b"\0")[0].decode()
        entries.append(Entry(name, kind, size, begin, start, end))
        long_name = None
        at = begin = end
    return Tar(entries, False)


def check_shard_stream(data: bytes, partial: bool = False) -> list[str]:
    """What is wrong with a streamed shard snapshot (reference 4.3); nothing when it is whole."""
    return _check_shard(data, nested=False, partial=partial)


def check_stored_shard(data: bytes) -> list[str]:
    """What is wrong with a stored shard snapshot (reference 4.2, Regular)."""
    return _check_shard(data, nested=True, partial=False)


def _check_shard(data: bytes, nested: bool, partial: bool) -> list[str]:
    try:
        tar = read(data)
    except NotATar as error:
        return [str(error)]
    wrong = []
    if not tar.ended:
        wrong.append("there is no end marker")
    names = tar.names()
    if names[-2:] != ["replica_state.json", "shard_config.json"]:
        wrong.append(f"the last entries are {names[-2:]}")
    families = [name for name, _ in _runs(names)]
    allowed = ["segments", "newest_clocks.json", "oldest_clocks.json", "wal"]
    allowed += ["replica_state.json", "shard_config.json"]
    if [family for family in allowed if family in families] != families:
        wrong.append(f"the families come as {families}")
    if "segments" not in families:
        wrong.append("there is no segment")
    if nested:
        wrong += [f"{n} is no segment tar" for n in names if _is_odd_segment_tar(n)]
    else:
        wrong += _check_segments(names, partial)
    kinds = {entry.kind for entry in tar.entries}
    if not kinds <= {"0", "\0", "5", "S"}:
        wrong.append(f"there are entries of type {sorted(kinds)}")
    wal = [entry for entry in tar.entries if entry.name.startswith("wal")]
    if not wal or wal[0].name != "wal/" or wal[0].kind != "5":
        wrong.append("there is no directory entry wal/")
    if not any(entry.name.startswith("wal/closed-") for entry in wal):
        wrong.append("there is no wal/closed-N")
    for entry in tar.entries:
        if entry.name in ("replica_state.json", "shard_config.json"):
            content = json.loads(data[entry.data : entry.data + entry.size])
            if entry.name == "replica_state.json" and content.get("is_local") is not True:
                wrong.append(f"replica_state.json has is_local {content.get('is_local')!r}")
            if entry.name == "shard_config.json" and content != {"type": "ReplicaSet"}:
                wrong.append(f"shard_config.json is {content}")
    return wrong


def _runs(names: list[str]) -> list[tuple[str, int]]:
    runs: list[tuple[str, int]] = []
    for name in names:
        family = name.split("/")[0]
        if runs and runs[-1][0] == family:
            runs[-1] = (family, runs[-1][1] + 1)
        else:
            runs.append((family, 1))
    return runs


def _is_odd_segment_tar(name: str) -> bool:
    parts = name.split("/")
    if parts[0] != "segments" or name == "segments/":
        return False
    return len(parts) != 2 or not parts[1].endswith(".tar")


def _check_segments(names: list[str], partial: bool) -> list[str]:
    wrong = []
    segments: dict[str, list[str]] = {}
    for name in names:
        parts = name.split("/", 3)
        if parts[0] == "segments" and len(parts) == 4:
            if parts[2] != "files":
                wrong.append(f"{name} is not below files/")
            segments.setdefault(parts[1], []).append(parts[3])
    if not segments:
        wrong.append("there is no segment folder")
    for segment, files in segments.items():
        if files[-2:] != ["segment.json", "version.info"]:
            wrong.append(f"segment {segment} ends with {files[-2:]}")
        has_manifest = files[0] == "segment_manifest.json"
        if has_manifest != partial or "segment_manifest.json" in files[1:]:
            wrong.append(f"segment {segment}: segment_manifest.json comes at the wrong place")
    return wrong


def check_collection_snapshot(data: bytes, local: set[int], shards: int) -> list[str]:
    """What is wrong with a stored collection snapshot (reference 4.4)."""
    try:
        tar = read(data)
    except NotATar as error:
        return [str(error)]
    names = tar.names()
    wrong = [] if tar.ended else ["there is no end marker"]
    last = ["version.info", "config.json", "shard_key_mapping.json", "payload_index.json"]
    if names[-4:] != last:
        wrong.append(f"the last entries are {names[-4:]}")
    for shard in range(shards):
        below = [name for name in names if name.startswith(f"{shard}/")]
        for name in ("replica_state.json", "shard_config.json"):
            if f"{shard}/{name}" not in below:
                wrong.append(f"shard {shard} has no {name}")
        has_data = any(name.startswith(f"{shard}/segments/") for name in below)
        has_wal = any(name.startswith(f"{shard}/wal/") and name[-1] != "/" for name in below)
        if has_data != (shard in local) or has_wal != (shard in local):
            wrong.append(f"shard {shard}: segments {has_data}, WAL files {has_wal}")
    return wrong


def subtar(data: bytes, prefix: str) -> bytes:
    """A tar of the entries below `prefix`, without it: one shard of a collection snapshot."""
    out = b""
    for entry in read(data).entries:
        if not entry.name.startswith(prefix) or entry.name == prefix:
            continue
        # The headers of an entry: perhaps a long name, its own, perhaps a sparse map.
        at = entry.begin
        if chr(data[at + 156]) == "L":
            size = _number(data[at + 124 : at + 136])
            at += BLOCK + (size + BLOCK - 1) // BLOCK * BLOCK
        header = bytearray(data[at : at + BLOCK])
        name = entry.name[len(prefix) :].encode()
        if len(name) > 100:
            raise ValueError(f"the name {entry.name} is too long to be shortened")
        header[:100] = name.ljust(100, b"\0")
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        out += bytes(header) + data[at + BLOCK : entry.end]
    return out + bytes(2 * BLOCK)


def cut_before(data: bytes, name: str) -> bytes:
    """The tar up to the entry `name`, which is left out with all that follows."""
    for entry in read(data).entries:
        if entry.name == name:
            return data[: entry.begin]
    raise ValueError(f"there is no entry {name}")


def flip_a_bit(data: bytes, part: str) -> bytes:
    """The tar with one bit flipped in the middle of the data of the largest entry with `part`."""
    entry = max((e for e in read(data).entries if part in e.name), key=lambda e: e.size)
    at = entry.data + entry.size // 2
    # The middle may be a run of zeros; any bit is as good, but let it be one of a vector.
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]
