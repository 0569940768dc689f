"""`GET /metrics`: the names that a backup tool reads (reference 1.1)."""

from . import VERSION

# Per collection: name, kind, help, value of (node, collection, its shards on this node).
_COLLECTION = [
    (
        "collection_points",
        "gauge",
        "approximate amount of points per collection",
        lambda n, c, mine: sum(s.info()["points"] for s in mine),
    ),
    (
        "collection_running_optimizations",
        "gauge",
        "number of currently running optimization tasks per collection",
        lambda n, c, mine: sum(bool(s.optimizing) for s in mine),
    ),
    (
        "collection_update_queue_length",
        "gauge",
        "number of pending operations in the update queue",
        lambda n, c, mine: sum(s.queue() for s in mine),
    ),
    (
        "collection_update_queue_deferred_points",
        "gauge",
        "number of deferred points",
        lambda n, c, mine: 0,
    ),
    (
        "collection_active_replicas_min",
        "gauge",
        "minimum number of active replicas across all shards",
        lambda n, c, mine: min(_active(c), default=0),
    ),
    (
        "collection_active_replicas_max",
        "gauge",
        "maximum number of active replicas across all shards",
        lambda n, c, mine: max(_active(c), default=0),
    ),
    (
        "collection_dead_replicas",
        "gauge",
        "total amount of shard replicas in non-active state",
        lambda n, c, mine: sum(
            st != "Active" for s in c.shards.values() for st in s.replicas.values()
        ),
    ),
    (
        "collection_shard_transfer_incoming",
        "gauge",
        "incoming shard transfers currently running",
        lambda n, c, mine: sum(t.target == n.peer_id for t in c.transfers),
    ),
    (
        "collection_shard_transfer_outgoing",
        "gauge",
        "outgoing shard transfers currently running",
        lambda n, c, mine: sum(t.source == n.peer_id for t in c.transfers),
    ),
    (
        "snapshot_creation_running",
        "gauge",
        "amount of snapshot creations that are currently running",
        lambda n, c, mine: sum(s.snapshots_running for s in mine),
    ),
    (
        "snapshot_recovery_running",
        "gauge",
        "amount of snapshot recovery operations currently running",
        lambda n, c, mine: sum(s.recovering for s in mine),
    ),
    (
        "snapshot_created_total",
        "counter",
        "total amount of snapshots created",
        lambda n, c, mine: n.snapshot_creations.get(c.uuid, 0),
    ),
]
# Of the whole node: name, kind, help, value of (node).
_NODE = [
    ("collections_total", "gauge", "number of collections", lambda n: len(n.state.collections)),
    ("cluster_enabled", "gauge", "is cluster support enabled", lambda n: 1),
    ("cluster_peers_total", "gauge", "total number of cluster peers", lambda n: len(n.state.peers)),
    ("cluster_term", "counter", "current cluster term", lambda n: 1),
    (
        "cluster_commit",
        "counter",
        "index of last committed (finalized) operation cluster peer is aware of",
        lambda n: n.state.commit,
    ),
    (
        "cluster_pending_operations_total",
        "gauge",
        "total number of pending operations for cluster peer",
        lambda n: 0,
    ),
    ("cluster_voter", "gauge", "is cluster peer a voter or learner", lambda n: 1),
]


def _active(collection):
    return [len(s.active_peers()) for s in collection.shards.values()]


def _lines(name, kind, text, samples):
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        inner = ",".join(f'{k}="{_escape(v)}"' for k, v in labels.items())
        yield f"{name}{{{inner}}} {value}" if inner else f"{name} {value}"


def _escape(text):
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def render(node):
    """The text for Prometheus of this node."""
    about = [({"name": "qdrant", "version": VERSION}, 1)]
    out = list(_lines("app_info", "gauge", "information about qdrant server", about))
    for name, kind, text, value in _NODE:
        out += _lines(name, kind, text, [({}, value(node))])
    for name, kind, text, value in _COLLECTION:
        samples = []
        for collection in node.state.collections.values():
            mine = [s for (uuid, _), s in node.shards.items() if uuid == collection.uuid]
            samples.append(({"id": collection.name}, value(node, collection, mine)))
        out += _lines(name, kind, text, samples)
    return "\n".join(out) + "\n"
