"""The command line: up, down, status, kill, start, fault."""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sys
import time
import urllib.error
import urllib.request

from . import layout, procs

# Below the range from which the kernel takes ports for outgoing connections, so that a node finds
# its port free again after a restart.
_PORTS = range(15000, 32000)
_CALL_SECONDS = 10


def _parser():
    parser = argparse.ArgumentParser(
        prog="holdfast sandbox",
        description="A local Qdrant-compatible cluster for demos and tests.",
        epilog="example: holdfast sandbox up --nodes 3 --dir /tmp/cluster --base-port 7000",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="create a cluster, or start all nodes of an existing one")
    up.add_argument("--nodes", type=int, default=3, help="number of nodes of a new cluster (3)")
    up.add_argument("--base-port", type=int, default=0, help="REST port of node 0, node K has base + K (free ports)")
    up.add_argument("--api-key-file", default="", help="file with the key that may do everything")
    up.add_argument("--read-key-file", default="", help="file with the key that may only read")
    up.add_argument("--seed", type=int, default=1, help="seed of everything that is drawn by chance (1)")
    up.add_argument("--resharding", action="store_true", help="allow resharding operations")
    up.add_argument("--optimizer", choices=("manual", "auto"), default="manual", help="whether shards are optimized by themselves (manual)")
    up.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")
    down = commands.add_parser("down", help="stop all nodes")
    down.add_argument("--remove", action="store_true", help="remove the folder of the cluster as well")
    commands.add_parser("status", help="show the nodes")
    kill = commands.add_parser("kill", help="kill a node as a power cut would")
    kill.add_argument("node", type=int)
    kill.add_argument("--with-disk", action="store_true", help="remove its folder as well")
    start = commands.add_parser("start", help="start a node again")
    start.add_argument("node", type=int)
    fault = commands.add_parser("fault", help="set, list or clear faults of a node")
    fault.add_argument("node", type=int)
    fault.add_argument("kind", nargs="?", help="kind of the fault; without it the faults are listed; `clear` removes all")
    fault.add_argument("values", nargs="*", metavar="NAME=VALUE", help="values, such as collection=docs shard=0 byte=4096 times=1")
    for command in commands.choices.values():
        command.add_argument("--dir", default="./holdfast-sandbox", help="folder of the cluster (./holdfast-sandbox)")
        command.add_argument("--json", action="store_true", help="print one JSON object")
    node = commands.add_parser("node")
    node.add_argument("root")
    node.add_argument("index", type=int)
    for name in ("optimize", "waltail"):
        commands.add_parser(name).add_argument("folder")
    return parser


def main(argv=None):
    """Runs one command; its exit status."""
    args = _parser().parse_args(argv)
    if args.command == "node":
        from . import server

        server.main(args.root, args.index)
        return 0
    if args.command in ("optimize", "waltail"):
        from . import children

        getattr(children, args.command)(args.folder)
        return 0
    args.dir = os.path.abspath(args.dir)
    return {"up": up, "down": down, "status": status, "kill": kill, "start": start, "fault": fault}[args.command](args)


def _print(args, value, lines):
    if args.json:
        print(json.dumps(value))
    else:
        print("\n".join(lines))


# -- up and down ------------------------------------------------------------------------------------


def _free(host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _pick_port(host, taken):
    chance = random.SystemRandom()
    for _ in range(1000):
        port = chance.choice(_PORTS)
        if port not in taken and _free(host, port):
            taken.add(port)
            return port
    raise SystemExit("no free port found on 127.0.0.1")


def _new_cluster(args):
    if args.nodes < 1:
        raise SystemExit("--nodes must be at least 1")
    taken = set(range(args.base_port, args.base_port + args.nodes)) if args.base_port else set()
    nodes = []
    for index in range(args.nodes):
        port = args.base_port + index if args.base_port else _pick_port("127.0.0.1", taken)
        if args.base_port and not _free("127.0.0.1", port):
            raise SystemExit(f"port {port} is in use: choose another --base-port")
        nodes.append({"host": "127.0.0.1", "rest_port": port, "p2p_port": _pick_port("127.0.0.1", taken)})
    keys = [os.path.abspath(p) if p else "" for p in (args.api_key_file, args.read_key_file)]
    for path in keys:
        layout.read_key(path)
    cluster = layout.ClusterFile(
        nodes=nodes, api_key_file=keys[0], read_key_file=keys[1], seed=args.seed,
        resharding=args.resharding, optimizer=args.optimizer, log_level=args.log_level,
    )  # fmt: skip
    os.makedirs(args.dir, exist_ok=True)
    cluster.save(args.dir)
    return cluster


def _nodes_shown(root):
    cluster = layout.ClusterFile.load(root)
    shown = []
    for index in range(len(cluster.nodes)):
        address = cluster.address(index)
        pid = procs.running_pid(root, index)
        peer = None
        path = os.path.join(layout.node_dir(root, index), "node.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                peer = json.load(file)["peer_id"]
        shown.append({"node": index, "url": address.rest, "uri": address.uri, "pid": pid, "peer_id": peer, "running": pid is not None})
    return shown


def up(args):
    """Creates the cluster or starts what is not running; prints the addresses."""
    began = time.monotonic()
    exists = os.path.exists(os.path.join(args.dir, "cluster.json"))
    cluster = layout.ClusterFile.load(args.dir) if exists else _new_cluster(args)
    started = [(i, procs.spawn(args.dir, i)) for i in range(len(cluster.nodes)) if procs.running_pid(args.dir, i) is None]
    for index, process in started:
        procs.wait_ready(args.dir, index, process)
    nodes = _nodes_shown(args.dir)
    value = {"dir": args.dir, "nodes": nodes, "urls": [n["url"] for n in nodes], "seconds": round(time.monotonic() - began, 3)}
    lines = [f"cluster of {len(nodes)} nodes in {args.dir}"]
    lines += [f"  node {n['node']}  {n['url']}  peer {n['peer_id']}" for n in nodes]
    _print(args, value, lines)
    return 0


def down(args):
    cluster = layout.ClusterFile.load(args.dir)
    stopped = [i for i in range(len(cluster.nodes)) if procs.stop(args.dir, i)]
    if args.remove:
        shutil.rmtree(args.dir)
    _print(args, {"stopped": stopped}, [f"stopped {len(stopped)} nodes"])
    return 0


def status(args):
    nodes = _nodes_shown(args.dir)
    lines = [f"  node {n['node']}  {n['url']}  {'running' if n['running'] else 'down':8}  peer {n['peer_id']}" for n in nodes]
    _print(args, {"dir": args.dir, "nodes": nodes}, lines)
    return 0 if all(n["running"] for n in nodes) else 1


# -- one node ---------------------------------------------------------------------------------------


def _check_node(args):
    cluster = layout.ClusterFile.load(args.dir)
    if not 0 <= args.node < len(cluster.nodes):
        raise SystemExit(f"no node {args.node}: the cluster has nodes 0 to {len(cluster.nodes) - 1}")
    return cluster


def kill(args):
    _check_node(args)
    killed = procs.stop(args.dir, args.node, signal.SIGKILL)
    if args.with_disk:
        shutil.rmtree(layout.node_dir(args.dir, args.node), ignore_errors=True)
    what = "killed" if killed else "was not running"
    _print(args, {"node": args.node, "killed": killed, "with_disk": args.with_disk}, [f"node {args.node} {what}" + (", its disk is gone" if args.with_disk else "")])
    return 0


def start(args):
    """Starts a node; without its disk it is a new peer under a new address between peers.

    A real server refuses to join under an address that another peer has registered (reference 1.3).
    """
    cluster = _check_node(args)
    if procs.running_pid(args.dir, args.node) is not None:
        raise SystemExit(f"node {args.node} is running")
    if not os.path.exists(os.path.join(layout.node_dir(args.dir, args.node), "node.json")):
        taken = {n[k] for n in cluster.nodes for k in ("rest_port", "p2p_port")}
        cluster.nodes[args.node]["p2p_port"] = _pick_port("127.0.0.1", taken)
        cluster.save(args.dir)
    peer = procs.wait_ready(args.dir, args.node, procs.spawn(args.dir, args.node))
    _print(args, {"node": args.node, "peer_id": peer, "url": cluster.address(args.node).rest}, [f"node {args.node} serves {cluster.address(args.node).rest} as peer {peer}"])
    return 0


# -- faults -----------------------------------------------------------------------------------------


def _value(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def _call(cluster, index, method, path, body=None):
    """The control calls go through the port between peers, which no fault closes."""
    url = cluster.address(index).uri.rstrip("/") + path
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=_CALL_SECONDS) as response:
            return json.loads(response.read())["result"]
    except urllib.error.HTTPError as error:
        raise SystemExit(json.loads(error.read())["status"]["error"]) from None
    except OSError as error:
        raise SystemExit(f"node {index} does not answer: {error}") from None


def fault(args):
    cluster = _check_node(args)
    if args.kind is None:
        faults = _call(cluster, args.node, "GET", "/sandbox/faults")
        _print(args, {"faults": faults}, [json.dumps(f) for f in faults] or ["no faults"])
        return 0
    if args.kind == "clear":
        _call(cluster, args.node, "DELETE", "/sandbox/faults")
        _print(args, {"cleared": True}, ["faults cleared"])
        return 0
    spec = {"kind": args.kind}
    for item in args.values:
        name, equals, text = item.partition("=")
        if not equals:
            raise SystemExit(f"`{item}` is not NAME=VALUE")
        spec[name] = _value(text)
    made = _call(cluster, args.node, "POST", "/sandbox/faults", spec)
    _print(args, made, [f"fault {made['id']} set on node {args.node}"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
