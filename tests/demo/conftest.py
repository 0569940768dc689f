"""Finds the sandbox package of this tree and the helpers of the contract tests."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_ROOT / "sandbox"))
sys.path.insert(0, str(_ROOT / "tests" / "contract"))
