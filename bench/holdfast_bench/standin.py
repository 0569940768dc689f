"""A cluster of three peers that serves ready shard tars as fast as the loopback takes them.

It speaks what `holdfast backup` and `holdfast restore` ask of the REST API, in the shapes of the
sandbox, for one collection of a data set: its shards never change but when the benchmark switches
the state. A snapshot is sent from the page cache by sendfile(2), chunked, as the server does it.
An upload goes nowhere: what is measured is the sender. Points are answered from the recipe
of the data set, and a query gets the same made-up answer every time.

Runs as a process of its own: python -m holdfast_bench.standin FOLDER. Prints its URLs as one line
of JSON, and ends when its standard input ends.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
from holdfast_sandbox.defaults import new_config

from holdfast_bench import dataset

VERSION = "1.18.3"
_CHUNK_BYTES = 1 << 20  # Of the chunked body; the frames cost next to nothing.
_SINK_BYTES = 1 << 20


class NotServed(Exception):
    """There is no such thing here: 404."""


class Collection:
    """One collection: its configuration, its indexes and who holds what."""

    def __init__(self, config: dict[str, Any], uuid: str, filled: bool) -> None:
        self.config = config
        self.uuid = uuid
        self.indexes: dict[str, Any] = dict(dataset.INDEXES) if filled else {}
        # Shard -> peer -> whether it has its points.
        self.replicas = {
            shard: {dataset.PEERS[shard % len(dataset.PEERS)]: filled}
            for shard in range(config["params"]["shard_number"])
        }


class Cluster:
    """What the three peers know in common."""

    def __init__(self, data: dataset.Dataset) -> None:
        self.data = data
        self.corpus = dataset.Corpus()
        facts = data.facts
        self.shards = facts["shards"]
        self.changed = {i for shard in self.shards for i in shard["changed"]}
        self.total = facts["points"]
        self.state = dataset.STATES[0]
        self.lock = threading.Lock()
        self.urls: dict[int, str] = {}
        config = new_config(dataset.creation(), len(dataset.PEERS))
        self.collections = {dataset.COLLECTION: Collection(config, dataset.UUID, filled=True)}
        self.aliases: dict[str, str] = {}

    def find(self, name: str) -> Collection:
        name = self.aliases.get(name, name)
        if name not in self.collections:
            raise NotServed(f"Collection `{name}` doesn't exist!")
        return self.collections[name]

    def count(self, collection: Collection, peer: int, shard: int) -> int:
        holds = collection.replicas.get(shard, {}).get(peer)
        if holds is None:
            raise NotServed(f"shard {shard} not found")
        return self.shards[shard]["points"] if holds else 0

    def point(self, number: int) -> dict[str, Any]:
        """A point as the current state has it."""
        rev = 1 if self.state == "second" and number in self.changed else 0
        vector = self.corpus.vectors([number], rev)[0]
        return {"id": number, "payload": self.corpus.payload(number, rev), "vector": vector}

    # -- documents ----------------------------------------------------------------------------

    def replica(self, collection: Collection, peer: int, shard: int) -> dict[str, Any]:
        points = self.count(collection, peer, shard)
        return {
            "status": "green",
            "total_optimized_points": points,
            "vectors_size_bytes": points * dataset.VECTORS["size"] * 4,
            "payloads_size_bytes": points * 400,
            "num_points": points,
            "num_vectors": points,
            "num_vectors_by_name": {"": points},
        }

    def cluster_document(self, peer: int) -> dict[str, Any]:
        leader = dataset.PEERS[0]
        return {
            "status": "enabled",
            "peer_id": peer,
            "peers": {str(p): {"uri": f"http://127.0.0.1:{p}/"} for p in dataset.PEERS},
            "raft_info": {"term": 1, "commit": 1, "leader": leader, "is_voter": True},
            "consensus_thread_status": {"consensus_thread_status": "working"},
            "message_send_failures": {},
        }

    def cluster_telemetry(self) -> dict[str, Any]:
        collections = {}
        for name, collection in self.collections.items():
            shards = []
            for shard, holders in sorted(collection.replicas.items()):
                replicas = [
                    {"peer_id": p, "state": "Active", **self.replica(collection, p, shard)}
                    for p in sorted(holders)
                ]
                shards.append({"id": shard, "replicas": replicas})
            collections[name] = {"id": name, "shards": shards}
        peers = {str(p): {"uri": "", "responsive": True} for p in dataset.PEERS}
        return {"collections": collections, "cluster": {"enabled": True, "peers": peers}}

    def node_telemetry(self, peer: int, level: int) -> dict[str, Any]:
        collections, snapshots = [], []
        for name, collection in self.collections.items():
            entry = {"id": name, "config": {**collection.config, "uuid": collection.uuid}}
            if level >= 3:
                entry["shards"] = [
                    self.local_shard(collection, peer, shard)
                    for shard in sorted(collection.replicas)
                ]
            collections.append(entry)
            snapshots.append({"id": name, "running_snapshots": 0, "running_snapshot_recovery": 0})
        return {
            "app": {"name": "qdrant", "version": VERSION},
            "collections": {"collections": collections, "snapshots": snapshots},
        }

    def local_shard(self, collection: Collection, peer: int, shard: int) -> dict[str, Any]:
        holders = collection.replicas[shard]
        local = None
        if peer in holders:
            local = {
                **self.replica(collection, peer, shard),
                "segments": [{}, {}],
                "optimizations": {"status": "ok", "log": []},
                "update_queue": {"length": 0, "op_num": 1},
            }
        states = {str(p): "Active" for p in sorted(holders)}
        return {"id": shard, "local": local, "replicate_states": states}

    def info(self, collection: Collection) -> dict[str, Any]:
        points = sum(
            max(self.count(collection, p, shard) for p in holders)
            for shard, holders in collection.replicas.items()
        )
        return {
            "status": "green",
            "points_count": points,
            "config": collection.config,
            "payload_schema": {
                f: {"data_type": kind, "points": points} for f, kind in collection.indexes.items()
            },
        }

    def placement(self, collection: Collection, peer: int) -> dict[str, Any]:
        local, remote = [], []
        for shard, holders in sorted(collection.replicas.items()):
            for holder in sorted(holders):
                entry = {"shard_id": shard, "state": "Active"}
                if holder == peer:
                    local.append({**entry, "points_count": self.count(collection, peer, shard)})
                else:
                    remote.append({**entry, "peer_id": holder})
        return {
            "peer_id": peer,
            "shard_count": len(collection.replicas),
            "local_shards": local,
            "remote_shards": remote,
            "shard_transfers": [],
        }


class Handler(BaseHTTPRequestHandler):
    """One connection to one peer."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # Header and body of a small answer leave in one write.
    rbufsize = 1 << 18
    cluster: Cluster
    peer: int

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests are not logged."""

    def handle_expect_100(self) -> bool:
        """An upload asks before it sends; the answer must not lie in a buffer."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        for verb, pattern, handle in _ROUTES:
            match = re.fullmatch(pattern, parts.path) if verb == method else None
            if not match:
                continue
            try:
                result = handle(self, query, *map(unquote, match.groups()))
            except NotServed as missing:
                self._drain()
                self._answer(404, {"status": {"error": f"Not found: {missing}"}, "time": 0.0})
            else:
                if result is not _STREAMED:
                    self._answer(200, {"result": result, "status": "ok", "time": 0.0})
            return
        self._drain()
        error = f"the stand-in does not serve {method} {parts.path}"
        self._answer(404, {"status": {"error": error}, "time": 0.0})

    def _answer(self, status: int, document: Any) -> None:
        body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _drain(self) -> int:
        """Reads the body away; its size."""
        size = left = int(self.headers.get("Content-Length") or 0)
        buffer = memoryview(bytearray(min(left, _SINK_BYTES)))
        while left > 0:
            got = self.rfile.readinto(buffer[: min(left, len(buffer))])
            if not got:
                break
            left -= got
        return size

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")

    # -- reads --------------------------------------------------------------------------------

    def root(self, _query: dict) -> Any:
        self._answer(200, {"title": "qdrant - vector search engine", "version": VERSION})
        return _STREAMED

    def cluster_state(self, _query: dict) -> Any:
        return self.cluster.cluster_document(self.peer)

    def telemetry(self, query: dict) -> Any:
        return self.cluster.node_telemetry(self.peer, int(query.get("details_level", 0)))

    def cluster_telemetry(self, _query: dict) -> Any:
        return self.cluster.cluster_telemetry()

    def metadata(self, _query: dict) -> Any:
        return []

    def aliases(self, _query: dict) -> Any:
        known = self.cluster.aliases.items()
        return {"aliases": [{"alias_name": a, "collection_name": c} for a, c in known]}

    def names(self, _query: dict) -> Any:
        return {"collections": [{"name": name} for name in self.cluster.collections]}

    def info(self, _query: dict, name: str) -> Any:
        return self.cluster.info(self.cluster.find(name))

    def exists(self, _query: dict, name: str) -> Any:
        return {"exists": name in self.cluster.collections}

    def placement(self, _query: dict, name: str) -> Any:
        return self.cluster.placement(self.cluster.find(name), self.peer)

    def optimizations(self, _query: dict, name: str) -> Any:
        self.cluster.find(name)
        return {"summary": {}, "running": []}

    def no_snapshots(self, _query: dict, name: str, _shard: str | None = None) -> Any:
        self.cluster.find(name)
        return []

    def count(self, _query: dict, name: str, shard: str) -> Any:
        self._body()
        collection = self.cluster.find(name)
        return {"count": self.cluster.count(collection, self.peer, int(shard))}

    def scroll(self, _query: dict, name: str, shard: str) -> Any:
        body = self._body()
        if self.cluster.count(self.cluster.find(name), self.peer, int(shard)) == 0:
            return {"points": [], "next_page_offset": None}
        ids = [
            i for i in self.cluster.shards[int(shard)]["first_ids"] if i >= body.get("offset", 0)
        ]
        return {"points": [{"id": i} for i in ids[: body["limit"]]], "next_page_offset": None}

    def retrieve(self, _query: dict, name: str, shard: str) -> Any:
        wanted = self._body()["ids"]
        if self.cluster.count(self.cluster.find(name), self.peer, int(shard)) == 0:
            return []
        mine = set(self.cluster.shards[int(shard)]["first_ids"])
        return [self.cluster.point(i) for i in wanted if i in mine]

    def ask(self, _query: dict, name: str) -> Any:
        body = self._body()
        self.cluster.find(name)
        ids = self.cluster.shards[0]["first_ids"][: body.get("limit", 10)]
        return {"points": [{"id": i, "score": 1.0 - n / 100} for n, i in enumerate(ids)]}

    def stream(self, _query: dict, name: str, shard: str) -> Any:
        collection, number = self.cluster.find(name), int(shard)
        if not collection.replicas.get(number, {}).get(self.peer):
            raise NotServed(f"shard {shard} not found")
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        path = self.cluster.data.tar(self.cluster.state, number)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            left, offset = os.fstat(fd).st_size, 0
            while left > 0:
                size = min(left, _CHUNK_BYTES)
                self.connection.sendall(b"%x\r\n" % size)
                end = offset + size
                while offset < end:
                    offset += os.sendfile(self.connection.fileno(), fd, offset, end - offset)
                self.connection.sendall(b"\r\n")
                left -= size
            self.connection.sendall(b"0\r\n\r\n")
        finally:
            os.close(fd)
        return _STREAMED

    # -- changes ------------------------------------------------------------------------------

    def create(self, _query: dict, name: str) -> Any:
        config = new_config(self._body(), len(dataset.PEERS))
        with self.cluster.lock:
            self.cluster.collections[name] = Collection(config, f"made-{name}", filled=False)
        return True

    def drop(self, _query: dict, name: str) -> Any:
        with self.cluster.lock:
            self.cluster.collections.pop(name, None)
        return True

    def change(self, _query: dict, name: str) -> Any:
        self._drain()
        self.cluster.find(name)
        return True

    def index(self, _query: dict, name: str) -> Any:
        body = self._body()
        self.cluster.find(name).indexes[body["field_name"]] = body["field_schema"]
        return {"status": "completed"}

    def move(self, _query: dict, name: str) -> Any:
        body = self._body()
        drop = body.get("drop_replica")
        if drop is None:
            raise NotServed(f"the stand-in does not do {sorted(body)}")
        with self.cluster.lock:
            self.cluster.find(name).replicas[drop["shard_id"]].pop(drop["peer_id"], None)
        return True

    def upload(self, _query: dict, name: str, shard: str) -> Any:
        if not self.headers.get("Content-Type", "").startswith("multipart/"):
            self._drain()
            self._answer(415, {"status": {"error": "not a form"}, "time": 0.0})
            return _STREAMED
        collection = self.cluster.find(name)
        self._drain()
        with self.cluster.lock:
            collection.replicas[int(shard)][self.peer] = True
        return True

    def switch_aliases(self, _query: dict) -> Any:
        with self.cluster.lock:
            for action in self._body()["actions"]:
                if "delete_alias" in action:
                    self.cluster.aliases.pop(action["delete_alias"]["alias_name"], None)
                else:
                    made = action["create_alias"]
                    self.cluster.aliases[made["alias_name"]] = made["collection_name"]
        return True

    def set_state(self, _query: dict, state: str) -> Any:
        self.cluster.state = state
        return state


_STREAMED = object()  # The handler has answered by itself.
_C = "/collections/([^/]+)"
_S = _C + "/shards/([0-9]+)"
_ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", "/", Handler.root),
    ("GET", "/cluster", Handler.cluster_state),
    ("GET", "/telemetry", Handler.telemetry),
    ("GET", "/cluster/telemetry", Handler.cluster_telemetry),
    ("GET", "/cluster/metadata/keys", Handler.metadata),
    ("GET", "/aliases", Handler.aliases),
    ("GET", "/collections", Handler.names),
    ("POST", "/collections/aliases", Handler.switch_aliases),
    ("GET", _C, Handler.info),
    ("PUT", _C, Handler.create),
    ("PATCH", _C, Handler.change),
    ("DELETE", _C, Handler.drop),
    ("GET", _C + "/exists", Handler.exists),
    ("GET", _C + "/cluster", Handler.placement),
    ("POST", _C + "/cluster", Handler.move),
    ("GET", _C + "/optimizations", Handler.optimizations),
    ("GET", _C + "/snapshots", Handler.no_snapshots),
    ("PUT", _C + "/index", Handler.index),
    ("POST", _C + "/points/query", Handler.ask),
    ("GET", _S + "/snapshot", Handler.stream),
    ("GET", _S + "/snapshots", Handler.no_snapshots),
    ("POST", _S + "/snapshots/upload", Handler.upload),
    ("POST", _S + "/points", Handler.retrieve),
    ("POST", _S + "/points/count", Handler.count),
    ("POST", _S + "/points/scroll", Handler.scroll),
    ("PUT", "/standin/state/(first|second)", Handler.set_state),
]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Serves until standard input ends."""
    cluster = Cluster(dataset.Dataset(Path(sys.argv[1])))
    for peer in dataset.PEERS:
        handler = type("Peer", (Handler,), {"cluster": cluster, "peer": peer})
        server = _Server(("127.0.0.1", 0), handler)
        cluster.urls[peer] = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps(list(cluster.urls.values())), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
