"""What the commands of the sandbox do."""

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
from .layout import CommandError

# Below the range from which the kernel takes ports for outgoing connections, so that a node finds
# its port free again after a restart.
_PORTS = range(15000, 32000)
_CALL_SECONDS = 30


def complain(text):
    print(f"holdfast sandbox: {text}", file=sys.stderr)


def _print(args, value, lines):
    if args.json:
        print(json.dumps({"event": "result", "state": "complete", **value}))
    else:
        print("\n".join(lines))


# -- up and down -----------------------------------------------------------------------------------


def _free(host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _pick_port(hosts, taken):
    """A port that is free on all hosts."""
    chance = random.SystemRandom()
    for _ in range(1000):
        port = chance.choice(_PORTS)
        if port not in taken and all(_free(h, port) for h in hosts):
            taken.add(port)
            return port
    raise CommandError("no free port found", "stop what listens on 127.0.0.1, or use --base-port")


def _addresses(args):
    """Host and ports of every node of a new cluster."""
    count, base, taken = args.nodes or 3, args.base_port, set()
    if count < 1:
        raise CommandError("--nodes must be at least 1")
    same = args.layout == "addresses"
    hosts = [f"127.0.0.{i + 1}" if same else "127.0.0.1" for i in range(count)]
    if base:
        ports = [base if same else base + i for i in range(count)]
        taken.update(ports)
    else:
        ports = [_pick_port(hosts, taken)] * count if same else []
        ports = ports or [_pick_port(hosts, taken) for _ in hosts]
    for host, port in zip(hosts, ports):
        if not _free(host, port):
            raise CommandError(f"port {port} of {host} is in use", "choose another --base-port")
    nodes = zip(hosts, ports)
    return [{"host": h, "rest_port": p, "p2p_port": _pick_port([h], taken)} for h, p in nodes]


def _start_faults(path):
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot read the faults in {path}", str(error)) from None


def _new_cluster(args):
    keys = [os.path.abspath(p) if p else "" for p in (args.api_key_file, args.read_key_file)]
    for path in keys:
        layout.read_key(path)
    cluster = layout.ClusterFile(
        nodes=_addresses(args),
        api_key_file=keys[0],
        read_key_file=keys[1],
        seed=args.seed,
        resharding=args.resharding,
        optimizer=args.optimizer,
        log_level=args.log_level,
        faults=_start_faults(args.faults),
    )
    os.makedirs(args.dir, exist_ok=True)
    cluster.save(args.dir)
    return cluster


def _existing_cluster(args):
    cluster = layout.ClusterFile.load(args.dir)
    if args.nodes not in (None, len(cluster.nodes)):
        text = f"the sandbox in {args.dir} has {len(cluster.nodes)} nodes, not {args.nodes}"
        raise CommandError(text, "choose another --dir, or remove it with `down --remove`")
    return cluster


def _shown(root):
    cluster = layout.ClusterFile.load(root)
    nodes = []
    for index in range(len(cluster.nodes)):
        address, pid = cluster.address(index), procs.running_pid(root, index)
        node = {"node": index, "url": address.rest, "uri": address.uri, "pid": pid}
        nodes.append(node | {"peer_id": layout.peer_id(root, index), "running": pid is not None})
    return nodes


def up(args):
    """Creates the cluster or starts what is not running; prints the addresses."""
    began = time.monotonic()
    exists = os.path.exists(os.path.join(args.dir, "cluster.json"))
    cluster = _existing_cluster(args) if exists else _new_cluster(args)
    down_now = [i for i in range(len(cluster.nodes)) if procs.running_pid(args.dir, i) is None]
    for index, process in [(i, procs.spawn(args.dir, i)) for i in down_now]:
        procs.wait_ready(args.dir, index, process)
    nodes = _shown(args.dir)
    seconds = round(time.monotonic() - began, 3)
    value = {"dir": args.dir, "nodes": nodes, "urls": [n["url"] for n in nodes], "seconds": seconds}
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
    """Exit status 0 when all nodes run, else 1."""
    nodes, lines = _shown(args.dir), []
    for n in nodes:
        state = "running" if n["running"] else "down"
        lines.append(f"  node {n['node']}  {n['url']}  {state:7}  peer {n['peer_id']}")
    _print(args, {"dir": args.dir, "nodes": nodes}, lines)
    return 0 if all(n["running"] for n in nodes) else 1


# -- one node --------------------------------------------------------------------------------------


def _cluster_with(args):
    cluster = layout.ClusterFile.load(args.dir)
    if not 0 <= args.node < len(cluster.nodes):
        last = len(cluster.nodes) - 1
        raise CommandError(f"no node {args.node}", f"the cluster has nodes 0 to {last}")
    return cluster


def kill(args):
    _cluster_with(args)
    killed = procs.stop(args.dir, args.node, signal.SIGKILL)
    if args.with_disk:
        shutil.rmtree(layout.node_dir(args.dir, args.node), ignore_errors=True)
    value = {"node": args.node, "killed": killed, "with_disk": args.with_disk}
    line = f"node {args.node} {'killed' if killed else 'was not running'}"
    _print(args, value, [line + (", its disk is gone" if args.with_disk else "")])
    return 0


def start(args):
    """Starts a node; without its disk it is a new peer under a new address between peers.

    A real server refuses to join under an address that another peer has registered (reference 1.3).
    """
    cluster = _cluster_with(args)
    if procs.running_pid(args.dir, args.node) is not None:
        raise CommandError(f"node {args.node} is running")
    if layout.peer_id(args.dir, args.node) is None:
        taken = {n[k] for n in cluster.nodes for k in ("rest_port", "p2p_port")}
        here = cluster.nodes[args.node]
        here["p2p_port"] = _pick_port([here["host"]], taken)
        cluster.save(args.dir)
    peer = procs.wait_ready(args.dir, args.node, procs.spawn(args.dir, args.node))
    url = cluster.address(args.node).rest
    line = f"node {args.node} serves {url} as peer {peer}"
    _print(args, {"node": args.node, "peer_id": peer, "url": url}, [line])
    return 0


# -- faults ----------------------------------------------------------------------------------------


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
        raise CommandError(json.loads(error.read())["status"]["error"]) from None
    except OSError as error:
        raise CommandError(f"node {index} does not answer", str(error)) from None


def fault(args):
    cluster = _cluster_with(args)
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
            raise CommandError(f"`{item}` is not NAME=VALUE")
        spec[name] = _value(text)
    made = _call(cluster, args.node, "POST", "/sandbox/faults", spec)
    _print(args, made, [f"fault {made['id']} set on node {args.node}"])
    return 0


RUN = {"up": up, "down": down, "status": status, "kill": kill, "start": start, "fault": fault}
