"""Snapshot images of frozen shards as lists of tar entries (reference 4.2 to 4.4, 4.8)."""

import json
import os

from .tarformat import END, DataEntry, DirEntry, FileEntry, NestedTar, wal_entry

# The redo log of the newer gridstore is in no manifest; after a flush nothing is in it (notes c).
_SKIP = {"segment_manifest.json", "tracker_journal.dat"}
_COLLECTION_VERSION = b"0.4.2"  # The version of the collection crate, not of the server (3.11).


def segment_ids(folder):
    """The segments of a frozen shard that are whole."""
    root = os.path.join(folder, "segments")
    return sorted(
        d for d in os.listdir(root) if os.path.exists(os.path.join(root, d, "version.info"))
    )


def segment_files(root):
    """Paths of a segment, `segment.json` and `version.info` last, as the server sends them."""
    found = []
    for folder, _, names in os.walk(root):
        found += [os.path.relpath(os.path.join(folder, n), root) for n in names if n not in _SKIP]
    return sorted(found, key=lambda f: (f == "version.info", f == "segment.json", f))


def next_index(manifest):
    """The WAL index that goes with a manifest: above every version (sandbox notes c).

    With a smaller one the server drops later writes silently, each answered with 200.
    """
    return 1 + max((s["segment_version"] or 0 for s in manifest.values()), default=0)


def _json(value):
    return json.dumps(value, separators=(",", ":")).encode()


def _replica_state(peer, peers, is_local=True, prefix=""):
    states = {str(p): s for p, s in peers.items()}
    value = {"is_local": is_local, "this_peer_id": peer, "peers": states}
    return DataEntry(prefix + "replica_state.json", _json(value))


def _tail(index, seed, peer, peers):
    """What follows the segments: the WAL, then the two files that always come last (4.3)."""
    return [
        DirEntry("wal/"),
        wal_entry("wal/", index, seed),
        _replica_state(peer, peers),
        DataEntry("shard_config.json", b'{"type":"ReplicaSet"}'),
    ]


def _segment_entries(folder, segment, prefix):
    root = os.path.join(folder, "segments", segment)
    return [FileEntry(prefix + name, os.path.join(root, name)) for name in segment_files(root)]


def streamable(folder, manifest, peer, peers, seed):
    """The entries of `GET …/shards/{s}/snapshot`: flat segments (reference 4.3)."""
    entries = []
    for segment in segment_ids(folder):
        entries += _segment_entries(folder, segment, f"segments/{segment}/files/")
    return entries + _tail(next_index(manifest), seed, peer, peers)


def _nested_segments(folder, prefix=""):
    return [
        NestedTar(f"{prefix}segments/{s}.tar", _segment_entries(folder, s, "snapshot/files/"))
        for s in segment_ids(folder)
    ]


def regular(folder, manifest, peer, peers, seed):
    """The entries of a stored shard snapshot: one tar a segment inside (reference 3.3)."""
    return _nested_segments(folder) + _tail(next_index(manifest), seed, peer, peers)


def partial(folder, manifest, asked, peer, peers, seed):
    """The entries of `partial/create`: what the asker lacks or has older (reference 4.8)."""
    entries = []
    for segment in sorted(manifest):
        prefix = f"segments/{segment}/files/"
        root = os.path.join(folder, "segments", segment)
        entries.append(DataEntry(prefix + "segment_manifest.json", _json(manifest[segment])))
        wanted = changed_files(asked.get(segment), manifest[segment])
        for name in sorted(wanted) + ["segment.json", "version.info"]:
            entries.append(FileEntry(prefix + name, os.path.join(root, name)))
    return entries + _tail(next_index(manifest), seed, peer, peers)


def _file_version(segment, name):
    version = segment["file_versions"][name]
    return segment["segment_version"] if version is None else version


def changed_files(old, new):
    """Files of one segment to send: unknown to the asker, older there, or both at version 0."""
    wanted = set()
    for name in new["file_versions"]:
        version = _file_version(new, name)
        if old is None or name not in old["file_versions"]:
            wanted.add(name)
            continue
        before = _file_version(old, name)
        if (before or 0) < (version or 0) or (not before and not version):
            wanted.add(name)
    return wanted


def collection(parts, config_files):
    """The entries of a stored collection snapshot (reference 4.4).

    `parts` lists (shard id, frozen folder or None, last operation in the segments, peer, peers):
    shards of other nodes have their two small files only.  `config_files` maps
    names to JSON values.
    """
    entries = []
    for shard_id, folder, op_num, peer, peers in parts:
        prefix = f"{shard_id}/"
        if folder is not None:
            entries += _nested_segments(folder, prefix)
            op = DataEntry(prefix + "applied_seq.json", _json({"op_num": op_num}))
            # No entry for the folder itself, `first-index` last, as in a real one (run).
            wal = os.path.join(folder, "wal")
            names = sorted(os.listdir(wal), key=lambda n: (n == "first-index", n))
            entries += [op, *(FileEntry(f"{prefix}wal/{n}", os.path.join(wal, n)) for n in names)]
        entries.append(_replica_state(peer, peers, folder is not None, prefix))
        entries.append(DataEntry(prefix + "shard_config.json", b'{"type":"ReplicaSet"}'))
    entries.append(DataEntry("version.info", _COLLECTION_VERSION))
    for name, value in config_files.items():
        entries.append(DataEntry(name, _json(value)))
    return entries


def total_size(entries):
    return sum(e.size for e in entries) + len(END)
