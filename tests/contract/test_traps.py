"""Each measured fact that a cluster must show (qdrant/measured.md), one test a fact.

The tests run against the sandbox; tests/real runs those that need no fault against a real server.
"""

import hashlib
import http.client
import io
import socket
import tarfile
import threading
import time
import urllib.parse

import captures
import dataset
import pytest
import tarcheck
from holdfast_sandbox.demo_client import RestError, wait_for
from holdfast_sandbox.ring import HashRing
from player import Player, Request, multipart

DOT = {"size": 8, "distance": "Dot"}
COSINE = {"size": 32, "distance": "Cosine"}


@pytest.fixture(scope="module")
def tools(cluster):
    """Calls and shortcuts; nodes are 0 to 2."""
    return Player(cluster, {})


@pytest.fixture
def collection(tools, request):
    """Makes collections that are gone after the test."""
    made = []

    def make(vectors=DOT, shards=1, factor=1, placement=None, points=0, **more):
        name = f"{request.node.name.split('[')[0][5:45]}-{len(made)}"
        body = {"vectors": vectors, "shard_number": shards, "replication_factor": factor, **more}
        made.append(name)
        tools.create(name, body, placement)
        if points:
            tools.upsert(name, dataset.plain_points(list(range(points)), vectors["size"]))
        return name

    yield make
    for name in made:
        tools.call("DELETE", f"/collections/{name}?timeout=60")


@pytest.fixture
def faults(cluster):
    """Sets faults of nodes, which are gone after the test; only the sandbox has them."""
    if not hasattr(cluster, "fault"):
        pytest.skip("a real server (HOLDFAST_TEST_QDRANT) takes no faults")
    nodes = set()

    def set_fault(node, kind, **values):
        nodes.add(node)
        return cluster.fault(node, kind, **values)

    yield set_fault
    for node in nodes:
        if cluster.status()[node]["running"]:
            cluster.fault(node, "clear")


def node_url(tools, node):
    return tools.urls[node]


def fault_node(tools, cluster, node):
    """The number that the cluster gives to a node of the player."""
    return cluster.urls.index(tools.urls[node])


def snapshot_path(name, shard=0):
    return f"/collections/{name}/shards/{shard}/snapshot"


def upload(tools, name, shard, node, content, priority="no_sync", checksum=None):
    """Sends an image to a replica; the answer, whatever its status."""
    path = f"/collections/{name}/shards/{shard}/snapshots/upload?wait=true&priority={priority}"
    if checksum:
        path += f"&checksum={checksum}"
    body, headers = multipart(content)
    return tools.send(Request(node, "POST", path, body, headers))


def count(tools, name, node=0, **more):
    body = {"exact": True, **more}
    return tools.call("POST", f"/collections/{name}/points/count", body, node=node)["count"]


def replica_count(tools, name, shard, node, **more):
    path = f"/collections/{name}/shards/{shard}/points/count"
    return tools.call("POST", path, {"exact": True, **more}, node=node)["count"]


# --- Fact 1: where the cut lies ------------------------------------------------------------------


def test_fact_01_cut_lies_between_the_request_and_the_first_byte(tools, collection):
    """Under four writers: what was acknowledged before the request is in, what was sent after the
    first body byte is not."""
    name = collection(placement={0: [1]})
    writers = [captures.Writer(tools.urls[i % 3], name, 10**6 * (i + 1), 8) for i in range(4)]
    for writer in writers:
        writer.start()
    streams = []
    for _ in range(6):
        time.sleep(0.1)
        streams.append(captures.stream(tools.urls[1], snapshot_path(name)))
    for writer in writers:
        writer.stop()
    assert not [text for writer in writers for text in writer.failures]
    done = [one for writer in writers for one in writer.done]
    for one in streams:
        assert one.status == 200 and not tarcheck.check_shard_stream(one.data)
        ids = captures.image_ids(one.data)
        missing = [i for s, a, batch in done if a < one.asked for i in batch if i not in ids]
        late = [i for s, a, batch in done if s > one.began for i in batch if i in ids]
        assert not missing and not late
    assert any(a < streams[0].asked for _, a, _ in done), "nothing was written before the cut"
    assert any(s > streams[-1].began for s, _, _ in done), "nothing was written after the cut"


def test_fact_01_cut_is_not_at_the_headers(tools, collection):
    """Writes sent after the headers can be in: only the first byte bounds the cut."""
    name = collection(placement={0: [1]})
    writers = [captures.Writer(tools.urls[1], name, 10**6 * (i + 1), 8, batch=1) for i in range(4)]
    for writer in writers:
        writer.start()
    seen = 0
    for _ in range(40):
        time.sleep(0.02)
        one = captures.stream(tools.urls[1], snapshot_path(name))
        ids = captures.image_ids(one.data)
        seen += sum(
            1
            for writer in writers
            for sent, _, batch in list(writer.done)
            if sent > one.answered and batch[0] in ids
        )
        if seen:
            break
    for writer in writers:
        writer.stop()
    assert seen, "no write sent after the headers was in any of 40 streams"


def test_fact_01_second_stream_of_a_shard_waits_and_cuts_when_the_first_ends(tools, collection):
    """Headers at once, no byte before the first stream has ended, and the cut is after that."""
    name = collection(vectors={"size": 256, "distance": "Dot"}, placement={0: [1]}, points=9000)
    first = _SlowStream(tools.urls[1], snapshot_path(name))
    time.sleep(0.3)
    holder: list[captures.Stream] = []
    second = threading.Thread(
        target=lambda: holder.append(captures.stream(tools.urls[1], snapshot_path(name)))
    )
    began = time.monotonic()
    second.start()
    time.sleep(1.0)
    # Written long after the headers of the second stream, and still in it.
    tools.upsert(name, dataset.plain_points([777_777], 256))
    time.sleep(0.2)
    assert not holder
    first_ended = first.finish()
    second.join(60)
    (other,) = holder
    assert other.answered < began + 0.9
    assert other.began > first_ended
    assert 777_777 in captures.image_ids(other.data)
    assert 777_777 not in captures.image_ids(first.data)


class _SlowStream:
    """A reader that takes the first bytes and then nothing until it is told to."""

    def __init__(self, url, path):
        parts = urllib.parse.urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        # Small buffers, or the kernel takes the whole stream.
        self._connection.sock = socket.socket()
        self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._connection.sock.settimeout(60)
        self._connection.sock.connect((parts.hostname, parts.port))
        self._connection.request("GET", path)
        self._response = self._connection.getresponse()
        self.data = self._response.read(4096)

    def finish(self):
        """Reads the rest; the instant just before it began to."""
        now = time.monotonic()
        self.data += self._response.read()
        self._connection.close()
        return now


# --- Fact 2: a broken stream looks like a good one ------------------------------------------------


@pytest.mark.parametrize("entry", [1, 7, "wal/", "replica_state.json", "shard_config.json", -1])
def test_fact_02_short_stream_ends_cleanly_with_200(tools, cluster, collection, faults, entry):
    """Whole blocks, a clean end, no end marker; Python's tarfile finds nothing wrong."""
    name = collection(placement={0: [1]}, points=20)
    faults(fault_node(tools, cluster, 1), "end", collection=name, entry=entry, times=1)
    short = captures.stream(tools.urls[1], snapshot_path(name))
    assert short.status == 200 and short.error is None
    assert short.headers["transfer-encoding"] == "chunked"
    assert len(short.data) % 512 == 0
    assert "there is no end marker" in tarcheck.check_shard_stream(short.data)
    with tarfile.open(fileobj=io.BytesIO(short.data)) as tar:
        names = tar.getnames()
    whole = captures.stream(tools.urls[1], snapshot_path(name))
    assert not tarcheck.check_shard_stream(whole.data)
    assert names == tarcheck.read(whole.data).names()[: len(names)] or len(names) > 0
    assert len(names) < len(tarcheck.read(whole.data).entries)


def test_fact_02_short_stream_can_end_in_the_middle_of_an_entry(tools, cluster, collection, faults):
    name = collection(placement={0: [1]}, points=20)
    faults(fault_node(tools, cluster, 1), "end", collection=name, byte=5000, times=1)
    short = captures.stream(tools.urls[1], snapshot_path(name))
    assert (short.status, short.error, len(short.data)) == (200, None, 5000)


# --- Fact 5: partial snapshots --------------------------------------------------------------------


def test_fact_05_partial_snapshot_is_304_until_something_changes(tools, collection):
    name = collection(placement={0: [1]}, points=200)
    tools.wait_green(name)
    path = f"/collections/{name}/shards/0/snapshot/partial"
    manifest = tools.call("GET", f"{path}/manifest", node=1)
    same = tools.send(Request(1, "POST", f"{path}/create", manifest))
    assert (same.status, same.body) == (304, b"")
    tools.upsert(name, dataset.plain_points([1, 2], 8))
    changed = tools.send(Request(1, "POST", f"{path}/create", manifest))
    assert changed.status == 200
    assert not tarcheck.check_shard_stream(changed.body, partial=True)
    everything = tools.send(Request(1, "POST", f"{path}/create", {}))
    assert not tarcheck.check_shard_stream(everything.body, partial=True)
    assert set(tarcheck.read(changed.body).names()) <= set(tarcheck.read(everything.body).names())


# --- Fact 7: deletes that come back ---------------------------------------------------------------


def test_fact_07_deletes_during_an_optimization_come_back(tools, cluster, collection, faults):
    name = collection(placement={0: [1]}, points=300)
    node = fault_node(tools, cluster, 1)
    assert _optimizations(tools, name)["running"] == []
    faults(node, "optimizing", collection=name, on=True)
    gone = list(range(50))
    tools.call("POST", f"/collections/{name}/points/delete?wait=true", {"points": gone})
    assert count(tools, name) == 250
    assert tools.call("POST", f"/collections/{name}/points", {"ids": gone}) == []
    assert _optimizations(tools, name)["running"]
    assert tools.call("GET", f"/collections/{name}")["status"] == "yellow"

    streamed = captures.stream(tools.urls[1], snapshot_path(name)).data
    assert set(gone) <= captures.image_ids(streamed)
    stored = _stored(tools, f"/collections/{name}/shards/0/snapshots", 1)
    assert set(gone) <= captures.image_ids(stored)
    whole = _stored(tools, f"/collections/{name}/snapshots", 1)
    carried = captures.image_ids(tarcheck.subtar(whole, "0/"))
    assert not carried & set(gone) and len(carried) == 250

    answer = upload(tools, name, 0, 1, streamed)
    assert answer.status == 200
    assert count(tools, name) == 300
    assert len(tools.call("POST", f"/collections/{name}/points", {"ids": gone})) == 50


def test_fact_07_after_the_optimization_the_image_is_right(tools, cluster, collection, faults):
    name = collection(placement={0: [1]}, points=300)
    node = fault_node(tools, cluster, 1)
    faults(node, "optimizing", collection=name, on=True)
    body = {"points": list(range(50))}
    tools.call("POST", f"/collections/{name}/points/delete?wait=true", body)
    tools.upsert(name, dataset.plain_points([3], 8))  # Written again: no delete may take it.
    faults(node, "optimizing", collection=name, on=False)
    wait_for("the end", lambda: not _optimizations(tools, name)["running"], 20)
    assert tools.call("GET", f"/collections/{name}")["status"] == "green"
    ids = captures.image_ids(captures.stream(tools.urls[1], snapshot_path(name)).data)
    assert ids == {3, *range(50, 300)}
    assert count(tools, name) == 251


def test_fact_07_stopping_the_optimizer_does_not_help(tools, cluster, collection, faults):
    """`max_optimization_threads: 0` leaves yellow, nothing running, and deletes in memory."""
    name = collection(placement={0: [1]}, points=300)
    faults(fault_node(tools, cluster, 1), "optimizing", collection=name, on=True, seconds=0.5)
    config = {"optimizers_config": {"max_optimization_threads": 0}}
    tools.call("PATCH", f"/collections/{name}?timeout=30", config)
    tools.call("POST", f"/collections/{name}/points/delete?wait=true", {"points": [1, 2, 3]})
    time.sleep(1.0)
    assert tools.call("GET", f"/collections/{name}")["status"] == "yellow"
    assert _optimizations(tools, name)["running"] == []
    image = captures.stream(tools.urls[1], snapshot_path(name)).data
    assert {1, 2, 3} <= captures.image_ids(image)


def _optimizations(tools, name):
    return tools.call("GET", f"/collections/{name}/optimizations", node=1)


def _stored(tools, path, node):
    """Makes, downloads and removes a stored snapshot."""
    told = tools.call("POST", f"{path}?wait=true", node=node)
    answer = tools.send(Request(node, "GET", f"{path}/{told['name']}", None))
    assert answer.status == 200 and told["size"] == len(answer.body)
    assert told["checksum"] == hashlib.sha256(answer.body).hexdigest()
    tools.call("DELETE", f"{path}/{told['name']}?wait=true", node=node)
    return answer.body


# --- Facts 11 to 13: restore, consolidation, moves --------------------------------------------


def test_fact_11_no_sync_to_every_replica(tools, collection):
    source = collection(shards=3, placement={0: [0], 1: [1], 2: [2]}, points=300)
    images = {shard: tools.image(source, shard) for shard in range(3)}
    placement = {0: [0, 1], 1: [1, 2], 2: [2, 0]}
    target = collection(shards=3, factor=2, placement=placement)
    for shard, nodes in placement.items():
        for node in nodes:
            assert upload(tools, target, shard, node, images[shard]).status == 200
    tools.wait_active(target)
    assert count(tools, target) == 300
    for shard, nodes in placement.items():
        wanted = len(captures.image_ids(images[shard]))
        assert [replica_count(tools, target, shard, node) for node in nodes] == [wanted] * 2


def test_fact_11_snapshot_priority_heals_the_other_replica(tools, collection):
    source = collection(placement={0: [0]}, points=100)
    image = tools.image(source, 0)
    target = collection(factor=2, placement={0: [0, 1]})
    assert upload(tools, target, 0, 0, image, priority="snapshot").status == 200
    tools.wait_active(target)

    def healed():
        try:
            return replica_count(tools, target, 0, 1) == 100
        except RestError as error:  # "Local shard is being cleared for snapshot recovery"
            assert error.status == 500
            return False

    wait_for("the other replica", healed, 30)
    tools.wait_active(target)


def test_fact_12_consolidation_then_drop_of_the_empty_replicas(tools, collection):
    """Until the drop the empty replicas answer too."""
    ring = HashRing(range(2))
    wanted = {shard: sum(ring.owner(i) == shard for i in range(200)) for shard in range(2)}
    source = collection(shards=2, placement={0: [0], 1: [0]}, points=200)
    target = collection(shards=2, placement={0: [1], 1: [2]})
    for shard in range(2):
        assert upload(tools, target, shard, 0, tools.image(source, shard)).status == 200
    wait_for(
        "the added replicas",
        lambda: all(n.get(0) == "Active" for n in tools.placement(target).values()),
        20,
    )
    assert tools.placement(target) == {0: {0: "Active", 1: "Active"}, 1: {0: "Active", 2: "Active"}}
    # Node 1 asks its own empty replica of shard 0 first.
    assert count(tools, target, node=1) <= wanted[1]
    for shard, node in ((0, 1), (1, 2)):
        body = {"drop_replica": {"shard_id": shard, "peer_id": tools.peer_ids[node]}}
        tools.call("POST", f"/collections/{target}/cluster?timeout=30", body)
    # Each peer learns of the drop by itself: one may count the empty replica a moment longer.
    for node in range(3):
        wait_for(
            f"the drop on node {node}",
            lambda n=node: all(set(on) == {0} for on in tools.placement(target, n).values()),
            20,
        )
    assert [count(tools, target, node=node) for node in range(3)] == [200] * 3


def test_fact_12_the_last_active_replica_cannot_be_dropped(tools, collection):
    name = collection(placement={0: [1]})
    body = {"drop_replica": {"shard_id": 0, "peer_id": tools.peer_ids[1]}}
    with pytest.raises(RestError) as raised:
        tools.call("POST", f"/collections/{name}/cluster?timeout=30", body)
    assert raised.value.status == 400


@pytest.mark.parametrize("method", ["stream_records", "snapshot"])
def test_fact_13_moves_spread_the_shards_again(tools, collection, method):
    name = collection(shards=2, placement={0: [0], 1: [0]}, points=400)
    body = {
        "move_shard": {
            "shard_id": 1,
            "from_peer_id": tools.peer_ids[0],
            "to_peer_id": tools.peer_ids[2],
            "method": method,
        }
    }
    tools.call("POST", f"/collections/{name}/cluster?timeout=30", body)
    wait_for("the move", lambda: tools.placement(name)[1] == {2: "Active"}, 30)
    assert tools.placement(name)[0] == {0: "Active"}
    assert count(tools, name) == 400


def test_fact_13_a_transfer_shows_its_progress(tools, cluster, collection, faults):
    name = collection(placement={0: [0]}, points=100)
    faults(fault_node(tools, cluster, 0), "transfer_delay", seconds=2)
    ends = {"from_peer_id": tools.peer_ids[0], "to_peer_id": tools.peer_ids[1]}
    body = {"replicate_shard": {"shard_id": 0, **ends, "method": "stream_records"}}
    tools.call("POST", f"/collections/{name}/cluster?timeout=30", body)
    (transfer,) = wait_for("the transfer", lambda: tools.transfers(name), 10)
    assert (transfer["from"], transfer["to"]) == tuple(ends.values())
    assert transfer["method"] == "stream_records" and transfer["sync"] is True
    assert isinstance(transfer["comment"], str)
    assert tools.placement(name)[0] == {0: "Active", 1: "Partial"}
    # The source is a forward proxy meanwhile and cannot be streamed (reference 5).
    refused = captures.stream(tools.urls[0], snapshot_path(name))
    assert refused.status == 400
    tools.wait_active(name)
    assert replica_count(tools, name, 0, 1) == 100


# --- Facts 14 to 17: the server checks nothing ------------------------------------------------


@pytest.fixture(scope="module")
def damaged(tools):
    """A collection of one shard of 100 points on node 2, and its image."""
    tools.create("damaged", {"vectors": COSINE, "shard_number": 1}, {0: [2]})
    tools.upsert("damaged", dataset.plain_points(list(range(100)), 32))
    yield tools.image("damaged", 0)
    tools.call("DELETE", "/collections/damaged?timeout=60")


def _refill(tools, image):
    assert upload(tools, "damaged", 0, 2, image).status == 200
    assert count(tools, "damaged") == 100


def test_fact_14_a_tar_that_ends_before_replica_state_gives_an_empty_shard(tools, damaged):
    _refill(tools, damaged)
    short = tarcheck.cut_before(damaged, "replica_state.json")
    assert upload(tools, "damaged", 0, 2, short).status == 200
    assert count(tools, "damaged") == 0
    _refill(tools, damaged)


@pytest.mark.parametrize("what, status", [("garbage", 500), ("mid entry", 500), ("early", 400)])
def test_fact_14_other_damage_is_refused_and_the_old_data_kept(tools, damaged, what, status):
    _refill(tools, damaged)
    entry = next(e for e in tarcheck.read(damaged).entries if e.kind == "0" and e.size > 64)
    content = {
        "garbage": b"garbage " * 1000,
        "mid entry": damaged[: entry.data + entry.size // 2],
        "early": tarcheck.cut_before(damaged, "wal/"),
    }[what]
    assert upload(tools, "damaged", 0, 2, content).status == status
    assert count(tools, "damaged") == 100


def test_fact_14_checksum(tools, damaged):
    _refill(tools, damaged)
    assert upload(tools, "damaged", 0, 2, damaged, checksum="0" * 64).status == 400
    right = hashlib.sha256(damaged).hexdigest()
    assert upload(tools, "damaged", 0, 2, damaged, checksum=right).status == 200
    assert count(tools, "damaged") == 100


def test_fact_14_a_flipped_bit_in_a_vector_is_taken(tools, damaged):
    flipped = tarcheck.flip_a_bit(damaged, "vector_storage/vectors/chunk_0.mmap")
    assert flipped != damaged
    assert upload(tools, "damaged", 0, 2, flipped).status == 200
    assert count(tools, "damaged") == 100
    _refill(tools, damaged)


def test_fact_15_wrong_dimensions_are_taken_and_every_query_fails(tools, collection):
    image = tools.image(collection(vectors=COSINE, placement={0: [0]}, points=50), 0)
    name = collection(vectors=DOT, placement={0: [1]}, points=50)
    assert upload(tools, name, 0, 1, image).status == 200
    with pytest.raises(
        RestError, match="Vector dimension error: expected dim: 32, got 8"
    ) as raised:
        tools.call("POST", f"/collections/{name}/points/query", {"query": [0.5] * 8, "limit": 3})
    assert raised.value.status == 400


def test_fact_16_a_wrong_shard_is_taken_and_only_the_ring_tells(tools, collection):
    name = collection(shards=2, placement={0: [1], 1: [1]}, points=200)
    image = tools.image(name, 1)
    inside = len(captures.image_ids(image))
    assert upload(tools, name, 0, 1, image).status == 200
    assert replica_count(tools, name, 0, 1) == inside
    own = {"hash_ring_filter": {"expected_shard_id": 0}}
    assert replica_count(tools, name, 0, 1, **own) == 0
    assert replica_count(tools, name, 1, 1, hash_ring_filter={"expected_shard_id": 1}) == inside


def test_fact_17_payload_indexes_of_restored_segments_show(tools, collection):
    source = collection(placement={0: [0]})
    schema = {"field_name": "colour", "field_schema": "keyword"}
    tools.call("PUT", f"/collections/{source}/index?wait=true", schema)
    points = [{**p, "payload": {"colour": "red"}} for p in dataset.plain_points([1, 2, 3], 8)]
    tools.upsert(source, points)
    name = collection(placement={0: [1]})
    assert tools.call("GET", f"/collections/{name}")["payload_schema"] == {}
    assert upload(tools, name, 0, 1, tools.image(source, 0)).status == 200
    schema = tools.call("GET", f"/collections/{name}")["payload_schema"]
    assert schema == {"colour": {"data_type": "keyword", "points": 3}}


# --- Fact 19: aliases (18 needs a dead peer: test_dead_peer.py) -------------------------------


def test_fact_19_alias_switch_is_one_operation(tools, collection):
    """A reader never finds the alias gone or pointing nowhere."""
    one, two = collection(points=10), collection(points=20)
    alias = f"{one}-alias"
    actions = [{"create_alias": {"collection_name": one, "alias_name": alias}}]
    tools.call("POST", "/collections/aliases?timeout=30", {"actions": actions})
    stop, seen, failures = threading.Event(), set(), []
    client = captures.Client([tools.urls[0]])

    def read():
        while not stop.is_set():
            try:
                result = client.call("POST", f"/collections/{alias}/points/count", {"exact": True})
                seen.add(result["count"])
            except RestError as error:
                failures.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    for target in (two, one, two):
        actions = [
            {"delete_alias": {"alias_name": alias}},
            {"create_alias": {"collection_name": target, "alias_name": alias}},
        ]
        tools.call("POST", "/collections/aliases?timeout=30", {"actions": actions})
        time.sleep(0.1)
    stop.set()
    reader.join(30)
    assert not failures and seen == {10, 20}
    found = tools.call("GET", f"/collections/{two}/aliases")["aliases"]
    assert found == [{"alias_name": alias, "collection_name": two}]
