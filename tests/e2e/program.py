"""The program under test, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(os.environ.get("HOLDFAST_SOURCE_DIR", Path(__file__).resolve().parents[2]))
BINARY = Path(os.environ.get("HOLDFAST_BIN", SOURCE / "build/dev/bin/holdfast"))
PYTHON = os.environ.get("HOLDFAST_PYTHON", "python3")
PATIENCE_S = 300
PASSWORD = "an-e2e-password-nobody-should-see"


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

    def __str__(self) -> str:
        return f"exit {self.status}\n{self.out[-3000:]}\n{self.err[-2000:]}"


class Program:
    """holdfast with a configuration of its own in `folder`, for the cluster at `urls`.

    Without `url` and `catalog` it has a directory store and SQLite in that folder. `secrets` must
    appear in nothing that a command says.
    """

    def __init__(
        self,
        folder: Path,
        urls: list[str],
        url: str | None = None,
        repository: str = "",
        catalog: str | None = None,
        secrets: tuple[str, ...] = (),
    ):
        self.folder = folder
        self.secrets = (PASSWORD, *secrets)
        key = folder / "key"
        key.write_text(f"{PASSWORD}\n")
        listed = ", ".join(f'"{address}"' for address in urls)
        self.config = folder / "holdfast.toml"
        where = url or f"file://{folder}/backups"
        self.config.write_text(
            f"[cluster.test]\nurls = [{listed}]\n"
            f'[repository.main]\nurl = "{where}"\n'
            f'encryption = "password"\npassword_file = "{key}"\n{repository}\n'
            f"[catalog]\n" + (catalog or f'url = "sqlite://{folder}/catalog.db"') + "\n"
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
        return self._checked(Answer(done.returncode, done.stdout, done.stderr))

    def done(self, *arguments: str) -> Answer:
        """As run(), for a command that must succeed."""
        answer = self.run(*arguments)
        assert answer.status == 0, str(answer)
        return answer

    def start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.argv(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ended(self, running: subprocess.Popen) -> Answer:
        """Waits for what start() started."""
        out, err = running.communicate(timeout=PATIENCE_S)
        return self._checked(Answer(running.returncode, out, err))

    def groups(self) -> list[dict]:
        return self.done("groups", "--json").result["groups"]

    def _checked(self, answer: Answer) -> Answer:
        for secret in self.secrets:
            assert secret not in answer.out + answer.err, "a secret was printed"
        return answer


class ArgumentWatch:
    """Looks at the arguments of all processes of the machine while a test runs."""

    def __init__(self, secrets: tuple[str, ...]):
        self.found: set[str] = set()
        self.looks = 0
        self._secrets = [secret.encode() for secret in secrets]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ArgumentWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ending.wait(0.02):
            self.looks += 1
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    arguments = process.read_bytes()
                except OSError:
                    continue
                if any(secret in arguments for secret in self._secrets):
                    self.found.add(arguments.split(b"\0", 1)[0].decode(errors="replace"))


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
