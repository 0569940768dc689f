"""What servers do when they are asked directly: transfers, uploads and filling by bare REST calls,
with nothing of holdfast. The floors of `layouts` and `restores`."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from holdfast_sandbox.demo_client import quote

from holdfast_bench import dataset
from holdfast_bench.floors import FloorError
from holdfast_bench.servers import Cluster, holders_in

_BATCH = 500
_POLL_SECONDS = 0.02
_LOST_SECONDS = 60.0  # A transfer that is neither listed nor done for so long has failed.
_CHUNK_BYTES = 1 << 20
_BOUNDARY = "a-boundary-that-is-in-no-tar-b41c9d"


@dataclass(frozen=True)
class Move:
    """One shard from one peer to another."""

    shard: int
    source: int
    target: int


def create(
    cluster: Cluster, collection: str, shards: int, replicas: int, indexes: bool = True
) -> None:
    """An empty collection whose vectors are not indexed: an optimizer that still builds graphs
    would share the machine with what is measured next."""
    body = {
        "vectors": dataset.VECTORS,
        "shard_number": shards,
        "replication_factor": replicas,
        "optimizers_config": {"indexing_threshold": 0},
    }
    path = f"/collections/{quote(collection)}"
    cluster.client.call("PUT", f"{path}?timeout=60", body)
    for field, schema in dataset.INDEXES.items() if indexes else ():
        wanted = {"field_name": field, "field_schema": schema}
        cluster.client.call("PUT", f"{path}/index?wait=true&timeout=60", wanted)


def fill(cluster: Cluster, collection: str, points: Sequence[int], corpus: dataset.Corpus) -> None:
    """Writes the points with these ids."""
    path = f"/collections/{quote(collection)}/points?wait=true"
    for begin in range(0, len(points), _BATCH):
        batch = list(points[begin : begin + _BATCH])
        rows = zip(batch, corpus.vectors(batch, 0))
        made = [{"id": i, "vector": row, "payload": corpus.payload(i, 0)} for i, row in rows]
        cluster.client.call("PUT", path, {"points": made})


def transfer(
    cluster: Cluster, collection: str, moves: Iterable[Move], at_once: int, per_peer: int
) -> float:
    """The servers' own transfers, point by point as rebalancing has them: at most so many at once,
    and to one peer. Seconds from the first call until every shard is where it belongs."""
    path = f"/collections/{quote(collection)}/cluster?timeout=60"
    waiting, running = list(moves), dict[Move, float]()  # When each was last seen listed.
    began = time.monotonic()
    while waiting or running:
        view = cluster.view(collection)
        listed = {(t["shard_id"], t["from"], t["to"]) for t in view["shard_transfers"]}
        held = holders_in(view)
        now = time.monotonic()
        for move in list(running):
            there = held.get(move.shard, {})
            if (move.shard, move.source, move.target) in listed:
                running[move] = now
            elif there.get(move.target) == "Active" and move.source not in there:
                del running[move]
            elif now > running[move] + _LOST_SECONDS:
                raise FloorError(f"the server's transfer of shard {move.shard} came to nothing")
        started = False
        for move in list(waiting):
            receiving = sum(other.target == move.target for other in running)
            if len(running) >= at_once or receiving >= per_peer:
                continue
            asked = {
                "shard_id": move.shard,
                "from_peer_id": move.source,
                "to_peer_id": move.target,
                "method": "stream_records",
            }
            cluster.client.call("POST", path, {"move_shard": asked})
            waiting.remove(move)
            running[move] = time.monotonic()
            started = True
        if not started:
            time.sleep(_POLL_SECONDS)
    return time.monotonic() - began


def download(cluster: Cluster, collection: str, folder: Path) -> dict[int, Path]:
    """A snapshot of each shard, from one replica of it."""
    files = {}
    for shard, replicas in cluster.holders(collection).items():
        url = cluster.peers[next(iter(replicas))]
        path = f"/collections/{quote(collection)}/shards/{shard}/snapshot"
        files[shard] = folder / f"{collection}-{shard}.tar"
        where = urlsplit(url)
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=600)
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != 200:
            raise FloorError(f"GET {url}{path}: {answer.status}")
        with open(files[shard], "wb") as out:
            while chunk := answer.read(_CHUNK_BYTES):
                out.write(chunk)
        connection.close()
    return files


def upload(cluster: Cluster, collection: str, images: dict[int, Path]) -> None:
    """Sends each shard's image to every replica that the server has made for it, all at once."""
    sends = [
        (cluster.peers[peer], shard)
        for shard, replicas in cluster.holders(collection).items()
        for peer in replicas
    ]
    with ThreadPoolExecutor(len(sends)) as pool:
        list(pool.map(lambda send: _upload_one(send[0], collection, send[1], images), sends))


def _upload_one(url: str, collection: str, shard: int, images: dict[int, Path]) -> None:
    image = images[shard]
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="snapshot"; '
        f'filename="shard.snapshot"\r\nContent-Type: application/octet-stream\r\n\r\n'
    ).encode()
    tail = f"\r\n--{_BOUNDARY}--\r\n".encode()
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=600)
    path = f"/collections/{quote(collection)}/shards/{shard}/snapshots/upload"
    connection.putrequest("POST", f"{path}?wait=true&priority=no_sync")
    connection.putheader("Content-Type", f"multipart/form-data; boundary={_BOUNDARY}")
    connection.putheader("Content-Length", str(len(head) + image.stat().st_size + len(tail)))
    connection.endheaders(head)
    with open(image, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            connection.send(chunk)
    connection.send(tail)
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    if answer.status != 200:
        raise FloorError(f"POST {url}{path}: {answer.status} {told[:500].decode()}")
