"""./dev bench: see docs/performance.md."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from holdfast_sandbox.demo_client import RestError
from holdfast_sandbox.demo_data import DemoDataError
from holdfast_sandbox.realcluster import RealClusterError

from holdfast_bench import layouts, pipeline, plans, restores
from holdfast_bench.floors import FloorError
from holdfast_bench.program import RunError
from holdfast_bench.report import table
from holdfast_bench.settings import Settings

# Name -> function from Settings to rows. A new benchmark is one more line.
BENCHES = {
    "pipeline": pipeline.run,
    "plans": plans.run,
    "layouts": layouts.run,
    "restores": restores.run,
}

_MEMORY = Path("/dev/shm")
_ERRORS = (
    RunError,
    FloorError,
    DemoDataError,
    RestError,
    RealClusterError,
    OSError,  # A TimeoutError is one.
    subprocess.SubprocessError,
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./dev bench", description="Ratios of holdfast to floors measured in the same run."
    )
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"of {', '.join(BENCHES)}")
    parser.add_argument(
        "--gb", type=float, default=2.0, help="pipeline: size of the tars (default 2)"
    )
    parser.add_argument(
        "--points",
        type=int,
        default=Settings.points,
        help=f"layouts, restores: points in the cluster (default {Settings.points:,})",
    )
    parser.add_argument(
        "--collections",
        type=int,
        default=Settings.collections,
        help=f"restores: number of collections (default {Settings.collections})",
    )
    parser.add_argument("--repeat", type=int, default=5, help="repetitions (default 5)")
    parser.add_argument(
        "--place",
        action="append",
        choices=("memory", "disk"),
        help="pipeline: where repositories are made",
    )
    parser.add_argument("--dir", type=Path, help="folder of the place disk, and of clusters")
    parser.add_argument(
        "--shared", action="store_true", help="do not keep ./dev build out while measuring"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--strict", action="store_true", help="status 1 when a bound is missed")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.benches if name not in BENCHES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}; there are: {', '.join(BENCHES)}")
    if arguments.gb <= 0 or min(arguments.repeat, arguments.points, arguments.collections) < 1:
        parser.error("--gb, --repeat, --points and --collections must be above 0")
    arguments.benches = arguments.benches or list(BENCHES)
    arguments.dir = arguments.dir or Path(tempfile.gettempdir())
    return arguments


def _folders(arguments: argparse.Namespace) -> dict[str, Path]:
    """The places, each with room for a repository and the floor beside it."""
    known = {"memory": _MEMORY, "disk": arguments.dir}
    chosen = {name: known[name] for name in arguments.place or ("memory", "disk")}
    for name, folder in chosen.items():
        needed = arguments.gb * 2.2e9
        if not folder.is_dir() or shutil.disk_usage(folder).free < needed:
            raise RunError(
                f"{folder} has no {needed / 1e9:.1f} GB free; choose a smaller --gb, or leave "
                f"{name} out with --place"
            )
    return chosen


def main() -> int:
    """The exit status: 0, 1 for a missed bound with --strict, 2 when something could not be run."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    def say(text: str) -> None:
        print(f"bench: {text}", file=sys.stderr, flush=True)

    try:
        if "pipeline" in arguments.benches and shutil.which("zstd") is None:
            raise RunError("the program zstd is missing; ./dev setup bench installs it")
        settings = Settings(
            Path(os.environ["HOLDFAST_BIN"]),
            arguments.gb,
            arguments.repeat,
            _folders(arguments) if "pipeline" in arguments.benches else {},
            say,
            None if arguments.shared else Path(os.environ["HOLDFAST_CACHE"]) / "build.lock",
            arguments.dir,
            arguments.points,
            arguments.collections,
        )
        rows = [row for name in arguments.benches for row in BENCHES[name](settings)]
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except _ERRORS as error:
        say(f"failed: {error}")
        return 2
    missed = [f"{row.bench}: {row.what}" for row in rows if row.missed]
    if arguments.json:
        for row in rows:
            print(json.dumps(row.as_json()))
        print(json.dumps({"event": "result", "missed": missed}))
    else:
        print(table(rows))
    if missed:
        say(f"bound missed: {', '.join(missed)}")
    return 1 if missed and arguments.strict else 0


if __name__ == "__main__":
    sys.exit(main())
