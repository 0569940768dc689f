"""Servers that the program needs beside the cluster: versitygw (S3) and MariaDB (catalog).

Both listen on free ports of 127.0.0.1, keep their data below a folder of the test, and can be
stopped and started again with what they had.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

_START_SECONDS = 60.0


def free_port() -> int:
    """A port that is free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class _Server:
    """A child process with a log; subclasses say how it is started and when it is up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.port = 0
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Starts it and waits until it answers; on another port when the first one is taken."""
        for _ in range(3):
            self.port = self.port or free_port()
            with open(self.log, "ab") as log:
                self._process = subprocess.Popen(
                    self._command(),
                    env={"PATH": os.environ.get("PATH", ""), **self._environment()},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            until = time.monotonic() + _START_SECONDS
            while self._process.poll() is None and time.monotonic() < until:
                if self._is_up():
                    return
                time.sleep(0.05)
            self.stop()
            self.port = 0
        raise RuntimeError(f"{type(self).__name__} did not start: {self.log.read_text()[-2000:]}")

    def stop(self, how: int = signal.SIGKILL) -> None:
        """Ends it; its data and its port stay."""
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(30)
        self._process = None

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        return {}

    def _is_up(self) -> bool:
        raise NotImplementedError


class VersityGw(_Server):
    """A real S3 server over a folder."""

    ACCESS = "e2e-access-key"

    def __init__(self, folder: Path, binary: Path) -> None:
        super().__init__(folder)
        self.secret = "s3-" + secrets.token_hex(16)
        self._binary = binary
        for name in ("data", "iam"):
            (folder / name).mkdir()
        self.start()

    @staticmethod
    def binary() -> Path | None:
        """The program, as ./dev setup installs it."""
        cache = os.environ.get("HOLDFAST_CACHE") or Path.home() / ".cache/holdfast"
        path = Path(os.environ.get("HOLDFAST_VERSITYGW") or Path(cache) / "bin/versitygw")
        return path if path.exists() else None

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def bucket(self, name: str) -> Path:
        """Makes a bucket; the folder that holds its objects."""
        path = self.folder / "data" / name
        path.mkdir()
        return path

    def _command(self) -> list[str]:
        listen = ["--port", f"127.0.0.1:{self.port}", "--region", "us-east-1"]
        keys = ["--iam-dir", str(self.folder / "iam"), "--quiet"]
        return [str(self._binary), *listen, *keys, "posix", str(self.folder / "data")]

    def _environment(self) -> dict[str, str]:
        return {"ROOT_ACCESS_KEY": self.ACCESS, "ROOT_SECRET_KEY": self.secret}

    def _is_up(self) -> bool:
        try:
            urllib.request.urlopen(self.url, timeout=2)
        except urllib.error.HTTPError:
            return True  # Without a signature it refuses: it is there.
        except OSError:
            return False
        return True


class MariaDb(_Server):
    """A real MariaDB with one user and one database."""

    SERVER = Path("/usr/sbin/mariadbd")
    INSTALLER = Path("/usr/bin/mariadb-install-db")
    USER = "keeper"
    DATABASE = "holdfast"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.password = "db-" + secrets.token_hex(16)
        install = [str(self.INSTALLER), "--no-defaults", f"--datadir={folder}/data"]
        install += ["--auth-root-authentication-method=normal", "--skip-test-db", *self._as_root()]
        done = subprocess.run(install, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"mariadb-install-db: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        self._write_init()
        self.start()

    @classmethod
    def available(cls) -> bool:
        """Whether this machine has it."""
        return cls.SERVER.exists() and cls.INSTALLER.exists()

    @property
    def url(self) -> str:
        """As [catalog] url has it."""
        return f"mysql://{self.USER}@127.0.0.1:{self.port}/{self.DATABASE}"

    def lose_everything(self) -> None:
        """Starts it again with an empty database, as after the loss of the catalog."""
        self.stop()
        self._write_init(f"DROP DATABASE IF EXISTS {self.DATABASE};\n")
        self.start()
        self._write_init()

    def _write_init(self, first: str = "") -> None:
        (self.folder / "init.sql").write_text(
            f"{first}CREATE USER IF NOT EXISTS '{self.USER}'@'127.0.0.1' "
            f"IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON {self.DATABASE}.* TO '{self.USER}'@'127.0.0.1';\n"
            f"CREATE DATABASE IF NOT EXISTS {self.DATABASE};\n"
        )

    @staticmethod
    def _as_root() -> list[str]:
        return ["--user=root"] if os.getuid() == 0 else []

    def _command(self) -> list[str]:
        folder = self.folder
        return [
            str(self.SERVER),
            "--no-defaults",
            f"--datadir={folder}/data",
            f"--socket={folder}/s.sock",
            f"--pid-file={folder}/pid",
            f"--init-file={folder}/init.sql",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--performance-schema=OFF",
            "--innodb-buffer-pool-size=64M",
            # What is written must outlive the process, not the machine.
            "--innodb-flush-log-at-trx-commit=2",
            *self._as_root(),
        ]

    def _is_up(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                return len(connection.recv(5)) == 5  # Its greeting.
        except OSError:
            return False
