"""The engine's own library: which release it is, and which segments it can read."""

import importlib.metadata
import json
import os
import re
import shutil
import tempfile

from .faults import Fault

PACKAGE = "qdrant-edge-py"
_TINY = {
    "vectors": {"": {"size": 1, "distance": "Dot"}},
    "max_search_threads": 1,
    "wal_options": {"segment_capacity": 1 << 16, "segment_queue_len": 0, "retain_closed": 1},
}


def engine():
    """The module `qdrant_edge`; a Fault that says what to install when it is not there."""
    try:
        import qdrant_edge
    except ImportError as error:
        raise Fault(
            "missing", f"the Python package {PACKAGE} cannot be imported ({error})"
        ) from None
    return qdrant_edge


def release():
    """The release of the installed package."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def parse_version(text):
    """`0.6.0` as numbers that can be compared; None when it is no version."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6}){1,3}", text):
        return None
    return tuple(int(part) for part in text.split("."))


def segment_versions(folder):
    """Segment name -> text of its version.info, below the shard folder `folder`."""
    root = os.path.join(folder, "segments")
    found = {}
    for name in sorted(os.listdir(root)) if os.path.isdir(root) else ():
        segment = os.path.join(root, name)
        if not os.path.isdir(segment) or name.startswith("."):
            continue
        try:
            with open(os.path.join(segment, "version.info"), "rb") as source:
                text = source.read(64).decode("ascii", "replace").strip()
        except FileNotFoundError:
            raise Fault(
                "damaged", f"segment {name} has no version.info: the image is not whole"
            ) from None
        if parse_version(text) is None:
            raise Fault("damaged", f"the version.info of segment {name} is no version: {text!r}")
        found[name] = text
    return found


def newest_segments(scratch):
    """The segment version this engine writes itself, which is the newest one it can read.

    An empty shard is made below `scratch` and looked at: the library does not tell it otherwise.
    """
    edge = engine()
    folder = tempfile.mkdtemp(prefix="probe-", dir=scratch)
    try:
        with open(os.path.join(folder, "edge_config.json"), "w", encoding="utf-8") as out:
            json.dump(_TINY, out)
        edge.EdgeShard.load(folder).close()
        versions = list(segment_versions(folder).values())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not versions:
        raise Fault("internal", "the engine made a shard without segments")
    return max(versions, key=parse_version)
