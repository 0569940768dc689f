"""The configuration of a collection: the defaults of the server and the shape it is shown in.

Every default is the one in `GET /collections/docs_r1` of transcript 2.
"""

from . import errors

HNSW = {
    "m": 16,
    "ef_construct": 100,
    "full_scan_threshold": 10000,
    "max_indexing_threads": 0,
    "on_disk": False,
}
OPTIMIZER = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": 10000,
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
    "prevent_unoptimized": None,
}
WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}

_FORBIDDEN = set('<>:"/\\|?*\0\x1f')
_DISTANCES = ("Cosine", "Euclid", "Dot", "Manhattan")


def check_new_name(name):
    """Names at creation: 1 to 255 characters, none of the forbidden (reference 2.2)."""
    if not 1 <= len(name) <= 255:
        text = f'value "{name}" invalid, must be from 1 to 255 characters'
        raise errors.invalid(f"path parameters: [collection_name: {text}]")
    bad = next((c for c in name if c in _FORBIDDEN), None)
    if bad is not None:
        text = f'collection name cannot contain "{bad}" char'
        raise errors.invalid(f"path parameters: [collection_name: {text}]")


def _without_nulls(value):
    """Drops what is null, at every depth: the server shows absent options as absent."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return value


def _check_vector(params):
    """The server tells all faults of vector parameters in one way (run)."""
    size = params.get("size") if isinstance(params, dict) else None
    good = isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= 65536
    if not good or params.get("distance") not in _DISTANCES:
        raise errors.bad_json("data did not match any variant of untagged enum VectorsConfig")


def is_single(vectors):
    """Whether `vectors` is one unnamed vector rather than a map of names."""
    return any(k in vectors and not isinstance(vectors[k], dict) for k in ("size", "distance"))


def _vectors(body):
    vectors = _without_nulls(body.get("vectors") or {})
    if not isinstance(vectors, dict):
        raise errors.bad_json("data did not match any variant of untagged enum VectorsConfig")
    for params in [vectors] if is_single(vectors) else vectors.values():
        _check_vector(params)
    return vectors


def new_config(body, peer_count):
    """The configuration of a new collection, every value explicit, from a create request."""
    if not isinstance(body, dict):
        raise errors.bad_json("invalid type, expected struct CreateCollection")
    custom = body.get("sharding_method") == "custom"
    params = {
        "vectors": _vectors(body),
        "shard_number": _positive(body, "shard_number", 1 if custom else peer_count),
        "replication_factor": _positive(body, "replication_factor", 1),
        "write_consistency_factor": _positive(body, "write_consistency_factor", 1),
        "on_disk_payload": body.get("on_disk_payload", True),
    }
    if body.get("sharding_method"):
        params["sharding_method"] = body["sharding_method"]
    if body.get("sparse_vectors"):
        params["sparse_vectors"] = {
            n: _without_nulls(v or {}) for n, v in body["sparse_vectors"].items()
        }
    config = {
        "params": params,
        "hnsw_config": _merge(HNSW, body.get("hnsw_config")),
        "optimizer_config": _optimizer(
            OPTIMIZER, body.get("optimizers_config") or body.get("optimizer_config")
        ),
        "wal_config": _merge(WAL, body.get("wal_config")),
        "quantization_config": _without_nulls(body.get("quantization_config")),
    }
    for name in ("strict_mode_config", "metadata"):
        if body.get(name) is not None:
            config[name] = (
                _without_nulls(body[name]) if name == "strict_mode_config" else body[name]
            )
    return config


def _positive(body, name, default):
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise errors.invalid(f"JSON body: [{name}: value {value} invalid, must be 1 or larger]")
    return value


def _merge(base, change):
    """Null never unsets (reference 2.4)."""
    return {**base, **{k: v for k, v in (change or {}).items() if v is not None}}


def _optimizer(base, change):
    """`max_optimization_threads` can be set back with "auto" (measured 9)."""
    merged = _merge(base, change)
    if merged.get("max_optimization_threads") == "auto":
        merged["max_optimization_threads"] = None
    return merged


def patched_config(config, body):
    """The configuration after `PATCH /collections/{c}` (reference 2.4)."""
    new = {k: v for k, v in config.items()}
    new["params"] = _merge(config["params"], body.get("params"))
    for name, change in (body.get("vectors") or {}).items():
        new["params"]["vectors"] = _patched_vector(new["params"]["vectors"], name, change)
    if body.get("sparse_vectors"):
        sparse = dict(new["params"].get("sparse_vectors") or {})
        for name, change in body["sparse_vectors"].items():
            sparse[name] = _merge(sparse.get(name, {}), change)
        new["params"]["sparse_vectors"] = sparse
    new["hnsw_config"] = _merge(config["hnsw_config"], body.get("hnsw_config"))
    change = body.get("optimizers_config") or body.get("optimizer_config")
    new["optimizer_config"] = _optimizer(config["optimizer_config"], change)
    quantization = body.get("quantization_config")
    if quantization is not None:
        new["quantization_config"] = None if quantization == "Disabled" else quantization
    for name in ("strict_mode_config", "metadata"):
        if body.get(name) is not None:
            new[name] = _merge(config.get(name) or {}, body[name])
    return new


def _patched_vector(vectors, name, change):
    """The unnamed vector is `""` in PATCH (reference 2.2)."""
    if is_single(vectors):
        if name != "":
            raise errors.bad_input(f"Not existing vector name error: {name}")
        return _merge(vectors, change)
    if name not in vectors:
        raise errors.bad_input(f"Not existing vector name error: {name}")
    return {**vectors, name: _merge(vectors[name], change)}


def with_named_vector(config, name, params):
    """The configuration with one more named vector, or one less when `params` is None."""
    vectors = dict(config["params"]["vectors"])
    sparse = dict(config["params"].get("sparse_vectors") or {})
    if is_single(vectors):
        vectors = {"": vectors}
    if params is None:  # A name that is not there is no error (run).
        vectors.pop(name, None)
        sparse.pop(name, None)
    elif name in vectors or name in sparse:
        raise errors.bad_input(f"Vector with name {name} already exists")
    elif "dense" in params:
        _check_vector(params["dense"])
        vectors[name] = _without_nulls(params["dense"])
    else:
        sparse[name] = _without_nulls(params["sparse"])
    new = {**config["params"], "vectors": vectors[""] if set(vectors) == {""} else vectors}
    new.pop("sparse_vectors", None)
    return {**config, "params": new | ({"sparse_vectors": sparse} if sparse else {})}


def vector_params(config):
    """Name -> parameters of the dense vectors; the unnamed one is `""`."""
    vectors = config["params"]["vectors"]
    return {"": vectors} if is_single(vectors) else vectors
