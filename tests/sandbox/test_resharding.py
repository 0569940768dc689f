"""Resharding under writers: every acknowledged write is there at the end, whatever happens."""

import contextlib
import time

import pytest
from nodes import Sandbox, wait_for
from writers import Writers, all_active

FILLED = range(900_000, 902_000)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three nodes that allow resharding."""
    made = Sandbox(tmp_path_factory.mktemp("resharding") / "c", 3, "--resharding")
    yield made
    made.down()


class Driver:
    """Does the steps of a resharding from outside, as a client of the real server must."""

    def __init__(self, cluster, name, key=None):
        self.cluster = cluster
        self.name = name
        self.key = key
        self.shard = self.peer = None  # What comes or goes.

    def op(self, name, **args):
        # Under writers a real cluster may stand still until calls between its peers time out.
        path = f"/collections/{self.name}/cluster?timeout=150"
        return self.cluster.call(0, "POST", path, {name: args})

    def step(self, name, **args):
        assert self.op(name, **args).result is True
        self.settle()

    def settle(self):
        """Waits until the nodes that answer agree: on a real cluster some follow a little later."""
        wait_for("all nodes to agree", lambda: len(self._views()) == 1, 60)

    def _views(self):
        answers = (self.cluster.call(node, "GET", "/cluster") for node in range(3))
        seen = [a.result["raft_info"] for a in answers if a.error is None]
        return {(raft["leader"], raft["term"], raft["commit"]) for raft in seen}

    def running(self):
        """The resharding in progress, or None."""
        seen = self.cluster.call(0, "GET", f"/collections/{self.name}/cluster").result
        return (seen.get("resharding_operations") or [None])[0]

    def transfers(self):
        seen = self.cluster.call(0, "GET", f"/collections/{self.name}/cluster").result
        return seen["shard_transfers"]

    def start(self, direction, **args):
        more = {"shard_key": self.key} if self.key is not None else {}
        self.step("start_resharding", direction=direction, **more, **args)
        self.shard, self.peer = self.running()["shard_id"], self.running()["peer_id"]

    def others(self):
        """The other shards of the key with their replicas."""
        seen = self.cluster.call(0, "GET", f"/collections/{self.name}/cluster").result
        keys = {s["shard_id"]: s.get("shard_key") for k in _SIDES for s in seen[k]}
        found = self.cluster.replicas(self.name)
        return {i: r for i, r in found.items() if i != self.shard and keys[i] == self.key}

    def migrate(self, source_shard, target_shard, source, target):
        ends = {"shard_id": source_shard, "to_shard_id": target_shard}
        ends |= {"from_peer_id": source, "to_peer_id": target}
        self.step("replicate_shard", **ends, method="resharding_stream_records")
        wait_for("the migration", lambda: not self.transfers())

    def migrate_up(self):
        for shard, replicas in self.others().items():
            self.migrate(shard, self.shard, min(replicas), self.peer)

    def migrate_down(self):
        for shard, replicas in self.others().items():
            for peer in replicas:
                self.migrate(self.shard, shard, self.peer, peer)

    def finish_migrating(self, replicas):
        up = self.cluster.replicas(self.name)[self.shard][self.peer] == "Resharding"
        if not up:
            for shard, on in self.others().items():
                for peer in on:
                    self.step("finish_migrating_points", shard_id=shard, peer_id=peer)
            return
        self.step("finish_migrating_points")
        free = [p for p in self.cluster.peers() if p != self.peer]
        for peer in free[: replicas - 1]:
            ends = {"shard_id": self.shard, "from_peer_id": self.peer, "to_peer_id": peer}
            self.step("replicate_shard", **ends, method="stream_records")
            wait_for("the second replica", lambda: all_active(self.cluster, self.name))

    def clean(self):
        peers = self.cluster.peers()
        for shard, replicas in self.others().items():
            for peer in replicas:
                path = f"/collections/{self.name}/shards/{shard}/cleanup?wait=true"
                done = self.cluster.call(peers.index(peer), "POST", path).result
                assert done == {"status": "completed"}

    def commit(self, pause=lambda: None):
        self.step("commit_read_hash_ring")
        pause()
        self.clean()
        pause()
        self.step("commit_write_hash_ring")
        pause()
        self.step("finish_resharding")


_SIDES = ("local_shards", "remote_shards")


def _make(cluster, name, replicas=1, key=None):
    """Two shards; with a key the collection has another key besides."""
    if key is None:
        cluster.create(name, shard_number=2, replication_factor=replicas)
        cluster.fill(name, FILLED.start, FILLED.stop)
        return
    cluster.create(name, sharding_method="custom", replication_factor=replicas)
    for one in ("other", key):
        body = {"shard_key": one, "shards_number": 2}
        assert cluster.call(0, "PUT", f"/collections/{name}/shards?timeout=30", body).result
    points = [{"id": i, "vector": [i, 1, 0, 0], "payload": {"k": i}} for i in FILLED]
    path = f"/collections/{name}/points?wait=true"
    assert cluster.call(0, "PUT", path, {"points": points, "shard_key": key}).status == 200


@contextlib.contextmanager
def _writing(cluster, name, **args):
    """Writers that are stopped at the end, and what they wrote checked."""
    writers = Writers(cluster, name, **args)
    try:
        yield writers
    finally:
        writers.stop()
    wait_for("healed replicas", lambda: all_active(cluster, name), 60)
    writers.check(by_ring=True, filled={i: {"k": i} for i in FILLED})


@pytest.mark.parametrize("key", [None, "a"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_up_and_down_lose_nothing_under_writers(cluster, replicas, key):
    name = f"both-{replicas}-{key}"
    _make(cluster, name, replicas, key)
    with _writing(cluster, name, key=key) as writers:
        driver = Driver(cluster, name, key)
        driver.start("up")
        writers.more()
        driver.migrate_up()
        writers.more()
        driver.finish_migrating(replicas)
        driver.commit(writers.more)
        shards = len(cluster.replicas(name))
        driver.start("down")
        writers.more()
        driver.migrate_down()
        writers.more()
        driver.finish_migrating(replicas)
        driver.commit(writers.more)
        assert len(cluster.replicas(name)) == shards - 1


@pytest.mark.parametrize("key", [None, "a"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_an_abort_leaves_everything_as_it_was(cluster, direction, key):
    name = f"abort-{direction}-{key}"
    _make(cluster, name, 2, key)
    before = cluster.replicas(name)
    with _writing(cluster, name, key=key) as writers:
        for migrate in (False, True):
            driver = Driver(cluster, name, key)
            driver.start(direction)
            writers.more()
            if migrate:
                driver.migrate_up() if direction == "up" else driver.migrate_down()
                writers.more()
            driver.step("abort_resharding")
            assert driver.running() is None
            assert cluster.replicas(name) == before
            if cluster.real and direction == "down":
                driver.clean()  # Writes on their way at the abort may have stayed on a replica.
            writers.more()


def _placed(cluster, name, wanted):
    """Moves the only replica of each shard to its peer."""
    for shard, peer in wanted.items():
        [have] = cluster.replicas(name)[shard]
        if have != peer:
            ends = {"shard_id": shard, "from_peer_id": have, "to_peer_id": peer}
            Driver(cluster, name).step("move_shard", **ends, method="stream_records")
            wait_for("the move", lambda: set(cluster.replicas(name)[shard]) == {peer})
            wait_for("the end of the move", lambda: all_active(cluster, name))


def test_a_dead_target_ends_the_resharding_with_the_next_migration(cluster):
    """Writes of moved points fail meanwhile, and do not end it: the only replica never is Dead."""
    name = "dead-target"
    _make(cluster, name)
    peers = cluster.peers()
    _placed(cluster, name, {0: peers[0], 1: peers[1]})
    driver = Driver(cluster, name)
    with _writing(cluster, name, nodes=(0, 1)) as writers:
        driver.start("up", peer_id=peers[2])
        driver.migrate(0, 2, peers[0], peers[2])
        cluster.run("kill", "2")
        try:
            wait_for("failed writes", lambda: writers.unsure)
            assert driver.running() is not None
            ends = {"shard_id": 1, "to_shard_id": 2, "from_peer_id": peers[1]}
            ends |= {"to_peer_id": peers[2], "method": "resharding_stream_records"}
            driver.step("replicate_shard", **ends)
            wait_for("the end of the resharding", lambda: driver.running() is None, 60)
            assert sorted(cluster.replicas(name)) == [0, 1]
            writers.more()
        finally:
            cluster.run("start", "2")


def test_a_receiving_replica_that_dies_ends_a_resharding_down(cluster):
    name = "dead-receiver"
    _make(cluster, name, 2)
    peers = cluster.peers()
    driver = Driver(cluster, name)
    with _writing(cluster, name, nodes=(0, 1)) as writers:
        driver.start("down")
        driver.migrate_down()
        on_last = [i for i, r in driver.others().items() if peers[2] in r]
        cluster.run("kill", "2")
        try:
            if on_last:
                wait_for("the end of the resharding", lambda: driver.running() is None, 60)
                wait_for(
                    "the dead replica",
                    lambda: cluster.replicas(name)[on_last[0]][peers[2]] == "Dead",
                )
                states = cluster.replicas(name)[on_last[0]]
                assert {s for p, s in states.items() if p != peers[2]} == {"Active"}
            else:
                driver.step("abort_resharding")
            writers.more()
        finally:
            cluster.run("start", "2")


def test_a_source_that_restarts_ends_the_resharding(cluster):
    """A restart of the source aborts its transfer, and that the resharding (measured)."""
    name = "restarted-source"
    _make(cluster, name)
    peers = cluster.peers()
    _placed(cluster, name, {0: peers[0], 1: peers[1]})
    cluster.fault(1, "transfer_delay", collection=name, seconds=60)
    driver = Driver(cluster, name)
    with _writing(cluster, name):
        driver.start("up", peer_id=peers[0])
        ends = {"shard_id": 1, "to_shard_id": 2, "from_peer_id": peers[1]}
        ends |= {"to_peer_id": peers[0], "method": "resharding_stream_records"}
        driver.step("replicate_shard", **ends)
        assert driver.transfers()
        cluster.run("kill", "1")
        cluster.run("start", "1")
        wait_for("the end of the resharding", lambda: driver.running() is None)
        assert sorted(cluster.replicas(name)) == [0, 1]


def test_what_an_aborted_resharding_leaves_behind_is_cleaned_up(cluster):
    """A fault here; on a real cluster a few writes that were on their way."""
    name = "left"
    _make(cluster, name, 2)
    driver = Driver(cluster, name)
    driver.start("down")
    driver.migrate_down()
    for node in range(3):
        cluster.fault(node, "abort_leaves", collection=name)
    driver.step("abort_resharding")
    time.sleep(0.5)
    assert cluster.count(name) > len(FILLED)
    driver.clean()
    assert cluster.count(name) == len(FILLED)
    for node in range(3):
        cluster.fault(node, "clear")


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_resharding_outlives_a_restart_of_every_node(cluster, direction):
    name = f"restarts-{direction}"
    _make(cluster, name, 2)
    driver = Driver(cluster, name)

    def restart():
        for node in range(3):
            cluster.run("kill", str(node))
            cluster.run("start", str(node))
            driver.settle()

    with _writing(cluster, name) as writers:
        writers.more()
    driver.start(direction)
    driver.migrate_up() if direction == "up" else driver.migrate_down()
    restart()
    assert driver.running()["shard_id"] == driver.shard
    driver.finish_migrating(2)
    once = [restart]
    driver.commit(lambda: once.pop()() if once else None)
    writers.check(by_ring=True, filled={i: {"k": i} for i in FILLED})


def test_what_an_aborted_resharding_left_on_a_dead_node_is_removed_when_it_is_back(cluster):
    name = "swept-late"
    _make(cluster, name, 2)
    peers = cluster.peers()
    driver = Driver(cluster, name)
    driver.start("down")
    driver.migrate_down()
    node = peers.index(max(driver.others()[0]))
    cluster.run("kill", str(node))
    other = next(i for i in range(3) if i != node)
    path = f"/collections/{name}/cluster"

    def aborted():
        """A proposal is lost when the leader has just died, so that it is made again."""
        cluster.call(other, "POST", f"{path}?timeout=10", {"abort_resharding": {}})
        return "resharding_operations" not in cluster.call(other, "GET", path).result

    wait_for("the abort", aborted, 90)
    cluster.run("start", str(node))
    wait_for("healed replicas", lambda: all_active(cluster, name), 60)
    assert cluster.count(name) == len(FILLED)
    counts = [len(cluster.shard_points(name, 0, peers.index(p))) for p in driver.others()[0]]
    assert counts[0] == counts[1] < len(FILLED)
