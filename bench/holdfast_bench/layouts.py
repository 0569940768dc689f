"""Rebalance and reshard in points a second, against the server's own transfer of the same shards
(docs/performance.md)."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from holdfast_bench import bare, dataset, servers
from holdfast_bench.bare import Move
from holdfast_bench.program import Program, Run, RunError
from holdfast_bench.report import Row, rated
from holdfast_bench.settings import Settings
from holdfast_bench.servers import Cluster

COLLECTION = "passages"
ALIAS = "live"
SHARDS = 6
COPY_SHARDS = 8  # What the copy has.

# As `holdfast rebalance` has them when nothing is asked for.
AT_ONCE = 4
PER_PEER = 1

TRANSFER = "the server's own transfer"


def run(settings: Settings) -> list[Row]:
    """All rows."""
    return servers.measure(settings, _Layouts)


class _Layouts:
    def __init__(self, settings: Settings, cluster: Cluster, scratch: Path) -> None:
        self._settings = settings
        self._cluster = cluster
        self._program = Program(settings.binary, scratch, cluster.urls)
        self._file = scratch / "layout.json"
        peers = list(cluster.peers)
        # Everything is on the first peer, and two of three shards leave it.
        self._wanted = {shard: peers[shard % len(peers)] for shard in range(SHARDS)}
        self._first = peers[0]
        self._moves = [
            Move(shard, self._first, peer)
            for shard, peer in self._wanted.items()
            if peer != self._first
        ]
        self._moved = 0
        self._resharded: dict[str, int] = {}
        self._native = False
        self._floor: list[float] = []
        self._took: dict[str, list[float]] = {}
        self._runs: dict[str, list[Run]] = {}

    def prepare(self, corpus: dataset.Corpus) -> None:
        """The collection, with its points and an alias."""
        points = self._settings.points
        self._settings.say(f"{self._cluster.name}: {points:,} points in {SHARDS} shards")
        bare.create(self._cluster, COLLECTION, SHARDS, 1)
        bare.fill(self._cluster, COLLECTION, range(self._settings.points), corpus)
        self._alias(COLLECTION)
        held = self._cluster.holders(COLLECTION)
        counts = {shard: self._cluster.count(COLLECTION, shard) for shard in held}
        if sum(counts.values()) != self._settings.points:
            raise RunError(f"of {self._settings.points} points {sum(counts.values())} are there")
        self._moved = sum(counts[move.shard] for move in self._moves)
        shards = [{"shard": shard, "peers": [peer]} for shard, peer in self._wanted.items()]
        self._file.write_text(json.dumps({"collections": {COLLECTION: shards}}), encoding="utf-8")
        asked = ("reshard", COLLECTION, "--shards", str(SHARDS + 1), "--dry-run")
        self._native = self._program.run(*asked).result["plan"]["method"] == "native"

    def repeat(self) -> None:
        """Each once, beside the floor."""
        self._gather()
        took = bare.transfer(self._cluster, COLLECTION, self._moves, AT_ONCE, PER_PEER)
        self._floor.append(took)
        self._gather()
        moved = self._measure("rebalance", "rebalance", "--to", str(self._file))
        held = {s: list(peers) for s, peers in self._cluster.holders(COLLECTION).items()}
        if moved.result["moved"] != len(self._moves) or held != {
            shard: [peer] for shard, peer in self._wanted.items()
        }:
            raise RunError(f"it was not rebalanced as asked: {moved.result}, {held}")
        self._copy()
        if self._native:
            self._reshard_in_place(SHARDS + 1, "native, one shard more")
            self._reshard_in_place(SHARDS, "native, one shard less")

    def rows(self) -> list[Row]:
        """What was found."""
        name = f"layouts ({self._cluster.name})"
        floor = [self._moved / took for took in self._floor]
        rows = [
            Row(
                name,
                TRANSFER,
                statistics.median(floor),
                "points/s",
                note=f"floor; {self._moved:,} points in {len(self._moves)} of {SHARDS} shards",
                samples=floor,
            )
        ]

        def row(what: str, points: int, seconds: list[float], runs: list[Run] | None = None) -> Row:
            more = {}
            if runs:
                more["cpu_seconds"] = statistics.median(run.cpu_seconds for run in runs)
                more["rss_mib"] = max(run.rss_mib for run in runs)
            return rated(name, what, points, seconds, TRANSFER, floor, **more)

        def whole(what: str, points: int) -> Row:
            runs = self._runs[what]
            return row(what, points, [run.seconds for run in runs], runs)

        rows.append(whole("rebalance", self._moved))
        rows.append(whole("reshard by a copy", self._settings.points))
        for part in ("of that: copying", "of that: one pass that compares", "of that: the end"):
            rows.append(row(part, self._settings.points, self._took[part]))
        for what, points in self._resharded.items():
            rows.append(whole(f"reshard {what}", points))
            rows.append(row(f"of that: migrating ({what})", points, self._took[what]))
        if not self._native:
            self._settings.say("this server does not permit resharding in place: not measured")
        return rows

    def _measure(self, what: str, *arguments: str) -> Run:
        done = self._program.run(*arguments)
        self._runs.setdefault(what, []).append(done)
        return done

    def _gather(self) -> None:
        """All shards to the first peer; not measured."""
        there = self._cluster.holders(COLLECTION)
        moves = [
            Move(shard, peer, self._first)
            for shard, peers in there.items()
            for peer in peers
            if peer != self._first
        ]
        bare.transfer(self._cluster, COLLECTION, moves, AT_ONCE, AT_ONCE)
        self._cluster.settle(COLLECTION)

    def _copy(self) -> None:
        self._cluster.settle(COLLECTION)
        asked = ("reshard", ALIAS, "--shards", str(COPY_SHARDS), "--method", "copy")
        done = self._measure("reshard by a copy", *asked)
        created = done.when(lambda e: e["event"] == "step" and e["key"] == "create")
        copied = done.when(lambda e: e["event"] == "note" and e["message"].startswith("copied "))
        passed = done.when(lambda e: e["event"] == "note" and e["message"].startswith("pass 1:"))
        result = done.result
        if result["points"] != self._settings.points or result["passes"] != 1:
            raise RunError(f"nobody wrote, and the copy went otherwise than it should: {result}")
        self._note("of that: copying", copied - created)
        self._note("of that: one pass that compares", passed - copied)
        self._note("of that: the end", done.seconds - passed)
        self._alias(COLLECTION)
        self._cluster.drop(result["target"])

    def _reshard_in_place(self, shards: int, what: str) -> None:
        self._cluster.settle(COLLECTION)
        last = max(shards, SHARDS + 1) - 1
        if shards == SHARDS:
            self._resharded[what] = self._cluster.count(COLLECTION, last)
        asked = ("reshard", COLLECTION, "--shards", str(shards), "--method", "native")
        done = self._measure(f"reshard {what}", *asked)
        if shards != SHARDS:
            self._resharded[what] = self._cluster.count(COLLECTION, last)
        if done.result["points"] != self._settings.points:
            raise RunError(f"points were lost or doubled: {done.result}")
        keys = [(at, event["key"]) for at, event in done.events if event["event"] == "step"]
        started = max(at for at, key in keys if key.endswith("/start"))
        migrated = max(at for at, key in keys if "/migrate/" in key)
        self._note(what, migrated - started)

    def _note(self, what: str, seconds: float) -> None:
        self._took.setdefault(what, []).append(seconds)

    def _alias(self, collection: str) -> None:
        action = {"create_alias": {"collection_name": collection, "alias_name": ALIAS}}
        self._cluster.client.call("POST", "/collections/aliases?timeout=60", {"actions": [action]})
