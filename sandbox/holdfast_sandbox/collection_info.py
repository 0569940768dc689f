"""`GET /collections/{c}` and `/optimizations`, gathered from one replica of every shard."""

import asyncio

from .edge_index import shown
from .state import UPDATABLE
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


async def optimizations(node, collection, wanted, completed_limit):
    """`GET /collections/{c}/optimizations`: all replicas of the whole cluster that take writes.

    One of them on a peer that does not answer fails the call with 500 (run; the server's code in
    lib/collection/src/shards/replica_set/mod.rs, `optimizations`).
    """
    peers = {}
    for shard in collection.shards.values():
        for peer, state in shard.replicas.items():
            if state in UPDATABLE or peer == node.peer_id:
                peers.setdefault(peer, []).append(shard.id)
    body = {"uuid": collection.uuid}
    calls = [_ask(node, p, {**body, "shards": ids}) for p, ids in peers.items()]
    parts = await asyncio.gather(*calls, return_exceptions=True)
    for part in parts:
        if isinstance(part, BaseException):
            raise part
    out = {"summary": dict.fromkeys(_SUMMARY, 0), "running": []}
    out |= {name: [] for name in wanted}
    for part in parts:
        for name in _SUMMARY:
            out["summary"][name] += part["summary"][name]
        for name in ("running", *wanted):
            out[name] += part[name]
    if "completed" in wanted:
        del out["completed"][completed_limit:]
    return out


_SUMMARY = ("queued_optimizations", "queued_segments", "queued_points", "idle_segments")


async def _ask(node, peer, body):
    if peer == node.peer_id:
        return local_optimizations(node, body["uuid"], body["shards"])
    return await node.peers.call(peer, "/internal/optimizations", body)


def local_optimizations(node, uuid, shard_ids):
    """What the given shards of this node add to the answer."""
    collection = node.state.find(uuid)
    paused = collection.config["optimizer_config"].get("max_optimization_threads") == 0
    running, idle, queued, waiting = [], [], [], 0
    for shard_id in shard_ids:
        shard = node.shards.get((uuid, shard_id))
        if shard is None or not shard.usable:
            continue
        segments = [{"uuid": u, "points_count": 0} for u in shard.manifest()]
        if segments:
            segments[0]["points_count"] = shard.info()["points"]
        if not shard.optimizing:
            idle += segments
        elif paused:  # Yellow with nothing running (measured 7).
            queued.append({"optimizer": "indexing", "segments": segments})
            waiting += shard.info()["points"]
        else:
            running.append(shard.optimizing.shown(segments))
    counts = (len(queued), sum(len(q["segments"]) for q in queued), waiting, len(idle))
    done = list(node.completed_optimizations.get(uuid, []))
    out = {"summary": dict(zip(_SUMMARY, counts)), "running": running, "queued": queued}
    return out | {"completed": done, "idle_segments": idle}
