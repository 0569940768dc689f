"""One shard image, unpacked into a scratch folder and opened with the engine.

The engine writes into the folder it opens, so it never gets anything but a scratch copy.
"""

import json
import os
import uuid

import orjson

from .faults import Fault
from .library import engine, parse_version, segment_versions
from .points import ids_from, id_of, line_of, vector_from

POINTS_AT_ONCE = 1000
_FIRST_GUESS = 4096  # Bytes of a point, before any was seen.
# Without names of vectors: those come from the segments.  One thread, for one caller.
_SETTINGS = {"max_search_threads": 1}


class Image:
    """An open shard; one caller."""

    def __init__(self, shard, folder, versions):
        self._shard = shard
        self._folder = folder
        self._versions = versions
        self._point_bytes = _FIRST_GUESS

    @staticmethod
    def open(folder, tar, newest):
        """Opens `folder`; with `tar`, unpacks that into it first.

        A segment that is newer than `newest` is refused before the engine sees it: what an old
        engine makes of new files is not defined.
        """
        edge = engine()
        if tar is not None:
            _unpack(edge, tar, folder)
        if not os.path.isdir(folder):
            raise Fault("request", f"there is no folder {folder}")
        versions = segment_versions(folder)
        for name, version in versions.items():
            if parse_version(version) > parse_version(newest):
                raise Fault(
                    "newer",
                    f"segment {name} has version {version}, this engine reads {newest} and older",
                )
        if not versions:
            raise Fault("damaged", "the image has no segments")
        config = os.path.join(folder, "edge_config.json")
        if not os.path.exists(config):
            with open(config, "w", encoding="utf-8") as out:
                json.dump(_SETTINGS, out)
        try:
            return Image(edge.EdgeShard.load(folder), folder, versions)
        except MemoryError:
            raise
        except Exception as error:
            raise Fault("damaged", f"the engine cannot open the image: {error}") from None

    def close(self):
        """Lets go of the folder."""
        self._shard.close()

    def info(self):
        """Points, segments and vectors."""
        edge = engine()
        return {
            "points": self._shard.count(edge.CountRequest(exact=True)),
            "segments": sorted(self._versions.values()),
            "vectors": _vectors(self._folder),
        }

    def page(self, after, limit, size, write):
        """Writes the points strictly after the id `after`, ascending: numbers, then UUIDs.

        At most `limit` points and `size` bytes, but one point at least.  Returns how many, the
        last one's id, and whether there are more.
        """
        start = after if after is None else _edge_id(after)
        given, used, last = 0, 0, None
        while True:
            wanted = min(limit - given, POINTS_AT_ONCE, 1 + (size - used) // self._point_bytes)
            records, following = self._scroll(start, wanted + 1)
            if records and after is not None and id_of(records[0]) == after:
                records = records[1:]
            for record in records[:wanted]:
                line = line_of(record)
                if given and used + len(line) > size:
                    return given, last, True
                write(line)
                given, used, last = given + 1, used + len(line), id_of(record)
                # Large points make the next guess small at once, small ones slowly.
                self._point_bytes = max(len(line), (7 * self._point_bytes + len(line)) // 8, 16)
            more = len(records) > wanted or following is not None
            if not more or given >= limit or used >= size:
                return given, last, more
            after, start = last, _edge_id(last)

    def _scroll(self, start, limit):
        edge = engine()
        request = edge.ScrollRequest(offset=start, limit=limit, with_payload=True, with_vector=True)
        return self._shard.scroll(request)

    def points(self, ids, write):
        """Writes those of `ids` that exist, in the order asked for; returns how many."""
        wanted = [_edge_id(i) for i in ids_from(ids)]
        found = {id_of(r): r for r in self._shard.retrieve(wanted, True, True)}
        given = 0
        for point_id in ids:
            record = found.pop(point_id, None)
            if record is not None:
                write(line_of(record))
                given += 1
        return given

    def query(self, body):
        """The best points for a vector, exactly: `[{"id", "score"}]`."""
        edge = engine()
        if not isinstance(body, dict) or "query" not in body:
            raise Fault("request", "a query has no member 'query'")
        request = edge.QueryRequest(
            _count_from(body.get("limit", 10)),
            None,
            edge.Query.Nearest(vector_from(body["query"]), body.get("using")),
            [],
            with_vector=False,
            with_payload=False,
            filter=None,
            score_threshold=None,
            params=edge.SearchParams(exact=True),
        )
        try:
            hits = self._shard.query(request)
        except MemoryError:
            raise
        except Exception as error:
            raise Fault("request", f"the engine refused the query: {error}") from None
        return [{"id": id_of(hit), "score": hit.score} for hit in hits]


def _count_from(value):
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10_000:
        raise Fault("request", f"a limit must be between 1 and 10000, not {value!r}")
    return value


def _edge_id(point_id):
    return point_id if isinstance(point_id, int) else uuid.UUID(point_id)


def _unpack(edge, tar, folder):
    if os.path.exists(folder) and os.listdir(folder):
        raise Fault("request", f"{folder} is not empty, nothing is unpacked into it")
    if not os.path.isfile(tar):
        raise Fault("request", f"there is no file {tar}")
    try:
        edge.EdgeShard.unpack_snapshot(tar, folder)
    except Exception as error:
        code = "room" if "No space left" in str(error) else "damaged"
        raise Fault(code, f"the image cannot be unpacked: {error}") from None


def _vectors(folder):
    """Name -> kind, size and distance, as the segments have them."""
    found = {}
    root = os.path.join(folder, "segments")
    for name in sorted(os.listdir(root)):
        path = os.path.join(root, name, "segment.json")
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as source:
            config = orjson.loads(source.read()).get("config", {})
        for vector, params in (config.get("vector_data") or {}).items():
            kind = "multi" if params.get("multivector_config") else "dense"
            found[vector] = {
                "kind": kind, "size": params.get("size"), "distance": params.get("distance"),
            }  # fmt: skip
        for vector in config.get("sparse_vector_data") or {}:
            found[vector] = {"kind": "sparse"}
    return found
