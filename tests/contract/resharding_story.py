"""What transcript 6 asks, in its order, and what must be there before it is asked.

The same list made the record (record.py) and plays it: a request stands here once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dataset
from compare import FREE, TEXT, UNORDERED, Rule
from holdfast_sandbox.demo_client import wait_for
from holdfast_sandbox.ring import HashRing
from player import Player
from transcripts import PEERS

TRANSCRIPT = 6
NAMES = ("reshard", "undo", "keyed", "single")
P0, P1, P2 = PEERS
UNKNOWN_PEER = 5
POINTS = 1200  # The ids 0 to 1199 are in `reshard`, of a shard key the ids from 0 or from 5000.
UUID = "11111111-2222-4333-8444-55555555555"  # One digit is added.


@dataclass(frozen=True)
class Act:
    """One exchange: a request, and what is done before it."""

    note: str
    node: int
    method: str
    path: str
    body: Any
    before: Callable[[Player], None] | None
    rules: Sequence[Rule] = ()


def settled(player: Player) -> None:
    """No transfer runs on any node, and every node has applied what was committed."""

    def idle() -> bool:
        commits = set()
        for node in player.alive:
            commits.add(player.call("GET", "/cluster", node=node)["raft_info"]["commit"])
            for name in player.kept.get("resharded", ()):
                view = player.call("GET", f"/collections/{name}/cluster", node=node)
                if view["shard_transfers"]:
                    return False
        return len(commits) == 1

    wait_for("the resharding to settle", idle, 60)
    time.sleep(0.05)  # What is committed is applied a moment later.


class Story:
    """Collects the acts.  What follows a change waits until it has settled."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self._name = ""
        self._before: Callable[[Player], None] | None = None

    def about(self, name: str, make: Callable[[Player], None]) -> None:
        """The next acts are about this collection, which is made first."""

        def made(player: Player) -> None:
            settled(player)
            make(player)
            player.kept.setdefault("resharded", []).append(name)
            settled(player)

        self._name, self._before = name, made

    def ask(
        self, note: str, method: str, path: str, body: Any = None, node: int = 0, rules=()
    ) -> None:
        """One request below the collection."""
        whole = f"/collections/{self._name}{path}"
        self.acts.append(Act(note, node, method, whole, body, self._before, rules))
        self._before = settled if method != "GET" and not _is_read(path) else None

    def change(self, note: str, operation: str, args: dict[str, Any]) -> None:
        """One operation of the cluster."""
        self.ask(note, "POST", "/cluster?timeout=30", {operation: args}, rules=STATE_TEXT)

    def migrate(self, shard: int, to_shard: int, source: int, target: int, note="") -> None:
        """Starts the migration of a shard's points."""
        ends = {"shard_id": shard, "to_shard_id": to_shard}
        ends |= {"from_peer_id": source, "to_peer_id": target}
        ends |= {"method": "resharding_stream_records"}
        self.change(note or f"migrate {shard} to {to_shard}", "replicate_shard", ends)

    def look(self, note: str) -> None:
        """Placement and the number of shards."""
        self.ask(f"{note}: cluster", "GET", "/cluster", rules=UNORDERED_SHARDS)
        self.ask(f"{note}: config", "GET", "", rules=COUNTERS)

    def counts(self, note: str, replicas: dict[int, Sequence[int]], keys=()) -> None:
        """Both counts of each replica, and those of the whole collection and of its keys."""
        for shard, nodes in replicas.items():
            for node in nodes:
                path = f"/shards/{shard}/points/count"
                ring = {"hash_ring_filter": {"expected_shard_id": shard}}
                self.ask(f"{note}: replica", "POST", path, {"exact": True}, node)
                self.ask(
                    f"{note}: by ring", "POST", path, {"exact": True, "filter": {}, **ring}, node
                )
        self.ask(f"{note}: all", "POST", "/points/count", {"exact": True})
        for key in keys:
            self.ask(f"{note}: key", "POST", "/points/count", {"exact": True, "shard_key": key})

    def upsert(self, note: str, ids: Sequence[int], key: Any = None) -> None:
        """Writes points with the payload {"late": note}."""
        points = dataset.plain_points(list(ids), 4)
        body: dict[str, Any] = {"points": [{**p, "payload": {"late": note}} for p in points]}
        self.ask(note, "PUT", "/points?wait=true", _with_key(body, key))

    def delete(self, note: str, ids: Sequence[int], key: Any = None) -> None:
        """Deletes points."""
        body = {"points": list(ids)}
        self.ask(note, "POST", "/points/delete?wait=true", _with_key(body, key))

    def label(self, note: str, ids: Sequence[int], key: Any = None) -> None:
        """Sets a payload of points."""
        body = {"payload": {"label": note}, "points": list(ids)}
        self.ask(note, "POST", "/points/payload?wait=true", _with_key(body, key), rules=STATE_TEXT)

    def find(self, note: str, ids: Sequence[int], shard: int | None = None, node: int = 0) -> None:
        """Which of the points there are, with their payload: of all shards or of one replica."""
        body = {"filter": {"must": [{"has_id": list(ids)}]}, "limit": 100, "with_payload": True}
        path = "/points/scroll" if shard is None else f"/shards/{shard}/points/scroll"
        self.ask(note, "POST", path, body, node)

    def clean(self, note: str, replicas: dict[int, Sequence[int]]) -> None:
        """Deletes what the ring gives to other shards."""
        for shard, nodes in replicas.items():
            for node in nodes:
                self.ask(note, "POST", f"/shards/{shard}/cleanup?wait=true", None, node)


def _is_read(path: str) -> bool:
    return path.endswith(("/count", "/scroll"))


def _with_key(body: dict[str, Any], key: Any) -> dict[str, Any]:
    return body if key is None else {**body, "shard_key": key}


STATE_TEXT = (Rule("status.error", TEXT, "a random id"),)
UNORDERED_SHARDS = (Rule("result.local_shards", UNORDERED, "a map"),)
COUNTERS = (
    Rule("result.segments_count", FREE, "how many segments a shard is split into"),
    Rule("result.points_count", FREE, "an estimate"),
    Rule("result.status", FREE, "an optimizer may work"),
)


def _make(name: str, placement: dict[int, list[int]], replicas: int) -> Callable[[Player], None]:
    def make(player: Player) -> None:
        body = {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": len(placement)}
        player.create(name, {**body, "replication_factor": replicas}, placement)
        player.upsert(name, dataset.plain_points(list(range(POINTS)), 4))

    return make


def _make_keyed(player: Player) -> None:
    """Key "a" has the shards 1 and 2, key "b" the shard 3."""
    body = {"vectors": {"size": 4, "distance": "Dot"}, "sharding_method": "custom"}
    player.create("keyed", {**body, "shard_number": 1, "replication_factor": 1})
    for key, nodes in (("a", (0, 1)), ("b", (1,))):
        peers = [player.peer_ids[node] for node in nodes]
        one = {"shard_key": key, "shards_number": len(nodes), "placement": peers}
        player.call("PUT", "/collections/keyed/shards?timeout=30", one)
    player.arrange("keyed", {1: [0], 2: [1], 3: [1]})
    player.upsert("keyed", dataset.plain_points(list(range(600)), 4), "a")
    player.upsert("keyed", dataset.plain_points(list(range(5000, 5600)), 4), "b")


def owned(shard: int, ring: Sequence[int], first: int, count: int) -> list[int]:
    """The first ids from `first` on that a ring gives to a shard."""
    hashes, found, number = HashRing(ring), [], first
    while len(found) < count:
        found += [number] if hashes.owner(number) == shard else []
        number += 1
    return found


def _moved(first: int, count: int) -> list[int]:
    """Ids that go from shard 0 to shard 2 when two shards become three."""
    hashes, found, number = HashRing(range(2)), [], first
    while len(found) < count:
        [number] = owned(2, range(3), number, 1)
        found += [number] if hashes.owner(number) == 0 else []
        number += 1
    return found


def _refused_before(story: Story) -> None:
    for name in ("commit_read_hash_ring", "commit_write_hash_ring", "finish_resharding"):
        story.change(f"no resharding: {name}", name, {})
    story.change("no resharding: finish_migrating_points", "finish_migrating_points", {})
    story.change("no resharding: abort", "abort_resharding", {})
    story.migrate(0, 1, P0, P1, "no resharding: migrate")
    start = {"direction": "up"}
    story.change("start without a direction", "start_resharding", {})
    story.change("start sideways", "start_resharding", {"direction": "sideways"})
    story.change("start with a key", "start_resharding", {**start, "shard_key": "a"})
    story.change("start on no peer", "start_resharding", {**start, "peer_id": UNKNOWN_PEER})


def _up(story: Story) -> None:
    """Two shards of two replicas become three."""
    old, new = {0: (0, 1), 1: (1, 2)}, {0: (0, 1), 1: (1, 2), 2: (2, 0)}
    story.about("reshard", _make("reshard", {0: [0, 1], 1: [1, 2]}, 2))
    _refused_before(story)
    story.counts("before", old)
    start = {"direction": "up", "uuid": UUID + "1", "peer_id": P2}
    story.change("start up", "start_resharding", start)
    story.look("up started")
    story.change("start up again", "start_resharding", start)
    story.change("start another", "start_resharding", {"direction": "down"})
    story.change("commit write too early", "commit_write_hash_ring", {})
    story.change("finish too early", "finish_resharding", {})
    _refused_migrations(story)
    story.migrate(0, 2, P0, P2)
    story.look("first migration")
    story.migrate(1, 2, P2, P2, "migrate on one peer")
    story.migrate(0, 2, P1, P2, "migrate again from another replica")
    story.counts("up migrated", {0: (0, 1), 1: (1, 2), 2: (2,)})
    _writes_while_migrating(story)
    story.change("finish migrating of no shard", "finish_migrating_points", {"shard_id": 9})
    story.change("finish migrating of no peer", "finish_migrating_points", {"peer_id": P1})
    story.change("finish migrating", "finish_migrating_points", {"shard_id": 2, "peer_id": P2})
    story.change("finish migrating again", "finish_migrating_points", {})
    copy = {"shard_id": 2, "from_peer_id": P2, "to_peer_id": P0, "method": "stream_records"}
    story.change("replicate the new shard", "replicate_shard", copy)
    story.look("new shard replicated")
    story.counts("up replicated", new)
    story.change("commit read", "commit_read_hash_ring", {})
    story.change("commit read again", "commit_read_hash_ring", {})
    story.change("abort too late", "abort_resharding", {})
    story.change("finish before commit write", "finish_resharding", {})
    story.look("up read committed")
    story.counts("up read committed", new)
    story.clean("clean", old)
    story.counts("up cleaned", new)
    _late_writes(story)
    story.clean("clean the new shard", {2: (2,)})
    story.change("commit write", "commit_write_hash_ring", {})
    story.change("commit write again", "commit_write_hash_ring", {})
    story.change("commit read after commit write", "commit_read_hash_ring", {})
    story.change("abort at the end", "abort_resharding", {})
    story.clean("clean again", old)
    story.counts("up write committed", new)
    story.change("finish", "finish_resharding", {})
    story.change("finish again", "finish_resharding", {})
    story.look("up finished")
    story.counts("up finished", new)


def _refused_migrations(story: Story) -> None:
    """A migration to a shard that does not exist is not here: it ends the whole cluster."""
    ends = {"shard_id": 0, "from_peer_id": P0, "to_peer_id": P2}
    story.migrate(0, 0, P0, P2, "migrate a shard to itself")
    wrong = {**ends, "to_shard_id": 2, "method": "stream_records"}
    story.change("migrate by another method", "replicate_shard", wrong)
    story.migrate(2, 0, P2, P0, "migrate from the new shard")
    story.migrate(0, 2, P2, P2, "migrate from a peer without the shard")


def _writes_while_migrating(story: Story) -> None:
    """Writes go to both rings: the old shard keeps a moved point, the new one has it too."""
    moved, fresh = _moved(0, 6), _moved(2000, 2)
    story.upsert("upsert while migrating", [*moved[:2], *fresh])
    story.delete("delete while migrating", moved[2:4])
    story.label("label while migrating", moved[4:5])
    ids = [*moved, *fresh]
    story.find("written while migrating: old shard", ids, 0, 1)
    story.find("written while migrating: new shard", ids, 2, 2)
    story.find("written while migrating: all", ids)


def _late_writes(story: Story) -> None:
    """After the clean-up no write brings a moved point back to its old shard."""
    moved, fresh = _moved(0, 9)[5:], _moved(3000, 2)
    story.upsert("upsert after the clean-up", [*moved[:2], *fresh])
    story.delete("delete after the clean-up", moved[2:3])
    story.label("label after the clean-up", moved[3:])
    ids = [*moved, *fresh]
    story.find("written late: old shard", ids, 0, 0)
    story.find("written late: new shard", ids, 2, 0)
    story.find("written late: all", ids)


def _down(story: Story) -> None:
    """Three shards of two replicas become two again."""
    old, new = {0: (0, 1), 1: (1, 2), 2: (2, 0)}, {0: (0, 1), 1: (1, 2)}
    start = {"direction": "down", "uuid": UUID + "2", "peer_id": P2}
    story.change("start down", "start_resharding", start)
    story.look("down started")
    story.change("start down again", "start_resharding", start)
    story.migrate(0, 2, P0, P2, "migrate down in the wrong direction")
    story.change("finish migrating before migrating", "finish_migrating_points", _at(2, P2))
    story.migrate(2, 0, P2, P0)
    story.look("one target migrated")
    for note, args in (
        ("finish migrating down without a shard", {"peer_id": P0}),
        ("finish migrating down without a peer", {"shard_id": 0}),
        ("finish migrating down", _at(0, P0)),
        ("finish migrating down again", _at(0, P0)),
    ):
        story.change(note, "finish_migrating_points", args)
    for shard, peer in ((0, P1), (1, P1), (1, P2)):
        story.migrate(2, shard, P2, peer)
    story.look("all targets migrated")
    story.counts("down migrated", old)
    _writes_going_down(story)
    for shard, peer in ((0, P1), (1, P1), (1, P2)):
        story.change("finish migrating down", "finish_migrating_points", _at(shard, peer))
    story.change("commit write too early", "commit_write_hash_ring", {})
    story.change("commit read", "commit_read_hash_ring", {})
    story.change("abort too late", "abort_resharding", {})
    story.counts("down read committed", old)
    story.upsert("upsert after commit read", [_moved(2000, 5)[4]])
    story.clean("clean what goes", {2: (2, 0)})
    story.counts("down cleaned", old)
    story.change("commit write", "commit_write_hash_ring", {})
    story.look("down write committed")
    story.counts("down write committed", old)
    story.change("finish", "finish_resharding", {})
    story.look("down finished")
    story.counts("down finished", new)
    story.find("written going down: all", [*_moved(0, 6), *_moved(2000, 5)])


def _at(shard: int, peer: int) -> dict[str, int]:
    return {"shard_id": shard, "peer_id": peer}


def _writes_going_down(story: Story) -> None:
    moved, fresh = _moved(0, 9), _moved(2000, 4)[2:]
    story.upsert("upsert going down", [moved[4], *fresh])
    story.delete("delete going down", moved[5:6])
    story.label("label going down", moved[6:7])
    ids = [*moved[4:7], *fresh]
    story.find("written going down: target", ids, 0, 1)
    story.find("written going down: what goes", ids, 2, 0)


def _abort(story: Story) -> None:
    story.about("undo", _make("undo", {0: [0], 1: [1]}, 1))
    story.change(
        "start up without a peer", "start_resharding", {"direction": "up", "uuid": UUID + "3"}
    )
    story.look("up started")
    story.migrate(0, 2, P0, P2)
    story.upsert("upsert before the abort", [*_moved(0, 1), *_moved(2000, 1)])
    story.counts("up before the abort", {0: (0,), 1: (1,), 2: (2,)})
    story.change("abort up", "abort_resharding", {})
    story.look("up aborted")
    story.counts("up aborted", {0: (0,), 1: (1,)})
    story.ask("count of the shard that is gone", "POST", "/shards/2/points/count", {})
    story.change("abort up again", "abort_resharding", {})
    start = {"direction": "down", "uuid": UUID + "4", "peer_id": P1}
    story.change("start down", "start_resharding", start)
    story.migrate(1, 0, P1, P0)
    story.upsert("upsert before the abort of down", owned(1, range(2), 2000, 1))
    story.look("down before the abort")
    story.counts("down before the abort", {0: (0,), 1: (1,)})
    story.change("abort down", "abort_resharding", {})
    story.look("down aborted")
    story.counts("down aborted", {0: (0,), 1: (1,)})
    story.change("start up once more", "start_resharding", {"direction": "up", "peer_id": P2})
    drop = {"shard_id": 2, "peer_id": P2}
    story.change("drop the only replica of the new shard", "drop_replica", drop)
    story.change("abort without a migration", "abort_resharding", {})
    story.look("aborted without a migration")


def _single(story: Story) -> None:
    story.about("single", _make("single", {0: [0]}, 1))
    story.change("down of the last shard", "start_resharding", {"direction": "down"})
    story.look("still one shard")


def _keyed(story: Story) -> None:
    """Another shard for key "a"; and what that does to key "b"."""
    story.about("keyed", _make_keyed)
    up = {"direction": "up", "peer_id": P2}
    story.change("start without a key", "start_resharding", up)
    story.change("start with an unknown key", "start_resharding", {**up, "shard_key": "zz"})
    down = {"direction": "down", "shard_key": "b"}
    story.change("down of the last shard of a key", "start_resharding", down)
    start = {**up, "shard_key": "a", "uuid": UUID + "5"}
    story.change("start up of a key", "start_resharding", start)
    story.look("key started")
    story.migrate(1, 4, P0, P2)
    story.migrate(2, 4, P1, P2)
    replicas = {1: (0,), 2: (1,), 3: (1,), 4: (2,)}
    story.counts("key migrated", replicas, ("a", "b"))
    # Ids that the ring of "a" gives to the new shard, written under "b".
    taken = owned(4, (1, 2, 4), 5000, 4)
    other = owned(4, (1, 2, 4), 7000, 8)
    story.upsert("new under b while migrating", other[:1], "b")
    story.label("label nothing under b while migrating", other[7:], "b")
    story.change("finish migrating", "finish_migrating_points", {"shard_id": 4})
    story.change("commit read", "commit_read_hash_ring", {})
    story.change("abort too late", "abort_resharding", {})
    _lost_writes(story, taken, other)
    story.clean("clean", {1: (0,), 2: (1,)})
    story.change("commit write", "commit_write_hash_ring", {})
    story.upsert("new under b after commit write: lost", other[3:4], "b")
    story.counts("key write committed", replicas, ("a", "b"))
    story.change("finish", "finish_resharding", {})
    story.look("key finished")
    story.upsert("new under b after finish", other[4:5], "b")
    story.find("written under b", [*taken, *other])
    _keyed_down(story, other)


def _lost_writes(story: Story, taken: list[int], other: list[int]) -> None:
    """New points under key "b" are acknowledged and are not there."""
    story.upsert("new under b after commit read: lost", other[1:3], "b")
    story.upsert("overwrite under b", taken[:1], "b")
    story.label("label under b", taken[1:2], "b")
    story.label("label nothing under b", other[7:], "b")
    story.delete("delete under b", taken[2:3], "b")
    vectors = {"points": dataset.plain_points(other[6:7], 4), "shard_key": "b"}
    story.ask("vectors of nothing under b", "PUT", "/points/vectors?wait=true", vectors)
    batch = {"ids": other[5:6], "vectors": [dataset.vector(other[5], 4)]}
    body = {"operations": [{"upsert": {"batch": batch, "shard_key": "b"}}]}
    story.ask("new under b in a batch: lost", "POST", "/points/batch?wait=true", body)
    kept = owned(1, (1, 2, 4), 8000, 1)
    story.upsert("new under b that the ring of a gives to an old shard", kept, "b")
    story.find("written under b after commit read", [*taken, *other, *kept])


def _keyed_down(story: Story, other: list[int]) -> None:
    replicas = {1: (0,), 2: (1,), 3: (1,), 4: (2,)}
    start = {"direction": "down", "shard_key": "a", "uuid": UUID + "6"}
    story.change("start down of a key", "start_resharding", start)
    story.look("key down started")
    story.migrate(4, 1, P2, P0)
    story.migrate(4, 2, P2, P1)
    story.upsert("new under b going down", other[5:6], "b")
    story.label("label nothing under b going down", other[7:], "b")
    for shard, peer in ((1, P0), (2, P1)):
        story.change("finish migrating down", "finish_migrating_points", _at(shard, peer))
    story.counts("key down migrated", replicas, ("a", "b"))
    story.change("commit read", "commit_read_hash_ring", {})
    story.upsert("new under b going down, read committed", other[6:7], "b")
    story.counts("key down read committed", replicas, ("a", "b"))
    story.change("commit write", "commit_write_hash_ring", {})
    story.counts("key down write committed", replicas, ("a", "b"))
    story.change("finish", "finish_resharding", {})
    story.look("key down finished")
    story.counts("key down finished", {1: (0,), 2: (1,), 3: (1,)}, ("a", "b"))
    story.find("written under b at the end", other)


def acts() -> list[Act]:
    """The whole transcript."""
    story = Story()
    for part in (_up, _down, _abort, _single, _keyed):
        part(story)
    return story.acts


def forget(player: Player) -> None:
    """Removes what this transcript made."""
    for name in player.kept.pop("resharded", ()):
        player.call("DELETE", f"/collections/{name}?timeout=60")
