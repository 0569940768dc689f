"""A holdfast-engine process as holdfast runs it, and shards made for it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import qdrant_edge as edge

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "engine/holdfast-engine"
DATA = ROOT / "tests/data"


class Ended(Exception):
    """The process ended instead of answering."""


class Engine:
    """One process; `ask` gives the lines of points and the answer."""

    def __init__(self, scratch, *arguments):
        self.scratch = scratch
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), "--scratch", str(scratch), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._number = 0

    def send(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def ask(self, op, **members):
        self._number += 1
        self.send(json.dumps({"id": self._number, "op": op, **members}).encode() + b"\n")
        lines, answer = self.answer()
        assert answer["re"] == self._number
        return lines, answer

    def answer(self):
        lines = []
        while True:
            line = self.process.stdout.readline()
            if not line.endswith(b"\n"):
                raise Ended(self.process.wait(30))
            if line.startswith(b'{"re":'):
                return lines, json.loads(line)
            lines.append(line)

    def hello(self):
        return self.ask("hello", protocol=1)[1]

    def open(self, tar=None, folder=None):
        """Opens a tar, or a folder as it is."""
        members = {"folder": str(folder or self.scratch / "shard")}
        return self.ask("open", **members, **({"tar": str(tar)} if tar else {}))[1]

    def points(self, limit=100, size=1 << 20):
        """All points, page by page."""
        found, after, more = [], None, True
        while more:
            lines, answer = self.ask("page", after=after, limit=limit, bytes=size)
            assert answer["ok"], answer
            assert len(lines) == answer["count"] <= limit
            assert sum(map(len, lines)) <= size or len(lines) == 1
            found += [json.loads(line) for line in lines]
            after, more = answer["last"], answer["more"]
        return found

    def end(self):
        """Closes its input and waits for its end; the exit status and what it printed."""
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors.decode()

    def kill(self):
        self.process.kill()
        self.process.communicate()


def make_shard(folder, points, vectors=None, sparse=None, batch=500, **settings):
    """An edge shard in `folder` with these points, written `batch` at a time, closed again."""
    os.makedirs(folder)
    config = {
        "vectors": vectors if vectors is not None else {"": {"size": 2, "distance": "Dot"}},
        "sparse_vectors": sparse or {},
        "max_search_threads": 1,
        "wal_options": {"segment_capacity": 1 << 20, "segment_queue_len": 0, "retain_closed": 1},
        **settings,
    }
    (folder / "edge_config.json").write_text(json.dumps(config))
    shard = edge.EdgeShard.load(str(folder))
    for first in range(0, len(points), batch):
        shard.update(edge.UpdateOperation.upsert_points(points[first : first + batch]))
    shard.flush()
    shard.close()
    return folder


def reference_points(tar, folder):
    """What the library itself gives of an image, as plain values."""
    edge.EdgeShard.unpack_snapshot(str(tar), str(folder))
    shard = edge.EdgeShard.load(str(folder))
    request = edge.ScrollRequest(limit=100_000, with_payload=True, with_vector=True)
    records, _ = shard.scroll(request)
    shard.close()
    shutil.rmtree(folder)
    return records
