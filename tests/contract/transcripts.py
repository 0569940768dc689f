"""The recorded exchanges of a real Qdrant 1.18.3 cluster (tests/data/transcripts)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[1] / "data"

# Recorded peer id -> recorded node, and the peers' p2p URIs.
PEERS = {6106786298590253: 0, 1897234352268713: 1, 2798216812421526: 2}
URIS = {
    0: "http://127.0.0.1:21005/",
    1: "http://127.0.0.1:21015/",
    2: "http://127.0.0.1:21025/",
}

KILLS = 5  # The transcript that kills a node: the last one that is played.


@dataclass(frozen=True)
class Exchange:
    """One recorded request and its answer."""

    transcript: int  # 1 to 6
    index: int  # Line in the transcript, from 0.
    note: str
    node: int  # 0 to 2
    method: str
    path: str
    body: Any
    status: int
    headers: dict[str, str]
    response: Any

    @property
    def key(self) -> tuple[int, int]:
        """Names the exchange."""
        return self.transcript, self.index

    @property
    def name(self) -> str:
        """Names the exchange in a test report."""
        path = self.path.split("?")[0]
        return f"{self.transcript}.{self.index:02d} {self.method} {path}"

    @property
    def has_binary_answer(self) -> bool:
        """Whether only the size of the answer was recorded."""
        text = self.response
        return isinstance(text, str) and re.fullmatch(r"<\d+ bytes>", text) is not None


def _numbered() -> list[tuple[int, Path]]:
    paths = (DATA / "transcripts").glob("*.jsonl")
    return [(int(path.name.split("-")[0]), path) for path in paths]


def load() -> list[Exchange]:
    """All exchanges, in the order in which they are played."""
    result = []
    for transcript, path in sorted(_numbered(), key=lambda pair: (pair[0] == KILLS, pair)):
        for index, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
            told = json.loads(line)
            result.append(
                Exchange(
                    transcript,
                    index,
                    told["note"],
                    told["node"],
                    told["method"],
                    told["path"],
                    told["body"],
                    told["status"],
                    {name.lower(): value for name, value in told["response_headers"].items()},
                    told["response"],
                )
            )
    return result
