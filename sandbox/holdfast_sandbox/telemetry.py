"""Telemetry of a node and of the cluster, in the shapes of the transcripts and reference 1.1."""

import asyncio
import datetime
import os
import shutil

from . import VERSION, errors
from .defaults import vector_params
from .peers import now_text
from .requests import memory

_STATUS_WORKING = "working"
# What the server says about its build and its settings (transcript 1).
_APP = {
    "name": "qdrant",
    "version": VERSION,
    "features": {
        "debug": False, "service_debug_feature": False, "recovery_mode": False, "gpu": False,
        "rocksdb": False, "staging": False,
    },
    "runtime_features": {
        "all": False, "incremental_hnsw_building": True, "appendable_quantization": True,
        "single_file_mmap_vector_storage": False,
    },
    "low_memory_mode": "disabled",
    "hnsw_global_config": {"healing_threshold": 0.3},
}  # fmt: skip
_CLUSTER_CONFIG = {
    "grpc_timeout_ms": 60000,
    "p2p": {"connection_pool_size": 2},
    "consensus": {
        "max_message_queue_size": 100,
        "tick_period_ms": 100,
        "bootstrap_timeout_sec": 15,
    },
}


def leader(node):
    """The peer shown as leader: the first that joined and answers."""
    for peer in node.state.peers:
        if node.peers.is_alive(peer):
            return peer
    return None


def _role(node):
    return "Leader" if leader(node) == node.peer_id else "Follower"


def consensus_status(node):
    if node.state.stopped:
        error = "Failed to handle committed entries"
        return {"consensus_thread_status": "stopped_with_err", "err": error}
    return {"consensus_thread_status": _STATUS_WORKING, "last_update": now_text()}


def cluster_status(node):
    """`GET /cluster` (transcript 1; with a dead peer transcript 5)."""
    return {
        "status": "enabled",
        "peer_id": node.peer_id,
        "peers": {str(p): {"uri": v["uri"]} for p, v in node.state.peers.items()},
        "raft_info": {
            "term": 1,
            "commit": node.state.commit,
            "pending_operations": 0,
            "leader": leader(node),
            "role": _role(node),
            "is_voter": True,
        },
        "consensus_thread_status": consensus_status(node),
        "message_send_failures": dict(node.peers.failures),
    }


def peer_details(node):
    """What a peer says about itself in `/cluster/telemetry`."""
    return {
        "version": VERSION,
        "role": _role(node),
        "is_voter": True,
        "term": 1,
        "commit": node.state.commit,
        "num_pending_operations": 0,
        "consensus_thread_status": consensus_status(node),
    }


def vector_names(config):
    return [*vector_params(config), *(config["params"].get("sparse_vectors") or {})]


def replica_details(shard):
    """The numbers of one local replica (transcript 5)."""
    points = shard.info()["points"]
    dense = vector_params(shard.config)
    sizes = {"float32": 4, "float16": 2, "uint8": 1}
    width = sum(v["size"] * sizes.get(v.get("datatype"), 4) for v in dense.values())
    names = vector_names(shard.config)
    return {
        "status": status_of(shard),
        "total_optimized_points": shard.optimized_points,
        "vectors_size_bytes": points * width,
        "payloads_size_bytes": points * 128,
        "num_points": points,
        "num_vectors": points * len(names),
        "num_vectors_by_name": {n: points for n in names},
    }


def status_of(shard):
    """green, yellow while an optimization works or waits (measured 7), red when it did not load."""
    if not shard.usable:
        return "red"
    return "yellow" if shard.optimizing else "green"


def local_report(node):
    """Everything another node needs to answer `/cluster/telemetry`."""
    shards = {}
    for (uuid, shard_id), shard in node.shards.items():
        details = replica_details(shard)
        if shard.cleaned:
            details["shard_cleaning_status"] = "done"
        shards.setdefault(uuid, {})[str(shard_id)] = details
    return {"details": peer_details(node), "shards": shards}


async def cluster_telemetry(node, timeout):
    """`GET /cluster/telemetry`: all peers are asked; who is silent is not responsive."""
    reports = {node.peer_id: local_report(node)}
    others = node.peers.others()
    answers = await asyncio.gather(*(_report(node, p, timeout) for p in others))
    reports |= {p: a for p, a in zip(others, answers) if a is not None}
    collections = {c.name: _collection(node, c, reports) for c in node.state.collections.values()}
    peers = {}
    for peer, known in node.state.peers.items():
        details = reports.get(peer, {}).get("details")
        peers[str(peer)] = {"uri": known["uri"], "responsive": peer in reports, "details": details}
    cluster = {"enabled": True, "number_of_peers": len(peers), "peers": peers}
    return {"collections": collections, "cluster": cluster}


async def _report(node, peer, timeout):
    try:
        return await node.peers.call(peer, "/internal/report", {}, timeout)
    except (errors.PeerUnavailable, errors.ApiError):
        return None


def _collection(node, collection, reports):
    shards = []
    for shard in sorted(collection.shards.values(), key=lambda s: s.id):
        replicas = []
        for peer, state in shard.replicas.items():
            details = (
                reports.get(peer, {})
                .get("shards", {})
                .get(collection.uuid, {})
                .get(str(shard.id), {})
            )
            replicas.append({"peer_id": peer, "state": state, **details})
        entry = {"id": shard.id}
        if shard.key is not None:
            entry["key"] = shard.key
        shards.append({**entry, "replicas": replicas})
    out = {"id": collection.name, "shards": shards}
    if collection.resharding:
        out["reshardings"] = [resharding_info(collection.resharding)]
    if collection.transfers:
        out["shard_transfers"] = [
            t.info(node.transfers.comment(collection, t)) for t in collection.transfers
        ]
    return out


def resharding_info(moving):
    """The entry of `resharding_operations` (transcript 4)."""
    return {
        "uuid": moving.uuid,
        "direction": moving.direction,
        "shard_id": moving.shard_id,
        "peer_id": moving.peer_id,
        "shard_key": moving.shard_key,
    }


def node_telemetry(node, level):
    """`GET /telemetry`; each level was compared with a real server (run)."""
    started = datetime.datetime.fromtimestamp(node.started_at, datetime.timezone.utc)
    startup = started.strftime("%Y-%m-%dT%H:%M:%S.") + f"{started.microsecond // 1000:03d}Z"
    about = _APP if level >= 1 else {k: _APP[k] for k in ("name", "version")}
    if level >= 1:
        about = {**about, "system": _system(node)}
    out = {
        "id": node.process_id,
        "app": {**about, "startup": startup},
        "collections": _node_collections(node, level),
        "cluster": _node_cluster(node, level),
        "requests": {
            "rest": {"responses": node.requests.shown(level)},
            "grpc": {"responses": node.calls.shown(level)},
        },
    }
    if level >= 1:
        pool = {"mode": "high_io", "high_cpu_threads": 1, "high_io_threads": 1}
        out |= {"memory": memory(), "hardware": {"collection_data": {}}, "search_pool": pool}
    return out


def _system(node):
    """The machine, as far as holdfast reads of it: sizes in KiB."""
    disk = shutil.disk_usage(node.dir).total
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count(), "ram_size": memory // 1024, "disk_size": disk // 1024}


def _node_collections(node, level):
    known = list(node.state.collections.values())
    out = {"number_of_collections": len(known)}
    if level == 1:
        out["collections"] = [_aggregated(node, c) for c in known]
        out["snapshots"] = []
    elif level >= 2:
        out["collections"] = [_node_collection(node, c, level) for c in known]
        out["snapshots"] = [_snapshot_counts(node, c) for c in known]
    return out


def _mine(node, collection):
    return [s for (uuid, _), s in node.shards.items() if uuid == collection.uuid]


def _aggregated(node, collection):
    vectors = sum(s.info()["indexed"] for s in _mine(node, collection))
    return {"vectors": vectors, "optimizers_status": "ok", "params": collection.config["params"]}


def _node_cluster(node, level):
    out = {"enabled": True}
    if level >= 1:
        out["status"] = {
            "number_of_peers": len(node.state.peers),
            "term": 1,
            "commit": node.state.commit,
            "pending_operations": 0,
            "role": _role(node),
            "is_voter": True,
            "peer_id": node.peer_id,
            "consensus_thread_status": consensus_status(node),
        }
    if level >= 2:
        out["config"] = _CLUSTER_CONFIG
        out["peers"] = {str(p): {"uri": v["uri"]} for p, v in node.state.peers.items()}
    if level >= 3:
        out["peer_metadata"] = {str(p): {"version": VERSION} for p in node.state.peers}
    return out | {"resharding_enabled": node.cluster.resharding}


def _snapshot_counts(node, collection):
    mine = _mine(node, collection)
    return {
        "id": collection.name,
        "running_snapshots": sum(s.snapshots_running for s in mine),
        "running_snapshot_recovery": sum(s.recovering for s in mine),
        "total_snapshot_creations": node.snapshot_creations.get(collection.uuid, 0),
    }


def _node_collection(node, collection, level):
    config = {**collection.config, "uuid": collection.uuid}
    out = {"id": collection.name, "init_time_ms": 0, "config": config}
    if level >= 3:
        shards = sorted(collection.shards.values(), key=lambda s: s.id)
        out["shards"] = [_node_shard(node, collection, s, level) for s in shards]
        transfers = collection.transfers
        out["transfers"] = [t.info(node.transfers.comment(collection, t)) for t in transfers]
        moving = collection.resharding
        out["resharding"] = [resharding_info(moving)] if moving else []
        cleaned = {str(s.id): "done" for s in _mine(node, collection) if s.cleaned}
        if cleaned:
            out["shard_clean_tasks"] = cleaned
    return out


def _node_shard(node, collection, shard, level):
    local = node.local(collection, shard.id)
    remote = [{"shard_id": shard.id, "peer_id": p} for p in shard.replicas if p != node.peer_id]
    return {
        "id": shard.id,
        "key": shard.key,
        "local": None if local is None else _local_shard(local, level),
        "remote": remote,
        "replicate_states": {str(p): s for p, s in shard.replicas.items()},
    }


def _local_shard(shard, level):
    work = {"status": "ok", "optimizations": {"count": 0, "total_duration_micros": 0}}
    out = {"variant_name": "local shard", **replica_details(shard)}
    if level >= 4 and shard.usable:
        segments = shard.manifest().items()
        out["segments"] = [_segment(uuid, entry, shard.folder) for uuid, entry in segments]
        work["log"] = [shard.optimizing.log_entry()] if shard.optimizing else []
    queue = {"length": shard.queue(), "op_num": max(shard.op_num - 1, 0)}
    return out | {"optimizations": work, "async_scorer": False, "update_queue": queue}


def _segment(uuid, entry, folder):
    """What is known of a segment from outside: its files (measured 10)."""
    root, size, found = os.path.join(folder, "segments", uuid), 0, set()
    for place, _, names in os.walk(root):
        size += sum(os.stat(os.path.join(place, n)).st_blocks * 512 for n in names)
        found.update(names)
    info = {
        "uuid": uuid,
        "segment_type": "indexed" if "graph.bin" in found else "plain",
        "disk_usage_bytes": size,
        "is_appendable": "id_tracker.mappings" not in found,
    }
    return {"info": info, "version": entry["segment_version"]}
