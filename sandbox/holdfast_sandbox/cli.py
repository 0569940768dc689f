"""The command line: up, down, status, kill, start, fault."""

import argparse
import json
import os

from . import commands

_WORKERS = ("node", "optimize", "waltail")  # What processes of the sandbox start themselves.


def _add_up(parsers):
    up = parsers.add_parser("up", help="create a cluster, or start all nodes of an existing one")
    add = up.add_argument
    add("--nodes", type=int, help="number of nodes of a new cluster (3)")
    add("--base-port", type=int, default=0, help="REST port of node 0, node K has base + K (free)")
    add(
        "--layout",
        choices=("ports", "addresses"),
        default="ports",
        help="ports: all on 127.0.0.1; addresses: node K on 127.0.0.K+1, all on one port (ports)",
    )
    add("--api-key-file", default="", help="file with the key that may do everything")
    add("--read-key-file", default="", help="file with the key that may only read")
    add("--seed", type=int, default=1, help="seed of what is drawn by chance (1)")
    add("--resharding", action="store_true", help="allow resharding operations")
    add(
        "--optimizer",
        choices=("manual", "auto"),
        default="manual",
        help="auto: shards above indexing_threshold are optimized by themselves (manual)",
    )
    add("--faults", default="", help='file with faults at start: {"0": [{"kind": …}, …], …}')
    add("--log-level", choices=("debug", "info", "warning"), default="info")


def _add_node(parsers, name, text):
    parser = parsers.add_parser(name, help=text)
    parser.add_argument("node", type=int, help="number of the node, from 0")
    return parser


def _parser():
    parser = argparse.ArgumentParser(
        prog="holdfast sandbox",
        description="A local Qdrant-compatible cluster for demos and tests.",
        epilog="example: holdfast sandbox up --nodes 3 --dir /tmp/cluster --base-port 7000",
    )
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_up(parsers)
    down = parsers.add_parser("down", help="stop all nodes")
    down.add_argument("--remove", action="store_true", help="remove the folder as well")
    parsers.add_parser("status", help="show the nodes")
    kill = _add_node(parsers, "kill", "kill a node as a power cut would")
    kill.add_argument("--with-disk", action="store_true", help="remove its folder as well")
    _add_node(parsers, "start", "start a node again")
    fault = _add_node(parsers, "fault", "set, list or clear faults of a node")
    fault.add_argument("kind", nargs="?", help="kind of the fault, or `clear`; none: list them")
    values = "values, such as collection=docs shard=0 byte=4096 times=1"
    fault.add_argument("values", nargs="*", metavar="NAME=VALUE", help=values)
    for command in parsers.choices.values():
        folder = "folder of the cluster (./holdfast-sandbox)"
        command.add_argument("--dir", default="./holdfast-sandbox", help=folder)
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _work(name, arguments):
    if name == "node":
        from . import server

        server.main(arguments[0], int(arguments[1]))
    else:
        from . import children

        getattr(children, name)(*arguments)
    return 0


def main(argv):
    """Runs one command; its exit status: 0 done, 1 failed, 2 usage."""
    if argv and argv[0] in _WORKERS:
        return _work(argv[0], argv[1:])
    args = _parser().parse_args(argv)
    args.dir = os.path.abspath(args.dir)
    try:
        return commands.RUN[args.command](args)
    except commands.CommandError as error:
        if args.json:
            told = {"code": "sandbox", "message": str(error), "hint": error.hint}
            print(json.dumps({"event": "result", "state": "failed", "error": told}))
        else:
            commands.complain(f"{error}" + (f": {error.hint}" if error.hint else ""))
        return 1
