"""From the configuration of a collection to the `edge_config.json` of a shard (sandbox notes a)."""

import json
import os

from .defaults import vector_params

# The WAL of a shard: small segments keep a shard small on disk (sandbox notes e).
WAL_SEGMENT_BYTES = 1 << 20
_HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0}
_VECTOR_KEYS = (
    "size",
    "distance",
    "on_disk",
    "datatype",
    "multivector_config",
    "quantization_config",
)
_OPTIMIZER_KEYS = (
    "deleted_threshold", "vacuum_min_vector_number", "default_segment_number", "max_segment_size",
    "indexing_threshold", "prevent_unoptimized",
)  # fmt: skip
CONFIG_FILE = "edge_config.json"


def _set(source, keys):
    return {k: source[k] for k in keys if source.get(k) is not None}


def edge_config(config):
    """The content of `edge_config.json` for a collection."""
    params = config["params"]
    hnsw = {**_HNSW, **{k: v for k, v in config["hnsw_config"].items() if v is not None}}
    vectors = {}
    for name, vector in vector_params(config).items():
        vectors[name] = _set(vector, _VECTOR_KEYS)
        if vector.get("hnsw_config"):
            vectors[name]["hnsw_config"] = {
                **hnsw,
                **_set(vector["hnsw_config"], vector["hnsw_config"]),
            }
    sparse = {}
    for name, vector in (params.get("sparse_vectors") or {}).items():
        index = vector.get("index") or {}
        sparse[name] = _set(index, ("on_disk", "full_scan_threshold", "datatype"))
        sparse[name] |= _set(vector, ("modifier",))
    made = {
        "on_disk_payload": params["on_disk_payload"],
        "vectors": vectors,
        "sparse_vectors": sparse,
        "hnsw_config": hnsw,
        "optimizers": _set(config["optimizer_config"], _OPTIMIZER_KEYS),
        "wal_options": {
            "segment_capacity": WAL_SEGMENT_BYTES,
            "segment_queue_len": 0,
            "retain_closed": 1,
        },
        # One thread a shard: the GIL is held during a call anyway (sandbox notes e).
        "max_search_threads": 1,
    }
    if config.get("quantization_config"):
        made["quantization_config"] = config["quantization_config"]
    return made


def write_config(folder, config):
    """Puts the configuration into a shard folder; without it edge guesses from the segments."""
    with open(os.path.join(folder, CONFIG_FILE), "w", encoding="utf-8") as out:
        json.dump(edge_config(config), out)
