"""Records transcript 6 on a real cluster of three nodes: python3 tests/contract/record.py BINARY.

What is asked stands in resharding_story.py. Peers and addresses are written as those of the record.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_TESTS.parent / "sandbox"))

import resharding_story  # noqa: E402
from clusters import RealThree  # noqa: E402
from player import Player, Request  # noqa: E402
from transcripts import DATA  # noqa: E402

OUT = DATA / "transcripts" / "6-resharding.jsonl"
_HEADERS = ("content-length", "content-type", "connection", "transfer-encoding", "retry-after")


def record(player: Player, act: resharding_story.Act) -> dict:
    """Sends one request and returns its line of the transcript."""
    if act.before:
        act.before(player)
    began = time.monotonic()
    answer = player.send(Request(act.node, act.method, act.path, player.to_cluster(act.body)))
    spent = (time.monotonic() - began) * 1000
    headers = {k.lower(): v for k, v in answer.headers.items() if k.lower() in _HEADERS}
    line = {"note": act.note, "node": act.node, "method": act.method, "path": act.path}
    line |= {"request_headers": {}, "body": act.body, "status": answer.status}
    response = player.to_record(json.loads(answer.body))
    return line | {"response_headers": headers, "response": response, "ms": round(spent, 1)}


def main(binary: str, out: Path) -> None:
    """Writes the transcript only when all of it was recorded."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = RealThree(Path(folder) / "c", Path(binary))
        lines = []
        try:
            player = Player(cluster, {})
            for act in resharding_story.acts():
                lines.append(record(player, act))
                told = lines[-1]
                print(act.note, told["status"], json.dumps(told["response"])[:300], flush=True)
        finally:
            cluster.down()
        draft = out.with_suffix(".part")
        draft.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        os.replace(draft, out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else OUT)
