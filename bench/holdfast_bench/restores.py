"""A restore of many collections: when the first is verified, and when all are
(docs/performance.md)."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from holdfast_bench import bare, dataset, servers
from holdfast_bench.program import Program, Run, RunError
from holdfast_bench.report import Row, floor_row, timed
from holdfast_bench.servers import Cluster
from holdfast_bench.settings import Settings

SHARDS = 2
REPLICAS = 2

ALONE = "restore of the first alone"
UPLOAD = "bare upload of the same images"


@dataclass(frozen=True)
class Member:
    """One collection: how much it is wanted, and the ids of its points."""

    name: str
    wanted: int  # 0 is wanted first.
    points: range


# Named so that the order of their names is the wrong one.
_KINDS = ("z-gold", "m-silver", "a-bronze")
_WEIGHTS = ((4,), (2,), (1, 1, 12, 1, 3))  # Sizes of a kind, in turn.


def members(collections: int, points: int) -> list[Member]:
    """A tenth (one at least) is wanted first, then a fifth, then the others; points are shared out
    by weight, the largest among those that nobody waits for."""
    gold = max(1, collections // 10)
    silver = max(1, collections // 5)
    weighed = []
    for number in range(collections):
        kind = 0 if number < gold else 1 if number < gold + silver else 2
        weights = _WEIGHTS[kind]
        weighed.append((f"{_KINDS[kind]}-{number:03}", kind, weights[number % len(weights)]))
    total = sum(weight for _, _, weight in weighed)
    found, begin = [], 0
    for name, kind, weight in weighed:
        size = max(1, points * weight // total)
        found.append(Member(name, kind, range(begin, begin + size)))
        begin += size
    return found


def run(settings: Settings) -> list[Row]:
    """All rows."""
    if settings.collections < len(_KINDS):
        raise RunError(f"--collections must be at least {len(_KINDS)}")
    return servers.measure(settings, _Restores)


class _Restores:
    def __init__(self, settings: Settings, cluster: Cluster, scratch: Path) -> None:
        self._settings = settings
        self._cluster = cluster
        self._members = members(settings.collections, settings.points)
        first = ", ".join(f'"{kind}-*"' for kind in _KINDS[:-1])
        more = f"[restore]\nfirst = [{first}]\n"
        self._program = Program(settings.binary, scratch, cluster.urls, more)
        self._images = scratch / "images"
        self._images.mkdir()
        self._files: dict[str, dict[int, Path]] = {}
        self._floors: dict[str, list[float]] = {ALONE: [], UPLOAD: []}
        self._runs: list[Run] = []
        self._verified: list[dict[str, float]] = []
        self._after_sending: list[float] = []

    def prepare(self, corpus: dataset.Corpus) -> None:
        """Fills the cluster, backs it up, keeps its images for the floor, and empties it."""
        points = sum(len(member.points) for member in self._members)
        self._settings.say(
            f"{self._cluster.name}: {points:,} points in {len(self._members)} collections of "
            f"{SHARDS} shards with {REPLICAS} replicas"
        )
        for member in self._members:
            bare.create(self._cluster, member.name, SHARDS, REPLICAS)
            bare.fill(self._cluster, member.name, member.points, corpus)
        for member in self._members:
            self._cluster.settle(member.name)
        self._program.run("init")
        self._program.run("backup")
        for member in self._members:
            self._files[member.name] = bare.download(self._cluster, member.name, self._images)
        self._drop_all()

    def repeat(self) -> None:
        """Both floors, then the restore of all."""
        first = self._members[0].name
        alone = self._program.run("restore", "latest", "--collections", first)
        self._floors[ALONE].append(alone.seconds)
        self._cluster.drop(first)

        began = time.monotonic()
        for member in self._members:
            bare.create(self._cluster, member.name, SHARDS, REPLICAS)
            bare.upload(self._cluster, member.name, self._files[member.name])
        self._floors[UPLOAD].append(time.monotonic() - began)
        self._check()
        self._drop_all()

        done = self._program.run("restore", "latest")
        self._check()
        self._runs.append(done)
        self._read(done)
        self._drop_all()

    def rows(self) -> list[Row]:
        """What was found."""
        name = f"restores ({self._cluster.name})"
        alone, upload = self._floors[ALONE], self._floors[UPLOAD]
        total = [run.seconds for run in self._runs]
        gold = [member.name for member in self._members if member.wanted == 0]
        first = [min(verified.values()) for verified in self._verified]
        wanted = [max(verified[name] for name in gold) for verified in self._verified]
        middle = [statistics.median(verified.values()) for verified in self._verified]
        whole = {"all are verified": total}
        every = f"of {len(self._members)}"
        return [
            floor_row(name, ALONE, alone),
            floor_row(name, UPLOAD, upload),
            timed(name, "the first is verified", first, {ALONE: alone}),
            timed(name, "the same, of the whole", first, whole),
            timed(name, f"{len(gold)} {every}, wanted first", wanted, whole),
            timed(name, "half of all are verified", middle, whole),
            timed(
                name,
                "all are verified",
                total,
                {UPLOAD: upload},
                cpu_seconds=statistics.median(run.cpu_seconds for run in self._runs),
                rss_mib=max(run.rss_mib for run in self._runs),
            ),
            timed(name, "of that: after each one's images", self._after_sending, whole),
        ]

    def _read(self, done: Run) -> None:
        """When each was verified and switched to, from the events of the program."""
        verified, sent = {}, {}
        for at, event in done.events:
            if event["event"] != "step" or not event["ok"]:
                continue
            kind, _, rest = event["key"].partition("/")
            if kind == "send":
                sent[rest.rpartition("/")[0]] = at
            elif kind == "collection":
                verified[rest] = at
        if set(verified) != {member.name for member in self._members}:
            raise RunError(f"the restore told of {sorted(verified)} only")
        order = sorted(self._members, key=lambda member: verified[member.name])
        if [member.wanted for member in order] != sorted(member.wanted for member in order):
            raise RunError(f"not in the order that was wanted: {[m.name for m in order]}")
        self._verified.append(verified)
        self._after_sending.append(sum(verified[name] - sent[name] for name in verified))

    def _check(self) -> None:
        for member in self._members:
            path = f"/collections/{member.name}/points/count"
            found = self._cluster.client.call("POST", path, {"exact": True})["count"]
            if found != len(member.points):
                raise RunError(f"{member.name} has {found} of {len(member.points)} points")

    def _drop_all(self) -> None:
        for member in self._members:
            self._cluster.drop(member.name)
