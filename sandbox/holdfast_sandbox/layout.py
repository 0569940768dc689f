"""Where a sandbox keeps its files, and the small files that describe it.

D/cluster.json          ports, keys and options of the cluster, written once by `up`
D/meta.log              the log that stands for the consensus
D/node-K/node.json      the peer id of node K; gone with its disk
D/node-K/pid, log       the process
D/node-K/storage/       shards and snapshots
"""

import json
import os
from dataclasses import asdict, dataclass, field


class CommandError(Exception):
    """A command cannot be carried out; `hint` says what to do next."""

    def __init__(self, message, hint=""):
        super().__init__(message)
        self.hint = hint


@dataclass
class NodeAddress:
    """Addresses of one node on this machine."""

    host: str
    rest_port: int
    p2p_port: int

    @property
    def rest(self):
        return f"http://{self.host}:{self.rest_port}"

    @property
    def uri(self):
        """The address between peers, in the form `/cluster` shows it (transcript 1)."""
        return f"http://{self.host}:{self.p2p_port}/"


@dataclass
class ClusterFile:
    """The content of `cluster.json`."""

    nodes: list = field(default_factory=list)
    api_key_file: str = ""
    read_key_file: str = ""
    seed: int = 1
    resharding: bool = False
    optimizer: str = "manual"
    log_level: str = "info"
    faults: dict = field(default_factory=dict)  # Node index as text -> faults set at its start.

    def address(self, index):
        return NodeAddress(**self.nodes[index])

    def save(self, root):
        write_json(os.path.join(root, "cluster.json"), asdict(self))

    @staticmethod
    def load(root):
        path = os.path.join(root, "cluster.json")
        try:
            with open(path, encoding="utf-8") as file:
                return ClusterFile(**json.load(file))
        except FileNotFoundError:
            hint = f"start one with `holdfast sandbox up --dir {root}`"
            raise CommandError(f"no sandbox in {root}", hint) from None


def write_json(path, value):
    """Replaces a file in one step, durably."""
    part = path + ".part"
    with open(part, "w", encoding="utf-8") as out:
        json.dump(value, out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(part, path)


def node_dir(root, index):
    return os.path.join(root, f"node-{index}")


def read_key(path):
    """The key in a file, without the newline at its end; an empty path means no key."""
    if not path:
        return ""
    try:
        with open(path, encoding="utf-8") as file:
            key = file.read().strip()
    except OSError as error:
        raise CommandError(f"cannot read the key file {path}", str(error)) from None
    if not key:
        raise CommandError(f"the key file {path} is empty", "write the key into it")
    return key


def peer_id(root, index):
    """The peer id of a node, or None when it has no disk (yet)."""
    try:
        with open(os.path.join(node_dir(root, index), "node.json"), encoding="utf-8") as file:
            return json.load(file)["peer_id"]
    except FileNotFoundError:
        return None
