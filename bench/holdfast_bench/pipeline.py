"""Backup, second backup, verify and restore of one data set, beside their floors."""

from __future__ import annotations

import os
import shutil
import statistics
from pathlib import Path

from holdfast_bench import dataset, floors
from holdfast_bench.program import Program, StandIn
from holdfast_bench.report import Row, floor_row, timed
from holdfast_bench.scratch import scratch_folder
from holdfast_bench.settings import Settings

# Bounds of the order this was built to.
BACKUP_BOUND = 1.25
CHANGED_BOUND = 0.02

NOWHERE = "streams to nowhere"
ZSTD = "zstd -1 -T1"
WRITE = "write and sync"
READ = "read what is stored"
LOOPBACK = "send it over loopback"

_TARGET = "restored"  # The collection that a restore makes.


def run(settings: Settings) -> list[Row]:
    """All rows; a repetition goes through everything once, so that all see the same machine."""
    data = dataset.obtain(settings.gigabytes, settings.say)
    size = data.bytes("first")
    settings.say(f"{size / 1e9:.2f} GB of tars in {dataset.SHARDS} shards, {settings.places()}")
    rows: list[Row] = []
    with StandIn(data) as standin, settings.alone():
        for place, folder in settings.folders.items():
            with scratch_folder(folder) as scratch:
                rows += _at(settings, data, standin, place, scratch)
    return rows


def warm(data: dataset.Dataset) -> None:
    """Puts the tars into the page cache, and looks that they are all there."""
    floors.read_files([path for state in dataset.STATES for path in data.tars(state)])


def _at(
    settings: Settings, data: dataset.Dataset, standin: StandIn, place: str, scratch: Path
) -> list[Row]:
    first = {name: [] for name in (NOWHERE, ZSTD, WRITE)}
    zstd_cpu: list[float] = []
    back = {name: [] for name in (READ, LOOPBACK)}
    runs = {name: [] for name in ("backup", "second", "verify", "restore")}
    for repetition in range(settings.repetitions):
        load = os.getloadavg()[0]
        settings.say(f"{place}: repetition {repetition + 1}, load {load:.1f}")
        folder = scratch / str(repetition)
        folder.mkdir()
        program = Program(settings.binary, folder, standin.urls)
        standin.serve("first")
        program.run("init")
        warm(data)
        first[NOWHERE].append(floors.streams_to_nowhere(standin.streams(), data.bytes("first")))
        took, cpu = floors.zstd(data.tars("first"))
        first[ZSTD].append(took)
        zstd_cpu.append(cpu)
        runs["backup"].append(program.run("backup"))
        stored = runs["backup"][-1].result["bytes_stored"]
        first[WRITE].append(floors.write_and_sync(folder / "noise", stored))
        back[READ].append(floors.read_files(program.stored_files()))
        back[LOOPBACK].append(floors.files_over_loopback(data.tars("first")))
        runs["verify"].append(program.run("verify"))
        runs["restore"].append(
            program.run("restore", "latest", "--as", f"{dataset.COLLECTION}={_TARGET}")
        )
        standin.drop(_TARGET)
        standin.serve("second")
        runs["second"].append(program.run("backup"))
        shutil.rmtree(folder)

    size = data.bytes("first")
    bench = f"pipeline ({place})"
    rows = [
        floor_row(bench, name, found, zstd_cpu if name == ZSTD else None)
        for name, found in {**first, **back}.items()
    ]

    def row(what: str, name: str, against: dict[str, list[float]], bound: float | None) -> Row:
        took = runs[name]
        seconds = [run.seconds for run in took]
        return timed(
            bench,
            what,
            seconds,
            against,
            bound=bound,
            cpu_seconds=statistics.median(run.cpu_seconds for run in took),
            rss_mib=max(run.rss_mib for run in took),
            note=f"{size / 1e6 / statistics.median(seconds):,.0f} MB/s",
        )

    # In memory syncing costs nothing: the floors are those of the order. On a disk it may be what
    # limits, so that it is a floor as well.
    ordered = first if place == "disk" else {name: first[name] for name in (NOWHERE, ZSTD)}
    before, after = (runs[name][-1].result["bytes_stored"] for name in ("backup", "second"))
    return [
        *rows,
        row("backup", "backup", ordered, BACKUP_BOUND),
        _bytes(bench, "stored by the backup", before, "bytes of the tars", size, None),
        _bytes(
            bench,
            "stored after 1 % of changes",
            after,
            "stored by the backup",
            before,
            CHANGED_BOUND,
        ),
        row("backup after 1 % of changes", "second", {NOWHERE: first[NOWHERE]}, None),
        row("verify", "verify", {READ: back[READ]}, None),
        row("restore", "restore", back, None),
    ]


def _bytes(
    bench: str, what: str, value: int, floor: str, floor_value: int, bound: float | None
) -> Row:
    ratio = value / floor_value
    return Row(bench, what, value / 1e6, "MB", floor, floor_value / 1e6, ratio, bound)
