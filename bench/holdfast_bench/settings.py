"""What the command line asks for."""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """How benchmarks are to be run."""

    binary: Path
    gigabytes: float
    repetitions: int
    # Name -> where repositories are made: "memory" (a file system without a disk) or "disk".
    folders: dict[str, Path]
    say: Callable[[str], None]
    # Held while something is measured: ./dev build of any clone on this machine waits meanwhile.
    lock: Path | None
    # Where clusters are made, and how much is put into them.
    work: Path = Path(tempfile.gettempdir())
    points: int = 60_000
    collections: int = 20

    def places(self) -> str:
        """The folders, for people."""
        return ", ".join(f"{name} is {folder}" for name, folder in self.folders.items())

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps compilers of this machine out; what else runs shows in the load that rows note."""
        if self.lock is None:
            yield
            return
        with open(self.lock, "w", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.say("waiting for a build to end ...")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
