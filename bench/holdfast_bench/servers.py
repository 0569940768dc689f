"""A cluster of three nodes to measure on: the real server where HOLDFAST_TEST_QDRANT names one,
else the sandbox. Rows say which it was."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from holdfast_sandbox.demo_client import Client, quote, wait_for
from holdfast_sandbox.realcluster import RealCluster

from holdfast_bench import dataset
from holdfast_bench.program import RunError
from holdfast_bench.report import Row
from holdfast_bench.scratch import scratch_folder
from holdfast_bench.settings import Settings

VARIABLE = "HOLDFAST_TEST_QDRANT"
NODES = 3
_SETTLE_SECONDS = 300.0


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs, empty at first; it permits resharding."""

    name: str  # For people: "real server 1.18.3", "sandbox".
    client: Client
    peers: dict[int, str]  # Peer id -> URL, in the order of the nodes.

    @property
    def urls(self) -> list[str]:
        """The REST address of each node."""
        return self.client.urls

    def view(self, collection: str) -> dict[str, Any]:
        """A collection's shards and transfers, as one node sees them."""
        return self.client.call("GET", f"/collections/{quote(collection)}/cluster")

    def holders(self, collection: str) -> dict[int, dict[int, str]]:
        """Shard -> peer -> state of its replica."""
        return holders_in(self.view(collection))

    def count(self, collection: str, shard: int) -> int:
        """Points of a shard, counted by one of its replicas."""
        peer = next(iter(self.holders(collection)[shard]))
        path = f"/collections/{quote(collection)}/shards/{shard}/points/count"
        return self.client.call("POST", path, {"exact": True}, url=self.peers[peer])["count"]

    def drop(self, collection: str) -> None:
        """Takes a collection away, everywhere."""
        path = f"/collections/{quote(collection)}"
        self.client.call("DELETE", f"{path}?timeout=60")
        for url in self.urls:
            wait_for(
                f"{collection} to be gone",
                lambda url=url: not self.client.call("GET", f"{path}/exists", url=url)["exists"],
            )

    def settle(self, collection: str) -> None:
        """Waits until no node transfers or optimizes anything of a collection, so that what is
        measured next does not share the machine with what was measured before."""
        path = f"/collections/{quote(collection)}"

        def quiet() -> bool:
            for url in self.urls:
                if self.client.call("GET", f"{path}/cluster", url=url)["shard_transfers"]:
                    return False
                if self.client.call("GET", f"{path}/optimizations", url=url)["running"]:
                    return False
            return True

        wait_for(f"{collection} to be at rest", quiet, _SETTLE_SECONDS, 0.1)


def holders_in(view: dict[str, Any]) -> dict[int, dict[int, str]]:
    """Shard -> peer -> state of its replica, ascending by shard."""
    found: dict[int, dict[int, str]] = {}
    for shard in view["local_shards"]:
        found.setdefault(shard["shard_id"], {})[view["peer_id"]] = shard["state"]
    for shard in view["remote_shards"]:
        found.setdefault(shard["shard_id"], {})[shard["peer_id"]] = shard["state"]
    return dict(sorted(found.items()))


class Measured(Protocol):
    """A benchmark on a cluster."""

    def prepare(self, corpus: dataset.Corpus) -> None:
        """Fills the cluster; not measured."""

    def repeat(self) -> None:
        """Everything once, so that all see the same machine."""

    def rows(self) -> list[Row]:
        """What was found."""


def measure(settings: Settings, make: Callable[[Settings, Cluster, Path], Measured]) -> list[Row]:
    """All rows of a benchmark, on a cluster of its own."""
    corpus = dataset.corpus(settings.say)
    with scratch_folder(settings.work) as scratch, started(scratch / "cluster") as cluster:
        bench = make(settings, cluster, scratch)
        bench.prepare(corpus)
        with settings.alone():
            for repetition in range(settings.repetitions):
                load = os.getloadavg()[0]
                settings.say(f"repetition {repetition + 1}, load {load:.1f}")
                bench.repeat()
        return bench.rows()


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Cluster]:
    """A new cluster below an empty folder; it is stopped at the end."""
    binary = os.environ.get(VARIABLE)
    if not binary:
        with _sandbox(folder) as urls:
            yield _known("sandbox", urls)
        return
    settings = {"QDRANT__CLUSTER__RESHARDING_ENABLED": "true"}
    cluster = RealCluster.up(folder, Path(binary), NODES, "ports", settings)
    try:
        yield _known("real server", cluster.urls)
    finally:
        cluster.down()


def _known(kind: str, urls: list[str]) -> Cluster:
    client = Client(urls, timeout=600)
    version = json.loads(client.send("GET", "/").body)["version"]
    peers = {client.call("GET", "/cluster", url=url)["peer_id"]: url for url in client.urls}
    return Cluster(f"{kind} {version}", client, peers)


@contextlib.contextmanager
def _sandbox(folder: Path) -> Iterator[list[str]]:
    def command(*arguments: str) -> dict[str, Any]:
        asked = [sys.executable, "-m", "holdfast_sandbox", *arguments, "--dir", str(folder)]
        done = subprocess.run(
            [*asked, "--json"], capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode != 0:
            raise RunError(f"the sandbox: {done.stdout.strip()} {done.stderr.strip()}")
        return json.loads(done.stdout)

    try:
        yield command("up", "--nodes", str(NODES), "--resharding")["urls"]
    finally:
        command("down")
