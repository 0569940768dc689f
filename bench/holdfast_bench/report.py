"""What a benchmark found: rows of a table, and the same as JSON."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Row:
    """One thing that was measured, beside the floor it is compared with."""

    bench: str
    what: str
    value: float  # Median.
    unit: str
    floor: str = ""  # What the floor is.
    floor_value: float | None = None
    ratio: float | None = None
    bound: float | None = None  # The ratio must not be above it.
    cpu_seconds: float | None = None  # Median, of all threads of the program.
    rss_mib: float | None = None
    note: str = ""
    samples: list[float] = field(default_factory=list)

    @property
    def missed(self) -> bool:
        """Whether the bound is missed."""
        return self.bound is not None and self.ratio is not None and self.ratio > self.bound

    def as_json(self) -> dict[str, Any]:
        """All of it as one object."""
        return {"event": "row", **self.__dict__, "missed": self.missed}


def timed(
    bench: str, what: str, seconds: list[float], floors: dict[str, list[float]], **more: Any
) -> Row:
    """A row of times. Its floor is the one whose median is the largest; the ratio is the median of
    the ratios within each repetition, since the machine is not equally fast all the time."""
    name = max(floors, key=lambda floor: statistics.median(floors[floor]))
    ratios = [mine / floor for mine, floor in zip(seconds, floors[name])]
    return Row(
        bench,
        what,
        statistics.median(seconds),
        "s",
        name,
        statistics.median(floors[name]),
        statistics.median(ratios),
        samples=ratios,
        **more,
    )


def rated(
    bench: str,
    what: str,
    points: int,
    seconds: list[float],
    floor: str,
    floor_rates: list[float],
    **more: Any,
) -> Row:
    """A row of points a second. As in all rows a ratio above 1 is slower than the floor: it is the
    time of a point over the floor's in the same repetition."""
    rates = [points / took for took in seconds]
    ratios = [theirs / mine for mine, theirs in zip(rates, floor_rates)]
    return Row(
        bench,
        what,
        statistics.median(rates),
        "points/s",
        floor,
        statistics.median(floor_rates),
        statistics.median(ratios),
        note=f"{points:,} points in {statistics.median(seconds):.2f} s",
        samples=ratios,
        **more,
    )


def floor_row(bench: str, what: str, seconds: list[float], cpu: list[float] | None = None) -> Row:
    """A row for a floor; `cpu` are its CPU seconds, where they are known."""
    return Row(
        bench,
        what,
        statistics.median(seconds),
        "s",
        cpu_seconds=statistics.median(cpu) if cpu else None,
        note="floor",
        samples=seconds,
    )


def table(rows: list[Row]) -> str:
    """The rows for people."""
    head = ("bench", "what", "median", "floor", "ratio", "bound", "CPU", "peak RSS", "")
    lines = [head]
    for row in rows:
        floor = f"{row.floor_value:,.2f} {row.unit} {row.floor}" if row.floor else ""
        spread = ""
        if row.ratio is not None:
            spread = f"{row.ratio:.3f}"
            if len(row.samples) > 1:
                spread += f" ({min(row.samples):.2f}-{max(row.samples):.2f})"
        lines.append(
            (
                row.bench,
                row.what,
                f"{row.value:,.2f} {row.unit}",
                floor,
                spread,
                "" if row.bound is None else f"<= {row.bound:g}",
                "" if row.cpu_seconds is None else f"{row.cpu_seconds:.1f} s",
                "" if row.rss_mib is None else f"{row.rss_mib:.0f} MiB",
                ("MISSED " if row.missed else "") + row.note,
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in lines
    )
