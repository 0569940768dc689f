"""What tests of several folders share: the demo's data, and the real server where there is one."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sandbox"))

VARIABLE = "HOLDFAST_TEST_QDRANT"

# Who runs the tests in the background of a script has SIGINT ignored, and so would the programs
# that the tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data():
    """Real text with real vectors."""
    from holdfast_sandbox import demo_data

    try:
        return demo_data.fetch(say=lambda text: print(text, file=sys.stderr))
    except demo_data.DemoDataError as error:
        pytest.skip(f"no demo data: {error}")


@pytest.fixture(scope="session")
def real_binary() -> Path:
    """The real server that HOLDFAST_TEST_QDRANT names; skips the test when there is none."""
    path = os.environ.get(VARIABLE)
    if not path:
        pytest.skip(f"{VARIABLE} does not name a Qdrant server, so nothing real was tested")
    if not os.access(path, os.X_OK):
        pytest.fail(f"{VARIABLE} names {path}, which is no program that can be run")
    return Path(path)
