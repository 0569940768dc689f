"""The program under test, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(os.environ.get("HOLDFAST_SOURCE_DIR", Path(__file__).resolve().parents[2]))
BINARY = Path(os.environ.get("HOLDFAST_BIN", SOURCE / "build/dev/bin/holdfast"))
PYTHON = os.environ.get("HOLDFAST_PYTHON", "python3")
PATIENCE_S = 300


@dataclass
class Answer:
    """How one command ended."""

    status: int
    out: str
    err: str

    @property
    def events(self) -> list[dict]:
        """With --json every line of standard output is an object."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def result(self) -> dict:
        return self.events[-1]


class Program:
    """holdfast with a configuration of its own in `folder`, for the cluster at `urls`."""

    def __init__(self, folder: Path, urls: list[str], url: str | None = None, extra: str = ""):
        self.folder = folder
        key = folder / "key"
        key.write_text("an-e2e-password-nobody-should-see\n")
        listed = ", ".join(f'"{address}"' for address in urls)
        self.config = folder / "holdfast.toml"
        self.config.write_text(
            f"[cluster.test]\nurls = [{listed}]\n"
            f'[repository.main]\nurl = "{url or f"file://{folder}/backups"}"\n'
            f'encryption = "password"\npassword_file = "{key}"\n{extra}\n'
            f'[catalog]\nurl = "sqlite://{folder}/catalog.db"\n'
            f'[backup]\nspool_directory = "{folder}"\n'
        )

    def argv(self, *arguments: str) -> list[str]:
        return [str(BINARY), *arguments, "--config", str(self.config)]

    def run(self, *arguments: str, env: dict | None = None) -> Answer:
        done = subprocess.run(
            self.argv(*arguments),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env={**os.environ, **(env or {})},
        )
        assert "nobody-should-see" not in done.stdout + done.stderr, "a secret was printed"
        return Answer(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.argv(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


def sandbox(*arguments: str) -> str:
    """Runs the sandbox's own program; what it printed."""
    done = subprocess.run(
        [PYTHON, "-m", "holdfast_sandbox", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCE / "sandbox")},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
