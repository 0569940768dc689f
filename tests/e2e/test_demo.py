"""The demonstration is the main job end to end, under writers, checked by their journal."""

from __future__ import annotations

import os
import subprocess

from program import BINARY, PYTHON, SOURCE


def test_the_demo_keeps_all_promises():
    done = subprocess.run(
        [str(SOURCE / "demo/run"), "--points", "3000"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env={**os.environ, "HOLDFAST_BUILD": str(BINARY.parent), "HOLDFAST_PYTHON": PYTHON},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "all promises kept" in done.stdout
