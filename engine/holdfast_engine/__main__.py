"""python -m holdfast_engine: one shard image, served on standard input and output."""

import argparse
import os
import sys

from . import PROTOCOL, limits

MEMORY_BYTES = 4 << 30
LINE_BYTES = 64 << 20


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="holdfast-engine",
        description="Opens one shard image with the real engine and serves its points. "
        "holdfast starts it; docs/design/engine-protocol.md has the protocol.",
    )
    parser.add_argument("--scratch", required=True, help="folder for scratch files")
    parser.add_argument(
        "--memory-bytes",
        type=int,
        default=MEMORY_BYTES,
        help=f"what it may allocate; mapped files do not count (default {MEMORY_BYTES})",
    )
    parser.add_argument(
        "--line-bytes",
        type=int,
        default=LINE_BYTES,
        help=f"the longest line it writes (default {LINE_BYTES})",
    )
    return parser.parse_args(argv)


def main(argv=None):
    """Runs until standard input ends; the exit status."""
    arguments = _arguments(argv)
    limits.more_files()
    keep = limits.die_with_input()
    limits.limit_memory(arguments.memory_bytes)
    # Nothing here multiplies matrices: threads for it would only take memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from .server import Server
    except (ImportError, MemoryError) as error:
        # By hand: what makes JSON may be what is missing.
        code = "missing" if isinstance(error, ImportError) else "memory"
        text = (str(error) or "no memory left").replace("\\", "/").replace('"', "'")
        head = f'{{"re":0,"ok":false,"code":"{code}","protocol":{PROTOCOL}'
        os.write(1, f'{head},"message":"{text}"}}\n'.encode())
        return 3
    status = Server(arguments.scratch, arguments.line_bytes).run()
    os.close(keep)
    return status


if __name__ == "__main__":
    sys.exit(main())
