"""A real Qdrant cluster on loopback, from a server binary: for the tests that need the real thing.

    python3 -m holdfast_sandbox.realcluster up --binary PATH --dir D [--layout addresses|ports]
    python3 -m holdfast_sandbox.realcluster status|down --dir D
    python3 -m holdfast_sandbox.realcluster kill 2 --dir D [--with-disk]
    python3 -m holdfast_sandbox.realcluster start 2 --dir D

Nodes are numbered from 0, as those of the sandbox are. Reference 7.4 has the two layouts.
"addresses": node k listens on 127.0.0.(k+1) and all nodes share their ports, as pods in Kubernetes
do. "ports": all nodes are on 127.0.0.1, each with its own ports. Each node has its own folder
D/node<k> with its storage, snapshots, log and pid file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from holdfast_sandbox.demo_client import Client, RestError, wait_for

STATE_FILE = "realcluster.json"
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
# Below the range from which the kernel takes ports for outgoing connections, so that a node finds
# its ports free again after a restart.
_PORTS = range(15000, 32000)


class RealClusterError(Exception):
    """The cluster cannot be started or stopped; says which node and what its log ends with."""


@dataclass
class Node:
    """One server. Numbers begin with 0."""

    number: int
    host: str
    http_port: int
    grpc_port: int
    p2p_port: int
    pid: int = 0
    # Start time of the process in clock ticks since boot: a pid alone may have a new owner.
    started: int = 0

    @property
    def url(self) -> str:
        """Where its REST API answers."""
        return f"http://{self.host}:{self.http_port}"

    @property
    def p2p_uri(self) -> str:
        """How the other peers reach it; also its name in GET /cluster, with a slash at the end."""
        return f"http://{self.host}:{self.p2p_port}"


class RealCluster:
    """A cluster below one folder. What it started it can find again later, from another process."""

    def __init__(
        self,
        folder: Path,
        binary: Path,
        layout: str,
        nodes: list[Node],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.binary = binary
        self.layout = layout
        self.nodes = nodes
        # Kept in memory only: it may hold an API key.
        self._environment = dict(environment or {})

    @property
    def urls(self) -> list[str]:
        """The REST URL of each node."""
        return [node.url for node in self.nodes]

    @staticmethod
    def up(
        folder: Path,
        binary: Path,
        count: int = 3,
        layout: str = "addresses",
        environment: Mapping[str, str] | None = None,
        base_port: int = 0,
    ) -> "RealCluster":
        """Starts a new cluster in an empty or missing folder and waits until all peers agree.

        `base_port` 0 picks free ports; else "addresses" uses base_port, +1 and +2 (REST, gRPC,
        p2p) on every address and "ports" the next three for each node. `environment` are settings
        of the server (QDRANT__…).
        """
        if not os.access(binary, os.X_OK):
            raise RealClusterError(f"{binary} is not a program that can be run")
        if (folder / STATE_FILE).exists():
            raise RealClusterError(f"there is a cluster in {folder} already; run down first")
        if layout not in ("addresses", "ports"):
            raise RealClusterError(f"unknown layout {layout!r}: addresses or ports")
        folder.mkdir(parents=True, exist_ok=True)
        nodes = _place(count, layout, base_port)
        cluster = RealCluster(folder, binary.resolve(), layout, nodes, environment)
        try:
            for node in cluster.nodes:
                cluster._launch(node)
                cluster._wait_ready(node)
            cluster._wait_for_peers()
        except BaseException:
            cluster.down()
            raise
        return cluster

    @staticmethod
    def reserve(
        folder: Path,
        binary: Path,
        count: int,
        layout: str = "ports",
        environment: Mapping[str, str] | None = None,
    ) -> "RealCluster":
        """A cluster that grows: `start(0)` makes it, every other node joins when it is started."""
        folder.mkdir(parents=True, exist_ok=True)
        return RealCluster(folder, binary.resolve(), layout, _place(count, layout, 0), environment)

    @staticmethod
    def open(folder: Path, environment: Mapping[str, str] | None = None) -> "RealCluster":
        """Finds a cluster that was started before."""
        try:
            state = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RealClusterError(f"there is no cluster in {folder}") from None
        nodes = [Node(**node) for node in state["nodes"]]
        return RealCluster(folder, Path(state["binary"]), state["layout"], nodes, environment)

    def down(self) -> None:
        """Stops all nodes; their folders stay."""
        running = [node for node in self.nodes if self.is_running(node.number)]
        for node in running:
            os.kill(node.pid, signal.SIGTERM)
        for node in running:
            self._wait_gone(node, _STOP_SECONDS)
        for node in running:
            if self.is_running(node.number):
                os.kill(node.pid, signal.SIGKILL)
                self._wait_gone(node, _STOP_SECONDS)
        (self.folder / STATE_FILE).unlink(missing_ok=True)

    def kill(self, number: int, with_disk: bool = False) -> None:
        """Ends a node with SIGKILL, as a machine that dies; `with_disk` takes its folder too."""
        node = self.node(number)
        if self.is_running(number):
            os.kill(node.pid, signal.SIGKILL)
            self._wait_gone(node, _STOP_SECONDS)
        if with_disk:
            shutil.rmtree(self._node_folder(node), ignore_errors=True)

    def start(self, number: int) -> None:
        """Starts a node that does not run, with the storage it has, and waits until it is ready."""
        if self.is_running(number):
            raise RealClusterError(f"node {number} runs already")
        node = self.node(number)
        self._launch(node)
        self._wait_ready(node)

    def is_running(self, number: int) -> bool:
        """Whether the process of a node lives."""
        node = self.node(number)
        return node.pid != 0 and _start_ticks(node.pid) == node.started

    def node(self, number: int) -> Node:
        """The node with this number. Raises RealClusterError."""
        if not 0 <= number < len(self.nodes):
            raise RealClusterError(f"there is no node {number}, only 0 to {len(self.nodes) - 1}")
        return self.nodes[number]

    def log_tail(self, number: int, lines: int = 15) -> str:
        """The end of a node's log."""
        path = self._node_folder(self.node(number)) / "log"
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    # --- Inside ----------------------------------------------------------------------------------

    def _node_folder(self, node: Node) -> Path:
        return self.folder / f"node{node.number}"

    def _launch(self, node: Node) -> None:
        folder = self._node_folder(node)
        folder.mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(folder),
            "RUN_MODE": "production",
            "QDRANT__LOG_LEVEL": "INFO",
            "QDRANT__CLUSTER__ENABLED": "true",
            "QDRANT__SERVICE__HOST": node.host,
            "QDRANT__SERVICE__HTTP_PORT": str(node.http_port),
            "QDRANT__SERVICE__GRPC_PORT": str(node.grpc_port),
            "QDRANT__CLUSTER__P2P__PORT": str(node.p2p_port),
            **self._environment,
        }
        command = [str(self.binary), "--disable-telemetry", "--uri", node.p2p_uri]
        if node is not self.nodes[0]:
            command += ["--bootstrap", self.nodes[0].p2p_uri]
        with open(folder / "log", "ab") as log:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        node.pid = process.pid
        node.started = _start_ticks(process.pid) or 0
        (folder / "pid").write_text(f"{node.pid}\n", encoding="ascii")
        self._save()

    def _save(self) -> None:
        state = {
            "binary": str(self.binary),
            "layout": self.layout,
            "nodes": [asdict(node) for node in self.nodes],
        }
        path = self.folder / STATE_FILE
        path.with_suffix(".tmp").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        path.with_suffix(".tmp").rename(path)

    def _wait_ready(self, node: Node) -> None:
        client = Client([node.url], timeout=5)

        def ready() -> bool:
            if not self.is_running(node.number):
                raise RealClusterError(
                    f"node {node.number} ended by itself; its log ends with:\n"
                    + self.log_tail(node.number)
                )
            try:
                return client.send("GET", "/readyz").status == 200
            except RestError:
                return False

        self._wait(f"node {node.number} to be ready", ready, node.number)
        client.close()

    def _wait_for_peers(self) -> None:
        """Every peer knows all peers and one leader (and is a voter itself)."""
        key = self._environment.get("QDRANT__SERVICE__API_KEY")
        for node in self.nodes:
            client = Client([node.url], key, timeout=5)

            def agreed(client: Client = client) -> bool:
                try:
                    view = client.call("GET", "/cluster")
                except RestError:
                    return False
                raft = view["raft_info"]
                return (
                    len(view["peers"]) == len(self.nodes)
                    and raft["leader"] is not None
                    and raft["is_voter"]
                )

            self._wait(f"node {node.number} to see {len(self.nodes)} peers", agreed, node.number)
            client.close()

    def _wait(self, what: str, condition: Callable[[], bool], number: int) -> None:
        try:
            wait_for(what, condition, _START_SECONDS)
        except TimeoutError as error:
            raise RealClusterError(
                f"{error}; its log ends with:\n{self.log_tail(number)}"
            ) from None

    def _wait_gone(self, node: Node, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.is_running(node.number) and time.monotonic() < deadline:
            try:
                os.waitpid(node.pid, os.WNOHANG)  # Where it is our child, it must be collected.
            except ChildProcessError:
                pass
            time.sleep(0.02)


def _start_ticks(pid: int) -> int | None:
    """Start time of a process, or None when there is none or only its corpse."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _place(count: int, layout: str, base_port: int) -> list[Node]:
    if layout == "addresses":
        hosts = [f"127.0.0.{number + 1}" for number in range(count)]
        first = [base_port + i for i in range(3)] if base_port else _free_ports(hosts, 3)
        return [Node(number, host, *first) for number, host in enumerate(hosts)]
    total = 3 * count
    ports = (
        [base_port + i for i in range(total)] if base_port else _free_ports(["127.0.0.1"], total)
    )
    return [
        Node(number, "127.0.0.1", *ports[3 * number : 3 * number + 3]) for number in range(count)
    ]


def _free_ports(hosts: list[str], count: int) -> list[int]:
    """Ports that are free on every host just now."""
    chance = random.SystemRandom()
    found: list[int] = []
    for port in chance.sample(_PORTS, len(_PORTS)):
        if all(_is_free(host, port) for host in hosts):
            found.append(port)
        if len(found) == count:
            return found
    raise RealClusterError(f"no {count} free ports on {', '.join(hosts)}")


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


# --- Command line --------------------------------------------------------------------------------


def main(argv: list[str]) -> int:
    """Runs one command and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m holdfast_sandbox.realcluster")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a new cluster")
    up.add_argument("--binary", type=Path, default=os.environ.get("HOLDFAST_TEST_QDRANT"))
    up.add_argument("--nodes", type=int, default=3)
    up.add_argument("--layout", choices=("addresses", "ports"), default="addresses")
    up.add_argument("--base-port", type=int, default=0, help="0 picks free ports")
    up.add_argument("--resharding", action="store_true", help="allow resharding")
    for name in ("down", "status"):
        commands.add_parser(name)
    for name in ("kill", "start"):
        commands.add_parser(name).add_argument("node", type=int)
    commands.choices["kill"].add_argument("--with-disk", action="store_true")
    for command in commands.choices.values():
        command.add_argument("--dir", type=Path, required=True)
        command.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(argv)
    try:
        told = _run(arguments)
    except RealClusterError as error:
        if arguments.json:
            failure = {"code": "real-cluster", "message": str(error)}
            print(json.dumps({"event": "result", "state": "failed", "error": failure}))
        else:
            print(f"realcluster: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps({"event": "result", "state": "complete", **told}))
    else:
        for node in told["nodes"]:
            state = "running" if node["running"] else "down"
            print(f"  node {node['node']}  {node['url']}  {state}")
    return 0


def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.command == "up":
        if arguments.binary is None:
            raise RealClusterError("name the server with --binary or HOLDFAST_TEST_QDRANT")
        settings = {"QDRANT__CLUSTER__RESHARDING_ENABLED": str(arguments.resharding).lower()}
        cluster = RealCluster.up(
            arguments.dir,
            Path(arguments.binary),
            arguments.nodes,
            arguments.layout,
            settings,
            arguments.base_port,
        )
    else:
        cluster = RealCluster.open(arguments.dir)
        if arguments.command == "down":
            cluster.down()
        elif arguments.command == "kill":
            cluster.kill(arguments.node, arguments.with_disk)
        elif arguments.command == "start":
            cluster.start(arguments.node)
    nodes = [
        {"node": n.number, "url": n.url, "uri": n.p2p_uri, "running": cluster.is_running(n.number)}
        for n in cluster.nodes
    ]
    return {
        "dir": str(arguments.dir),
        "layout": cluster.layout,
        "nodes": nodes,
        "urls": cluster.urls,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
