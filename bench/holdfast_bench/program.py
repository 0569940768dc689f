"""The release program and the stand-in, run as processes of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast_bench import dataset

_PASSWORD = "only-for-benchmarks\n"


class RunError(Exception):
    """A program that is measured failed; its times are worth nothing."""


@dataclass(frozen=True)
class Run:
    """How one command went."""

    result: dict[str, Any]  # Its last line.
    seconds: float  # From start to end, as the caller sees it.
    cpu_seconds: float
    rss_mib: float  # The most it ever had.
    events: list[tuple[float, dict[str, Any]]]  # All lines, each with its seconds since the start.

    def when(self, wanted: Callable[[dict[str, Any]], bool]) -> float:
        """When the first such event came."""
        for at, event in self.events:
            if wanted(event):
                return at
        raise RunError(f"it did not say what is waited for, only: {self.events}")


class StandIn:
    """The stand-in as a context; serves one data set."""

    def __init__(self, data: dataset.Dataset) -> None:
        self._data = data
        self.urls: list[str] = []

    def __enter__(self) -> "StandIn":
        command = [sys.executable, "-m", "holdfast_bench.standin", str(self._data.folder)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us; it ends when its input does.
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise RunError("the stand-in did not start")
        self.urls = json.loads(line)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def serve(self, state: str) -> None:
        """Serves the shards of that state from now on."""
        self._call("PUT", f"/standin/state/{state}")

    def drop(self, collection: str) -> None:
        """Takes a restored collection away."""
        self._call("DELETE", f"/collections/{collection}")

    def _call(self, method: str, path: str) -> None:
        request = urllib.request.Request(self.urls[0] + path, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def streams(self) -> list[tuple[str, str]]:
        """Base URL and path of every shard's stream."""
        return [
            (
                self.urls[s % len(self.urls)],
                f"/collections/{dataset.COLLECTION}/shards/{s}/snapshot",
            )
            for s in range(dataset.SHARDS)
        ]


def _peak_mib(pid: int) -> float:
    """The most memory that a process has had so far; 0 when it has ended. What wait4 tells is never
    less than what its parent had when it was started."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    found = re.search(r"^VmHWM:\s+([0-9]+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


class Program:
    """holdfast with a configuration of its own in `folder`; its repository is there as well."""

    def __init__(self, binary: Path, folder: Path, urls: list[str], more: str = "") -> None:
        """`more` is further text of its configuration."""
        self._binary = binary
        self.folder = folder
        self.repository = folder / "repository"
        key = folder / "key"
        key.write_text(_PASSWORD, encoding="utf-8")
        self._config = folder / "holdfast.toml"
        listed = ", ".join(f'"{url}"' for url in urls)
        self._config.write_text(
            f"[cluster.bench]\nurls = [{listed}]\n"
            f'[repository.main]\nurl = "file://{self.repository}"\n'
            f'encryption = "password"\npassword_file = "{key}"\n'
            f'[catalog]\nurl = "sqlite://{folder}/catalog.db"\n'
            f'[backup]\nspool_directory = "{folder}"\n{more}',
            encoding="utf-8",
        )

    def run(self, *arguments: str) -> Run:
        """One command to its end; raises RunError unless it ends with status 0."""
        command = [str(self._binary), *arguments, "--config", str(self._config), "--json"]
        with tempfile.TemporaryFile() as err:
            began = time.monotonic()
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=err, stdin=subprocess.DEVNULL, text=True
            )
            assert process.stdout is not None
            lines, peak = [], 0.0
            for line in process.stdout:
                lines.append((time.monotonic() - began, line))
                peak = max(peak, _peak_mib(process.pid))
            process.stdout.close()
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                err.seek(0)
                last = lines[-1][1] if lines else ""
                told = last + err.read().decode()[-2000:]
                raise RunError(f"{' '.join(command)} ended with {process.returncode}: {told}")
        events = [(at, json.loads(line)) for at, line in lines]
        result = events[-1][1] if events else {}
        cpu = usage.ru_utime + usage.ru_stime
        return Run(result, seconds, cpu, peak or usage.ru_maxrss / 1024, events)

    def stored_files(self) -> list[Path]:
        """All objects of the repository."""
        return [path for path in self.repository.rglob("*") if path.is_file()]
