"""Counts of answered requests, as telemetry shows them (transcript 1)."""

import datetime
import resource
import time


class RequestStats:
    """Requests by route and status; the number of routes bounds it."""

    def __init__(self):
        self._entries = {}

    def note(self, route, status, started):
        """Counts one answer; `started` is a value of time.perf_counter()."""
        spent = int((time.perf_counter() - started) * 1e6)
        entry = self._entries.setdefault(route, {}).setdefault(
            str(status), [0, spent, spent, 0, ""]
        )
        entry[0] += 1
        entry[1] = min(entry[1], spent)
        entry[2] = max(entry[2], spent)
        entry[3] += spent
        moment = datetime.datetime.now(datetime.timezone.utc)
        entry[4] = moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"

    def shown(self, level):
        """Route -> status -> numbers; level 0 has two of them only (run)."""
        return {
            route: {s: _shown(e, level) for s, e in codes.items()}
            for route, codes in self._entries.items()
        }


def _shown(entry, level):
    count, least, most, total, last = entry
    average = round(total / count, 2)
    if level == 0:
        return {"count": count, "avg_duration_micros": average}
    return {
        "count": count,
        "avg_duration_micros": average,
        "min_duration_micros": float(least),
        "max_duration_micros": float(most),
        "total_duration_micros": total,
        "last_responded": last,
    }


def memory():
    """The memory of this process; the parts of the server's allocator do not exist here."""
    with open("/proc/self/statm", encoding="ascii") as file:
        resident = int(file.read().split()[1]) * resource.getpagesize()
    names = ("active_bytes", "allocated_bytes", "resident_bytes")
    return {**{n: resident for n in names}, "metadata_bytes": 0, "retained_bytes": 0}
