"""Clusters for the tests, started through their command lines and stopped again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from holdfast_sandbox.realcluster import RealCluster

SANDBOX = Path(__file__).resolve().parents[2] / "sandbox"


class SandboxCluster:
    """The embedded cluster. Nodes are numbered 0 to count - 1."""

    kind = "sandbox"

    def __init__(self, folder: Path, count: int = 3, arguments: tuple[str, ...] = ()) -> None:
        """Starts the cluster in an empty folder."""
        self.folder = folder
        self.urls: list[str] = self._run("up", "--nodes", str(count), *arguments)["urls"]

    def down(self) -> None:
        """Stops all nodes."""
        self._run("down")

    def kill(self, node: int, with_disk: bool = False) -> None:
        """Ends a node as a power cut would."""
        self._run("kill", str(node), *(["--with-disk"] if with_disk else []))

    def start(self, node: int) -> None:
        """Starts a node again."""
        self._run("start", str(node))

    def status(self) -> list[dict[str, Any]]:
        """What the command line says about the nodes."""
        return self._run("status", allowed=(0, 1))["nodes"]

    def fault(self, node: int, kind: str, **values: Any) -> Any:
        """Sets a fault of a node; "clear" removes all of them."""
        told = [f"{name}={json.dumps(value)}" for name, value in values.items()]
        return self._run("fault", str(node), kind, *told)

    def _run(self, command: str, *arguments: str, allowed: tuple[int, ...] = (0,)) -> Any:
        path = os.pathsep.join(filter(None, [str(SANDBOX), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, "-m", "holdfast_sandbox", command, *arguments]
            + ["--dir", str(self.folder), "--json"],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode not in allowed:
            raise RuntimeError(f"sandbox {command}: {done.stderr.strip() or done.stdout.strip()}")
        return json.loads(done.stdout)


class RealThree:
    """Three nodes of a real server. Nodes are numbered 0 to 2, as the player has it."""

    kind = "real"

    def __init__(self, folder: Path, binary: Path, layout: str = "ports") -> None:
        settings = {"QDRANT__CLUSTER__RESHARDING_ENABLED": "true"}
        self._cluster = RealCluster.up(folder, binary, 3, layout, settings)
        self.urls = self._cluster.urls

    def down(self) -> None:
        """Stops all nodes."""
        self._cluster.down()

    def kill(self, node: int) -> None:
        """Ends a node with SIGKILL."""
        self._cluster.kill(node)

    def start(self, node: int) -> None:
        """Starts a node again."""
        self._cluster.start(node)
