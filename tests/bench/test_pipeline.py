"""The whole benchmark at its smallest: every program it starts works, every row is there."""

import json
import os
import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def test_the_pipeline_benchmark_runs_from_start_to_end(tmp_path):
    done = subprocess.run(
        [str(_ROOT / "bench/run"), "pipeline", "--gb", "0.01", "--repeat", "1", "--shared"]
        + ["--place", "disk", "--dir", str(tmp_path), "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    *found, result = map(json.loads, done.stdout.splitlines())
    assert result["event"] == "result"
    rows = {row["what"]: row for row in found}
    for name in ("backup", "backup after 1 % of changes", "verify", "restore"):
        assert rows[name]["value"] > 0
        assert rows[name]["ratio"] > 0
        assert rows[name]["rss_mib"] > 0
        assert rows[name]["cpu_seconds"] > 0
    assert rows["stored after 1 % of changes"]["value"] < rows["stored by the backup"]["value"]
    assert not list(tmp_path.iterdir()), "the benchmark left something behind"


def test_an_unknown_benchmark_is_refused_by_name():
    done = subprocess.run(
        [str(_ROOT / "bench/run"), "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no benchmark nonsense; there are: pipeline" in done.stderr
