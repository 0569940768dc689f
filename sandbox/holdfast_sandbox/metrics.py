"""`GET /metrics`: the names that a backup tool reads (reference 1.1)."""

from . import VERSION


def _lines(name, kind, text, samples):
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        inner = ",".join(f'{k}="{v}"' for k, v in labels.items())
        yield f"{name}{{{inner}}} {value}" if inner else f"{name} {value}"


def _escape(text):
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def render(node):
    """The text of Prometheus for this node."""
    collections = list(node.state.collections.values())
    shards = {c.uuid: [] for c in collections}
    for (uuid, _), shard in node.shards.items():
        shards.setdefault(uuid, []).append(shard)
    out = []

    def each(name, kind, text, value):
        samples = [({"id": _escape(c.name)}, value(c)) for c in collections]
        out.extend(_lines(name, kind, text, samples))

    out.extend(
        _lines(
            "app_info",
            "gauge",
            "information about qdrant server",
            [({"name": "qdrant", "version": VERSION}, 1)],
        )
    )
    out.extend(
        _lines("collections_total", "gauge", "number of collections", [({}, len(collections))])
    )
    each(
        "collection_points",
        "gauge",
        "approximate amount of points per collection",
        lambda c: sum(s.info()["points"] for s in shards[c.uuid]),
    )
    each(
        "collection_running_optimizations",
        "gauge",
        "number of currently running optimization tasks per collection",
        lambda c: sum(bool(s.optimizing) for s in shards[c.uuid]),
    )
    each(
        "collection_update_queue_length",
        "gauge",
        "number of pending operations in the update queue",
        lambda c: sum(s.queue() for s in shards[c.uuid]),
    )
    each(
        "collection_update_queue_deferred_points", "gauge", "number of deferred points", lambda c: 0
    )
    each(
        "collection_active_replicas_min",
        "gauge",
        "minimum number of active replicas across all shards",
        lambda c: min((len(s.active_peers()) for s in c.shards.values()), default=0),
    )
    each(
        "collection_active_replicas_max",
        "gauge",
        "maximum number of active replicas across all shards",
        lambda c: max((len(s.active_peers()) for s in c.shards.values()), default=0),
    )
    each(
        "collection_dead_replicas",
        "gauge",
        "total amount of shard replicas in non-active state",
        lambda c: sum(st != "Active" for s in c.shards.values() for st in s.replicas.values()),
    )
    each(
        "collection_shard_transfer_incoming",
        "gauge",
        "incoming shard transfers currently running",
        lambda c: sum(t.target == node.peer_id for t in c.transfers),
    )
    each(
        "collection_shard_transfer_outgoing",
        "gauge",
        "outgoing shard transfers currently running",
        lambda c: sum(t.source == node.peer_id for t in c.transfers),
    )
    each(
        "snapshot_creation_running",
        "gauge",
        "amount of snapshot creations that are currently running",
        lambda c: sum(s.snapshots_running for s in shards[c.uuid]),
    )
    each(
        "snapshot_recovery_running",
        "gauge",
        "amount of snapshot recovery operations currently running",
        lambda c: sum(s.recovering for s in shards[c.uuid]),
    )
    each(
        "snapshot_created_total",
        "counter",
        "total amount of snapshots created",
        lambda c: node.snapshot_creations.get(c.uuid, 0),
    )
    single = [
        ("cluster_enabled", "is cluster support enabled", 1),
        ("cluster_peers_total", "total number of cluster peers", len(node.state.peers)),
        ("cluster_term", "current cluster term", 1),
        (
            "cluster_commit",
            "index of last committed (finalized) operation cluster peer is aware of",
            node.state.commit,
        ),
        (
            "cluster_pending_operations_total",
            "total number of pending operations for cluster peer",
            0,
        ),
        ("cluster_voter", "is cluster peer a voter or learner", 1),
    ]
    for name, text, value in single:
        out.extend(
            _lines(
                name,
                "counter" if name in ("cluster_term", "cluster_commit") else "gauge",
                text,
                [({}, value)],
            )
        )
    return "\n".join(out) + "\n"
