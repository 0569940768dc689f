"""The benchmarks' package can be imported."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
for _folder in ("bench", "sandbox"):
    sys.path.insert(0, str(_ROOT / _folder))
