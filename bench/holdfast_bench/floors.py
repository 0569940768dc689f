"""What a task costs when nothing but the unavoidable is done. Each returns its seconds."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Sequence
from urllib.parse import urlsplit

_BUFFER_BYTES = 1 << 20
_PACK_BYTES = 16 << 20  # What holdfast puts at once.
_WRITERS = 4  # Its upload threads.


class FloorError(Exception):
    """A floor could not be measured."""


def streams_to_nowhere(streams: Sequence[tuple[str, str]], expected: int) -> float:
    """Reads all (base URL, path) at once and drops the bytes, at least `expected` in all."""
    received = [0] * len(streams)

    def read(index: int, base: str, path: str) -> None:
        where = urlsplit(base)
        with socket.create_connection((where.hostname, where.port)) as connection:
            head = f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
            buffer = bytearray(_BUFFER_BYTES)
            while got := connection.recv_into(buffer):
                received[index] += got

    began = time.monotonic()
    threads = [
        threading.Thread(target=read, args=(index, base, path))
        for index, (base, path) in enumerate(streams)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    if sum(received) < expected:
        raise FloorError(f"the streams gave {sum(received)} bytes instead of {expected}")
    return seconds


def zstd(files: Sequence[Path]) -> tuple[float, float]:
    """`zstd -1 -T1` of the files, to nowhere; its CPU seconds as well."""
    began = time.monotonic()
    with open(os.devnull, "wb") as nowhere:
        command = ["zstd", "-1", "-T1", "-q", "-c", *map(str, files)]
        process = subprocess.Popen(command, stdout=nowhere)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise FloorError(f"zstd ended with {process.returncode}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime


def write_and_sync(folder: Path, total: int) -> float:
    """Writes `total` bytes as packs into a new folder, each synced, four at a time."""
    folder.mkdir()
    noise = os.urandom(_PACK_BYTES)

    def write(number: int) -> None:
        size = min(_PACK_BYTES, total - number * _PACK_BYTES)
        with open(folder / str(number), "wb", buffering=0) as out:
            out.write(memoryview(noise)[:size])
            os.fsync(out.fileno())

    began = time.monotonic()
    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(write, range(-(-total // _PACK_BYTES))))
    seconds = time.monotonic() - began
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    return seconds


def read_files(files: Sequence[Path]) -> float:
    """Reads the files once, one after the other, and drops the bytes."""
    buffer = bytearray(_BUFFER_BYTES)
    began = time.monotonic()
    for path in files:
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.monotonic() - began


def files_over_loopback(files: Sequence[Path]) -> float:
    """Sends the files to a socket that drops them, all at once, read through user memory."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drop() -> None:
        connection, _ = listener.accept()
        with connection:
            buffer = bytearray(_BUFFER_BYTES)
            while connection.recv_into(buffer):
                pass

    def send(path: Path) -> None:
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        with (
            socket.create_connection(listener.getsockname()) as connection,
            open(path, "rb", buffering=0) as file,
        ):
            while got := file.readinto(buffer):
                connection.sendall(buffer[:got])

    began = time.monotonic()
    threads = [threading.Thread(target=drop) for _ in files]
    threads += [threading.Thread(target=send, args=(path,)) for path in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    listener.close()
    return seconds
