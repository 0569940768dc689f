"""How long plans take over 100 peers, 1,000 collections, 10,000 shards (docs/performance.md)."""

from __future__ import annotations

import json
import subprocess

from holdfast_bench.report import Row, floor_row, timed
from holdfast_bench.settings import Settings

# A plan must be there as soon as somebody asks for it.
SECONDS_MAX = 1.0


def run(settings: Settings) -> list[Row]:
    """One row a plan; the floor is reading the same topology from its JSON."""
    program = settings.binary.with_name("plan_bench")
    with settings.alone():
        said = subprocess.run(
            [program, str(settings.repetitions)], capture_output=True, text=True, check=True
        ).stdout
    measured = {row["what"]: row["seconds"] for row in map(json.loads, said.splitlines())}
    floor, *plans = measured
    rows = [floor_row("plans", floor, measured[floor])]
    for plan in plans:
        row = timed("plans", plan, measured[plan], {floor: measured[floor]})
        row.note = "within a second" if row.value <= SECONDS_MAX else "LONGER than a second"
        rows.append(row)
    return rows
