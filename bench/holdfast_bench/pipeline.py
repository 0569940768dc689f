"""Backup, second backup, verify and restore of one data set, beside their floors."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from holdfast_bench import dataset, floors
from holdfast_bench.program import Program, StandIn
from holdfast_bench.report import Row, floor_row, timed
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
            with tempfile.TemporaryDirectory(prefix="holdfast-bench.", dir=folder) as scratch:
                rows += _at(settings, data, standin, place, Path(scratch))
    return rows


def warm(data: dataset.Dataset) -> None:
    """Puts the tars into the page cache, and looks that they are all there."""
    floors.read_files([path for state in dataset.STATES for path in data.tars(state)])


def _at(
    settings: Settings, data: dataset.Dataset, standin: StandIn, place: str, scratch: Path
) -> list[Row]:
    first = {name: [] for name in (NOWHERE, ZSTD, WRITE)}
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
        first[ZSTD].append(floors.zstd(data.tars("first")))
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

    def seconds(name: str) -> list[float]:
        return [run.seconds for run in runs[name]]

    def rss(name: str) -> float:
        return max(run.rss_mib for run in runs[name])

    bench = f"pipeline ({place})"
    rows = [floor_row(bench, name, found) for name, found in {**first, **back}.items()]
    # Where syncing costs (a disk), the order's bound says nothing: the disk is measured then.
    ordered = {name: first[name] for name in (NOWHERE, ZSTD)}
    is_memory = place == "memory"
    rows.append(
        timed(bench, "backup", seconds("backup"), ordered if is_memory else first,
              bound=BACKUP_BOUND if is_memory else None, rss_mib=rss("backup"),
              note=_speed(data, runs["backup"]))
    )  # fmt: skip
    before, after = (runs[name][-1].result for name in ("backup", "second"))
    rows.append(
        Row(bench, "stored by the backup", before["bytes_stored"] / 1e6, "MB", "bytes of the tars",
            data.bytes("first") / 1e6, before["bytes_stored"] / data.bytes("first"))
    )  # fmt: skip
    rows.append(
        Row(bench, "stored after 1 % of changes", after["bytes_stored"] / 1e6, "MB",
            "stored by the backup", before["bytes_stored"] / 1e6,
            after["bytes_stored"] / before["bytes_stored"], CHANGED_BOUND)
    )  # fmt: skip
    rows.append(
        timed(bench, "backup after 1 % of changes", seconds("second"), {NOWHERE: first[NOWHERE]},
              rss_mib=rss("second"), note=_speed(data, runs["second"]))
    )  # fmt: skip
    rows.append(
        timed(bench, "verify", seconds("verify"), {READ: back[READ]}, rss_mib=rss("verify"),
              note=_speed(data, runs["verify"]))
    )  # fmt: skip
    rows.append(
        timed(bench, "restore", seconds("restore"), back, rss_mib=rss("restore"),
              note=_speed(data, runs["restore"]))
    )  # fmt: skip
    return rows


def _speed(data: dataset.Dataset, runs: list) -> str:
    middle = sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]
    rate = data.bytes("first") / 1e6 / middle.seconds
    return f"{rate:,.0f} MB/s, {middle.cpu_seconds:.1f} s of CPU"
