"""What the recorded exchanges need beside themselves, and what may differ in their answers.

Every exchange of every transcript is played; what cannot be is named in NOT_REPLAYABLE with its
reason, by kind of cluster, and nowhere else.
"""

from __future__ import annotations

import hashlib
import re
import time
from typing import Any

import dataset
import resharding_story
import tarcheck
from compare import ANY, FREE, LIKE_FIRST, MAP, OPTIONAL, TEXT, UNORDERED, Rule
from holdfast_sandbox.demo_client import Answer, wait_for
from holdfast_sandbox.ring import HashRing
from player import Player, Request, Step, multipart

# (transcript, index) -> kind of cluster -> reason.
NOT_REPLAYABLE: dict[tuple[int, int], dict[str, str]] = {}

STEPS: dict[tuple[int, int], Step] = {}

GARBAGE = b"this is not a tar archive. " * 400


def step(*keys: tuple[int, int]):
    """Gives the steps for some exchanges, making them on first use."""
    return [STEPS.setdefault(key, Step()) for key in keys]


def before(*keys: tuple[int, int]):
    """The function makes the state that the first of these exchanges needs."""

    def add(function):
        for one in step(*keys):
            one.before = function
        return function

    return add


def request(*keys: tuple[int, int]):
    """The function changes what is sent."""

    def add(function):
        for one in step(*keys):
            one.request = function
        return function

    return add


def check(*keys: tuple[int, int]):
    """The function looks closer at the answer and returns what is wrong with it."""

    def add(function):
        for one in step(*keys):
            one.check = function
        return function

    return add


def rules(keys: list[tuple[int, int]], *some: Rule) -> None:
    """Lets values be free."""
    for one in step(*keys):
        one.rules = (*one.rules, *some)


# --- Transcript 1: probe, create, snapshots ---------------------------------------------------

DOCS_PLACEMENT = {0: [0, 1], 1: [0, 2], 2: [1, 2], 3: [0, 1], 4: [0, 2], 5: [1, 2]}

rules(
    [(1, 5), (1, 6)],
    Rule("result.id", FREE, "a random id of the process"),
    Rule("result.app.features.*", FREE, "how the server was built"),
    Rule("result.app.system", ANY, "the machine"),
    Rule("result.app.startup", FREE, "a time"),
    Rule("result.requests.*.responses", MAP, "the calls so far"),
    Rule("result.requests.*.responses.*", MAP, "the statuses so far"),
    Rule("result.requests.*.responses.*.*.*", FREE, "statistics of the calls so far"),
    Rule("result.memory.*", FREE, "memory just now"),
    Rule("result.search_pool.*", FREE, "threads, from the number of cores"),
    Rule("result.cluster.config.consensus.tick_period_ms", FREE, "a setting of the recorder"),
)


@request((1, 23))
def first_batch_of_docs(player: Player, request: Request) -> None:
    request.body = {"points": [dataset.docs_point(number) for number in range(500)]}


@before((1, 14))
def docs_lies_as_recorded(player: Player) -> None:
    player.arrange("docs", DOCS_PLACEMENT)


@before((1, 24))
def rest_of_docs(player: Player) -> None:
    player.upsert("docs", [dataset.docs_point(n) for n in range(500, dataset.DOCS)])


@before((1, 25))
def docs_is_idle(player: Player) -> None:
    player.wait_green("docs")


SEGMENTS = Rule("result.segments_count", FREE, "how many segments a shard is split into")
rules([(1, 25), (2, 8), (3, 16), (4, 10)], SEGMENTS)

rules([(1, 34)], Rule("result.points.[].vector.[]", FREE, "the recorded vectors were random"))
rules(
    [(1, 35)],
    Rule("result.points.[].id", ANY, "the recorded vectors were random"),
    Rule("result.points.[].version", FREE, "the recorded vectors were random"),
    Rule("result.points.[].score", FREE, "the recorded vectors were random"),
    Rule("result.points.[].payload.source.*", FREE, "the recorded vectors were random"),
)


@check((1, 35))
def scores_fall(player: Player, answer: Answer) -> list[str]:
    points = answer.json()["result"]["points"]
    scores = [point["score"] for point in points]
    return [] if scores == sorted(scores, reverse=True) else [f"scores are {scores}"]


rules([(1, 38)], Rule("result", ANY, "another peer may know the value already or not yet"))


@check((1, 38))
def value_is_known_or_null(player: Player, answer: Answer) -> list[str]:
    value = answer.json()["result"]
    return [] if value in (None, {"last": "x"}) else [f"the value is {value}"]


@check((1, 43), (3, 17), (3, 18))
def stream_is_whole(player: Player, answer: Answer) -> list[str]:
    return tarcheck.check_shard_stream(answer.body)


@check((1, 44))
def keep_shard_snapshot(player: Player, answer: Answer) -> list[str]:
    player.kept["shard snapshot"] = answer.json()["result"]
    return []


@check((1, 48))
def keep_collection_snapshot(player: Player, answer: Answer) -> list[str]:
    player.kept["collection snapshot"] = answer.json()["result"]
    return []


SNAPSHOT = (
    Rule("**.name", TEXT, "it holds the time"),
    Rule("**.creation_time", TEXT, "a time"),
    Rule("**.size", FREE, "depends on the segments"),
    Rule("**.checksum", TEXT, "of files with their times"),
)
rules([(1, 44), (1, 45), (1, 48), (1, 50), (1, 52)], *SNAPSHOT)


@request((1, 46), (1, 47))
def name_shard_snapshot(player: Player, request: Request) -> None:
    _rename(request, player.kept["shard snapshot"]["name"])


@request((1, 49), (1, 51))
def name_collection_snapshot(player: Player, request: Request) -> None:
    _rename(request, player.kept["collection snapshot"]["name"])


def _rename(request: Request, name: str) -> None:
    request.path = re.sub(r"/snapshots/[^/]+$", f"/snapshots/{name}", request.path)


@check((1, 46))
def shard_download_is_what_was_told(player: Player, answer: Answer) -> list[str]:
    wrong = _as_told(player.kept["shard snapshot"], answer)
    return wrong + tarcheck.check_stored_shard(answer.body)


@check((1, 49))
def collection_download_is_what_was_told(player: Player, answer: Answer) -> list[str]:
    wrong = _as_told(player.kept["collection snapshot"], answer)
    local = {shard for shard, nodes in DOCS_PLACEMENT.items() if 0 in nodes}
    return wrong + tarcheck.check_collection_snapshot(answer.body, local, 6)


def _as_told(told: dict[str, Any], answer: Answer) -> list[str]:
    wrong = []
    if told["size"] != len(answer.body):
        wrong.append(f"size {told['size']} was told, {len(answer.body)} bytes came")
    if told["checksum"] != hashlib.sha256(answer.body).hexdigest():
        wrong.append("the checksum is not the SHA-256 of the file")
    return wrong


@before((1, 52))
def nothing_yet(player: Player) -> None:
    """The full snapshot needs a name of its own second."""
    time.sleep(1.1)


rules([(1, 53)], Rule("result", ANY, "segments and files have random names; see the check"))


@check((1, 53))
def manifest_names_the_same_files(player: Player, answer: Answer) -> list[str]:
    manifest = answer.json()["result"]
    player.kept["manifest"] = manifest
    wrong = []
    recorded = _recorded_manifest()
    allowed = _families(recorded)
    for segment, told in manifest.items():
        if set(told) != {"segment_id", "segment_version", "file_versions"}:
            wrong.append(f"segment {segment} has the keys {sorted(told)}")
        elif told["segment_id"] != segment or not isinstance(told["segment_version"], int):
            wrong.append(f"segment {segment} is called {told['segment_id']}")
        elif not all(v is None or isinstance(v, int) for v in told["file_versions"].values()):
            wrong.append(f"segment {segment} has odd versions")
    here = _families(manifest)
    if here != allowed:
        wrong.append(f"missing files {sorted(allowed - here)}, more files {sorted(here - allowed)}")
    return wrong


def _recorded_manifest() -> dict[str, Any]:
    from transcripts import load

    return next(one for one in load() if one.key == (1, 53)).response["result"]


def _families(manifest: dict[str, Any]) -> set[str]:
    """File names without the random part that the server puts before the name of an index."""
    return {
        re.sub(r"payload_index/[0-9a-z]{20,}-", "payload_index/", name)
        for told in manifest.values()
        for name in told["file_versions"]
    }


@request((1, 54), (1, 55))
def send_the_manifest(player: Player, request: Request) -> None:
    request.body = player.kept["manifest"]


@before((1, 55))
def one_percent_of_churn(player: Player) -> None:
    player.upsert("docs", [dataset.churn_point(n) for n in dataset.CHURN_CHANGED])
    body = {"points": list(dataset.CHURN_DELETED)}
    player.call("POST", "/collections/docs/points/delete?wait=true", body)


@check((1, 55), (1, 56))
def partial_is_whole(player: Player, answer: Answer) -> list[str]:
    return tarcheck.check_shard_stream(answer.body, partial=True)


# --- Transcript 2: restore, transfers, errors -------------------------------------------------

R1 = {0: [1, 2], 1: [0, 1], 2: [0, 2], 3: [1, 2], 4: [0, 1], 5: [0, 2]}
R2 = {0: [0, 1], 1: [1, 2], 2: [0, 2], 3: [0, 1], 4: [1, 2], 5: [0, 2]}
R3 = {0: [1], 1: [2], 2: [0], 3: [1], 4: [2], 5: [0]}
BAD = {0: [2], 1: [1], 2: [0], 3: [2], 4: [1], 5: [0]}

DOCS_BODY = {
    "vectors": {"size": 64, "distance": "Cosine"},
    "shard_number": 6,
    "replication_factor": 2,
}


@before((2, 0))
def capture_docs(player: Player) -> None:
    player.wait_green("docs")
    player.kept["images"] = {shard: player.image("docs", shard) for shard in range(6)}


@before((2, 1))
def r1_lies_as_recorded(player: Player) -> None:
    player.wait_active("docs_r1")
    player.arrange("docs_r1", R1)


@request(*[(2, i) for i in (*range(1, 7), *range(9, 27), 36, 41)])
def send_image(player: Player, request: Request) -> None:
    shard = int(re.search(r"/shards/(\d+)/", request.path)[1])
    _upload(request, player.kept["images"][shard])


def _upload(request: Request, content: bytes) -> None:
    request.body, headers = multipart(content)
    request.headers.update(headers)


@before((2, 7))
def r1_heals(player: Player) -> None:
    """With priority=snapshot the other replica heals by itself (measured fact 11)."""
    player.wait_active("docs_r1")


@before((2, 8))
def r1_is_idle(player: Player) -> None:
    player.wait_green("docs_r1")


@before((2, 9))
def make_r2(player: Player) -> None:
    player.create("docs_r2", DOCS_BODY, R2)


@before((2, 21))
def make_r3(player: Player) -> None:
    player.wait_active("docs_r2")
    player.create("docs_r3", {**DOCS_BODY, "replication_factor": 1}, R3)


@before((2, 27))
def r3_is_consolidated(player: Player) -> None:
    """All replicas on node 0 are Active, beside the empty ones elsewhere."""
    wait_for(
        "docs_r3 on node 0",
        lambda: all(nodes.get(0) == "Active" for nodes in player.placement("docs_r3").values()),
        30,
    )


@before((2, 31))
def empty_replicas_are_gone(player: Player) -> None:
    wait_for(
        "docs_r3 to be on node 0 only",
        lambda: all(set(nodes) == {0} for nodes in player.placement("docs_r3").values()),
        30,
    )


TRANSFERS = (
    Rule("result.remote_shards.[].state", ANY, "how far each transfer is; see the check"),
    Rule("result.shard_transfers", LIKE_FIRST, "how many run still; see the check"),
    Rule("result.shard_transfers.[].shard_id", FREE, "which run still"),
    Rule("result.shard_transfers.[].to", FREE, "which run still"),
    Rule("result.shard_transfers.[].method", FREE, "which run still; see the check"),
    Rule("result.shard_transfers.[].comment", FREE, "how far it is; see the check"),
    Rule("result.local_shards", ANY, "a replica that was moved is gone; see the check"),
)
rules([(2, 35)], *TRANSFERS)

_STATE_WHILE = {"stream_records": "Partial", "snapshot": "Recovery"}
_COMMENT = re.compile(
    r"|(proxifying|applying queued updates|creating snapshot|transferring|recovering"
    r"|syncing queued updates|waiting consensus|finalizing) \(\d+\.\d+s\)"
    r"( \| Transferring records \(\d+/\d+\)(, ETA: [\d.]+s)?)?"
)


@check((2, 35))
def transfers_look_as_recorded(player: Player, answer: Answer) -> list[str]:
    """What runs has the states and comments of its method; what ended is Active on its target."""
    result = player.to_record(answer.json()["result"])
    targets = {5: 2, 2: 1, 3: 2, 4: 1}
    methods = {5: "snapshot", 3: "snapshot", 2: "stream_records", 4: "stream_records"}
    remote = {
        (shard["shard_id"], shard["peer_id"]): shard["state"] for shard in result["remote_shards"]
    }
    local = {shard["shard_id"]: shard for shard in result["local_shards"]}
    running = {transfer["shard_id"]: transfer for transfer in result["shard_transfers"]}
    wrong = []
    from transcripts import PEERS

    peer_of = {node: peer for peer, node in PEERS.items()}
    for shard, node in targets.items():
        state = remote.get((shard, peer_of[node]))
        if shard in running:
            transfer = running[shard]
            if state != _STATE_WHILE[transfer["method"]] or transfer["method"] != methods[shard]:
                wrong.append(f"shard {shard}: {transfer['method']} with state {state}")
            if transfer["to"] != peer_of[node] or transfer["sync"] is not False:
                wrong.append(f"shard {shard}: transfer is {transfer}")
            if not _COMMENT.fullmatch(transfer["comment"]):
                wrong.append(f"shard {shard}: comment is {transfer['comment']!r}")
            if shard not in local:
                wrong.append(f"shard {shard} runs but its source is gone")
        elif state != "Active":
            wrong.append(f"shard {shard}: nothing runs and the target is {state}")
    if not running:
        wrong.append("no transfer was seen while it ran")
    return wrong


@before((2, 36))
def make_bad(player: Player) -> None:
    player.wait_active("docs_r3")
    player.create("docs_bad", {**DOCS_BODY, "replication_factor": 1}, BAD)


@request((2, 37))
def send_garbage(player: Player, request: Request) -> None:
    _upload(request, GARBAGE)


@request((2, 38))
def send_cut_in_an_entry(player: Player, request: Request) -> None:
    image = player.kept["images"][0]
    entry = next(
        e for e in tarcheck.read(image).entries if e.name.endswith("payload_storage/page_0.dat")
    )
    _upload(request, image[: entry.data + entry.size // 2])


@check((2, 37), (2, 38), (2, 39), (2, 43))
def old_data_is_kept(player: Player, answer: Answer) -> list[str]:
    return _count_of_bad(player, 1014)


@request((2, 39))
def send_cut_before_wal(player: Player, request: Request) -> None:
    _upload(request, tarcheck.cut_before(player.kept["images"][0], "wal/"))


@request((2, 40))
def send_cut_before_replica_state(player: Player, request: Request) -> None:
    _upload(request, tarcheck.cut_before(player.kept["images"][0], "replica_state.json"))


@check((2, 40))
def shard_is_empty(player: Player, answer: Answer) -> list[str]:
    return _count_of_bad(player, 0)


@check((2, 36), (2, 41), (2, 42), (2, 44))
def shard_is_full(player: Player, answer: Answer) -> list[str]:
    return _count_of_bad(player, 1014)


def _count_of_bad(player: Player, wanted: int) -> list[str]:
    body = {"exact": True}
    count = player.call("POST", "/collections/docs_bad/shards/0/points/count", body, node=2)
    found = count["count"]
    return [] if found == wanted else [f"afterwards the shard counts {found}, not {wanted}"]


@request((2, 42))
def send_flipped_bit(player: Player, request: Request) -> None:
    image = player.kept["images"][0]
    _upload(request, tarcheck.flip_a_bit(image, "vector_storage/vectors/chunk_0.mmap"))


@request((2, 43))
def send_with_wrong_checksum(player: Player, request: Request) -> None:
    _upload(request, player.kept["images"][0])


@request((2, 44))
def send_with_checksum(player: Player, request: Request) -> None:
    image = player.kept["images"][0]
    digest = hashlib.sha256(image).hexdigest()
    request.path = re.sub(r"checksum=[0-9a-f]{64}", f"checksum={digest}", request.path)
    _upload(request, image)


@before((2, 45))
def make_mismatch(player: Player) -> None:
    vectors = {"size": 32, "distance": "Cosine"}
    player.create("docs_mis", {"vectors": vectors, "shard_number": 6}, BAD)
    player.upsert("docs_mis", dataset.plain_points(list(range(600)), 32))


@request((2, 45))
def send_to_mismatch(player: Player, request: Request) -> None:
    _upload(request, player.kept["images"][0])


@request((2, 47))
def send_wrong_shard(player: Player, request: Request) -> None:
    _upload(request, player.kept["images"][1])


# --- Transcript 3: fence, shard keys, hybrid --------------------------------------------------

FENCE = {0: [2, 0], 1: [1, 2], 2: [1, 0]}


@before((3, 0))
def make_fence(player: Player) -> None:
    body = {
        "vectors": {"size": 8, "distance": "Dot"},
        "shard_number": 3,
        "replication_factor": 2,
    }
    player.create("fence", body, FENCE)
    ids = dataset.ids_for(HashRing(range(3)), {0: 7, 1: 8, 2: 8}, 1)
    assert {1, 2, 3} <= set(ids)
    player.upsert("fence", dataset.plain_points(ids, 8))


@before((3, 4), (3, 7))
def fence_is_up(player: Player) -> None:
    """Strict mode takes effect on each peer a little after the call returns (measured fact 20)."""

    def up() -> bool:
        views = [player.call("GET", "/collections/fence", node=node) for node in range(3)]
        modes = [view["config"].get("strict_mode_config") or {} for view in views]
        return all(m.get("enabled") and m.get("write_rate_limit") == 1 for m in modes)

    wait_for("the fence on every peer", up, 10)
    time.sleep(0.2)


# The answer is that of the replica here, or of another one through gRPC, which wraps its text: of
# both kinds one was recorded and the other seen on a real server in a later run.
rules([(3, 4), (3, 7)], Rule("status.error", ANY, "wrapped by gRPC or not; see the check"))


@check((3, 4), (3, 7))
def rate_limit_is_told(player: Player, answer: Answer) -> list[str]:
    limited = "Rate limiting exceeded: "
    text = (
        f"{limited}Write rate limit exceeded, request larger than rate limiter capacity, "
        "please try to split your request"
    )
    code = "code: 'Some resource has been exhausted'"
    error = answer.json()["status"]["error"]
    if error in (text, f'{limited}{code}, message: "{text}"'):
        return []
    return [f"the message is {error!r}"]


@before((3, 13))
def fill_tenants(player: Player) -> None:
    for key in ("acme", "globex", 42):
        player.upsert("tenants", dataset.plain_points(list(range(100)), 8), shard_key=key)


rules([(3, 14)], Rule("result.shard_keys", UNORDERED, "a map"))


@before((3, 16))
def fill_hybrid(player: Player) -> None:
    player.wait_active("hybrid")
    player.arrange("hybrid", {0: [1], 1: [2]})
    player.upsert("hybrid", [dataset.hybrid_point(number) for number in range(500)])
    player.wait_green("hybrid")


@before((3, 18))
def make_empty(player: Player) -> None:
    body = {"vectors": {"size": 8, "distance": "Dot"}, "shard_number": 1}
    player.create("empty", body, {0: [0]})


# --- Transcript 4: resharding -----------------------------------------------------------------

PLAIN_8 = {"size": 8, "distance": "Dot"}


def make_rs(player: Player, name: str, shards: int, placement: dict[int, list[int]]) -> None:
    """A collection like those that were resharded."""
    body = {"vectors": PLAIN_8, "shard_number": shards, "replication_factor": 1}
    player.create(name, body, placement)
    player.upsert(name, dataset.plain_points(list(range(3000)), 8))


@before((4, 0))
def make_rs2(player: Player) -> None:
    make_rs(player, "rs2", 2, {0: [0], 1: [1]})


rules([(4, 1)], Rule("result.resharding_operations.[].uuid", TEXT, "a random id"))


@before((4, 1))
def resharding_is_seen(player: Player) -> None:
    wait_for(
        "the resharding on every node",
        lambda: all(
            player.call("GET", "/collections/rs2/cluster", node=node).get("resharding_operations")
            for node in range(3)
        ),
        10,
    )


@before((4, 3), (4, 4))
def migration_is_done(player: Player) -> None:
    wait_for("the migration of rs2", lambda: not player.transfers("rs2"), 60)


@before((4, 6), (4, 7))
def read_ring_is_committed_everywhere(player: Player) -> None:
    """A peer that learns of it during its clean-up cancels that: 500, "please try again"."""
    player.wait_consensus()


@before((4, 10))
def rs2_is_idle(player: Player) -> None:
    player.wait_active("rs2")
    player.wait_green("rs2")


# --- Transcript 6: resharding up and down -----------------------------------------------------

for _index, _act in enumerate(resharding_story.acts()):
    [_step] = step((resharding_story.TRANSCRIPT, _index))
    _step.before, _step.rules = _act.before, _act.rules


# --- Transcript 5: a dead peer ----------------------------------------------------------------


@before((5, 0))
def kill_a_node(player: Player) -> None:
    """Makes what the record has besides, then ends node 2 and waits until the others notice."""
    resharding_story.forget(player)
    if "rs2" in _names(player):
        player.call("DELETE", "/collections/rs2?timeout=60")
    make_rs(player, "rs", 3, {0: [2], 1: [1], 2: [0]})
    player.call("POST", "/collections/rs/shards/1/cleanup?wait=true", node=1)
    big = {"vectors": {"size": 256, "distance": "Cosine"}, "shard_number": 6}
    player.create("big", big, {0: [2], 1: [0], 2: [1], 3: [2], 4: [0], 5: [1]})
    player.upsert("big", dataset.plain_points(list(range(600)), 256))
    one_each = dataset.ids_for(HashRing(range(6)), dict.fromkeys(range(6), 1), 20_000)
    player.upsert("docs", dataset.plain_points(one_each, 64))
    for name in _names(player):
        player.wait_active(name)
    player.cluster.kill(player.cluster.urls.index(player.urls[2]))
    player.alive = [0, 1]
    wait_for(
        "node 0 to notice",
        lambda: player.call("GET", "/cluster")["message_send_failures"],
        30,
    )


def _names(player: Player) -> list[str]:
    return [one["name"] for one in player.call("GET", "/collections")["collections"]]


FAILURES = "result.message_send_failures.*"
rules(
    [(5, 0)],
    Rule(f"{FAILURES}.count", FREE, "failures so far"),
    Rule(f"{FAILURES}.latest_error_timestamp", FREE, "a time"),
    Rule(f"{FAILURES}.latest_error", FREE, "how the connection broke; see the check"),
)


@check((5, 0))
def failure_says_where(player: Player, answer: Answer) -> list[str]:
    """The end of the text depends on how the connection broke: two forms were seen."""
    failures = answer.json()["result"]["message_send_failures"]
    start = "Error in closure supplied to transport channel pool: code: '"
    texts = [told["latest_error"] for told in failures.values()]
    return [f"latest_error is {text!r}" for text in texts if not text.startswith(start)]


rules([(5, 5)], Rule("status.error", ANY, "how the connection broke; see the check"))


@check((5, 5))
def read_failure_is_told(player: Player, answer: Answer) -> list[str]:
    error = answer.json()["status"]["error"]
    start = (
        "Service internal error: 1 of 1 read operations failed:\n  Service internal error: Tonic "
        "status error: code: 'The service is currently unavailable', message: \""
    )
    return [] if error.startswith(start) else [f"the message is {error!r}"]


REPLICA = "result.collections.*.shards.[].replicas.[]"
rules(
    [(5, 1)],
    Rule("result.collections.rebuilt", OPTIONAL, "made by steps that were not recorded"),
    Rule("result.collections.big2", OPTIONAL, "made by steps that were not recorded"),
    Rule("result.collections.*.shards.[].replicas", UNORDERED, "a map"),
    Rule("result.collections.big.shards.[].replicas.[].num_points", FREE, "big is smaller here"),
    Rule(f"{REPLICA}.total_optimized_points", FREE, "how the optimizer worked"),
    Rule(f"{REPLICA}.num_vectors", FREE, "counts vectors of deleted points until optimized"),
    Rule(f"{REPLICA}.num_vectors_by_name.*", FREE, "as num_vectors"),
    Rule(f"{REPLICA}.vectors_size_bytes", FREE, "estimated from the segments"),
    Rule(f"{REPLICA}.payloads_size_bytes", FREE, "estimated from the segments"),
)


@request((5, 2))
def write_twenty_points(player: Player, request: Request) -> None:
    ring = HashRing(range(6))
    ids = dataset.ids_for(ring, {0: 5, 1: 2, 2: 3, 3: 3, 4: 5, 5: 2}, 30_000)
    request.body = {"points": dataset.plain_points(ids, 64)}


rules(
    [(5, 7)],
    Rule("result.local_shards.[].shard_id", FREE, "the server places shards at random"),
    Rule("result.remote_shards.[].shard_id", FREE, "the server places shards at random"),
)


@check((5, 7))
def one_shard_a_peer(player: Player, answer: Answer) -> list[str]:
    """Which shard lies where is random; that the dead peer got one is not."""
    result = player.to_record(answer.json()["result"])
    from transcripts import PEERS

    states = {shard["peer_id"]: shard["state"] for shard in result["remote_shards"]}
    wanted = {peer: "Initializing" if node == 2 else "Active" for peer, node in PEERS.items()}
    del wanted[result["peer_id"]]
    return [] if states == wanted else [f"remote shards are {states}"]


@check((5, 8))
def metrics_are_prometheus_text(player: Player, answer: Answer) -> list[str]:
    """The recorded text is not kept; the names that reference 1.1 lists must be there."""
    text = answer.body.decode()
    wanted = ["app_info", "cluster_enabled", "cluster_peers_total", "collections_total"]
    return [f"there is no {name}" for name in wanted if not re.search(rf"^{name}\b", text, re.M)]


# --- The table of what is not played ----------------------------------------------------------

for _key, _reasons in NOT_REPLAYABLE.items():
    step(_key)[0].skip = _reasons
