"""Starting, finding and stopping the processes of a sandbox, by their own ids only."""

import json
import os
import signal
import subprocess
import sys
import time

from . import layout

START_SECONDS = 30.0
STOP_SECONDS = 15.0


def pid_path(root, index):
    return os.path.join(layout.node_dir(root, index), "pid.json")


def _start_time(pid):
    """When the kernel started a process: with it an old pid is not mistaken for a new process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == b"Z" else int(fields[19])


def running_pid(root, index):
    """The pid of a node that runs, or None."""
    try:
        with open(pid_path(root, index), encoding="utf-8") as file:
            saved = json.load(file)
    except (FileNotFoundError, ValueError):
        return None
    return saved["pid"] if _start_time(saved["pid"]) == saved["started"] else None


def spawn(root, index):
    """Starts the process of a node, detached, its output in `log`."""
    folder = layout.node_dir(root, index)
    os.makedirs(folder, exist_ok=True)
    ready = os.path.join(folder, "ready.json")
    if os.path.exists(ready):
        os.unlink(ready)
    package_root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    with open(os.path.join(folder, "log"), "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "holdfast_sandbox", "node", root, str(index)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
    layout.write_json(
        pid_path(root, index), {"pid": process.pid, "started": _start_time(process.pid)}
    )
    return process


def wait_ready(root, index, process):
    """Waits until a node serves; its peer id."""
    path = os.path.join(layout.node_dir(root, index), "ready.json")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                return json.load(file)["peer_id"]
        if process.poll() is not None:
            text = f"node {index} ended with status {process.returncode} before it served"
            raise layout.CommandError(text, log_tail(root, index))
        time.sleep(0.01)
    text = f"node {index} does not serve after {START_SECONDS:.0f} s"
    raise layout.CommandError(text, log_tail(root, index))


def log_tail(root, index, lines=8):
    path = os.path.join(layout.node_dir(root, index), "log")
    with open(path, encoding="utf-8", errors="replace") as file:
        return "".join(file.readlines()[-lines:])


def stop(root, index, number=signal.SIGTERM):
    """Signals a node and waits until it is gone; False when it was not running."""
    pid = running_pid(root, index)
    if pid is None:
        return False
    os.kill(pid, number)
    deadline = time.monotonic() + STOP_SECONDS
    while running_pid(root, index) is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline += STOP_SECONDS
        time.sleep(0.01)
    return True
