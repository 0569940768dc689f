"""Entry: `python3 -m holdfast_sandbox`; the demo's commands stand in demo.py."""

import sys


def _main(argv):
    if argv and argv[0].startswith("demo-"):
        from . import demo

        return demo.main(argv)
    from .cli import main

    return main(argv)


sys.exit(_main(sys.argv[1:]))
