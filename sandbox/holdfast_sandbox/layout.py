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
            raise SystemExit(f"no sandbox in {root}: start one with `holdfast sandbox up --dir {root}`") from None


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
    with open(path, encoding="utf-8") as file:
        key = file.read().strip()
    if not key:
        raise SystemExit(f"the key file {path} is empty: write the key into it or leave the option out")
    return key
