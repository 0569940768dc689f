"""`GET /collections/{c}` and `/optimizations`, gathered from one replica of every shard."""

from .edge_index import shown
from .telemetry import status_of

_ORDER = ("green", "grey", "yellow", "red")


def shard_info(shard):
    """What one shard adds to the answer; also the answer to another node."""
    info = shard.info()
    return {
        "status": status_of(shard),
        "points": info["points"],
        "segments": info["segments"],
        "indexed": info["indexed"],
        "queue": shard.queue(),
        "schema": shard.payload_schema(),
        "error": shard.broken,
    }


async def collection_info(node, collection):
    """The whole answer; it needs one readable replica of every shard (reference 2.4)."""
    answers = await node.reader.fan_out(collection, "info", {})
    infos = [answers[i] for i in sorted(answers)]
    status = max((i["status"] for i in infos), key=_ORDER.index, default="green")
    broken = next((i["error"] for i in infos if i["error"]), None)
    out = {
        "status": status,
        "optimizer_status": {"error": broken} if broken else "ok",
        "indexed_vectors_count": sum(i["indexed"] for i in infos),
        "points_count": sum(i["points"] for i in infos),
        "segments_count": sum(i["segments"] for i in infos),
        "config": collection.config,
        "payload_schema": _schema(collection, infos),
    }
    return out | {"update_queue": {"length": sum(i["queue"] for i in infos)}}


def _schema(collection, infos):
    """Merged from the shards, the first one wins; without shards the collection's own."""
    if not infos:
        return {f: shown(s, 0) for f, s in collection.schema.items()}
    merged, points = {}, {}
    for info in infos:
        for field, (schema, count) in info["schema"].items():
            merged.setdefault(field, schema)
            points[field] = points.get(field, 0) + count
    return {f: shown(s, points[f]) for f, s in merged.items()}


def optimizations(node, collection, wanted):
    """`GET /collections/{c}/optimizations`: local shards of this node (reference 6.2)."""
    paused = collection.config["optimizer_config"].get("max_optimization_threads") == 0
    running, idle, queued = [], [], []
    for (uuid, _), shard in node.shards.items():
        if uuid != collection.uuid or not shard.usable:
            continue
        segments = [{"uuid": u, "points_count": 0} for u in shard.manifest()]
        if segments:
            segments[0]["points_count"] = shard.info()["points"]
        if not shard.optimizing:
            idle += segments
        elif paused:
            queued.append((shard, segments))  # Yellow with nothing running (measured 7).
        else:
            running.append(shard.optimizing.shown(segments))
    summary = {
        "queued_optimizations": len(queued),
        "queued_segments": sum(len(s) for _, s in queued),
        "queued_points": sum(sh.info()["points"] for sh, _ in queued),
        "idle_segments": len(idle),
    }
    out = {"summary": summary, "running": running}
    if "queued" in wanted:
        out["queued"] = [{"optimizer": "indexing", "segments": s} for _, s in queued]
    if "completed" in wanted:
        out["completed"] = list(node.completed_optimizations.get(collection.uuid, []))
    if "idle_segments" in wanted:
        out["idle_segments"] = idle
    return out
