"""A small cluster for tests that run the program very often, and what is asked of it each time."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import golden
from holdfast_sandbox.demo_client import Client, quote
from program import Answer, Program

NAME = "docs"
POINTS = 120
SHARDS = 2
DIMENSIONS = 32


def fill(client: Client, writing: int = 0) -> None:
    """Writes every point, with content that no other `writing` has."""
    chance = random.Random(writing)
    points = [
        {
            "id": i,
            "vector": [chance.uniform(-1, 1) for _ in range(DIMENSIONS)],
            "payload": {"n": i, "text": f"{chance.getrandbits(512):x}"},
        }
        for i in range(POINTS)
    ]
    client.call("PUT", f"/collections/{NAME}/points?wait=true", {"points": points})


def make(client: Client, replicas: int = 1, shards: int = SHARDS) -> None:
    """The collection, filled."""
    body = {
        "vectors": {"size": DIMENSIONS, "distance": "Dot"},
        "shard_number": shards,
        "replication_factor": replicas,
    }
    client.call("PUT", f"/collections/{NAME}?timeout=60", body)
    fill(client)


def program(folder: Path, urls: list[str]) -> Program:
    """With a repository that is not encrypted: else the password's hash takes most of the time."""
    made = Program(folder, urls)
    text = made.config.read_text()
    made.config.write_text(text.replace('encryption = "password"', 'encryption = "none"'))
    made.done("init")
    return made


def program_with_group(folder: Path, urls: list[str], client: Client) -> Program:
    """With one group of `docs`: four shards, two replicas."""
    make(client, replicas=2, shards=4)
    made = program(folder, urls)
    made.done("backup")
    return made


def node_side(client: Client) -> list[str]:
    """Names of all snapshots that the nodes keep."""
    found = []
    for url in client.urls:
        paths = [f"/collections/{NAME}/snapshots"]
        local = client.call("GET", f"/collections/{NAME}/cluster", url=url)["local_shards"]
        paths += [f"/collections/{NAME}/shards/{s['shard_id']}/snapshots" for s in local]
        for path in paths:
            found += [item["name"] for item in client.call("GET", path, url=url)]
    return found


def exists(client: Client, name: str) -> bool:
    return client.call("GET", f"/collections/{quote(name)}/exists")["exists"]


def drop(client: Client, name: str) -> None:
    client.call("DELETE", f"/collections/{quote(name)}?timeout=60")


def kill_after(running: subprocess.Popen, seconds: float, how: int = signal.SIGKILL) -> Answer:
    """Lets it run for so long, or to its end."""
    try:
        out, err = running.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        running.send_signal(how)
        out, err = running.communicate(timeout=120)
    return Answer(running.returncode, out, err)


def kill_at_step(running: subprocess.Popen, key: str) -> list[dict]:
    """Kills it as soon as it says that this step is done; what it said until then."""
    told = []
    for line in running.stdout:
        told.append(json.loads(line))
        if told[-1].get("event") == "step" and told[-1]["key"] == key:
            running.send_signal(signal.SIGKILL)
            break
    running.stdout.close()
    running.stderr.close()
    running.wait(60)
    return told


def whole_lines(answer: Answer) -> list[dict]:
    """The events of a process that was killed: its last line may be torn."""
    lines = answer.out.split("\n")[:-1]
    return [json.loads(line) for line in lines]


def job_of(events: list[dict]) -> str | None:
    """The job that they say has begun."""
    return next((event["job"] for event in events if event["event"] == "started"), None)


def steps_of(events: list[dict]) -> dict[str, bool]:
    """Steps that were done: key -> whether an earlier attempt had done it."""
    return {e["key"]: e["skipped"] for e in events if e["event"] == "step" and e["ok"]}


def seconds_of(work: Any) -> float:
    """How long one call takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def check_copy(client: Client, name: str, wanted: dict) -> None:
    """The copy has every point, and nobody touched the original."""
    assert golden.points(client, name) == wanted
    assert golden.shape(client, name) == golden.shape(client, NAME)
