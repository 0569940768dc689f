"""Plays the recorded exchanges against a cluster and compares what comes back.

The recorded peers stand for the peers of the cluster: what is sent is translated from the record,
what comes back is translated to it, and then compared (compare.py). What an exchange needs that is
not in the record (the bodies of uploads, the states between the exchanges) stands in script.py.
"""

from __future__ import annotations

import json
import os
import re
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from compare import Rule, compare, compare_headers
from holdfast_sandbox.demo_client import Answer, Client, quote, wait_for
from transcripts import PEERS, URIS, Exchange


class Cluster(Protocol):
    """What the player needs of a cluster of three nodes."""

    kind: str  # "sandbox" or "real"
    urls: list[str]

    def kill(self, node: int) -> None:
        """Ends the process of a node (0 to 2) at once."""


@dataclass
class Request:
    """What is sent for an exchange; made from the record, then changed by the script."""

    node: int
    method: str
    path: str
    body: Any  # None, JSON, or bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Step:
    """What the script adds to an exchange."""

    before: Callable[["Player"], None] | None = None
    request: Callable[["Player", Request], None] | None = None
    rules: Sequence[Rule] = ()
    check: Callable[["Player", Answer], list[str]] | None = None
    # Reason why it is not played, by kind of cluster.
    skip: dict[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What became of one exchange."""

    exchange: Exchange
    skipped: str | None = None
    differences: list[str] = field(default_factory=list)
    milliseconds: float = 0.0


class Player:
    """Plays a list of exchanges in their order on one cluster. Nodes are numbered 0 to 2."""

    def __init__(self, cluster: Cluster, steps: dict[tuple[int, int], Step]) -> None:
        """Reads the peers of the cluster; the recorded leader becomes the leader of this one."""
        self.cluster = cluster
        self.kind = cluster.kind
        self._steps = steps
        self.client = Client(cluster.urls)
        views = [self.client.call("GET", "/cluster", url=url) for url in cluster.urls]
        leader = views[0]["raft_info"]["leader"]
        views_urls = sorted(zip(views, cluster.urls), key=lambda pair: pair[0]["peer_id"] != leader)
        self.urls = [url for _, url in views_urls]
        self.peer_ids = [view["peer_id"] for view, _ in views_urls]
        self._uris = [view["peers"][str(view["peer_id"])]["uri"] for view, _ in views_urls]
        self.alive = [0, 1, 2]
        # What one exchange leaves for a later one: names of snapshots, manifests, images.
        self.kept: dict[str, Any] = {}

    def play(self, exchanges: Sequence[Exchange]) -> dict[tuple[int, int], Outcome]:
        """Plays all exchanges and returns what became of each."""
        return {exchange.key: self._play(exchange) for exchange in exchanges}

    def _play(self, exchange: Exchange) -> Outcome:
        step = self._steps.get(exchange.key, Step())
        outcome = Outcome(exchange)
        if self.kind in step.skip:
            outcome.skipped = step.skip[self.kind]
            return outcome
        try:
            if step.before:
                step.before(self)
            began = time.monotonic()
            answer = self._send(exchange, step)
            outcome.milliseconds = (time.monotonic() - began) * 1000
            outcome.differences = self._compare(exchange, step, answer)
        except Exception:  # What follows is played all the same; the report names what failed.
            outcome.differences = [traceback.format_exc(limit=-4)]
        return outcome

    def _send(self, exchange: Exchange, step: Step) -> Answer:
        path = self.to_cluster(exchange.path)
        request = Request(exchange.node, exchange.method, path, self.to_cluster(exchange.body))
        if step.request:
            step.request(self, request)
        return self.send(request)

    def send(self, request: Request) -> Answer:
        """Sends a request to its node, on a connection of its own as the recorder did."""
        body, headers = request.body, {"connection": "close", **request.headers}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("content-type", "application/json")
        return self.client.send(
            request.method, request.path, body, headers, self.urls[request.node], timeout=120
        )

    def _compare(self, exchange: Exchange, step: Step, answer: Answer) -> list[str]:
        differences = []
        if answer.status != exchange.status:
            text = answer.body[:300].decode(errors="replace")
            differences.append(f"status: recorded {exchange.status}, here {answer.status}: {text}")
        headers = {name: self._text_to_record(text) for name, text in answer.headers.items()}
        differences += compare_headers(exchange.headers, headers)
        if exchange.has_binary_answer:
            if exchange.response == "<0 bytes>" and answer.body:
                differences.append(f"recorded an empty body, here {len(answer.body)} bytes")
        else:
            recorded, actual = exchange.response, self._decoded(answer)
            differences += compare(recorded, actual, [*step.rules, *GENERAL])
            differences += roles_fit(actual)
        if step.check and answer.status == exchange.status:
            differences += step.check(self, answer)
        return differences

    def _decoded(self, answer: Answer) -> Any:
        text = answer.body.decode(errors="replace")
        if answer.headers.get("content-type", "").startswith("application/json"):
            return self.to_record(json.loads(text))
        return self._text_to_record(text)

    # --- Translation -----------------------------------------------------------------------------

    def to_cluster(self, value: Any) -> Any:
        """Recorded peers in a request -> those of the cluster."""
        return _replace(value, {peer: self.peer_ids[node] for peer, node in PEERS.items()}, {})

    def to_record(self, value: Any) -> Any:
        """Peers and addresses of the cluster in an answer -> the recorded ones."""
        peers = {self.peer_ids[node]: peer for peer, node in PEERS.items()}
        return _replace(value, peers, self._addresses())

    def _text_to_record(self, text: str) -> str:
        for node, peer in enumerate(PEERS):
            text = text.replace(str(self.peer_ids[node]), str(peer))
        for here, recorded in self._addresses().items():
            text = text.replace(here, recorded)
        return text

    def _addresses(self) -> dict[str, str]:
        pairs = {self._uris[node].rstrip("/"): URIS[node].rstrip("/") for node in range(3)}
        bare = {here.split("//")[1]: there.split("//")[1] for here, there in pairs.items()}
        return {**pairs, **bare}

    # --- For the script --------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, node: int = 0) -> Any:
        """The result of a call that is not recorded."""
        return self.client.call(method, path, body, self.urls[node], timeout=120)

    def create(
        self, name: str, body: dict[str, Any], placement: dict[int, list[int]] | None = None
    ) -> None:
        """Makes a collection whose replicas are on the given nodes."""
        self.call("PUT", f"/collections/{quote(name)}?timeout=60", body)
        self.wait_active(name)
        if placement:
            self.arrange(name, placement)

    def placement(self, name: str, node: int = 0) -> dict[int, dict[int, str]]:
        """Shard -> node -> state of the replica, as one node sees it."""
        view = self.call("GET", f"/collections/{quote(name)}/cluster", node=node)
        found: dict[int, dict[int, str]] = {}
        here = self.peer_ids.index(view["peer_id"])
        for shard in view["local_shards"]:
            found.setdefault(shard["shard_id"], {})[here] = shard["state"]
        for shard in view["remote_shards"]:
            node = self.peer_ids.index(shard["peer_id"])
            found.setdefault(shard["shard_id"], {})[node] = shard["state"]
        return found

    def transfers(self, name: str) -> list[dict[str, Any]]:
        """The transfers that run."""
        return self.call("GET", f"/collections/{quote(name)}/cluster")["shard_transfers"]

    def wait_active(self, name: str, seconds: float = 60.0) -> None:
        """Waits until nothing is transferred and all replicas of living peers are Active."""

        def done() -> bool:
            views = [self.placement(name, node) for node in self.alive]
            states = [state for view in views for on in view.values() for state in on.values()]
            return not self.transfers(name) and all(state == "Active" for state in states)

        wait_for(f"{name} to be Active everywhere", done, seconds)

    def wait_green(self, name: str, seconds: float = 120.0) -> None:
        """Waits until no node optimizes the collection (grey is idle too)."""
        path = f"/collections/{quote(name)}"
        wait_for(
            f"{name} to be green",
            lambda: all(self.call("GET", path, node=n)["status"] == "green" for n in self.alive),
            seconds,
        )

    def wait_consensus(self) -> None:
        """Waits until every living peer has committed what node 0 has."""

        def agreed() -> bool:
            views = [self.call("GET", "/cluster", node=node)["raft_info"] for node in self.alive]
            return len({view["commit"] for view in views}) == 1

        wait_for("the peers to agree", agreed, 30)
        time.sleep(0.2)  # What is committed is applied a moment later.

    def arrange(self, name: str, wanted: dict[int, list[int]]) -> None:
        """Moves replicas until they lie on the wanted nodes, as in the record."""
        path = f"/collections/{quote(name)}/cluster?timeout=60"
        for shard, nodes in wanted.items():
            while True:
                have = set(self.placement(name)[shard])
                extra, missing = have - set(nodes), set(nodes) - have
                if not extra and not missing:
                    break
                ends = {"shard_id": shard}
                if missing:
                    source = min(extra) if extra else min(have)
                    ends["from_peer_id"] = self.peer_ids[source]
                    ends["to_peer_id"] = self.peer_ids[min(missing)]
                    ends["method"] = "stream_records"
                    body = {"move_shard" if extra else "replicate_shard": ends}
                else:
                    body = {"drop_replica": {**ends, "peer_id": self.peer_ids[min(extra)]}}
                self.call("POST", path, body)
                wait_for(
                    f"{name}/{shard} to be moved",
                    lambda had=have: set(self.placement(name)[shard]) != had,
                    60,
                )
                self.wait_active(name)

    def upsert(self, name: str, points: list[dict], shard_key: Any = None) -> None:
        """Writes points in batches of 500 and waits until they are applied."""
        for begin in range(0, len(points), 500):
            body: dict[str, Any] = {"points": points[begin : begin + 500]}
            if shard_key is not None:
                body["shard_key"] = shard_key
            self.call("PUT", f"/collections/{quote(name)}/points?wait=true", body)

    def image(self, name: str, shard: int) -> bytes:
        """A streamed snapshot of a shard, from the first node that has it."""
        node = min(self.placement(name)[shard])
        path = f"/collections/{quote(name)}/shards/{shard}/snapshot"
        answer = self.send(Request(node, "GET", path, None))
        if answer.status != 200:
            raise AssertionError(f"GET {path}: {answer.status}: {answer.body[:300]!r}")
        return answer.body


def multipart(content: bytes) -> tuple[bytes, dict[str, str]]:
    """The body and headers of a form with the one part `snapshot`."""
    mark = f"holdfast-{os.getpid()}-{len(content)}"
    head = (
        f'--{mark}\r\nContent-Disposition: form-data; name="snapshot"; filename="shard.snapshot"'
        "\r\nContent-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + content + f"\r\n--{mark}--\r\n".encode()
    return body, {"content-type": f"multipart/form-data; boundary={mark}"}


def _replace(value: Any, peers: dict[int, int], texts: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            _replace(key, peers, texts): _replace(item, peers, texts) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_replace(item, peers, texts) for item in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return peers.get(value, value)
    if isinstance(value, str):
        for here, there in texts.items():
            value = value.replace(here, there)
        digits = {str(here): str(there) for here, there in peers.items()}
        return re.sub(r"\d{12,}", lambda found: digits.get(found[0], found[0]), value)
    return value


def roles_fit(value: Any) -> list[str]:
    """Roles of peers are those that were recorded, and the leader says so of itself."""
    wrong = []
    if isinstance(value, dict):
        role = value.get("role", "Follower")
        if role not in ("Leader", "Follower"):
            wrong.append(f"the role is {role!r}")
        raft = value.get("raft_info")
        if raft and (raft["leader"] == value["peer_id"]) != (raft["role"] == "Leader"):
            wrong.append(
                f"peer {value['peer_id']} is {raft['role']} and says {raft['leader']} leads"
            )
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            wrong += roles_fit(item)
    return wrong


# Rules for every exchange.
GENERAL = (
    Rule("time", "free", "how long it took"),
    Rule("status.error", "text", "names of the moment"),
    Rule("result.operation_id", "free", "counts the operations of a shard"),
    Rule("**.last_update", "free", "a time"),
    Rule("**.commit", "free", "how far consensus is, and the commit of the server's sources"),
    Rule("**.raft_info.term", "free", "elections so far"),
    Rule("**.details.term", "free", "elections so far"),
    Rule("**.status.term", "free", "elections so far"),
    Rule("**.remote_shards", "unordered", "a map"),
    Rule("**.role", "free", "an election may come at any time; see roles_fit"),
    Rule("**.raft_info.leader", "free", "an election may come at any time; see roles_fit"),
)
